//! Targets for web seeds: addresses, and requests whose responses are anything.

use cratetorrent::{
    web_seed_probe::fetch as ask,
    wire::{metainfo::Metainfo, web_seed::WebSeedUrl},
};

/// No more is taken than was asked for, whatever comes and however it is cut; and the request ends.
/// The first two bytes say what is asked for; where they are odd the rest is an address, too.
pub fn fetch(data: &[u8]) {
    const FILE: u64 = 100;
    let Some((&[first, len], stream)) = data.split_first_chunk() else { return };
    let first = u64::from(first) % FILE;
    let len = (u64::from(len) % (FILE - first)).max(1);
    let whole = ask(&[stream], first, len, FILE);
    for size in [1, 7, 4096] {
        let parts: Vec<&[u8]> = stream.chunks(size).collect();
        let cut = ask(&parts, first, len, FILE);
        assert!(cut.body.len() as u64 <= len && cut.dials <= 7, "{cut:?}");
        if whole.end == Some(Ok(())) && whole.dials == 1 {
            assert_eq!((&cut.body, cut.end.as_ref()), (&whole.body, whole.end.as_ref()));
        }
    }
    assert!(whole.body.len() as u64 <= len && whole.dials <= 7);
    if whole.end == Some(Ok(())) {
        assert_eq!(whole.body.len() as u64, len);
    }
    address(stream);
}

/// What reads as an address of a web seed gives addresses of files that read as such.
fn address(data: &[u8]) {
    // What is encoded anew may be longer than what may be read.
    let Some(text) = std::str::from_utf8(data).ok().filter(|text| text.len() < 500) else {
        return;
    };
    let info = b"d4:infod5:filesld6:lengthi5e4:pathl1:a3:b/ceee4:name2:n 12:piece lengthi16384e\
                 6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    let (Ok(url), Ok(metainfo)) = (WebSeedUrl::parse(text), Metainfo::from_bytes(info)) else {
        return;
    };
    assert!(WebSeedUrl::parse(&url.expose()).is_ok_and(|again| again == url), "{text:?}");
    if let Some(file) = url.file(&metainfo, 0) {
        assert!(file.expose().is_ascii() && file.expose().ends_with("n%20/a/b%2Fc"), "{file:?}");
        let _ = file.join(text);
    }
}
