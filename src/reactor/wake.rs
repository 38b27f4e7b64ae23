//! The way into the loop from other threads: one `mio::Waker`, and a flag so that many calls cost
//! one system call.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::{Registry, Token};

/// Ends the wait of a [`Reactor`](super::Reactor), from any thread.
///
/// Calls that come before the loop has seen the first one cost an atomic swap each, no system call.
#[derive(Clone, Debug)]
pub struct Waker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    waker: mio::Waker,
    called: AtomicBool,
    /// The last call did not reach the system.
    failed: AtomicBool,
}

impl Waker {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self {
            inner: Arc::new(Inner {
                waker: mio::Waker::new(registry, token)?,
                called: AtomicBool::new(false),
                failed: AtomicBool::new(false),
            }),
        })
    }

    /// Makes the current or the next [`poll`](super::Reactor::poll) return soon.
    pub fn wake(&self) {
        if let Err(e) = self.try_wake() {
            log::error!("cannot wake the loop: {e}");
        }
    }

    /// The same, and says if the system would not do it. The next call tries again; and if anything
    /// else wakes the loop, it finds what was left for it.
    pub(crate) fn try_wake(&self) -> io::Result<()> {
        if self.inner.failed.swap(false, Ordering::SeqCst)
            | !self.inner.called.swap(true, Ordering::SeqCst)
        {
            self.inner
                .waker
                .wake()
                .inspect_err(|_| self.inner.failed.store(true, Ordering::SeqCst))?;
        }
        Ok(())
    }

    /// Whether there was a call since the last time. What the caller left must be fetched *after*
    /// this.
    pub(crate) fn take(&self) -> bool {
        self.inner.called.load(Ordering::SeqCst) && self.inner.called.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn is_called(&self) -> bool {
        self.inner.called.load(Ordering::SeqCst)
    }
}
