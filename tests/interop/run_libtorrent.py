"""Serves WHAT from DIR on HOST:PORT, or fetches it to there, until it is killed.

run_libtorrent.py WHAT DIR HOST:PORT [seed | RATE] [local] [encrypted] [utp]

WHAT is a .torrent file or a magnet link; RATE is how many bytes per second may come; "local" has it
look for peers in the local network (BEP 14), "encrypted" take no connections but those with RC4,
"utp" dial by uTP alone. Prints the extension handshakes (BEP 10) of peers.
"""

import sys

import libtorrent

what, folder, address = sys.argv[1:4]
extras = {"local", "encrypted", "utp"}
role = [word for word in sys.argv[4:] if word not in extras]
session = libtorrent.session(
    {
        "alert_mask": libtorrent.alert.category_t.peer_log_notification,
        "listen_interfaces": address,
        "enable_dht": False,
        "enable_lsd": "local" in sys.argv[4:],
        "enable_outgoing_tcp": "utp" not in sys.argv[4:],
        "enable_upnp": False,
        "enable_natpmp": False,
        "allow_multiple_connections_per_ip": True,
    }
)
if "encrypted" in sys.argv[4:]:
    forced = libtorrent.enc_policy.forced
    session.apply_settings(
        {
            "in_enc_policy": forced,
            "out_enc_policy": forced,
            "allowed_enc_level": libtorrent.enc_level.rc4,
        }
    )
if what.startswith("magnet:"):
    params = libtorrent.parse_magnet_uri(what)
else:
    # With the piece layers of version 2.
    params = libtorrent.load_torrent_file(what)
params.save_path = folder
if role == ["seed"]:
    params.flags |= libtorrent.torrent_flags.seed_mode
elif role:
    params.download_limit = int(role[0])
session.add_torrent(params)
while True:
    session.wait_for_alert(1000)
    for alert in session.pop_alerts():
        words = alert.message()
        if "<== EXTENDED_HANDSHAKE" in words:
            print(words, flush=True)
