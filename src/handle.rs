//! The third door: an engine on a thread of its own.
//!
//! The verbs live on [`Engine`] alone. A handle ships closures to it, so no list of commands repeats them; alerts come
//! back through a bounded queue. Knows nothing of what the engine does.

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use thiserror::Error;

use crate::{
    alert::Alert,
    conf::Conf,
    engine::Engine,
    reactor::{Reactor, ReactorError, ReactorStats, Waker},
};

/// Alerts between the threads; the rest wait in the engine, whose own queue is bounded and says what it dropped.
const ALERTS_BETWEEN: usize = 64;
/// Closures run between two turns.
const CALLS_A_TURN: usize = 64;

/// The engine's thread has ended: it was shut down, or it failed, which the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the engine's thread has ended")]
pub struct EngineGone;

/// Starts an engine on a thread of its own.
///
/// Everything that can be wrong with `conf` shows here: when this returns, the addresses are bound. The engine runs
/// until [`EngineHandle::shutdown`] or until the last handle is dropped; either way states are saved first.
///
/// ```
/// let (engine, alerts) = cratetorrent::spawn(cratetorrent::Conf::default())?;
/// assert_eq!(engine.call(|engine| engine.torrents().len()), Ok(0));
/// engine.shutdown();
/// assert!(alerts.recv().is_none());
/// assert_eq!(engine.join(), Ok(()));
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
    let (calls, inbox) = mpsc::channel();
    let shared = Arc::new(Shared {
        waker: reactor.waker(),
        shutdown: AtomicBool::new(false),
        alerts: Mutex::new(AlertQueue::default()),
        arrived: Condvar::new(),
    });
    let local_addrs = reactor.local_addrs();
    let last_words = LastWords(shared.clone());
    let thread = thread::Builder::new().name("cratetorrent".into()).spawn(move || run(reactor, &inbox, last_words))?;
    let owner = Owner { calls, shared: shared.clone(), local_addrs, thread: Mutex::new(Some(thread)) };
    Ok((EngineHandle { owner: Arc::new(owner) }, Alerts { shared }))
}

/// A way to an engine on its own thread. Clones lead to the same engine; when the last is dropped, it shuts down.
#[derive(Clone)]
pub struct EngineHandle {
    owner: Arc<Owner>,
}

impl fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineHandle").field("local_addrs", &self.owner.local_addrs).finish_non_exhaustive()
    }
}

impl EngineHandle {
    /// Runs `f` on the engine's thread and waits for its answer, which takes as long as the current turn, usually well
    /// below a millisecond. It blocks the caller, never the engine; `f` itself holds up the engine, so keep it short.
    /// Do not call this within another `call`: the engine would wait for itself.
    ///
    /// # Errors
    /// [`EngineGone`] if the thread has ended, or ends before `f` has run, or because `f` panicked.
    pub fn call<R: Send + 'static>(&self, f: impl FnOnce(&mut Engine) -> R + Send + 'static) -> Result<R, EngineGone> {
        self.call_reactor(move |reactor| f(reactor.engine()))
    }

    /// Runs `f` on the engine's thread some time soon, and waits for nothing.
    pub fn tell(&self, f: impl FnOnce(&mut Engine) + Send + 'static) {
        // With the engine gone there is nobody to tell, which `call` would report.
        let _ = self.send(Box::new(move |reactor| f(reactor.engine())));
    }

    /// What the engine's reactor has done so far. Waits as [`call`](Self::call) does.
    ///
    /// # Errors
    /// [`EngineGone`] if the thread has ended.
    pub fn reactor_stats(&self) -> Result<ReactorStats, EngineGone> {
        self.call_reactor(|reactor| reactor.stats())
    }

    /// The addresses listened on, in the order of [`Conf::listen`], with the ports that the system chose.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.owner.local_addrs
    }

    /// Asks the engine to close its connections, save every state and end. Returns at once; [`Alerts::recv`] tells by
    /// `None`, and [`join`](Self::join) by returning, when it is done.
    pub fn shutdown(&self) {
        self.owner.shared.ask_to_end();
    }

    /// Waits until the engine's thread has ended, which somebody must have asked for.
    ///
    /// # Errors
    /// [`EngineGone`] if it ended by a panic.
    pub fn join(self) -> Result<(), EngineGone> {
        let mut thread = lock(&self.owner.thread);
        // Others who join wait for the lock meanwhile.
        thread.take().map_or(Ok(()), |thread| thread.join().map_err(|_| EngineGone))
    }

    fn call_reactor<R: Send + 'static>(&self, f: impl FnOnce(&mut Reactor) -> R + Send + 'static) -> Result<R, EngineGone> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.send(Box::new(move |reactor| {
            // The caller is waiting, so it takes the answer.
            let _ = answer.send(f(reactor));
        }))?;
        answered.recv().map_err(|_| EngineGone)
    }

    fn send(&self, call: Call) -> Result<(), EngineGone> {
        self.owner.calls.send(call).map_err(|_| EngineGone)?;
        self.owner.shared.waker.wake();
        Ok(())
    }
}

/// The receiving end of an engine's alerts.
///
/// Alerts that nobody fetches wait in the engine, which leaves out the unimportant ones beyond
/// [`Conf::max_alerts`] and says how many. Dropping this drops all alerts.
pub struct Alerts {
    shared: Arc<Shared>,
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").finish_non_exhaustive()
    }
}

/// Why there is no alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoAlert {
    /// None has come so far.
    #[error("no alert has come yet")]
    Yet,
    /// The engine's thread has ended and every alert was fetched.
    #[error("the engine's thread has ended")]
    Ended,
}

impl Alerts {
    /// Waits for the next alert; `None` if the engine's thread has ended and every alert was fetched.
    pub fn recv(&self) -> Option<Alert> {
        let queue = self.shared.lock_alerts();
        let queue = self.shared.arrived.wait_while(queue, |queue| queue.is_pending());
        self.take(queue.unwrap_or_else(PoisonError::into_inner)).ok()
    }

    /// Waits for the next alert, but no longer than `timeout`.
    ///
    /// # Errors
    /// [`NoAlert`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Alert, NoAlert> {
        let queue = self.shared.lock_alerts();
        let queue = self.shared.arrived.wait_timeout_while(queue, timeout, |queue| queue.is_pending());
        self.take(queue.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// The next alert, if there is one.
    ///
    /// # Errors
    /// [`NoAlert`].
    pub fn try_recv(&self) -> Result<Alert, NoAlert> {
        self.take(self.shared.lock_alerts())
    }

    fn take(&self, mut queue: MutexGuard<'_, AlertQueue>) -> Result<Alert, NoAlert> {
        let alert = queue.waiting.pop_front().ok_or(if queue.closed { NoAlert::Ended } else { NoAlert::Yet });
        let engine_has_more = alert.is_ok() && std::mem::take(&mut queue.full);
        drop(queue);
        if engine_has_more {
            self.shared.waker.wake();
        }
        alert
    }
}

/// Alerts until the engine's thread ends.
impl Iterator for Alerts {
    type Item = Alert;

    fn next(&mut self) -> Option<Alert> {
        self.recv()
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        let mut queue = self.shared.lock_alerts();
        queue.unwanted = true;
        queue.waiting.clear();
        drop(queue);
        self.shared.waker.wake();
    }
}

type Call = Box<dyn FnOnce(&mut Reactor) + Send>;

/// What all clones of a handle share. Its end is the engine's.
struct Owner {
    calls: mpsc::Sender<Call>,
    shared: Arc<Shared>,
    local_addrs: Vec<SocketAddr>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.ask_to_end();
    }
}

/// What the engine's thread shares with the others.
struct Shared {
    waker: Waker,
    shutdown: AtomicBool,
    alerts: Mutex<AlertQueue>,
    arrived: Condvar,
}

#[derive(Default)]
struct AlertQueue {
    waiting: VecDeque<Alert>,
    /// The engine has more and wants to be woken when there is room.
    full: bool,
    /// The receiver is gone.
    unwanted: bool,
    /// The engine is gone.
    closed: bool,
}

impl AlertQueue {
    fn is_pending(&self) -> bool {
        self.waiting.is_empty() && !self.closed
    }
}

impl Shared {
    fn ask_to_end(&self) {
        self.shutdown.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    fn lock_alerts(&self) -> MutexGuard<'_, AlertQueue> {
        lock(&self.alerts)
    }
}

/// Tells the receiver of alerts that no more will come, even if the thread ends by a panic.
struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.lock_alerts().closed = true;
        self.0.arrived.notify_all();
    }
}

/// The engine's thread.
fn run(mut reactor: Reactor, inbox: &mpsc::Receiver<Call>, last_words: LastWords) {
    let shared = &last_words.0;
    let mut ending = false;
    loop {
        if answer_calls(&mut reactor, inbox) == CALLS_A_TURN {
            shared.waker.wake();
        }
        if !ending && shared.shutdown.load(Ordering::SeqCst) {
            ending = true;
            reactor.engine().shutdown();
        }
        if ending && reactor.is_drained() {
            break;
        }
        if let Err(e) = reactor.poll(None) {
            log::error!("the engine ends: {e}");
            break;
        }
        forward_alerts(&mut reactor, shared, ALERTS_BETWEEN);
    }
    // What is left is little, and nobody must wait for a receiver that may be waiting for us.
    forward_alerts(&mut reactor, shared, usize::MAX);
}

fn answer_calls(reactor: &mut Reactor, inbox: &mpsc::Receiver<Call>) -> usize {
    inbox.try_iter().take(CALLS_A_TURN).map(|call| call(reactor)).count()
}

/// Hands on alerts while there is room; the rest stay where they are coalesced, counted and bounded.
fn forward_alerts(reactor: &mut Reactor, shared: &Shared, room: usize) {
    if !reactor.has_alerts() {
        return;
    }
    let mut queue = shared.lock_alerts();
    while queue.unwanted || queue.waiting.len() < room {
        match reactor.next_alert() {
            Some(_) if queue.unwanted => {}
            Some(alert) => queue.waiting.push_back(alert),
            None => break,
        }
    }
    queue.full = reactor.has_alerts();
    drop(queue);
    shared.arrived.notify_all();
}

/// None of these locks guards an invariant that a panic could break.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
