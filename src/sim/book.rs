//! The last few hundred things that happened, in words for a person: what a failing run shows.
//! Keeping it costs little; it is put into words only when it is asked for.

use std::{collections::VecDeque, fmt};

use super::tap::Word;
use crate::{
    base::{job::Job, time::Instant},
    wire::message::Message,
};

/// Things remembered unless told otherwise.
const LENGTH: usize = 400;

/// A message, without its data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    name: &'static str,
    piece: Option<u32>,
    range: Option<(u32, u32)>,
}

impl Said {
    pub(super) fn of(word: &Word<'_>) -> Self {
        let plain = |name| Self { name, piece: None, range: None };
        let piece = |name, piece| Self { name, piece: Some(piece), range: None };
        let range =
            |name, piece, begin, len| Self { name, piece: Some(piece), range: Some((begin, len)) };
        match *word {
            Word::Greeting(_) => plain("handshake"),
            Word::Garbage => plain("garbage"),
            Word::Message(message) => match message {
                Message::KeepAlive => plain("keep-alive"),
                Message::Choke => plain("choke"),
                Message::Unchoke => plain("unchoke"),
                Message::Interested => plain("interested"),
                Message::NotInterested => plain("not interested"),
                Message::Have(p) => piece("have", p),
                Message::Bitfield(_) => plain("bitfield"),
                Message::Request { piece: p, begin, len } => range("request", p, begin, len),
                Message::Piece { piece: p, begin, data } => {
                    range("piece", p, begin, data.len() as u32)
                }
                Message::Cancel { piece: p, begin, len } => range("cancel", p, begin, len),
                Message::Port(_) => plain("port"),
                Message::Suggest(p) => piece("suggest", p),
                Message::HaveAll => plain("have all"),
                Message::HaveNone => plain("have none"),
                Message::Reject { piece: p, begin, len } => range("reject", p, begin, len),
                Message::AllowedFast(p) => piece("allowed fast", p),
                Message::Extended { id: 0, .. } => plain("extension handshake"),
                Message::Extended { .. } => plain("extension message"),
                Message::HashRequest(_) => plain("hash request"),
                Message::Hashes { .. } => plain("hashes"),
                Message::HashReject(_) => plain("hash reject"),
                Message::Unknown { .. } => plain("unknown message"),
            },
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.piece.map_or(Ok(()), |piece| write!(f, " {piece}"))?;
        self.range.map_or(Ok(()), |(begin, len)| write!(f, " from {begin}, {len} bytes"))
    }
}

/// Something that happened.
#[derive(Debug)]
pub(super) enum Deed {
    Said { from: usize, to: usize, said: Said },
    Between { from: usize, to: usize, what: &'static str },
    At { node: usize, what: &'static str },
    Job { node: usize, what: &'static str, piece: Option<u32>, answered: bool },
    Told { node: usize, alert: String },
    Note(String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    deeds: VecDeque<(Instant, Deed)>,
    length: usize,
}

impl Book {
    pub(super) fn new() -> Self {
        Self { deeds: VecDeque::new(), length: LENGTH }
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.length = length;
    }

    pub(super) fn write(&mut self, at: Instant, deed: Deed) {
        while self.deeds.len() >= self.length.max(1) {
            self.deeds.pop_front();
        }
        if self.length > 0 {
            self.deeds.push_back((at, deed));
        }
    }

    /// A line each, oldest first. `name` names nodes.
    pub(super) fn tell<'a>(&self, name: impl Fn(usize) -> &'a str) -> String {
        let line = |(at, deed): &(Instant, Deed)| {
            let micros = at.as_micros();
            let what = match deed {
                Deed::Said { from, to, said } => {
                    format!("{} -> {}: {said}", name(*from), name(*to))
                }
                Deed::Between { from, to, what } => format!("{} {what} {}", name(*from), name(*to)),
                Deed::At { node, what } => format!("{} {what}", name(*node)),
                Deed::Job { node, what, piece, answered } => {
                    let piece = piece.map(|p| format!(" piece {p}")).unwrap_or_default();
                    format!(
                        "{} {} {what}{piece}",
                        name(*node),
                        if *answered { "has done:" } else { "begins:" }
                    )
                }
                Deed::Told { node, alert } => format!("{} tells: {alert}", name(*node)),
                Deed::Note(text) => text.clone(),
            };
            format!("{:>6}.{:06}  {what}\n", micros / 1_000_000, micros % 1_000_000)
        };
        self.deeds.iter().map(line).collect()
    }
}

/// What a job is, and of which piece.
pub(super) fn job_name(job: &Job) -> (&'static str, Option<u32>) {
    match job {
        Job::Run { run, .. } => ("hash and write", Some(run.piece.get())),
        Job::Read { blocks, .. } => ("read", blocks.first().map(|block| block.piece.get())),
        Job::Extract { parts, .. } => {
            ("read for its user", parts.first().map(|part| part.range.piece.get()))
        }
        Job::Check { piece, .. } => ("check", Some(piece.get())),
        Job::Digests { piece, .. } => ("digest", Some(piece.get())),
        Job::Leaves { piece, .. } => ("hash leaves", Some(piece.get())),
        Job::Open { .. } => ("open", None),
        Job::Look { .. } => ("look at", None),
        Job::Save { .. } => ("save", None),
        Job::Close { .. } => ("close", None),
        Job::Compute { .. } => ("compute", None),
        Job::KeyExchange { .. } => ("exchange keys", None),
        Job::Info { .. } => ("read metadata", None),
        _ => ("work", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_read_well() {
        let mut book = Book::new();
        book.set_length(3);
        for n in 0..5 {
            let said =
                Said::of(&Word::Message(Message::Request { piece: n, begin: 0, len: 16384 }));
            book.write(
                Instant::from_micros(1_500_000 + u64::from(n)),
                Deed::Said { from: 0, to: 1, said },
            );
        }
        book.write(
            Instant::from_micros(2_000_000),
            Deed::Job { node: 1, what: "read", piece: Some(4), answered: false },
        );
        let text = book.tell(|n| ["leech", "seed"][n]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], "     1.500004  leech -> seed: request 4 from 0, 16384 bytes");
        assert_eq!(lines[2], "     2.000000  seed begins: read piece 4");
    }
}
