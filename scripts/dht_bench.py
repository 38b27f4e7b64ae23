#!/usr/bin/env python3
"""The measuring of scripts/dht_bench, and libtorrent's part of it.

`run OURS ROUNDS SECONDS` measures; OURS is our magnet_bench.
`fetch LINK FOLDER ADDR [at-once]` and `many FOLDER SECONDS ADDR [at-once]` do with libtorrent what
magnet_bench does with ours.
"at-once" is told in libtorrent_client.py.
"""

import contextlib
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import libtorrent as lt
import libtorrent_client

LIMIT = 60
NODES, LINKS, SEEDED = 100, 1000, 200
WARM = 5


def session(bootstrap, at_once):
    return libtorrent_client.session(
        at_once=bool(at_once),
        alert_queue_size=100_000,
        dht_block_ratelimit=1_000_000,
        dht_bootstrap_nodes=bootstrap,
        dht_ignore_dark_internet=False,
        dht_restrict_routing_ips=False,
        dht_restrict_search_ips=False,
        enable_dht=True,
    )


def fetch(link, folder, bootstrap, at_once=None):
    libtorrent_client.time_link(session(bootstrap, at_once), link, folder, at_once, LIMIT)


def many(folder, seconds, bootstrap, at_once=None):
    folder, seconds = pathlib.Path(folder), float(seconds)
    fetching = session(bootstrap, at_once)
    time.sleep(WARM)
    began = time.perf_counter()
    for link in (folder / "links").read_text().splitlines():
        params = libtorrent_client.link_params(link, folder / "many", at_once)
        fetching.async_add_torrent(params)
    known = []
    while time.perf_counter() < began + seconds:
        fetching.wait_for_alert(100)
        for alert in fetching.pop_alerts():
            if isinstance(alert, lt.metadata_received_alert):
                known.append(time.perf_counter() - began)
                # Its data is not wanted.
                alert.handle.unset_flags(lt.torrent_flags.auto_managed)
                alert.handle.pause()
    status = pathlib.Path("/proc/self/status").read_text()
    size = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    print("known", *(f"{at:.2f}" for at in known))
    print("rss_kib", size)


@contextlib.contextmanager
def cloud(ours):
    """A DHT with seeds; gives its folder and the address of its first node."""
    with tempfile.TemporaryDirectory() as name:
        words = [ours, "cloud", name, str(NODES), str(LINKS), str(SEEDED)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            first, stored = process.stdout.readline().split()
            if int(stored) < SEEDED * 7:
                print(f"(only {stored} announces are stored)")
            yield pathlib.Path(name), first
        finally:
            process.kill()
            process.wait()


def output(words, limit):
    done = subprocess.run(words, capture_output=True, text=True, timeout=limit)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.stderr}")
    return done.stdout


def column(values):
    return f"{statistics.median(values):7.1f} ({min(values):.1f}-{max(values):.1f})"


def cold(ours, rounds):
    this = [sys.executable, __file__, "fetch"]
    with cloud(ours) as (folder, first):
        links = iter((folder / "links").read_text().splitlines())
        clients = {
            "cratetorrent": ([ours], ["--bootstrap", first]),
            "libtorrent": (this, [first]),
            "libtorrent at once": (this, [first, "at-once"]),
        }
        times = {client: [] for client in clients}
        for _ in range(rounds):
            for client, (command, options) in clients.items():
                # A link that no other client has announced.
                words = [*command, next(links), str(folder / "cold"), *options]
                done = subprocess.run(words, capture_output=True, text=True, timeout=2 * LIMIT)
                # One that finds nothing counts as long as it was given.
                said = done.stdout.split() or [LIMIT * 1e3] * 2
                times[client].append([float(word) for word in said])
                shutil.rmtree(folder / "cold", ignore_errors=True)
        print(f"cold DHT of {NODES} nodes{'':<28} {'metadata, ms':<26} first piece, ms")
        for client, taken in times.items():
            metadata, piece = zip(*taken)
            print(f"{client:<50} {column(metadata):<26} {column(piece)}", flush=True)


def bulk(ours, seconds):
    this = [sys.executable, __file__, "many"]
    print(f"{LINKS} links, {SEEDED} of them with a peer: with metadata after s")
    marks = [mark for mark in (5, 10, 20, 30, 60, 120, 300) if mark <= seconds]
    print(f"{'':<50}", *(f"{mark:>5}" for mark in marks))
    for client in ["cratetorrent", "libtorrent", "libtorrent at once"]:
        with cloud(ours) as (folder, first):
            options = [str(folder), str(seconds)]
            if client == "cratetorrent":
                words = [ours, "many", *options, "--bootstrap", first]
            else:
                words = [*this, *options, first, *(["at-once"] if "once" in client else [])]
            lines = output(words, seconds + 120).splitlines()
            known = next(line for line in lines if line.startswith("known"))
            known = [float(word) for word in known.split()[1:]]
            counts = (sum(at <= mark for at in known) for mark in marks)
            print(f"{client:<50}", *(f"{count:>5}" for count in counts))
            print(*(f"  {line}" for line in lines if not line.startswith("known")), sep="\n")
            sys.stdout.flush()


def run(ours, rounds, seconds):
    cold(ours, rounds)
    bulk(ours, seconds)
    with cloud(ours) as (_, first):
        print("an engine that only takes part in the DHT, for a minute")
        print(output([ours, "idle", "60", "--bootstrap", first], 200), end="", flush=True)


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    if mode == "run":
        run(arguments[0], int(arguments[1]), int(arguments[2]))
    elif mode == "fetch":
        fetch(*arguments)
    elif mode == "many":
        many(*arguments)
    else:
        sys.exit(__doc__)
