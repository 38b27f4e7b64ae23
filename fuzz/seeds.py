#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets' corpus.

They are small valid inputs, and some that broke other clients.
"""

import gzip
import hashlib
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"


def seed(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data)


def ben(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        return ben(value.encode())
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(ben, value)) + b"e"
    return b"d" + b"".join(ben(k) + ben(v) for k, v in value.items()) + b"e"


def in_order(dictionary):
    return dict(sorted(dictionary.items()))


def frame(body):
    return struct.pack(">I", len(body)) + body


def bencode():
    seed("bencode", "bep3", b"d3:cow3:moo4:spaml1:a1:bi-3eee")
    seed("bencode", "unsorted", b"d1:zi1e1:ade1:alee")
    seed("bencode", "deep", b"l" * 90 + b"e" * 90)
    seed("bencode", "too-deep", b"l" * 110)
    seed("bencode", "numbers", ben([2**63 - 1, -(2**63), 0, -1, 10]))
    seed("bencode", "prefix", b"d8:msg_typei1e5:piecei0eedata")
    seed("bencode", "claim", b"99999999999:x")


def messages():
    bodies = {
        "keep-alive": b"",
        "choke": b"\0",
        "have": struct.pack(">BI", 4, 7),
        "bitfield": b"\x05\xff\x80",
        "request": struct.pack(">BIII", 6, 1, 16384, 16384),
        "piece": struct.pack(">BII", 7, 1, 16384) + b"data",
        "cancel": struct.pack(">BIII", 8, 1, 16384, 16384),
        "port": struct.pack(">BH", 9, 6881),
        "suggest": struct.pack(">BI", 13, 7),
        "have-all": b"\x0e",
        "have-none": b"\x0f",
        "reject": struct.pack(">BIII", 16, 1, 16384, 16384),
        "allowed-fast": struct.pack(">BI", 17, 7),
        "extended": b"\x14\0de",
        "unknown": b"\xc8rest",
    }
    for name, body in bodies.items():
        seed("message_roundtrip", name, body)
        seed("message", name, b"\x02\x03\x02" + frame(body) + frame(b""))
    seed("message_roundtrip", "short-have", b"\x04\0")
    everything = b"".join(map(frame, bodies.values()))
    seed("message", "all", bytes([15] + [7] * 15) + everything)
    seed("message", "huge-claim", b"\x01\x04\xff\xff\xff\xff\x07")
    seed("message", "huge-have", b"\x01\x05\0\x03\x0d\x40\x04\0\0")


def handshakes():
    head = b"\x13BitTorrent protocol" + b"\0\0\0\0\0\x10\0\x05" + b"h" * 20
    seed("handshake", "whole", head + b"-CT0200-abcdefghijkl")
    seed("handshake", "head", head)
    seed("handshake", "http", b"GET / HTTP/1.1\r\n")
    seed("handshake", "more", head + b"-CT0200-abcdefghijkl" + frame(b"\x0e"))


def extensions():
    full = {
        "m": {"ut_metadata": 3, "ut_pex": 1},
        "metadata_size": 31235,
        "p": 6881,
        "reqq": 250,
        "upload_only": 1,
        "v": "client 1.0",
        "yourip": b"\x7f\0\0\1",
    }
    seed("extension", "full", ben(full))
    seed("extension", "empty", b"d1:mdee")
    seed(
        "extension",
        "out-of-range",
        ben({"m": {"a": 256, "b": -1, "c": 0}, "p": 65536, "reqq": -1, "yourip": b"x" * 16}),
    )


def metainfos():
    digest = b"a" * 20
    single = {"length": 5, "name": "n", "piece length": 16384, "pieces": digest}
    seed("metainfo", "single", ben({"announce": "http://t/", "info": single}))
    files = [
        {"length": 3, "path": ["a", "b"], "path.utf-8": ["a", "ä"]},
        {"attr": "p", "length": 16381, "path": [".pad", "16381"]},
        {"attr": "l", "path": ["link"], "symlink path": ["a"]},
        {"length": 0, "path": ["..", "empty"]},
        {"length": 1, "path": ["_____padding_file_0_"]},
    ]
    multi = {
        "files": files,
        "name": "n",
        "name.utf-8": "ñ",
        "piece length": 16384,
        "pieces": digest * 2,
        "private": 1,
    }
    root = {
        "announce-list": [["http://a/", "udp://b"], ["http://c/"]],
        "comment": "c",
        "created by": "x",
        "creation date": 1700000000,
        "info": multi,
        "url-list": ["http://w/"],
    }
    seed("metainfo", "multi", ben(root))
    v2 = {
        "file tree": {"n": {"": {"length": 5, "pieces root": b"r" * 32}}},
        "meta version": 2,
        "name": "n",
        "piece length": 16384,
    }
    seed("metainfo", "v2", ben({"info": v2}))
    seed("metainfo", "hybrid", ben({"info": in_order(v2 | single)}))
    rootless = {"n": {"": {"length": 5}}}
    seed("metainfo", "v2-rootless", ben({"info": v2 | {"file tree": rootless}}))
    layer = [bytes([n]) * 32 for n in (1, 2)]
    root = hashlib.sha256(b"".join(layer)).digest()
    tree = {
        "a": {"b": {"": {"length": 20000, "pieces root": root}}},
        "c": {"": {"length": 0}},
        "d": {"": {"length": 7, "pieces root": b"q" * 32}},
    }
    layers = {root: b"".join(layer)}
    seed("metainfo", "layers", ben({"info": v2 | {"file tree": tree}, "piece layers": layers}))
    pads = [
        {"length": 20000, "path": ["a", "b"]},
        {"attr": "p", "length": 12768, "path": [".pad", "12768"]},
        {"length": 0, "path": ["c"]},
        {"length": 7, "path": ["d"]},
        {"attr": "p", "length": 16377, "path": [".pad", "16377"]},
    ]
    both = {"file tree": tree, "files": pads, "pieces": digest * 3}
    hybrid = in_order(v2 | both)
    seed("metainfo", "padded", ben({"info": hybrid, "piece layers": layers}))
    wrong = {root: layer[1] + layer[0]}
    seed("metainfo", "layer-wrong", ben({"info": v2 | {"file tree": tree}, "piece layers": wrong}))
    seed("metainfo", "negative", ben({"info": single | {"length": -5}}))
    big = [{"length": 2**63 - 1, "path": ["a"]}] * 3
    seed(
        "metainfo",
        "overflow",
        ben({"info": {"files": big, "name": "n", "piece length": 1, "pieces": digest}}),
    )


def magnets():
    v1, v2 = "c9e15763f722f23e98a29decdfae341b98d53056", "1220" + "ab" * 32
    head = f"magnet:?xt=urn:btih:{v1}"
    links = {
        "hex": head,
        "base32": "magnet:?xt=urn:btih:ZHQVOY7XELZD5GFCTXWN7LRUDOMNKMCW",
        "hybrid": f"{head}&xt=urn:btmh:{v2}",
        "full": f"{head}&dn=a+%C3%A9&xl=5&tr.1=udp%3A%2F%2Ft%3A1&ws=http://w/&x.pe=192.0.2.7:1"
        "&x.pe=[2001:db8::1]:2&dht=r.example:1&so=0,2-4",
        "range-bomb": f"{head}&so=0-4294967295",
        "escapes": f" MAGNET:?XT=URN%3abtih%3A{v1}&dn=%&dn=%zz%f&tr=%ff&&=&so=,\n",
        "names": f"{head}&x.pe=localhost:1&x.pe=0.0.0.0:1&dht=127.1:1",
        "conflict": f"{head}&xt.2=urn:btih:{'0' * 40}",
        "no-hash": "magnet:?xt=urn:sha1:YNCKHTQCWBTRNJIV4WNAE52SJUQCZO5C",
        "short": "magnet:?xt=urn:btih:00",
        "multihash": "magnet:?xt=urn:btmh:1114" + "a" * 64,
        "selection": f"{head}&so=5-4",
    }
    for name, link in links.items():
        seed("magnet", name, link.encode())


def exchanges():
    request = {"msg_type": 0, "piece": 0}
    data = ben({"msg_type": 1, "piece": 1, "total_size": 16384 + 9}) + b"datadata!"
    metadata = {
        "request": ben(request),
        "data": data,
        "reject": ben(request | {"msg_type": 2}),
        "later-version": ben({"msg_type": 3, "new": [1, 2]}),
        "short-data": data[:-1],
        "no-type": ben({"piece": 0}),
        "huge-claim": ben({"msg_type": 1, "piece": 0, "total_size": 2**32 - 1}) + b"data",
    }
    for name, message in metadata.items():
        seed("ut_metadata", name, message)

    v4, v6 = b"\xc0\0\x02\x09\x1a\xe1", b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x05\0\x50"
    full = {
        "added": v4 * 2,
        "added.f": b"\x12\0",
        "added6": v6,
        "added6.f": b"\x01",
        "dropped": v4,
        "dropped6": v6,
    }
    pex = {
        "full": ben(full),
        "empty": b"d5:added0:e",
        "flags": ben({"added": v4, "added.f": b"\x01\x02\x03"}),
        "unusable": ben({"added": b"\0" * 12 + b"\xe0\0\0\1\0\1", "dropped": b"x" * 5}),
        "mapped": ben({"added6": b"\0" * 10 + b"\xff\xff" + v4}),
        "list": b"le",
    }
    for name, message in pex.items():
        seed("ut_pex", name, message)

    punches = {
        "rendezvous": b"\0\0" + v4 + b"\0" * 4,
        "connect": b"\1\1" + v6 + b"\0" * 4,
        "error": b"\2\0" + v4 + b"\0\0\0\2",
        "no-code": b"\1\0" + v4,
        "short": b"\2\0" + v4,
        "family": b"\0\2" + v4,
    }
    for name, message in punches.items():
        seed("ut_holepunch", name, message)

    head = b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\n"
    infohash = b"Infohash: " + b"ab" * 20 + b"\r\n"
    packets = {
        "one": head + b"Port: 6881\r\n" + infohash + b"cookie: 1a2b\r\n\r\n\r\n",
        "many": head + b"port: 1\n" + infohash.lower() + b"INFOHASH:" + b"CD" * 20 + b"\nX: y\n\n",
        "no-port": head + infohash + b"\r\n\r\n",
        "no-hash": head + b"Port: 6881\r\n\r\n\r\n" + infohash,
        "ssdp": b"M-SEARCH * HTTP/1.1\r\n\r\n",
    }
    for name, packet in packets.items():
        seed("lsd", name, packet)


def fetches():
    def ops(*steps):
        return b"".join(bytes(step) for step in steps)

    offer, gone, truth, lie, reject, wait = range(6)
    true, other = 6, 4
    honest = [(truth, 0, 0, 1)] * 3
    runs = {
        "honest": ops((offer, 0, true, 3), *honest),
        "other-size": ops(
            (offer, 1, other, 3), (offer, 0, true, 3), *[(lie, 1, 0, 3)] * 4, *honest
        ),
        "liar": ops(
            (offer, 1, true, 2),
            (offer, 0, true, 3),
            *[(lie, 1, 0, 3), (truth, 0, 0, 3)] * 6,
            *honest,
        ),
        "rejects": ops((offer, 0, true, 3), (reject, 0, 0, 0), (wait, 0, 255, 3), *honest),
        "silent": ops(
            (offer, 2, true, 3), (wait, 0, 100, 0), (offer, 0, true, 3), *honest, (gone, 2, 0, 0)
        ),
        "unasked": ops((6, 0, 0, 5), (offer, 0, 1, 0), (6, 0, 0, 5)),
    }
    for name, run in runs.items():
        seed("metadata_fetch", name, run)


def hashes():
    def step(op, peer=0, a=0, b=0, c=0, d=0, e=0, f=0):
        return bytes([op, peer, a, b, c, d, e, f])

    # Layer 1 (pieces) in chunks of 8, each asked and answered rightly, and then wrongly.
    want = b"".join(step(0, 0, 1, 8 * n, 3 + 10 * (n and 1)) for n in range(5))
    asks = step(1, 0) + step(1, 1) + step(3) * 4
    seed("hashes", "right", want + asks + step(5) * 4 + step(3) * 4 + step(5) * 4)
    wrong = b"".join(step(5, 0, 0, 0, 9, 7, how, 3) for how in (1, 2, 3))
    seed("hashes", "wrong", want + asks + wrong + asks + step(5) * 9)
    late = step(4, 0, 0, 0, 0, 0, 30) + asks + step(2, 0) + asks
    seed("hashes", "late", want + asks + late + step(5) * 9)
    leaves = b"".join(step(0, 0, 0, 2 * n, 1) for n in range(40))
    seed("hashes", "leaves", leaves + (asks + step(5) * 4) * 10)


def resumes():
    stat = struct.pack(">Qq", 5, 1700000000000000000)
    state = {
        "dirty": 1,
        "downloaded": 5,
        "files": stat + b"\xff" * 16,
        "have": b"\xa0\x80",
        "info-hash": b"\x07" * 20,
        "uploaded": 0,
        "version": 1,
    }
    # The first three bytes are the target's: pieces less one, files, and the info-hash's byte. It
    # adds the checksum.
    seed("resume", "valid", b"\x08\x02\x07" + ben(state))
    seed("resume", "both-versions", b"\x08\x02\x07" + ben({"both-versions": 1} | state))
    seed("resume", "version", b"\x08\x02\x07" + ben(state | {"version": 2}))
    seed("resume", "spare", b"\x08\x02\x07" + ben(state | {"have": b"\xff\xff"}))


def blocklists():
    lines = {
        "dat": b"001.009.096.105 - 001.009.096.110 , 000 , one\r\n"
        b"2.0.0.0 - 2.0.0.9 , 200 , allowed\r\n",
        "p2p": b"# comment\na: b-c:1.2.3.4-1.2.3.5\nsix:2001:db8::1-2001:db8::2\n"
        b"latin \xe9:9.0.0.0-9.0.0.1\n",
        "cidr": b"\xef\xbb\xbf1.2.3.0/24 ; one\n2001:db8::/32\n::/0\n0.0.0.0/0\n"
        b"255.255.255.255/32\n",
        "plain": b"1.2.3.4\n::ffff:1.2.3.4 // mapped\n1.2.3.4-1.2.3.5\n"
        b"::ffff:1.2.3.4 - ::1:0:0:0\n",
        "bad-lines": b"1.2.3.4\n1.2.3\n1.2.3.5-1.2.3.4\n1.2.3.4/33\n1.2.3.4-::1\n"
        b"1.2.3.4 - 1.2.3.5 , x\n" + b"y" * 300,
        "html": b"<html>\n",
        "gzip": b"\x1f\x8b\x08\0",
    }
    for name, data in lines.items():
        seed("blocklist", name, data)
    magic = b"\xff\xff\xff\xffP2B"
    entry = struct.pack(">II", 0x01000000, 0x01000009)
    seed("blocklist", "p2b-v1", magic + b"\x01caf\xe9\0" + entry + b"\0" + entry)
    seed("blocklist", "p2b-v2", magic + b"\x02\0" + entry + b"inverted\0" + entry[4:] + entry[:4])
    seed(
        "blocklist",
        "p2b-v3",
        magic + b"\x03" + struct.pack(">I", 1) + b"a\0" + struct.pack(">II", 1, 0) + entry,
    )
    seed("blocklist", "p2b-claim", magic + b"\x03\xff\xff\xff\xffa\0")
    seed("blocklist", "p2b-v4", magic + b"\x04")


def trackers():
    urls = {
        "http": b"http://tracker.example/announce?passkey=1",
        "credentials": b"https://us%40er:p%3aw@T.Example.:8443/x/announce.php#f\n//other/x?y",
        "udp": b"udp://[2001:db8::1]:6969\n",
        "redirects": b"http://me:pw@192.0.2.1/a/b/announce\n../../x/./y",
        "absolute": b"http://t/announce\nHTTPS://u:1/x?y",
    }
    for name, data in urls.items():
        seed("tracker_url", name, data)
    refused = {
        "idna": b"http://xn--fiq228c.example/",
        "number": b"http://2130706433/",
        "no-port": b"udp://t/",
        "split": b"http://t/\r\nX: y",
        "two-users": b"http://a@b@c/",
    }
    for name, data in refused.items():
        seed("tracker_url", name, data)

    reply = ben(
        {
            "complete": 5,
            "external ip": b"\xcb\0\x71\x09",
            "incomplete": 6,
            "interval": 1800,
            "peers": b"\xc0\0\x02\x09\x1a\xe1" * 30,
            "peers6": b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x05\0\x50",
            "tracker id": "x",
            "warning message": "w",
        }
    )
    dicts = ben(
        {"interval": 5, "peers": [{"ip": "192.0.2.9", "port": 80}, {"ip": "t.example", "port": 80}]}
    )
    refusal = ben({"failure reason": "no", "retry in": "never"})
    scrape = ben({"files": {"a" * 20: {"complete": 5, "downloaded": 50, "incomplete": 10}}})
    ok = b"HTTP/1.1 200 OK\r\n"
    length = b"Content-Length: %d\r\n\r\n%s"
    chunks = (
        b"".join(b"%x;e=1\r\n%s\r\n" % (len(part), part) for part in (reply[:9], reply[9:]))
        + b"0\r\nT: x\r\n\r\n"
    )
    streams = {
        "length": (0, ok + length % (len(reply), reply)),
        "end": (0, b"HTTP/1.0 200 OK\n\n" + dicts),
        "chunked": (0, ok + b"Transfer-Encoding: chunked\r\n\r\n" + chunks),
        "gzip": (
            8,
            ok
            + b"Content-Encoding: gzip\r\n"
            + length % (len(packed := gzip.compress(reply, mtime=0)), packed),
        ),
        "bomb": (
            0,
            ok + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 100_000, mtime=0),
        ),
        "early": (0, b"HTTP/1.1 103 Hints\r\n\r\n" + ok + length % (len(refusal), refusal)),
        "status": (0, b"HTTP/1.1 404 Not Found\r\n" + length % (2, b"no")),
        "scrape": (1, ok + length % (len(scrape), scrape)),
        "claim": (0, ok + b"Content-Length: 99999999999\r\n\r\n"),
        "html": (0, b"<html>\r\n"),
    }
    for name, (flags, data) in streams.items():
        seed("tracker_http", name, bytes([flags]) + data)
    for name, location in {
        "relative": b"x",
        "name": b"http://inner.example/announce",
        "near": b"http://127.0.0.1/announce",
    }.items():
        moved = b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n"
        moved += b"X: " + b"y" * (-(len(moved) + 7) % 16) + b"\r\n\r\n"
        data = moved + ok + length % (len(reply), reply)
        seed("tracker_http", f"redirect-{name}", bytes([2, len(moved) // 16]) + data)

    status = b"HTTP/1.1 %s\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    packed_body = b"Content-Encoding: gzip\r\n\r\n"
    part = status % b"206 Part" + b"Content-Range: bytes %s\r\nContent-Length: %d\r\n\r\n"
    for name, (flags, data) in {
        "length": (0, ok + length % (5, b"hello") + status % b"404 No" + b"\r\n"),
        "range": (1, part % (b"5-9/100", 5) + b"hello"),
        "range-other": (1, part % (b"0-9/*", 10) + b"hellohello"),
        "range-whole": (1, ok + b"Connection: keep-alive, x\r\n" + length % (5, b"hello")),
        "chunked": (0, ok + chunked + b"3\r\nhel\r\n2;x\r\nlo\r\n0\r\nT: x\r\n\r\nmore"),
        "end": (0, b"HTTP/1.0 200 OK\r\n\r\nhello"),
        "gzip": (0, ok + packed_body + gzip.compress(reply * 9, mtime=0)),
        "bomb": (0, ok + packed_body + gzip.compress(bytes(5000), mtime=0)),
        "redirect": (0, status % b"302 Moved" + b"Location: http://x/\r\n\r\n"),
        "continue": (0, status % b"100 Continue" + b"\r\n" + status % b"204 None" + b"\r\n"),
    }.items():
        seed("http_exchange", name, bytes([flags]) + data)

    def ranged(first, last, body):
        part = b"HTTP/1.1 206 Part\r\nContent-Range: bytes %d-%d/100\r\n" % (first, last)
        return part + b"Content-Length: %d\r\n\r\n" % len(body) + body

    for name, data in {
        "range": ranged(5, 9, b"hello"),
        "more": ranged(5, 9, b"hello") + b"more",
        "other": ranged(0, 4, b"hello"),
        "short": ranged(5, 9, b"hello")[:-2],
        "chunked": b"HTTP/1.1 206 Part\r\nContent-Range: bytes 5-9/*\r\n" + chunked
        + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "busy": status % b"503 Busy" + b"Retry-After: 9\r\nContent-Length: 0\r\n\r\n",
        "redirect": status % b"302 Found" + b"Location: ../b c\r\n\r\n" + ranged(5, 9, b"hello"),
        "address": b"http://me:pw@host/a b/\xc3\xa9?x=1",
    }.items():
        seed("web_seed", name, bytes([5, 5]) + data)

    def datagrams(*replies):
        return b"".join(bytes([0x80 | len(r)]) + r for r in replies)

    connect = struct.pack(">IIQ", 0, 0, 0x1122334455667788)
    announce = struct.pack(">IIIII", 1, 0, 1800, 2, 3)
    error = struct.pack(">II", 3, 0) + b"Connection ID mismatch"
    seed("tracker_udp", "v4", b"\0" + datagrams(connect, announce + b"\xc0\0\x02\x09\x1a\xe1" * 3))
    seed(
        "tracker_udp",
        "v6",
        b"\x02" + datagrams(connect, announce + b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x05\0\x50"),
    )
    seed(
        "tracker_udp",
        "scrape",
        b"\x01" + datagrams(connect, struct.pack(">IIIIIIII", 2, 0, 1, 2, 3, 4, 5, 6)),
    )
    seed("tracker_udp", "error", b"\0" + datagrams(connect, error))
    seed("tracker_udp", "short", b"\0" + datagrams(connect, announce[:19]))
    seed("tracker_udp", "forged", b"\0" + bytes([len(connect)]) + connect + datagrams(announce))


def krpc():
    me, other = b"abcdefghij0123456789", b"mnopqrstuvwxyz123456"
    node = other + b"\xc0\0\x02\1\x1a\xe1"
    node6 = other + b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\1\x1a\xe1"

    def query(name, args, **more):
        return ben(
            {
                "a": dict(sorted({"id": me, **args}.items())),
                "q": name,
                **more,
                "t": "aa",
                "v": b"CT\0\2",
                "y": "q",
            }
        )

    def response(args):
        return ben(
            {"ip": node[20:], "r": dict(sorted({"id": me, **args}.items())), "t": "aa", "y": "r"}
        )

    announce = {"implied_port": 1, "info_hash": other, "port": 6881, "seed": 1, "token": "aoeusnth"}
    mutable = {
        "cas": 1,
        "k": b"k" * 32,
        "salt": "foobar",
        "seq": 4,
        "sig": b"s" * 64,
        "token": "t",
        "v": "Hello World!",
    }
    packets = {
        "ping": query("ping", {}),
        "read-only": query("ping", {}, ro=1),
        "find-node": query("find_node", {"target": other, "want": ["n4", "n6", "n8"]}),
        "get-peers": query("get_peers", {"info_hash": other, "noseed": 1, "scrape": 1}),
        "announce": query("announce_peer", announce),
        "put": query("put", {"token": "t", "v": {"a": [1, "b"]}}),
        "put-mutable": query("put", mutable),
        "get": query("get", {"seq": 3, "target": other}),
        "sample": query("sample_infohashes", {"target": other}),
        "unknown": query("vote", {"info_hash": other}),
        "pong": response({}),
        "nodes": response({"nodes": node * 8, "nodes6": node6 * 8, "token": "t"}),
        "values": response({"token": "t", "values": [node[20:], node6[20:], b"odd"]}),
        "scrape": response({"BFpe": b"\xff" * 256, "BFsd": b"\1" * 256}),
        "item": response({"k": b"k" * 32, "seq": 4, "sig": b"s" * 64, "v": ["x"]}),
        "samples": response({"interval": 99999, "num": 3, "samples": other * 3}),
        "error": ben({"e": [201, "A Generic Error Ocurred"], "t": "aa", "y": "e"}),
    }
    refused = {
        "no-type": ben({"a": {"id": me}, "q": "ping", "t": "aa"}),
        "unsorted": b"d1:ad2:id20:" + me + b"5:token1:x1:vd1:bi1e1:ai1eee1:q3:put1:t2:aa1:y1:qe",
        "claim": b"d1:rd2:id20:" + me + b"5:nodes99999999:x",
        "port": query("announce_peer", announce | {"implied_port": 0, "port": 65536}),
        "deep": b"d1:x" + b"l" * 200 + b"e" * 200 + b"1:t2:aa1:y1:qe",
    }
    for name, data in (packets | refused).items():
        seed("krpc", name, data)


def dht_nodes():
    def step(what, n=0, body=b""):
        return bytes([what, n, len(body)]) + body

    ids = bytes(range(20))
    met = b"".join(
        step(5, n) + step(3, 1, b"x") + step(1, n, bytes([n] * 20)) for n in range(1, 40)
    )
    ping = ben({"a": {"id": ids}, "q": "ping", "t": "aa", "y": "q"})
    get = ben({"a": {"id": ids, "info_hash": ids}, "q": "get_peers", "t": "aa", "y": "q"})
    seed("dht_node", "asked", step(0, 3, ping) + step(0, 200, get) + step(3, 255, b"x" * 255))
    answered = b"".join(step(1, 7, bytes([n] * 20) + ids) for n in range(30))
    seed("dht_node", "lookup", met + step(6, 0, ids) + answered + step(3, 255, b"x" * 255) * 9)
    seed("dht_node", "announce", met + step(7, 100, ids) + answered + step(3, 255, b"x" * 255) * 9)
    seed(
        "dht_node",
        "values",
        met + step(8, 0, ids) + step(9, 5) + step(11, 1) + step(11, 3) + answered,
    )
    seed(
        "dht_node",
        "bootstrap",
        step(10, 5) + step(1, 8, ids) + step(11, 0) + step(4, 255, b"x" * 255) * 99,
    )


def sessions():
    def stretch(how, body):
        return struct.pack(">BH", how, len(body)) + body

    info = {"length": 5, "name": "n", "piece length": 16384, "pieces": b"a" * 20}
    torrent = stretch(0, ben({"info": info}))
    full = {
        "dir": "d",
        "labels": ["a"],
        "limits": {"down": 1},
        "paused": 1,
        "peers": ["1.2.3.4:5"],
        "priorities": b"\0\3",
        "renames": [[0, "x"]],
        "stop": {"ratio": 100, "seeding": 5},
        "trackers": [["http://a"], []],
        "trust": 1,
    }
    settings = stretch(8 + 1, ben(full))
    state = {
        "dirty": 0,
        "downloaded": 5,
        "files": b"\xff" * 16,
        "have": b"\x80",
        "info-hash": hashlib.sha1(ben(info)).digest(),
        "uploaded": 0,
        "version": 1,
    }
    state = stretch(8 + 2, ben(state))
    seed(
        "session_state",
        "whole",
        torrent + settings + state + stretch(4, ben({"limits": {"up": 7}})),
    )
    seed("session_state", "dht", stretch(5, b"nodes") + torrent + stretch(5, b"other nodes"))
    seed("session_state", "removed", torrent + state + stretch(8 + 3, b"") + torrent)
    seed(
        "session_state",
        "damaged",
        torrent + stretch(7, b"\xc7R\x0e\x9d" * 9) + settings + stretch(7, b"\xc7R\x0e\x9d\1"),
    )
    seed(
        "session_state",
        "claim",
        stretch(7, b"\xc7R\x0e\x9d\1\0\0\0\3\xff\xff\xff" + b"x" * 99) + torrent,
    )


def encrypted_handshakes():
    """Setups, and what becomes of what is said: see fuzz/src/mse.rs."""
    whole = bytes([4, 0, 0, 255])
    for name, data in {
        "plaintext": bytes([0, 14, 0, 0, 0, 0, 0, 0]),
        "rc4": bytes([0b11, 14, 170, 170, 170, 170, 0, 0]),
        "nothing-in-common": bytes([0b1101, 0, 1, 2, 3, 4, 0, 0]),
        "byte-by-byte": bytes([2, 1, 1, 1, 1, 1, 0, 0]) + bytes([4, 0, 0, 1]) * 8,
        "key-changed": bytes([0] * 8) + bytes([0, 1, 9, 50]),
        "hash-changed": bytes([0] * 8) + whole * 2 + bytes([0, 1, 9, 50]),
        "padding-without-end": bytes([0] * 8) + whole * 2 + bytes([3, 0, 7, 255]) * 4,
        "cut": bytes([0, 9, 20, 20, 20, 20, 0, 0]) + whole * 2 + bytes([2, 20, 0, 9]),
    }.items():
        seed("mse", name, data)


def proxies():
    """A setup, three cuts, and what the proxy says: see fuzz/src/proxy.rs."""
    reply = b"\5\0\0\1\1\2\3\4\0\x09"
    for name, setup, heard in (
        ("socks", 0, b"\5\0" + reply + b"behind"),
        ("socks-password", 1, b"\5\2\1\0" + reply),
        ("socks-name", 1, b"\5\0\5\0\0\3\5proxy\4\x38"),
        ("socks-v6", 0, b"\5\0\5\0\0\4" + bytes(16) + b"\4\x38"),
        ("socks-refused", 0, b"\5\0\5\5\0\1" + bytes(6)),
        ("socks-no-method", 0, b"\5\xff"),
        ("relay", 4, b"\5\0" + reply),
        ("relay-refused", 4, b"\5\0\5\7\0\1" + bytes(6)),
        ("datagram", 0, b"\0\0\0\1\1\2\3\4\0\x09data"),
        ("datagram-name", 0, b"\0\0\0\3\4name\0\x09data"),
        ("fragment", 0, b"\0\0\1\1\1\2\3\4\0\x09data"),
        ("connect", 2, b"HTTP/1.1 200 Connection established\r\nA: b\r\n\r\nbehind"),
        ("connect-continue", 3, b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.0 200\r\n\r\n"),
        ("connect-refused", 2, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!"),
        ("connect-password", 3, b"HTTP/1.1 407 No\r\n\r\n"),
        ("connect-endless", 2, b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1500),
    ):
        seed("proxy", name, bytes([setup, 1, 7, 11]) + heard)


def port_mappings():
    """Steps of a router: see fuzz/src/port_mapping.rs."""

    def step(kind, body=b"", number=None):
        return struct.pack(">BH", kind, len(body) if number is None else number) + body

    refused = step(2, bytes([0, 128, 0, 1, 0, 0, 0, 0]))
    address = step(2, bytes([0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 7]))
    tcp, udp = (
        step(2, bytes([0, op, 0, 0, 0, 0, 0, 9, 0x1A, 0xE1, 0x1A, 0xE2, 0, 0, 14, 16]))
        for op in (130, 129)
    )
    wait, stop = step(0, number=5000), step(1, number=0)
    seed("port_mapping", "nat-pmp", refused + address + tcp + udp + wait + stop)
    seed("port_mapping", "nat-pmp-refused", refused + step(2, bytes([0, 130, 0, 2, 0, 0, 0, 9])))
    pcp = b"\2\x81\0\0\0\0\x0e\x10\0\0\0\7" + bytes(12) + b"n" * 12 + b"\6\0\0\0"
    pcp += b"\x1a\xe1\x1a\xe1" + bytes(10) + b"\xff\xff\xcb\0q\7"
    seed("port_mapping", "pcp", step(2, pcp) + stop)
    seed("port_mapping", "pcp-alone", pcp)

    igd = b"urn:schemas-upnp-org:device:InternetGatewayDevice:1"
    kind = b"urn:schemas-upnp-org:service:WANIPConnection:1"

    def found(place):
        return step(4, b"HTTP/1.1 200 OK\r\nST: " + igd + b"\r\nLOCATION: " + place + b"\r\n\r\n")

    def answer(body, status=b"200 OK"):
        return step(5, b"HTTP/1.1 " + status + b"\r\n\r\n" + body)

    def description(control):
        return answer(
            b"<root><service><serviceType>" + kind + b"</serviceType><controlURL>" + control
            + b"</controlURL></service></root>"
        )

    here = found(b"http://192.168.1.1:5000/d.xml")
    outer = answer(b"<NewExternalIPAddress>203.0.113.7</NewExternalIPAddress>")
    fine, conflict = answer(b"<x/>"), answer(b"<errorCode>718</errorCode>", b"500 X")
    begun = here + description(b"/ctl") + outer
    seed("port_mapping", "upnp", begun + fine + fine + stop + fine + fine)
    seed("port_mapping", "upnp-conflict", begun + fine + conflict + fine + fine + fine + stop)
    seed("port_mapping", "upnp-permanent", begun + answer(b"<errorCode>725</errorCode>") + fine)
    seed("port_mapping", "upnp-elsewhere", found(b"http://127.0.0.1/d.xml"))
    seed("port_mapping", "upnp-called-elsewhere", here + description(b"http://10.0.0.1/ctl"))
    seed("port_mapping", "xml-bomb", here + answer(b"<a>" * 3000))


def utp():
    def packet(first, extension, rest=b"", seq=7, ack=6):
        head = struct.pack(">BBHIIIHH", first, extension, 500, 99, 88, 1 << 20, seq, ack)
        return head + rest

    packets = {
        "data": packet(0x01, 0, b"hello"),
        "fin": packet(0x11, 3, b"\0\4\0\0\0\7"),
        "state": packet(0x21, 1, b"\0\4\5\0\0\x80"),
        "reset": packet(0x31, 0),
        "syn": packet(0x41, 2, b"\0\x08" + b"\0" * 8),
        "chain": packet(0x21, 9, b"\1\1x\3\4\1\2\3\4\0\4\0\0\1\2"),
        "short": packet(0x01, 0)[:19],
        "type": packet(0x51, 0),
        "version": packet(0x02, 0),
        "odd-sack": packet(0x21, 1, b"\0\3\1\2\3x"),
        "extension": packet(0x21, 1, b"\0\xff\1\2\3"),
    }
    for name, data in packets.items():
        seed("utp", name, data)

    def step(what, n=0, body=b""):
        return bytes([what, n, len(body)]) + body

    drained = step(9, 2) + step(9, 3)
    both = step(0, 1) + step(0, 0) + drained
    made = step(7, 0) + both * 3
    written = step(8, 40, b"x" * 200)
    wait = step(6, 10, b"x" * 100)
    seed("utp_stream", "stream", made + (written + both * 20) * 5)
    seed("utp_stream", "lossy", made + (written + step(2, 7) + both * 9 + wait) * 9)
    seed("utp_stream", "mixed", made + (written + step(3, 5) + step(1, 9) * 5 + both) * 9 + wait)
    seed("utp_stream", "closed", made + written + both * 9 + step(9, 0, b"x") + both * 9 + wait * 9)
    forged = packet(0x21, 0, seq=1, ack=9)
    spoilt = step(5, 0, forged) * 5 + step(4, 0, forged)
    seed("utp_stream", "forged", made + written + spoilt + both)
    flood = b"".join(step(5, 6 * n, packet(0x41, 0, seq=n)) for n in range(40))
    seed("utp_stream", "flood", flood + both + wait * 5)


for write in (
    encrypted_handshakes,
    bencode,
    messages,
    handshakes,
    extensions,
    metainfos,
    magnets,
    exchanges,
    fetches,
    hashes,
    resumes,
    blocklists,
    trackers,
    krpc,
    dht_nodes,
    sessions,
    utp,
    proxies,
    port_mappings,
):
    write()
