//! Version 2 and hybrids (BEP 52) with other clients: torrents that libtorrent makes are those that
//! ours makes; both fetch them from each other, by file and by magnet link, which needs piece
//! layers from the peer; and clients of version 1 take part in a hybrid.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use crate::{
    LIMIT,
    clients::{self, Client, Role},
    places,
    support::{
        clock,
        download::{self, Bench},
        ports,
        system::skip,
        torrent::{Recipe, Torrent},
    },
};

/// Files that end in all the ways that matter: no bytes, one, a block, a piece, a byte more; two
/// that are equal; and enough pieces for two messages of hashes.
fn recipe(piece_len: usize) -> Recipe {
    Recipe::folder("version 2", piece_len)
        .file("a/empty", 0)
        .file("a/one", 1)
        .file("block", 16_384)
        .file("long.bin", 9_000_001)
        .file("piece", piece_len)
        .file("piece and byte", piece_len + 1)
        .file("z/last.bin", 200_000)
}

/// What ours makes of the torrent's files, which are in `folder`: the file, and its hashes.
fn create(folder: &Path, torrent: &Torrent, format: &str) -> (Vec<u8>, [Option<String>; 2]) {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("created.torrent");
    let mut command = Command::new(download::example("create"));
    command.arg(folder.join(&torrent.name)).args(["--json", "--format", format, "--no-date"]);
    command.args(["--piece-length", &torrent.piece_len.to_string(), "--out"]).arg(&path);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // How far it was comes before, a line each.
    let lines = String::from_utf8(output.stdout).unwrap();
    let said: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let hash = |key| said[key].as_str().map(str::to_owned);
    (fs::read(path).unwrap(), [hash("info_hash"), hash("info_hash_v2")])
}

/// The same as libtorrent makes it.
fn create_theirs(folder: &Path, torrent: &Torrent, format: &str) -> (Vec<u8>, [Option<String>; 2]) {
    let manifest = env!("CARGO_MANIFEST_DIR");
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("theirs.torrent");
    let mut command = Command::new(format!("{manifest}/target/interop/venv/bin/python"));
    command.arg(format!("{manifest}/tests/interop/make_torrent.py"));
    command.arg(folder.join(&torrent.name)).arg(&path).arg(format);
    let output = command.arg(torrent.piece_len.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let mut hashes = said.split_whitespace().map(|word| Some(word.to_owned()).filter(|w| w != "-"));
    let hashes = std::array::from_fn(|_| hashes.next().unwrap());
    (fs::read(path).unwrap(), hashes)
}

/// Makes it what the `.torrent` file is of: the 20 bytes that peers know it by.
fn rename(torrent: &mut Torrent, metainfo: Vec<u8>, hashes: &[Option<String>; 2]) {
    let hash = hashes[0].as_ref().or(hashes[1].as_ref()).unwrap();
    for (nth, byte) in torrent.info_hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hash[2 * nth..2 * nth + 2], 16).unwrap();
    }
    torrent.metainfo = metainfo;
    torrent.aligned = true;
}

/// A torrent of this format.
fn made(format: &str, piece_len: usize, seed: u64) -> (Torrent, [Option<String>; 2]) {
    made_of(recipe(piece_len), format, seed)
}

fn made_of(recipe: Recipe, format: &str, seed: u64) -> (Torrent, [Option<String>; 2]) {
    let mut torrent = recipe.make(seed);
    let dir = tempfile::tempdir().unwrap();
    torrent.write_files(dir.path());
    let (metainfo, hashes) = create(dir.path(), &torrent, format);
    rename(&mut torrent, metainfo, &hashes);
    (torrent, hashes)
}

#[test]
fn torrents_of_ours_and_of_libtorrent_are_the_same() {
    let test = "torrents of libtorrent";
    if let Err(why) = Client::Libtorrent.find() {
        return skip(test, &why);
    }
    let mut crowd = Recipe::folder("crowd", 16_384);
    for n in 0..2000 {
        crowd = crowd.file(&format!("{:02}/{n:04}", n % 50), n * 37 % 40_000);
    }
    let torrents = [
        recipe(16_384).make(1),
        recipe(65_536).make(2),
        recipe(1 << 20).make(3),
        Recipe::single("one file", 1_000_001, 32_768).make(4),
        Recipe::single("one block", 16_384, 32_768).make(5),
        Recipe::single("one piece", 32_768, 32_768).make(6),
        Recipe::folder("one in a folder", 32_768).file("f", 100_000).make(7),
        crowd.sorted().make(8),
    ];
    for torrent in &torrents {
        let dir = tempfile::tempdir().unwrap();
        torrent.write_files(dir.path());
        let formats = match torrent.files.len() {
            1 if torrent.single => &["v1", "v2", "hybrid"][..],
            // In version 2 a folder with one file is that file, so ours makes no such torrent.
            1 => &["hybrid"],
            // Files of version 1 come to libtorrent in the order of the disk.
            _ => &["v2", "hybrid"],
        };
        for format in formats {
            let (_, ours) = create(dir.path(), torrent, format);
            let (theirs, expected) = create_theirs(dir.path(), torrent, format);
            assert_eq!(ours, expected, "{} as {format}", torrent.name);
            let path = dir.path().join("theirs.torrent");
            fs::write(&path, theirs).unwrap();
            let mut command = download::ours("inspect");
            let output = command.arg("--json").arg(&path).output().unwrap();
            let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let hash = |key| read[key].as_str().map(str::to_owned);
            assert_eq!([hash("info_hash"), hash("info_hash_v2")], expected);
        }
    }
}

/// `client` seeds, ours fetches; `what` names the torrent: a file, or a link that leads to the
/// peer.
fn ours_from(client: Client, torrent: &Torrent, what: impl Fn(SocketAddr) -> Option<String>) {
    let Some(places) = places(&format!("version 2 with {client:?}"), client) else { return };
    let (seed, mut leech) = (Bench::new(torrent), Bench::new(torrent));
    let peer = places.theirs.at(ports::free_port());
    torrent.write_files(&seed.dir);
    if client != Client::Libtorrent {
        write_pads(torrent, &seed.dir);
    }
    let (_tracker, url) = clients::tracker(&seed, &[], &places.tracker);
    if client.needs_tracker() {
        fs::write(&seed.torrent, announced(torrent, &url)).unwrap();
    }
    let mut process = client.start(Role::Seed, &seed, &seed.dir, &places.theirs, peer.port());
    clock::wait_for(&format!("{client:?} seeds"), LIMIT, || {
        assert!(process.ended().is_none(), "{client:?} ended; it said:\n{}", process.tail());
        clients::serves(&seed, torrent, peer, &places.tracker).then_some(())
    });
    let started = clock::now();
    if let Some(link) = what(peer) {
        leech.torrent = link.into();
    }
    let mut command = places.ours.command(download::program());
    leech.arguments(&mut command, &[peer]);
    let status = leech.start(&mut command).wait(LIMIT);
    assert!(status.success(), "download from {client:?}: {status}");
    torrent.assert_in(&leech.dir);
    println!("{} KiB from {client:?} in {:?}", torrent.len() >> 10, clock::now() - started);
}

/// Ours seeds, `client` fetches.
fn theirs_from_ours(
    client: Client,
    torrent: &Torrent,
    what: impl Fn(SocketAddr) -> Option<String>,
) {
    let Some(places) = places(&format!("version 2 for {client:?}"), client) else { return };
    let (seed, mut leech) = (Bench::new(torrent), Bench::new(torrent));
    let ours = places.ours.at(ports::free_port());
    let _seed = crate::magnets::serve(torrent, &seed, ours, &places.ours);
    let started = clock::now();
    let (_tracker, url) = clients::tracker(&leech, &[ours], &places.tracker);
    match what(ours) {
        Some(link) => leech.torrent = link.into(),
        None => fs::write(&leech.torrent, announced(torrent, &url)).unwrap(),
    }
    let mut process =
        client.start(Role::Leech, &leech, &leech.dir, &places.theirs, ports::free_port());
    clock::wait_for(&format!("{client:?} has all of it"), LIMIT, || {
        assert!(process.ended().is_none(), "{client:?} ended; it said:\n{}", process.tail());
        torrent.compare(&leech.dir).ok()
    });
    println!("{} KiB to {client:?} in {:?}", torrent.len() >> 10, clock::now() - started);
}

/// Makes the pad files of a hybrid, which clients that know nothing of pads look for.
fn write_pads(torrent: &Torrent, dir: &Path) {
    let folder = dir.join(&torrent.name).join(".pad");
    fs::create_dir_all(&folder).unwrap();
    for file in &torrent.files {
        let pad = file.len.next_multiple_of(torrent.piece_len) - file.len;
        if pad > 0 {
            fs::write(folder.join(pad.to_string()), vec![0; pad]).unwrap();
        }
    }
}

/// The torrent with a tracker: what comes first in its file.
fn announced(torrent: &Torrent, url: &str) -> Vec<u8> {
    let announce = format!("d8:announce{}:{url}", url.len());
    [announce.as_bytes(), &torrent.metainfo[1..]].concat()
}

fn file(_: SocketAddr) -> Option<String> {
    None
}

#[test]
fn v2_torrents_pass_between_libtorrent_and_ours() {
    for piece_len in [16_384, 65_536] {
        let (torrent, _) = made("v2", piece_len, 10);
        ours_from(Client::Libtorrent, &torrent, file);
        theirs_from_ours(Client::Libtorrent, &torrent, file);
    }
}

#[test]
fn hybrids_pass_between_libtorrent_and_ours() {
    let (torrent, _) = made("hybrid", 65_536, 11);
    ours_from(Client::Libtorrent, &torrent, file);
    theirs_from_ours(Client::Libtorrent, &torrent, file);
}

#[test]
fn v2_magnets_pass_between_libtorrent_and_ours() {
    for format in ["v2", "hybrid"] {
        let (mut torrent, hashes) = made(format, 16_384, 12);
        let v2 = hashes[1].clone().unwrap();
        // Found by the v2 hash alone, in either case.
        let metainfo = torrent.metainfo.clone();
        rename(&mut torrent, metainfo, &[None, Some(v2.clone())]);
        let link = |peer| Some(format!("magnet:?xt=urn:btmh:1220{v2}&x.pe={peer}"));
        ours_from(Client::Libtorrent, &torrent, link);
        theirs_from_ours(Client::Libtorrent, &torrent, link);
    }
}

/// The one client of version 1 that takes hybrids: aria2 1.37 encodes the info dictionary anew
/// without the empty keys of its file tree, and so knows each hybrid by another hash;
/// transmission 3 calls them corrupt.
#[test]
fn rtorrent_takes_part_in_a_hybrid() {
    // It takes no two pads of one length, which have one name.
    let recipe = Recipe::folder("for rtorrent", 65_536)
        .file("a/one", 1)
        .file("long.bin", 9_000_001)
        .file("z/last.bin", 200_000);
    let (torrent, _) = made_of(recipe, "hybrid", 13);
    ours_from(Client::Rtorrent, &torrent, file);
    theirs_from_ours(Client::Rtorrent, &torrent, file);
}

#[test]
fn qbittorrent_and_ours_exchange_v2_torrents_and_hybrids() {
    for format in ["v2", "hybrid"] {
        let (torrent, _) = made(format, 65_536, 14);
        ours_from(Client::Qbittorrent, &torrent, file);
        theirs_from_ours(Client::Qbittorrent, &torrent, file);
    }
}
