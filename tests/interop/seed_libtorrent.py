"""Seeds TORRENT from DIR on 127.0.0.1:PORT until it is killed: seed_libtorrent.py TORRENT DIR PORT"""

import sys
import threading

import libtorrent

torrent, folder, port = sys.argv[1:]
session = libtorrent.session(
    {
        "listen_interfaces": f"127.0.0.1:{port}",
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
params.flags |= libtorrent.torrent_flags.seed_mode
session.add_torrent(params)
threading.Event().wait()
