//! CONNECT of HTTP (RFC 9110 §9.3.6) as a client: one request, and the head of the answer.

use super::{Refused, Step, TunnelError};
use crate::{base::target::Target, conf::ProxyServer, proto::http::proxy_authorization};

/// Bytes of the answer's head, with informational answers (1xx) before it.
pub(super) const MAX_HEAD: usize = 8 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Connect {
    has_credentials: bool,
    /// Where the head begins, behind informational answers.
    begin: usize,
}

impl Connect {
    /// Begins a stream to `target`, and what is said first.
    pub(super) fn begin(server: &ProxyServer, target: &Target) -> (Self, Vec<u8>) {
        let authorization = proxy_authorization(server);
        let out = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
        (Self { has_credentials: server.credentials().is_some(), begin: 0 }, out.into_bytes())
    }

    pub(super) fn handle_head(&mut self, heard: &[u8]) -> Result<Step, TunnelError> {
        let head = heard.get(self.begin..).unwrap_or_default();
        let start = b"HTTP/1.";
        let known = head.len().min(start.len());
        if head.get(..known) != start.get(..known) {
            return Err(TunnelError::NotHttp);
        }
        if !(head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n")) {
            let is_too_long = heard.len() >= MAX_HEAD;
            return if is_too_long {
                Err(TunnelError::TooLong(MAX_HEAD))
            } else {
                Ok(Step::Incomplete)
            };
        }
        match status(head).ok_or(TunnelError::NotHttp)? {
            100..200 => {
                self.begin = heard.len();
                Ok(Step::Incomplete)
            }
            // Its head is all there is to it: what follows is the tunnel's, whatever it says.
            200..300 => Ok(Step::Made(None)),
            // Of others than these tinyproxy says what a server would.
            401 | 407 if self.has_credentials => Err(TunnelError::Password),
            407 => Err(TunnelError::NoPassword),
            status => Err(TunnelError::Refused(Refused::Http(status))),
        }
    }
}

/// Of `HTTP/1.1 200 OK`.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|&b| b == b'\n').next()?.trim_ascii_end();
    let code = line.split(|&b| b == b' ').nth(1)?;
    let is_code = code.len() == 3 && code.iter().all(u8::is_ascii_digit);
    str::from_utf8(code).ok().filter(|_| is_code)?.parse().ok().filter(|code| *code >= 100)
}
