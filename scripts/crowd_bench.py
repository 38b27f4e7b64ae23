"""Crowds: many leeches of one seed, and one leech of many seeds. See scripts/crowd_bench.

crowd_bench.py BENCH_FOLDER PEERLOAD ROUNDS NAME=FOLDER...: the `seed` and `download` of each FOLDER
in turns, beside the floor and libtorrent.
crowd_bench.py libtorrent TORRENT DIR ADDR...: downloads with libtorrent and ends.
"""

import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SIZE_MIB = 1024
LEECHES = {
    "1000 leeches, 4 deep, 30 blocks each": "1000 4 30 --src 1",
    "64 leeches, 8 deep": "64 8 600 --src 1",
    "8 leeches, 32 deep": "8 32 8192 --seq",
}
SEEDS = (8, 64, 512)
SEED_PORT = 18750
# Each connection, and some files.
DESCRIPTORS = 8192


def libtorrent_download(torrent, folder, addrs):
    import libtorrent as lt
    import libtorrent_client

    session = libtorrent_client.session(
        at_once=True,
        alert_mask=0,
        connections_limit=1000,
        connection_speed=500,
        hashing_threads=2,
        aio_threads=2,
        max_queued_disk_bytes=64 << 20,
        in_enc_policy=2,
        out_enc_policy=2,
    )
    params = lt.add_torrent_params()
    params.ti, params.save_path = lt.torrent_info(torrent), folder
    params.max_connections = 1000
    handle = session.add_torrent(params)
    for addr in addrs:
        host, port = addr.split(":")
        handle.connect_peer((host, int(port)))
    while not handle.status().is_seeding:
        time.sleep(0.01)


def number(key, text):
    found = re.search(key, text)
    return float(found.group(1)) if found else float("nan")


def medians(rows):
    return [statistics.median(column) for column in zip(*rows)]


class Crowd:
    """The torrent that all have, in memory, and the programs that are compared."""

    def __init__(self, bench, peerload, builds, folder):
        self.bench, self.peerload, self.builds = bench, peerload, builds
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data.bin"
        self.torrent = self.folder / "data.torrent"
        with open(self.data, "wb") as file:
            for _ in range(SIZE_MIB):
                file.write(os.urandom(1 << 20))
        subprocess.run([peerload, "make", self.data, self.torrent, str(1 << 20)], check=True)

    def leech(self, port, load, *more):
        run = [self.peerload, "leech", self.torrent, f"127.0.0.1:{port}", *load.split(), *more]
        return subprocess.run(run, capture_output=True, text=True, timeout=120).stdout

    def await_seed(self, port):
        for _ in range(300):
            if "errs=0" in self.leech(port, "1 1 1"):
                return
            time.sleep(0.1)
        raise SystemExit(f"nothing serves on port {port}")

    def seeders(self, port):
        """The command of each, with the port it serves on."""
        lt_seed = [sys.executable, f"{self.bench}/lt_seed.py", self.torrent, self.folder]
        commands = [
            ("floor", lambda p: [self.peerload, "seed", self.torrent, self.data, f"127.0.0.1:{p}"]),
            ("libtorrent", lambda p: [*lt_seed, str(p)]),
        ]
        for name, build in self.builds:
            seed = [f"{build}/seed", self.torrent, "--dir", self.folder, "--quiet", "--port"]
            commands.append((name, lambda p, seed=seed: [*seed, str(p)]))
        return [(name, command(port + n), port + n) for n, (name, command) in enumerate(commands)]

    def many_leeches(self, rounds):
        running = []
        try:
            for name, command, port in self.seeders(18700):
                process = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                running.append((name, process, port))
            for _, _, port in running:
                self.await_seed(port)
            rows = {}
            for _ in range(rounds):
                for load, args in LEECHES.items():
                    for name, process, port in running:
                        told = self.leech(port, args, "--pid", str(process.pid))
                        keys = (r"([\d.]+) GiB/s", r"p50=(\d+)", r"p99.9=(\d+)", r"([\d.]+) s/GiB")
                        rows.setdefault((load, name), []).append([number(k, told) for k in keys])
        finally:
            for _, process, _ in running:
                process.kill()
                process.wait()
        columns = f"{'GiB/s':>6} {'p50 us':>8} {'p99.9 us':>9} {'cpu s/GiB':>9}"
        print(f"{'load':38} {'seed':12} {columns}")
        for (load, name), taken in rows.items():
            rate, half, most, cpu = medians(taken)
            print(f"{load:38} {name:12} {rate:6.2f} {half:8.0f} {most:9.0f} {cpu:9.2f}", flush=True)

    def downloaders(self, addrs, target):
        yield "libtorrent", [sys.executable, __file__, "libtorrent", self.torrent, target, *addrs]
        for name, build in self.builds:
            peers = [arg for addr in addrs for arg in ("--peer", addr)]
            yield name, [f"{build}/download", self.torrent, "--dir", target, "--quiet", *peers]

    def many_seeds(self, rounds):
        seed = subprocess.Popen(
            [self.peerload, "seed", self.torrent, self.data, f"0.0.0.0:{SEED_PORT}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        target = self.folder / "target"
        rows = {}
        try:
            self.await_seed(SEED_PORT)
            for _ in range(rounds):
                for count in SEEDS:
                    # Over many networks, since a host and a network may have few connections.
                    addrs = [f"127.{1 + n // 100}.{n % 100}.7:{SEED_PORT}" for n in range(count)]
                    for name, command in self.downloaders(addrs, target):
                        shutil.rmtree(target, ignore_errors=True)
                        target.mkdir()
                        began = time.monotonic()
                        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                        _, status, used = os.wait4(process.pid, 0)
                        wall = time.monotonic() - began
                        if status:
                            raise SystemExit(f"{name} failed with {count} seeds: {status}")
                        cpu = used.ru_utime + used.ru_stime
                        rows.setdefault((count, name), []).append(
                            (wall, cpu, used.ru_maxrss / 1024)
                        )
        finally:
            seed.kill()
            seed.wait()
        print(f"{'seeds':>5} {'download':12} {'wall s':>7} {'cpu s':>6} {'rss MiB':>8}")
        for (count, name), taken in rows.items():
            wall, cpu, rss = medians(taken)
            print(f"{count:5} {name:12} {wall:7.2f} {cpu:6.2f} {rss:8.0f}", flush=True)


def main():
    if sys.argv[1] == "libtorrent":
        return libtorrent_download(sys.argv[2], sys.argv[3], sys.argv[4:])
    bench, peerload, rounds = sys.argv[1:4]
    builds = [build.split("=", 1) for build in sys.argv[4:]]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        crowd = Crowd(bench, peerload, builds, folder)
        crowd.many_leeches(int(rounds))
        print()
        crowd.many_seeds(int(rounds))


main()
