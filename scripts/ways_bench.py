"""The measuring of scripts/ways_bench, and libtorrent's part of it.

`run EXAMPLES ROUNDS [WAY...]` measures; EXAMPLES is the folder of our `seed` and `download`.
`seed WAY TORRENT FOLDER PORT` serves with libtorrent until it is killed.
`leech WAY TORRENT FOLDER PORT` downloads with it, and prints the seconds, of the clock and of the
processor, from the add of the torrent until it has everything.
"""

import heapq
import os
import pathlib
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import libtorrent as lt
import libtorrent_client

MIB = 1 << 20
PIECE = MIB
LIMIT = 120
TICKS = os.sysconf("SC_CLK_TCK")
# How much is carried between two of ours, and where libtorrent takes part.
SIZES = {"tcp": (1024, 1024), "rc4": (1024, 512), "utp": (1024, 128), "far": (8, 8)}
# What "far" has between the two: a line of 200 Mbit/s, 80 ms there and back, a queue of 200 ms.
RATE = 200e6 / 8
ONE_WAY = 0.04
QUEUE = 0.2
OURS = {
    "tcp": ["--transport", "tcp", "--encryption", "off"],
    "rc4": ["--transport", "tcp", "--encryption", "require"],
    "utp": ["--transport", "utp", "--encryption", "off"],
}
OURS["far"] = OURS["utp"]
ONLY_TCP = {"enable_outgoing_utp": False, "enable_incoming_utp": False}
ONLY_UTP = {"enable_outgoing_tcp": False, "enable_incoming_tcp": False}
PLAIN = {"in_enc_policy": 2, "out_enc_policy": 2}
# Forced both ways, and of the methods RC4 alone.
RC4 = {"in_enc_policy": 0, "out_enc_policy": 0, "allowed_enc_level": 2, "prefer_rc4": True}
LIBTORRENT = {
    "tcp": {**ONLY_TCP, **PLAIN},
    "rc4": {**ONLY_TCP, **RC4},
    "utp": {**ONLY_UTP, **PLAIN},
}
LIBTORRENT["far"] = LIBTORRENT["utp"]


def session(way, port=0):
    return libtorrent_client.session(
        port,
        alert_mask=0,
        hashing_threads=2,
        aio_threads=2,
        max_queued_disk_bytes=64 << 20,
        **{"enable_outgoing_utp": True, **LIBTORRENT[way]},
    )


def params(torrent, folder, *flags):
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    for flag in flags:
        params.flags |= flag
    return params


def seed(way, torrent, folder, port):
    serving = session(way, port)
    serving.add_torrent(params(torrent, folder, lt.torrent_flags.seed_mode))
    threading.Event().wait()


def leech(way, torrent, folder, port):
    fetching = session(way)
    fetching.get_torrents()
    began, used = time.perf_counter(), time.process_time()
    handle = fetching.add_torrent(params(torrent, folder))
    handle.connect_peer(("127.0.0.1", int(port)))
    while not handle.status().is_seeding:
        time.sleep(0.01)
    print(time.perf_counter() - began, time.process_time() - used, flush=True)


def make(folder, mib):
    folder.mkdir()
    with open(folder / "data.bin", "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    files = lt.list_files(str(folder / "data.bin"))
    torrent = lt.create_torrent(files, PIECE, lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, str(folder))
    (folder / "data.torrent").write_bytes(lt.bencode(torrent.generate()))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Line(threading.Thread):
    """Carries datagrams between a seed and the peer that sends to `port`, as a line does."""

    def __init__(self, seed_port):
        super().__init__(daemon=True)
        self.near, self.far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "ab")
        self.near.bind(("127.0.0.1", 0))
        self.far.connect(("127.0.0.1", int(seed_port)))
        self.port = str(self.near.getsockname()[1])
        self.other = {self.near: self.far, self.far: self.near}
        self.free = {self.near: 0.0, self.far: 0.0}
        self.leech = None
        self.ended = False

    def run(self):
        events, due, count = selectors.DefaultSelector(), [], 0
        for end in self.other:
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            events.register(end, selectors.EVENT_READ)
        while not self.ended:
            wait = due[0][0] - time.monotonic() if due else 0.1
            ready = events.select(max(wait, 0))
            now = time.monotonic()
            for end in (key.fileobj for key, _ in ready):
                for data in self.waiting(end):
                    free = max(self.free[end], now)
                    if free - now > QUEUE:
                        continue
                    self.free[end] = free + (len(data) + 28) / RATE
                    count += 1
                    heapq.heappush(due, (self.free[end] + ONE_WAY, count, end, data))
            while due and due[0][0] <= now:
                _, _, end, data = heapq.heappop(due)
                try:
                    if end is self.near:
                        self.far.send(data)
                    elif self.leech:
                        self.near.sendto(data, self.leech)
                except OSError:
                    pass

    def waiting(self, end):
        while True:
            try:
                data, addr = end.recvfrom(65536)
            except OSError:
                return
            if end is self.near:
                self.leech = addr
            yield data


class Bench:
    def __init__(self, examples, folder):
        self.examples, self.folder = examples, folder

    def seed(self, who, way, source, port):
        torrent = source / "data.torrent"
        if who == "libtorrent":
            command = [sys.executable, __file__, "seed", way, torrent, source, port]
        else:
            command = [f"{self.examples}/seed", torrent, "--dir", source, "--no-check"]
            command += ["--quiet", "--port", port, *OURS[way]]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def fetch(self, who, way, torrent, target, port):
        """Seconds of the clock and of the processor; `None` if it takes too long."""
        if who == "libtorrent":
            command = [sys.executable, __file__, "leech", way, torrent, target, port]
        else:
            command = [f"{self.examples}/download", torrent, "--dir", target, "--quiet"]
            command += ["--no-listen", "--peer", f"127.0.0.1:{port}", *OURS[way]]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        killer = threading.Timer(LIMIT, process.kill)
        killer.start()
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        killer.cancel()
        if status:
            return None
        if who == "libtorrent":
            return [float(word) for word in said.split()]
        return took, used.ru_utime + used.ru_stime

    def once(self, way, giver, taker, source, gib):
        target = self.folder / "target"
        target.mkdir()
        port = free_port()
        seed = self.seed(giver, way, source, port)
        line = Line(port) if way == "far" else None
        if line:
            line.start()
            port = line.port
        try:
            # It listens: at the latest, and no dial is in vain. uTP has nothing to ask by TCP.
            time.sleep(2)
            before = processor_seconds(seed.pid)
            took = self.fetch(taker, way, source / "data.torrent", target, port)
            given = processor_seconds(seed.pid) - before
        finally:
            seed.kill()
            seed.wait()
            shutil.rmtree(target)
            if line:
                line.ended = True
                line.join()
        if took is None:
            return 0.0, float("nan"), float("nan")
        return gib * 1024 / took[0], given / gib, took[1] / gib

    def measure(self, rounds, ways):
        print(f"{'way':4} {'from':>12} {'to':>12} {'MiB/s':>7} {'least':>7} {'most':>7}"
              f" {'cpu s/GiB: seed':>16} {'leech':>6}")
        who = ["ours", "libtorrent"]
        pairs = [(giver, taker) for giver in who for taker in who]
        rows = {}
        for _ in range(rounds):
            for way in ways:
                for pair in pairs:
                    mib = SIZES[way][pair != ("ours", "ours")]
                    source = self.folder / str(mib)
                    if not source.exists():
                        make(source, mib)
                    taken = self.once(way, *pair, source, mib / 1024)
                    rows.setdefault((way, *pair), []).append(taken)
        for (way, giver, taker), taken in rows.items():
            rates = [rate for rate, _, _ in taken]
            given, used = (statistics.median(column) for column in list(zip(*taken))[1:])
            middle = statistics.median(rates)
            print(f"{way:4} {giver:>12} {taker:>12} {middle:7.1f} {min(rates):7.1f}"
                  f" {max(rates):7.1f} {given:16.2f} {used:6.2f}", flush=True)


def main():
    if sys.argv[1] == "seed":
        return seed(*sys.argv[2:])
    if sys.argv[1] == "leech":
        return leech(*sys.argv[2:])
    examples, rounds, *ways = sys.argv[2:]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Bench(examples, pathlib.Path(folder)).measure(int(rounds), ways or list(SIZES))


main()
