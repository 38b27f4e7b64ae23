//! Torrents made by hand: their bytes, their metainfo, and the check that a download folder holds
//! just them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::bencode;

/// SHA-1.
pub fn sha1(data: &[u8]) -> [u8; 20] {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().try_into().unwrap()
}

/// Bytes that look random and are the same for the same seed (xorshift64*).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// One file of a torrent.
#[derive(Clone, Debug)]
pub struct File {
    /// Path elements below the torrent's folder; unused in a single-file torrent.
    pub path: Vec<String>,
    /// Bytes.
    pub len: usize,
    /// Padding (BEP 47): zeros, not stored.
    pub pad: bool,
}

/// How to make a torrent.
#[derive(Clone, Debug)]
pub struct Recipe {
    name: String,
    piece_len: usize,
    files: Vec<File>,
    single: bool,
    extra: Vec<(&'static str, Vec<u8>)>,
    unsorted: bool,
}

impl Recipe {
    /// A single file.
    pub fn single(name: &str, len: usize, piece_len: usize) -> Self {
        let file = File { path: Vec::new(), len, pad: false };
        Self {
            name: name.into(),
            piece_len,
            files: vec![file],
            single: true,
            extra: Vec::new(),
            unsorted: false,
        }
    }

    /// A folder; paths are written with `/`.
    pub fn folder(name: &str, piece_len: usize) -> Self {
        Self {
            name: name.into(),
            piece_len,
            files: Vec::new(),
            single: false,
            extra: Vec::new(),
            unsorted: false,
        }
    }

    /// One more file in the folder.
    pub fn file(mut self, path: &str, len: usize) -> Self {
        self.files.push(File {
            path: path.split('/').map(String::from).collect(),
            len,
            pad: false,
        });
        self
    }

    /// Its files in the order of their paths.
    pub fn sorted(mut self) -> Self {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self
    }

    /// Padding up to the next piece (BEP 47).
    pub fn pad(mut self) -> Self {
        let end: usize = self.files.iter().map(|file| file.len).sum();
        let len = end.next_multiple_of(self.piece_len) - end;
        if len > 0 {
            self.files.push(File { path: vec![".pad".into(), len.to_string()], len, pad: true });
        }
        self
    }

    /// One more key in the info dictionary.
    pub fn info_key(mut self, key: &'static str, value: Vec<u8>) -> Self {
        self.extra.push((key, value));
        self
    }

    /// The info dictionary's keys the wrong way round.
    pub fn unsorted(mut self) -> Self {
        self.unsorted = true;
        self
    }

    /// Makes it, its bytes chosen by `seed`.
    pub fn make(self, seed: u64) -> Torrent {
        let mut data = Vec::new();
        for (n, file) in self.files.iter().enumerate() {
            if file.pad {
                data.resize(data.len() + file.len, 0);
            } else {
                data.extend(noise(seed.wrapping_add(n as u64), file.len));
            }
        }
        let pieces: Vec<u8> = data.chunks(self.piece_len).flat_map(sha1).collect();
        let mut entries = vec![
            ("name", bencode::string(&self.name)),
            ("piece length", bencode::int(self.piece_len as u64)),
            ("pieces", bencode::string(pieces)),
        ];
        if self.single {
            entries.push(("length", bencode::int(data.len() as u64)));
        } else {
            entries.push(("files", bencode::list(self.files.iter().map(file_entry))));
        }
        entries.extend(self.extra);
        entries.sort_by_key(|(key, _)| *key);
        if self.unsorted {
            entries.reverse();
        }
        let info = bencode::dict(&entries);
        let metainfo =
            bencode::dict(&[("created by", bencode::string("by hand")), ("info", info.clone())]);
        Torrent {
            name: self.name,
            piece_len: self.piece_len,
            files: self.files,
            single: self.single,
            info_hash: sha1(&info),
            metainfo,
            aligned: false,
            info,
            data,
        }
    }
}

fn file_entry(file: &File) -> Vec<u8> {
    let mut entry = Vec::new();
    if file.pad {
        entry.push(("attr", bencode::string("p")));
    }
    entry.push(("length", bencode::int(file.len as u64)));
    entry.push(("path", bencode::list(file.path.iter().map(bencode::string))));
    bencode::dict(&entry)
}

/// A torrent and all its bytes.
#[derive(Debug)]
pub struct Torrent {
    pub name: String,
    pub piece_len: usize,
    pub files: Vec<File>,
    pub single: bool,
    pub info_hash: [u8; 20],
    /// The `.torrent` file.
    pub metainfo: Vec<u8>,
    /// Each of its files begins with a piece, whatever `data` has (BEP 52).
    pub aligned: bool,
    info: Vec<u8>,
    /// All files in a row, padding included.
    pub data: Vec<u8>,
}

impl Torrent {
    /// Pieces in all.
    pub fn pieces(&self) -> usize {
        if self.aligned {
            return self.files.iter().map(|file| file.len.div_ceil(self.piece_len)).sum();
        }
        self.data.len().div_ceil(self.piece_len)
    }

    /// Bytes that come from the network at least: all but padding may be left out, so this counts
    /// everything.
    pub fn len(&self) -> u64 {
        self.data.len() as u64
    }

    /// The same torrent with a tracker.
    pub fn metainfo_with_tracker(&self, url: &str) -> Vec<u8> {
        bencode::dict(&[("announce", bencode::string(url)), ("info", self.info.clone())])
    }

    /// Writes the `.torrent` file into `dir`.
    pub fn write_metainfo(&self, dir: &Path) -> PathBuf {
        let path = dir.join("test.torrent");
        fs::write(&path, &self.metainfo).unwrap();
        path
    }

    /// Writes the files below `dir`, as a client that has them would.
    pub fn write_files(&self, dir: &Path) {
        for (path, data) in self.stored(dir) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, data).unwrap();
        }
    }

    /// Panics unless `dir` holds every file with its right bytes and nothing beside them but the
    /// client's own state.
    pub fn assert_in(&self, dir: &Path) {
        self.compare(dir).unwrap_or_else(|difference| panic!("{difference}"));
        let expected: Vec<_> = self.stored(dir).into_iter().map(|(path, _)| path).collect();
        let missing: Vec<_> = expected.iter().filter(|path| !path.exists()).collect();
        assert!(missing.is_empty(), "empty files that were not made: {missing:?}");
        let strangers: Vec<_> =
            files_below(dir).into_iter().filter(|path| !expected.contains(path)).collect();
        assert!(strangers.is_empty(), "files that are not the torrent's: {strangers:?}");
    }

    /// The first difference between the torrent's files and those in `dir`. Empty files may be
    /// missing: not every client makes them.
    pub fn compare(&self, dir: &Path) -> Result<(), String> {
        for (path, data) in
            self.stored(dir).into_iter().filter(|(path, data)| !data.is_empty() || path.exists())
        {
            let found = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            if found.len() != data.len() {
                return Err(format!(
                    "{} has {} bytes of {}",
                    path.display(),
                    found.len(),
                    data.len()
                ));
            }
            if let Some(at) = found.iter().zip(data).position(|(a, b)| a != b) {
                return Err(format!(
                    "{} differs from its source at byte {at} of {}",
                    path.display(),
                    data.len()
                ));
            }
        }
        Ok(())
    }

    /// Where each stored file belongs, and its bytes.
    fn stored(&self, dir: &Path) -> Vec<(PathBuf, &[u8])> {
        let mut at = 0;
        let mut out = Vec::new();
        for file in &self.files {
            let data = &self.data[at..at + file.len];
            at += file.len;
            if !file.pad {
                let mut path = dir.join(&self.name);
                path.extend(&file.path);
                out.push((path, data));
            }
        }
        out
    }
}

/// Every file below `dir` but those in `.cratetorrent`.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name == ".cratetorrent") {
            continue;
        }
        if path.is_dir() {
            out.extend(files_below(&path));
        } else {
            out.push(path);
        }
    }
    out
}
