"""libtorrent as the measuring scripts run it: on loopback, with no way to find peers but what it is
given.

By itself libtorrent starts a torrent when its queue is looked at, and dials over uTP, then over TCP
what did not answer in 3 s; "at once" it does neither.
"""

import sys
import time

import libtorrent as lt

SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
}


def session(port=0, at_once=False, **settings):
    kinds = lt.alert.category_t
    return lt.session(
        {
            **SETTINGS,
            "alert_mask": kinds.status_notification | kinds.piece_progress_notification,
            "enable_outgoing_utp": not at_once,
            "listen_interfaces": f"127.0.0.1:{port}",
            **settings,
        }
    )


def link_params(link, folder, at_once):
    params = lt.parse_magnet_uri(link)
    params.save_path = str(folder)
    if at_once:
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return params


def time_link(fetching, link, folder, at_once, limit):
    """Prints the milliseconds from the add of `link` to its metadata and to its first piece."""
    # It has begun its work.
    fetching.get_torrents()
    began = time.perf_counter()
    fetching.add_torrent(link_params(link, folder, at_once))
    metadata = None
    while time.perf_counter() < began + limit:
        fetching.wait_for_alert(1000)
        for alert in fetching.pop_alerts():
            took = (time.perf_counter() - began) * 1e3
            if isinstance(alert, lt.metadata_received_alert):
                metadata = took
            elif isinstance(alert, lt.piece_finished_alert):
                print(f"{metadata:.2f} {took:.2f}", flush=True)
                return
    sys.exit(f"nothing within {limit} s; metadata: {metadata}")
