"""A tracker (BEP 3, 23): names all peers that announced, and the PEERs from the start.

tracker.py HOST PORT [HOST:PORT]...
"""

import http.server
import ipaddress
import sys
import threading
import urllib.parse

host, port, *named = sys.argv[1:]
peers = {(h, int(p)) for h, p in (peer.split(":") for peer in named)}
lock = threading.Lock()


class Tracker(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, encoding="latin-1"))
        if url.path != "/announce" or len(query.get("info_hash", "")) != 20 or "port" not in query:
            self.send_error(400)
            return
        asking = (self.client_address[0], int(query["port"]))
        with lock:
            others = sorted(peers - {asking})
            if query.get("event") == "stopped":
                peers.discard(asking)
            else:
                peers.add(asking)
        compact = b"".join(ipaddress.ip_address(h).packed + p.to_bytes(2, "big") for h, p in others)
        body = b"d8:intervali30e5:peers%d:%se" % (len(compact), compact)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer((host, int(port)), Tracker)
print("tracking", flush=True)
server.serve_forever()
