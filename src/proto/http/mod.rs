//! HTTP/1.1 over a byte stream (RFC 9110, 9112): requests out, bounded responses in, however they
//! are cut.
//!
//! [`Exchange`] streams a body as it comes and keeps none of it; [`Get`] is one that collects a
//! small body whole. Where a redirect leads is decided by the caller, with the rules in [`guard`].
//! Only what a small client needs is here: no other method, and of the codings only the chunked one
//! and gzip.

mod date;
mod exchange;
mod get;
pub(crate) mod guard;
mod gzip;
mod head;
#[doc(hidden)]
pub mod probe;
#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::conf::ProxyServer;

pub(crate) use exchange::{Exchange, Part};
pub(crate) use get::{Get, Response};
pub(crate) use head::{Head, MAX_HEAD};

/// The status of a proxy that wants a proof of who we are, or another (RFC 9110 §15.5.8).
pub(crate) const PROXY_REFUSES: u16 = 407;
/// The same in words.
pub(crate) const NOT_LET_IN: &str = "the proxy wants a user and password, or others";

/// What to fetch.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    /// Host and port as the `Host` header has them.
    pub(crate) authority: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// `user:password`.
    pub(crate) credentials: Option<&'a [u8]>,
    /// What we call ourselves; nothing if empty.
    pub(crate) user_agent: &'a str,
    /// Only these bytes (RFC 9110 §14), as they are: a part of something packed is of no use.
    pub(crate) range: Option<Range>,
    /// The stream is to stay for another request.
    pub(crate) keep_alive: bool,
    /// The proxy that the request is for, to ask the server that it names.
    pub(crate) forwarder: Option<&'a ProxyServer>,
    /// What is sent, in place of asking for something.
    pub(crate) post: Option<Post<'a>>,
}

/// A call (SOAP) that is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post<'a> {
    /// The header `SOAPAction`.
    pub(crate) soap_action: &'a str,
    pub(crate) body: &'a str,
}

/// A range of bytes, both ends included; `first` is at most `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Request<'_> {
    /// The bytes of it.
    fn encode(&self) -> Vec<u8> {
        let Self { authority, target, .. } = self;
        let method = if self.post.is_some() { "POST" } else { "GET" };
        let mut out = match self.forwarder {
            None => format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n"),
            // All of the address (RFC 9112 §3.2.2).
            Some(proxy) => {
                let proof = proxy_authorization(proxy);
                let url = format!("http://{authority}{target}");
                format!("{method} {url} HTTP/1.1\r\nHost: {authority}\r\n{proof}")
            }
        };
        if !self.user_agent.is_empty() {
            out += &format!("User-Agent: {}\r\n", self.user_agent);
        }
        if let Some(both) = self.credentials {
            out += &format!("Authorization: Basic {}\r\n", base64(both));
        }
        match self.range {
            Some(Range { first, last }) => {
                out += &format!("Range: bytes={first}-{last}\r\nAccept-Encoding: identity\r\n");
            }
            None => out += "Accept-Encoding: gzip\r\n",
        }
        out += if self.keep_alive { "Connection: keep-alive" } else { "Connection: close" };
        if let Some(Post { soap_action, body }) = self.post {
            out += &format!(
                "\r\nSOAPAction: {soap_action}\r\nContent-Type: text/xml; charset=\"utf-8\"\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            return out.into_bytes();
        }
        out += "\r\n\r\n";
        out.into_bytes()
    }
}

/// Why there is no response in what came.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum HttpError {
    #[error("the HTTP response has {0}")]
    Head(&'static str),
    #[error("the head of the HTTP response exceeds {MAX_HEAD} bytes")]
    HeadTooLong,
    #[error("the HTTP response exceeds {0} bytes")]
    BodyTooLong(u64),
    #[error("the HTTP response ends too early")]
    Truncated,
    #[error("the HTTP response has a broken chunk")]
    Chunk,
    #[error("the HTTP response has a content coding that was not asked for")]
    Coding,
    #[error("the HTTP response has a broken gzip body: {0}")]
    Gzip(&'static str),
}

/// The header that tells a proxy who we are (RFC 9110 §11.7.2), with its end of line; nothing if
/// the proxy is not to be told.
pub(crate) fn proxy_authorization(server: &ProxyServer) -> String {
    server.credentials().map_or_else(String::new, |(user, password)| {
        let both = [user, b":", password].concat();
        format!("Proxy-Authorization: Basic {}\r\n", base64(&both))
    })
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let word =
            part.iter().fold(0u32, |word, &b| word << 8 | u32::from(b)) << (8 * (3 - part.len()));
        for at in 0..4 {
            let letter =
                LETTERS.get((word >> (18 - 6 * at) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if at <= part.len() { char::from(letter) } else { '=' });
        }
    }
    out
}
