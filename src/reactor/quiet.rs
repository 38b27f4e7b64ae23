//! A stream whose writes raise no SIGPIPE. A host program that is not written in Rust may leave
//! that signal deadly, and a vectored write to a stream that the other side has closed would raise
//! it. The socket itself is out of reach of its owner, so no write can go another way.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
};

use mio::{Interest, Registry, Token, net::TcpStream};

/// See the module.
#[derive(Debug)]
pub(super) struct QuietStream(TcpStream);

impl QuietStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    /// Registers it for everything, edge-triggered.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.0, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Closes it. What was written is still delivered by the system.
    pub(super) fn close(mut self, registry: &Registry) {
        // Neither can fail in a way that matters: the socket is dropped either way.
        let _ = registry.deregister(&mut self.0);
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// One vectored write.
    pub(super) fn write_slices(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.write_once(slices) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn write_once(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
        Ok(sendmsg(&self.0, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn write_once(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    /// Whether an attempt to connect has come to an end.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        if let Some(e) = self.0.take_error()? {
            return Err(e);
        }
        match self.0.peer_addr() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl Read for QuietStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for QuietStream {
    #[cfg(target_os = "linux")]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        use rustix::net::{SendFlags, send};
        Ok(send(&self.0, buf, SendFlags::NOSIGNAL)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        net::TcpListener,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;

    #[test]
    fn write_to_closed_stream_fails_without_a_signal() {
        let raised = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, raised.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let mut stream = QuietStream::new(TcpStream::from_std(ours));
        // As rustls writes its alerts.
        let written = stream.write_vectored(&[IoSlice::new(b"alert"), IoSlice::new(b"!")]);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(!raised.load(Ordering::Relaxed));
    }
}
