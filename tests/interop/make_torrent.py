"""Makes a torrent of what is at PATH: make_torrent.py PATH OUT v1|v2|hybrid PIECE_LENGTH

Prints the v1 info-hash and the v2 info-hash, or "-" for one that there is not.
"""

import os
import sys

import libtorrent

path, out, form, piece_length = sys.argv[1:5]
flags = {
    "v1": libtorrent.create_torrent.v1_only,
    "v2": libtorrent.create_torrent.v2_only,
    "hybrid": 0,
}[form]
storage = libtorrent.file_storage()
libtorrent.add_files(storage, path)
torrent = libtorrent.create_torrent(storage, int(piece_length), flags)
libtorrent.set_piece_hashes(torrent, os.path.dirname(os.path.abspath(path)))
with open(out, "wb") as file:
    file.write(libtorrent.bencode(torrent.generate()))
hashes = libtorrent.torrent_info(out).info_hashes()
print(hashes.v1 if hashes.has_v1() else "-", hashes.v2 if hashes.has_v2() else "-")
