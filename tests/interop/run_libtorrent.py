"""Serves TORRENT from DIR on HOST:PORT, or fetches it to there, until it is killed.

run_libtorrent.py TORRENT DIR HOST:PORT [seed]
"""

import sys
import threading

import libtorrent

torrent, folder, address = sys.argv[1:4]
session = libtorrent.session(
    {
        "listen_interfaces": address,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "allow_multiple_connections_per_ip": True,
    }
)
params = libtorrent.add_torrent_params()
params.ti = libtorrent.torrent_info(torrent)
params.save_path = folder
if "seed" in sys.argv[4:]:
    params.flags |= libtorrent.torrent_flags.seed_mode
session.add_torrent(params)
threading.Event().wait()
