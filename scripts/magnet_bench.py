#!/usr/bin/env python3
"""The measuring of scripts/magnet_bench, and libtorrent's part of it.

`run OURS SEED ROUNDS` measures; OURS is our magnet_bench, SEED our seed.
`seed TORRENT FOLDER PORT` serves with libtorrent until it is killed.
`fetch LINK FOLDER [at-once]` does with libtorrent what magnet_bench does with ours.
"at-once" is told in libtorrent_client.py.
"""

import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import libtorrent as lt
import libtorrent_client

SIZE = 256 << 20
PIECE = 256 << 10
LIMIT = 30
PEX_ID = 1


def seed(torrent, folder, port):
    serving = libtorrent_client.session(port)
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    params.flags |= lt.torrent_flags.seed_mode
    serving.add_torrent(params)
    threading.Event().wait()


def fetch(link, folder, at_once=None):
    fetching = libtorrent_client.session(at_once=bool(at_once))
    libtorrent_client.time_link(fetching, link, folder, at_once, LIMIT)


class Acquaintance:
    """A peer that has nothing, and tells each peer at once of the one it is to tell of (BEP 11)."""

    def __init__(self, info_hash):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addr = self.listener.getsockname()
        reserved = b"\0\0\0\0\0\x10\0\0"
        peer_id = b"-KN0001-".ljust(20, b"k")
        self.greeting = b"\x13BitTorrent protocol" + reserved + info_hash + peer_id
        self.seed = None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self.talk, args=[peer], daemon=True).start()

    def talk(self, peer):
        def extended(name, payload):
            body = bytes([20, name]) + payload
            peer.sendall(len(body).to_bytes(4, "big") + body)

        try:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = peer.makefile("rb")
            stream.read(68)
            peer.sendall(self.greeting)
            extended(0, lt.bencode({b"m": {b"ut_pex": PEX_ID}}))
            while head := stream.read(4):
                body = stream.read(int.from_bytes(head, "big"))
                if body[:2] == b"\x14\0":
                    wants = lt.bdecode(body[2:])[b"m"][b"ut_pex"]
                    host, port = self.seed
                    added = socket.inet_aton(host) + port.to_bytes(2, "big")
                    # Seed, and reachable.
                    extended(wants, lt.bencode({b"added": added, b"added.f": b"\x12"}))
        except OSError:
            pass


def wait_for(port):
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def make(folder):
    """A torrent of random bytes; returns its file and info-hash."""
    with open(folder / "data.bin", "wb") as file, open("/dev/urandom", "rb") as random:
        for _ in range(SIZE // PIECE):
            file.write(random.read(PIECE))
    files = lt.list_files(str(folder / "data.bin"))
    torrent = lt.create_torrent(files, PIECE, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, str(folder))
    path = folder / "data.torrent"
    path.write_bytes(lt.bencode(torrent.generate()))
    return path, lt.torrent_info(str(path)).info_hashes().v1.to_bytes()


def measure(command, link, options):
    with tempfile.TemporaryDirectory() as target:
        words = [*command, link, target, *options]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=2 * LIMIT)
    return [float(word) for word in done.stdout.split()]


def show(what, times):
    def column(values):
        return f"{statistics.median(values):7.1f} ({min(values):.1f}-{max(values):.1f})"

    metadata, piece = zip(*times)
    print(f"{what:<62} {column(metadata):<24} {column(piece)}", flush=True)


def run(ours, our_seed, rounds):
    this = [sys.executable, __file__]
    clients = {
        "cratetorrent": ([ours], []),
        "libtorrent": ([*this, "fetch"], []),
        "libtorrent at once": ([*this, "fetch"], ["at-once"]),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        torrent, info_hash = make(folder)
        ports = {"cratetorrent": free_port(), "libtorrent": free_port()}
        seeds = [
            subprocess.Popen(
                [our_seed, torrent, "--dir", folder, "--no-check", "--no-dht", "--no-lsd"]
                + ["--quiet", "--port", str(ports["cratetorrent"])]
            ),
            subprocess.Popen([*this, "seed", torrent, folder, str(ports["libtorrent"])]),
        ]
        try:
            for port in ports.values():
                wait_for(port)
            acquaintance = Acquaintance(info_hash)
            print(f"{'':<62} {'metadata, ms':<24} first piece, ms")
            for way in ["known", "through PEX"]:
                for seed_name, port in ports.items():
                    acquaintance.seed = ("127.0.0.1", port)
                    host, known = acquaintance.seed if way == "known" else acquaintance.addr
                    link = f"magnet:?xt=urn:btih:{info_hash.hex()}&x.pe={host}:{known}"
                    times = {client: [] for client in clients}
                    for _ in range(rounds):
                        for client, (command, options) in clients.items():
                            times[client].append(measure(command, link, options))
                    for client in clients:
                        show(f"{client}, a seed of {seed_name}'s {way}", times[client])
        finally:
            for process in seeds:
                process.kill()
                process.wait()


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    if mode == "run":
        run(arguments[0], arguments[1], int(arguments[2]))
    elif mode == "seed":
        seed(*arguments)
    elif mode == "fetch":
        fetch(*arguments)
    else:
        sys.exit(__doc__)
