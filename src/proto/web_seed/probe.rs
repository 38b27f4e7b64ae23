//! Whole requests for the fuzz targets, which see nothing of the crate but what is public. Not part
//! of the API.

use super::{Ask, FileRequest, WebConnection};
use crate::{base::time::Instant, conf::Conf, wire::web_seed::WebSeedUrl};

/// What came of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes of the file that were handed on.
    pub body: Vec<u8>,
    /// How it ended, in words; `None` if it did not.
    pub end: Option<Result<(), String>>,
    /// Connections that were made.
    pub dials: usize,
    /// The connection is kept for another request.
    pub kept: bool,
}

/// Asks a web seed for `len` bytes of a file of `file_len` from `first` on, and gives it `parts` as
/// they come on each connection that is made, one after the other; then they are closed.
pub fn fetch(parts: &[&[u8]], first: u64, len: u64, file_len: u64) -> Outcome {
    let (now, mut outcome) = (Instant::ZERO, Outcome::default());
    let mut connection = WebConnection::new(&Conf::default());
    let url = WebSeedUrl::parse("http://192.0.2.1/dir/").ok();
    let metainfo = crate::wire::metainfo::Metainfo::from_bytes(
        b"d4:infod6:lengthi5e4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee",
    )
    .ok();
    let Some(url) = url.zip(metainfo).and_then(|(url, metainfo)| url.file(&metainfo, 0)) else {
        return outcome;
    };
    let what = FileRequest { place: url.into(), first, len, file_len };
    let mut end = connection.fetch(now, what);
    let mut parts = parts.iter();
    while end.is_none() {
        let Some(ask) = connection.poll_ask() else {
            let Some(part) = parts.next() else {
                end = connection.handle_closed(now, Ok(()));
                if end.is_none() && !connection.is_open() {
                    break;
                }
                continue;
            };
            end = connection.handle_data(now, part, |bytes| outcome.body.extend_from_slice(bytes));
            continue;
        };
        match ask {
            Ask::Resolve { .. } => {
                end = connection.handle_resolved(now, Ok(vec![[192, 0, 2, 2].into()]));
            }
            Ask::Connect { .. } => {
                outcome.dials += 1;
                connection.handle_connected(now);
            }
            Ask::Flush => {
                let len = connection.poll_transmit().len();
                connection.handle_sent(len);
            }
            Ask::Close | Ask::Resume => {}
        }
    }
    outcome.kept = connection.is_open();
    outcome.end = end.map(|end| end.map_err(|e| e.to_string()));
    outcome
}
