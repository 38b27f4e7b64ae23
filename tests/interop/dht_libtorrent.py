#!/usr/bin/env python3
"""libtorrent DHT nodes on loopback addresses, for the interop tests: dht_libtorrent.py COUNT

Prints its nodes, then does what each line on stdin says and prints what comes of it.
"""

import binascii
import sys
import threading
import time

import libtorrent as lt

COUNT = int(sys.argv[1])


def session(n):
    return lt.session(
        {
            "alert_mask": lt.alert.category_t.all_categories,
            "allow_multiple_connections_per_ip": True,
            "dht_block_ratelimit": 1_000_000,
            "dht_bootstrap_nodes": "",
            "dht_ignore_dark_internet": False,
            "dht_restrict_routing_ips": False,
            "dht_restrict_search_ips": False,
            "dht_upload_rate_limit": 1_000_000,
            "enable_dht": True,
            "enable_lsd": False,
            "enable_natpmp": False,
            "enable_upnp": False,
            "listen_interfaces": f"127.0.2.{n + 1}:0,[::1]:0",
        }
    )


def say(*words):
    print(*words, flush=True)


sessions = [session(n) for n in range(COUNT)]


def watch():
    """Prints what the sessions tell."""
    while True:
        time.sleep(0.05)
        for n, ses in enumerate(sessions):
            for alert in ses.pop_alerts():
                kind = type(alert).__name__
                if kind == "listen_succeeded_alert" and str(alert.socket_type).endswith("udp"):
                    say("node", n, alert.address, alert.port)
                elif kind == "dht_get_peers_reply_alert":
                    for ip, port in alert.peers():
                        say("peer", n, alert.info_hash, ip, port)
                elif kind == "dht_immutable_item_alert":
                    say("immutable", n, alert.target, alert.item)
                elif kind == "dht_mutable_item_alert":
                    say("mutable", n, alert.seq, alert.item)


threading.Thread(target=watch, daemon=True).start()
for line in sys.stdin:
    what, *words = line.split()
    if what == "know":
        for ses in sessions:
            ses.add_dht_node((words[0], int(words[1])))
    elif what == "announce":
        sessions[int(words[0])].dht_announce(
            lt.sha1_hash(binascii.unhexlify(words[1])), int(words[2]), 0
        )
    elif what == "find":
        for ses in sessions:
            ses.dht_get_peers(lt.sha1_hash(binascii.unhexlify(words[0])))
    elif what == "put":
        say("put", sessions[0].dht_put_immutable_item(words[0]))
    elif what == "get":
        sessions[1].dht_get_immutable_item(lt.sha1_hash(binascii.unhexlify(words[0])))
    elif what == "put-mutable":
        private, public = (binascii.unhexlify(word) for word in words[:2])
        sessions[2].dht_put_mutable_item(private, public, words[2].encode(), words[3].encode())
    elif what == "get-mutable":
        sessions[3].dht_get_mutable_item(binascii.unhexlify(words[0]), words[1].encode())
