//! The third door: an engine on a thread of its own.
//!
//! The verbs live on [`Verbs`] alone. A handle ships closures to them, so no list of commands
//! repeats them; alerts come back through a bounded queue. Knows nothing of what the engine does.

mod alerts;
mod queue;
#[cfg(test)]
mod tests;
mod thread;

use std::{
    any::Any,
    fmt, io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, mpsc},
    thread::{JoinHandle, ThreadId},
    time::Duration,
};

use thiserror::Error;

pub use self::alerts::{Alerts, NoAlert};
use self::thread::{Call, Shared, lock};
use crate::{
    conf::Conf,
    engine::Verbs,
    reactor::{Reactor, ReactorError, ReactorStats},
};

/// Why a call brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The engine's thread has ended: it was shut down, or it failed, which the log tells.
    #[error("the engine's thread has ended")]
    Ended,
    /// The closure panicked, with this message. The verbs that it had called before are done, and
    /// the engine goes on.
    #[error("the call panicked: {0}")]
    Panicked(String),
    /// The call was made within another call, on the engine's own thread, which would have to wait
    /// for itself.
    #[error("a call within another call would wait for itself")]
    Nested,
}

/// Why an engine has not come to its end in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseError {
    /// It took longer than it might. The engine has been given up: its connections are closed, what
    /// its workers were at goes on without it or ends with the process, and states that were
    /// not on disk by then are not saved.
    #[error("the engine has not ended within {0:?}; what was not on disk by then is not saved")]
    TimedOut(Duration),
    /// The engine's thread has panicked.
    #[error("the engine's thread has panicked")]
    Panicked,
    /// The engine's own thread was to wait for its end, from within a call.
    #[error("the engine's thread cannot wait for its own end")]
    Nested,
}

/// Starts an engine on a thread of its own.
///
/// Everything that can be wrong with `conf` shows here: when this returns, the addresses are bound.
/// The engine runs until it is told to end ([`EngineHandle::close`], [`EngineHandle::shutdown`],
/// [`Verbs::shutdown`]) or until the last handle is dropped, which waits until states are saved. So
/// a program that falls out of `main` has lost nothing.
///
/// ```
/// let (engine, alerts) = cratetorrent::spawn(cratetorrent::Conf::default())?;
/// assert_eq!(engine.call(|engine| engine.torrents().len()), Ok(0));
/// assert_eq!(engine.close(std::time::Duration::from_secs(10)), Ok(()));
/// assert!(alerts.recv().is_none());
/// # Ok::<(), cratetorrent::ReactorError>(())
/// ```
///
/// # Errors
/// As [`Reactor::new`], and if the system gives no thread.
pub fn spawn(conf: Conf) -> Result<(EngineHandle, Alerts), ReactorError> {
    spawn_reactor(Reactor::new(conf)?).map_err(ReactorError::Setup)
}

/// As [`spawn`], for a reactor that was made otherwise, say on a disk of its own.
///
/// # Errors
/// If the system gives no thread.
pub fn spawn_reactor(reactor: Reactor) -> io::Result<(EngineHandle, Alerts)> {
    let local_addrs = reactor.local_addrs();
    let close_timeout = reactor.close_timeout();
    let (calls, shared, thread) = thread::start(reactor)?;
    let thread_id = thread.thread().id();
    let owner = Owner {
        calls,
        shared: shared.clone(),
        local_addrs,
        close_timeout,
        thread_id,
        thread: Mutex::new(Some(thread)),
    };
    Ok((EngineHandle { owner: Arc::new(owner) }, Alerts::new(shared, thread_id)))
}

/// A way to an engine on its own thread. Clones lead to the same engine.
///
/// When the last one is dropped the engine ends in good order: connections are closed, trackers
/// told and states saved. The drop waits for that,
/// [`SessionConf::close_timeout`](crate::conf::SessionConf::close_timeout) and a second at most, as
/// [`close`](Self::close) does, since a program may be at its end; it logs an error if that was not
/// enough. To wait otherwise, or to know how it went, call [`close`](Self::close) first. To wait
/// elsewhere, call [`shutdown`](Self::shutdown), and drop the handle once [`Alerts::recv`] has told
/// the end.
#[derive(Clone)]
pub struct EngineHandle {
    owner: Arc<Owner>,
}

impl fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineHandle")
            .field("local_addrs", &self.owner.local_addrs)
            .finish_non_exhaustive()
    }
}

impl EngineHandle {
    /// Runs `f` on the engine's thread and waits for its answer, which takes as long as the current
    /// turn, usually well below a millisecond. It blocks the caller, never the engine; `f`
    /// itself holds up the engine, so keep it short.
    ///
    /// If `f` panics, that is this call's error and the engine goes on (unless the program is built
    /// with `panic = "abort"`). Each verb is done as a whole or not at all, so those that `f`
    /// had called are done.
    ///
    /// # Errors
    /// [`CallError`]: the thread has ended or ends before `f` has run, `f` panicked, or this is
    /// called within a call.
    pub fn call<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Verbs<'_>) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        self.call_reactor(move |reactor| f(&mut reactor.verbs()))
    }

    /// Runs `f` on the engine's thread some time soon, and waits for nothing. A panic of `f` is
    /// logged. With the engine at its end `f` may never run, which [`call`](Self::call) would
    /// report.
    pub fn tell(&self, f: impl FnOnce(&mut Verbs<'_>) + Send + 'static) {
        let _ = self.send(Box::new(move |reactor| {
            if let Err(message) = guarded(move || f(&mut reactor.verbs())) {
                log::error!("a closure given to `tell` panicked: {message}");
            }
        }));
    }

    /// What the engine's reactor has done so far. Waits as [`call`](Self::call) does.
    ///
    /// # Errors
    /// [`CallError`], if the thread has ended or this is called within a call.
    pub fn reactor_stats(&self) -> Result<ReactorStats, CallError> {
        self.call_reactor(|reactor| reactor.stats())
    }

    /// The addresses listened on, in the order of
    /// [`NetworkConf::listen`](crate::conf::NetworkConf::listen), with the ports that the
    /// system chose.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.owner.local_addrs
    }

    /// Asks the engine to close its connections, save every state and end. Returns at once;
    /// [`Alerts::recv`] tells by `None`, and [`join`](Self::join) by returning, when it is
    /// done. Another engine can have its addresses and its session folder then.
    pub fn shutdown(&self) {
        self.owner.shared.ask_to_end();
    }

    /// Ends the engine in good order and waits `within` for that. Then it is given up: whatever
    /// holds it up, say a disk that does not answer, is not waited for. Its thread has one second
    /// more to end its turn and close its sockets, so this returns after `within` and a second at
    /// the latest. Other handles find the engine gone.
    ///
    /// # Errors
    /// [`CloseError`]: it took longer, the engine's thread has panicked, or this is called on it.
    pub fn close(self, within: Duration) -> Result<(), CloseError> {
        self.owner.close(within)
    }

    /// Waits until the engine's thread has ended, however long that takes. Ask for the end first,
    /// or have another thread ask.
    ///
    /// # Errors
    /// [`CloseError`], if it ended by a panic or this is called on it.
    pub fn join(self) -> Result<(), CloseError> {
        self.owner.join()
    }

    fn call_reactor<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Reactor) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        if self.owner.is_this_thread() {
            return Err(CallError::Nested);
        }
        let (answer, answered) = mpsc::sync_channel(1);
        self.send(Box::new(move |reactor| {
            // The caller is waiting, so it takes the answer.
            let _ = answer.send(guarded(move || f(reactor)));
        }))?;
        answered.recv().map_err(|_| CallError::Ended)?.map_err(CallError::Panicked)
    }

    fn send(&self, call: Call) -> Result<(), CallError> {
        self.owner.calls.send(call).map_err(|_| CallError::Ended)?;
        self.owner.shared.wake();
        Ok(())
    }
}

/// What all clones of a handle share. Its end is the engine's.
struct Owner {
    calls: mpsc::Sender<Call>,
    shared: Arc<Shared>,
    local_addrs: Vec<SocketAddr>,
    close_timeout: Duration,
    thread_id: ThreadId,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    fn is_this_thread(&self) -> bool {
        std::thread::current().id() == self.thread_id
    }

    fn close(&self, within: Duration) -> Result<(), CloseError> {
        self.shared.ask_to_end();
        if self.is_this_thread() {
            return Err(CloseError::Nested);
        }
        if self.shared.wait_for_end(within) {
            self.join()
        } else {
            Err(CloseError::TimedOut(within))
        }
    }

    fn join(&self) -> Result<(), CloseError> {
        if self.is_this_thread() {
            return Err(CloseError::Nested);
        }
        // Others who join wait for the lock meanwhile.
        lock(&self.thread)
            .take()
            .map_or(Ok(()), |thread| thread.join().map_err(|_| CloseError::Panicked))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        match self.close(self.close_timeout) {
            // The last handle was dropped by a closure: the thread ends when that has returned.
            Ok(()) | Err(CloseError::Nested) => {}
            Err(error) => log::error!("{error}"),
        }
    }
}

/// Runs what a user wrote, and makes a panic an error: its message.
fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    // What it could leave half done is the user's own: a verb checks its arguments before it
    // changes anything, and runs no code of the user's while it does.
    catch_unwind(AssertUnwindSafe(f)).map_err(message_of)
}

fn message_of(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>().map_err(|payload| payload.downcast::<&'static str>()) {
        Ok(message) => *message,
        Err(Ok(message)) => (*message).to_owned(),
        Err(Err(other)) => {
            // A value of the user's own, whose drop could panic again.
            std::mem::forget(other);
            "a value that is no text".to_owned()
        }
    }
}
