#!/usr/bin/env python3
"""libtorrent's part of scripts/session_bench.

`make FOLDER` writes its resume data, `run FOLDER SECONDS` restores and measures.
"""

import pathlib
import pickle
import sys
import time

import libtorrent as lt

SETTINGS = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "alert_mask": lt.alert.category_t.status_notification
    | lt.alert.category_t.storage_notification,
    "alert_queue_size": 1_000_000,
    "active_limit": -1,
    "active_seeds": -1,
    "active_checking": 16,
}


def alerts(session, wait_ms=100):
    session.wait_for_alert(wait_ms)
    return session.pop_alerts()


def make(folder):
    session = lt.session(SETTINGS)
    handles = []
    for path in sorted((folder / "torrents").iterdir()):
        params = lt.load_torrent_file(str(path))
        params.save_path = str(folder / "data")
        # The files are what they should be: they were made a moment ago.
        params.flags = lt.torrent_flags.seed_mode
        handles.append(session.add_torrent(params))
    for handle in handles:
        handle.save_resume_data(lt.save_resume_flags_t.save_info_dict)
    data = []
    while len(data) < len(handles):
        for alert in alerts(session):
            if isinstance(alert, lt.save_resume_data_alert):
                data.append(lt.write_resume_data_buf(alert.params))
            elif isinstance(alert, lt.save_resume_data_failed_alert):
                sys.exit(alert.message())
    (folder / "libtorrent.pickle").write_bytes(pickle.dumps(data))


def run(folder, seconds):
    saved = folder / "libtorrent.pickle"
    began = time.monotonic()
    data = pickle.loads(saved.read_bytes()) if saved.exists() else []
    session = lt.session(SETTINGS)
    for one in data:
        params = lt.read_resume_data(one)
        # Neither queued nor announced: idle.
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        session.async_add_torrent(params)
    count = len(data)
    del data
    added = 0
    while added < count:
        for alert in alerts(session):
            added += alert.what() == "add_torrent"
    took = time.monotonic() - began
    print("torrents", added)
    print(f"restored_ms {took * 1000:.1f}")
    time.sleep(5 if count else 1)
    session.pop_alerts()
    before = time.process_time()
    time.sleep(seconds)
    busy = time.process_time() - before
    rss = [
        line
        for line in pathlib.Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    ]
    print("rss_kib", rss[0].split()[1])
    print(f"idle_percent {busy * 100 / seconds:.3f}")
    sys.stdout.flush()


if sys.argv[1] == "make":
    make(pathlib.Path(sys.argv[2]))
else:
    run(pathlib.Path(sys.argv[2]), int(sys.argv[3]))
