"""What version 2 and hybrids cost, beside libtorrent and version 1; and a web seed beside curl.

  versions_bench.py EXAMPLES SIZE_MIB PIECE_KIB ROUNDS [make] [recheck] [download] [web] [lines]

EXAMPLES is the folder of the built examples. Everything lies in /dev/shm. Ours are whole processes,
from their start to their end; libtorrent is timed within its process, without its start.
"""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

import libtorrent as lt

PLACE = "/dev/shm/versions_bench"
FORMATS = ("v1", "v2", "hybrid")
FLAGS = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}
QUIET = ["--no-dht", "--no-lsd", "--no-pex", "--no-port-mapping", "--quiet"]

examples, size, piece, rounds = sys.argv[1], *map(int, sys.argv[2:5])
size, piece = size << 20, piece << 10
wanted = sys.argv[5:] or ["make", "recheck", "download", "web", "lines"]
data = f"{PLACE}/source/data"


def torrent(form):
    return f"{PLACE}/{form}.torrent"


def program(name, *arguments, **more):
    return subprocess.Popen([f"{examples}/{name}", *map(str, arguments)], **more)


def timed(process):
    """Seconds of the wall and of the processors until a process ends."""
    began = time.monotonic()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, process.args
    process.returncode = 0
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime


def in_child(act):
    """The same of a function, in a process of its own; the wall is that of the function."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        began = time.monotonic()
        act()
        os.write(writer, repr(time.monotonic() - began).encode())
        os._exit(0)
    os.close(writer)
    _, status, usage = os.wait4(child, 0)
    assert status == 0
    wall = float(os.read(reader, 100))
    os.close(reader)
    return wall, usage.ru_utime + usage.ru_stime


def show(what, runs):
    walls, cpus = zip(*runs)
    wall, least, most = statistics.median(walls), min(walls), max(walls)
    cpu = statistics.median(cpus)
    print(f"{what:34} {wall:6.2f} s [{least:.2f}-{most:.2f}]  processor {cpu:.2f} s", flush=True)
    return wall


def turns(**ways):
    """Each way in turn, as often as there are rounds: medians of the wall."""
    runs = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            runs[name].append(way())
    return {name: show(name, run) for name, run in runs.items()}


def ours_makes(form, out=None):
    out = out or f"{PLACE}/made.torrent"
    if os.path.exists(out):
        os.remove(out)
    arguments = ["--format", form, "--piece-length", piece, "--no-date", "--quiet"]
    return program("create", data, *arguments, "--out", out, stdout=subprocess.DEVNULL)


def theirs_makes(form):
    storage = lt.file_storage()
    lt.add_files(storage, data)
    made = lt.create_torrent(storage, piece, FLAGS[form])
    lt.set_piece_hashes(made, os.path.dirname(data))
    made.generate()


def theirs_checks(form):
    settings = {
        "listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False,
        "enable_upnp": False, "enable_natpmp": False, "alert_mask": 0, "hashing_threads": 2,
        "aio_threads": 2,
    }
    session = lt.session(settings)
    params = lt.add_torrent_params()
    params.ti, params.save_path = lt.torrent_info(torrent(form)), os.path.dirname(data)
    handle = session.add_torrent(params)
    while not handle.status().is_seeding:
        time.sleep(0.005)


def ours_checks(form):
    folder = os.path.dirname(data)
    shutil.rmtree(f"{folder}/.cratetorrent", ignore_errors=True)
    arguments = [torrent(form), "--dir", folder, "--no-listen", "--recheck", *QUIET]
    return timed(program("download", *arguments))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port):
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)


def end(process, how=signal.SIGTERM):
    process.send_signal(how)
    process.wait()


def fetch(form, *arguments):
    folder = f"{PLACE}/target"
    shutil.rmtree(folder, ignore_errors=True)
    result = timed(program("download", torrent(form), "--dir", folder, *arguments, *QUIET))
    shutil.rmtree(folder)
    return result


def download():
    ports, seeds = {}, []
    for form in FORMATS:
        ports[form] = free_port()
        folder = f"{PLACE}/seed-{form}"
        os.makedirs(folder, exist_ok=True)
        os.link(data, f"{folder}/data")
        arguments = ["--dir", folder, "--seed", "--port", ports[form], *QUIET]
        seeds.append(program("download", torrent(form), *arguments))
        wait_for(ports[form])
    # Until it has checked.
    time.sleep(2 + 2 * size / (1 << 30))

    def way(form):
        return lambda: fetch(form, "--no-listen", "--peer", f"127.0.0.1:{ports[form]}")

    try:
        walls = turns(**{f"download {form}": way(form) for form in FORMATS})
    finally:
        for seed in seeds:
            end(seed)
    print(f"  v2 to v1: {walls['download v2'] / walls['download v1']:.2f}")


def curl(url):
    out = f"{PLACE}/curled"
    process = subprocess.Popen(["curl", "-s", "-o", out, url])
    result = timed(process)
    os.remove(out)
    return result


def web(limit=None):
    """A web seed, a peer, and both; with `limit`, each gives so many MiB/s and no more."""
    port, peer = free_port(), free_port()
    limit_rate = f"limit_rate {limit}m;\n" if limit else ""
    limit_up = ["--limit-up", f"{limit}M"] if limit else []
    temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    temp = "".join(f"{name}_temp_path {PLACE}/nginx/{name};\n" for name in temp)
    os.makedirs(f"{PLACE}/nginx", exist_ok=True)
    with open(f"{PLACE}/nginx/conf", "w", encoding="ascii") as conf:
        conf.write(
            f"daemon off; master_process off; pid {PLACE}/nginx/pid; error_log stderr;\n"
            f"events {{}} http {{ access_log off; sendfile on; {temp}\n"
            f"server {{ listen 127.0.0.1:{port};\n{limit_rate}root {os.path.dirname(data)}; }} }}\n"
        )
    nginx = subprocess.Popen(
        ["nginx", "-p", f"{PLACE}/nginx", "-e", "stderr", "-c", f"{PLACE}/nginx/conf"]
    )
    wait_for(port)
    folder = f"{PLACE}/seed-web"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.link(data, f"{folder}/data")
    arguments = ["--dir", folder, "--seed", "--port", peer, *limit_up, *QUIET]
    seed = program("download", torrent("v1"), *arguments)
    wait_for(peer)
    time.sleep(2 + 2 * size / (1 << 30))
    url = f"http://127.0.0.1:{port}/data"
    seeds, peers = ["--web-seed", url], ["--peer", f"127.0.0.1:{peer}"]
    ways = {} if limit else {"curl": lambda: curl(url)}
    try:
        walls = turns(**ways, **{
            "web seed": lambda: fetch("v1", "--no-listen", *seeds),
            "peer": lambda: fetch("v1", "--no-listen", *peers),
            "web seed and peer": lambda: fetch("v1", "--no-listen", *seeds, *peers),
        })
    finally:
        end(seed)
        end(nginx)
    best = min(walls["web seed"], walls["peer"])
    if not limit:
        print(f"  throughput to curl's: {walls['curl'] / walls['web seed']:.2f}")
    print(f"  both to the better of the two: {walls['web seed and peer'] / best:.2f}")


def pairs(what, ours, theirs):
    for form in FORMATS:
        walls = turns(**{
            f"{what} {form}, ours": lambda form=form: ours(form),
            f"{what} {form}, libtorrent": lambda form=form: in_child(lambda: theirs(form)),
        })
        mine, other = walls.values()
        print(f"  {what} {form}, ours to libtorrent's: {mine / other:.2f}")


shutil.rmtree(PLACE, ignore_errors=True)
os.makedirs(os.path.dirname(data))
try:
    with open(data, "wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    for form in FORMATS:
        timed(ours_makes(form, torrent(form)))
    if "make" in wanted:
        pairs("make", lambda form: timed(ours_makes(form)), theirs_makes)
    if "recheck" in wanted:
        pairs("recheck", ours_checks, theirs_checks)
    if "download" in wanted:
        download()
    if "web" in wanted:
        web()
    if "lines" in wanted:
        # Where the lines are what takes the time, and not the processors.
        web(200)
finally:
    shutil.rmtree(PLACE, ignore_errors=True)
