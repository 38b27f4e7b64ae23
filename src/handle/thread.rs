//! The engine's thread, and what it shares with the others. It runs closures between turns, hands
//! alerts on, and ends when the engine has shut down or was given up. Knows nothing of handles.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::queue::AlertQueue;
use crate::reactor::{Reactor, Waker};

/// Alerts between the threads; the rest wait in the engine, whose own queue is bounded and says
/// what it dropped.
const ALERTS_BETWEEN: usize = 64;
/// Closures run between two turns.
const CALLS_A_TURN: usize = 64;
/// How long the thread may take to end once it was given up, which is one turn.
const GIVEN_UP: Duration = Duration::from_secs(1);

/// A closure on its way to the engine. It does not panic.
pub(super) type Call = Box<dyn FnOnce(&mut Reactor) + Send>;

/// Starts the thread.
pub(super) fn start(
    reactor: Reactor,
) -> io::Result<(mpsc::Sender<Call>, Arc<Shared>, JoinHandle<()>)> {
    let (calls, inbox) = mpsc::channel();
    let shared = Arc::new(Shared {
        waker: reactor.waker(),
        shutdown: AtomicBool::new(false),
        given_up: AtomicBool::new(false),
        alerts: Mutex::default(),
        arrived: Condvar::new(),
        ended: Mutex::new(false),
        told_end: Condvar::new(),
    });
    let (end, last_words) = (End(shared.clone()), LastWords(shared.clone()));
    let run = move || {
        let _end = end;
        run(reactor, &inbox, last_words);
    };
    let thread = thread::Builder::new().name("cratetorrent".into()).spawn(run)?;
    Ok((calls, shared, thread))
}

/// What the engine's thread shares with the others.
pub(super) struct Shared {
    waker: Waker,
    shutdown: AtomicBool,
    /// The thread is to end without waiting for anything.
    given_up: AtomicBool,
    alerts: Mutex<AlertQueue>,
    pub(super) arrived: Condvar,
    /// The thread has let go of everything.
    ended: Mutex<bool>,
    told_end: Condvar,
}

impl Shared {
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    pub(super) fn ask_to_end(&self) {
        self.shutdown.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Waits for the end of the thread, and gives the engine up after `within`. False if it was not
    /// over by then.
    pub(super) fn wait_for_end(&self, within: Duration) -> bool {
        // An engine that was given up once has been waited for enough.
        if self.given_up.load(Ordering::SeqCst) {
            return self.is_over_within(Duration::ZERO);
        }
        let over = self.is_over_within(within);
        if !over {
            self.given_up.store(true, Ordering::SeqCst);
            self.wake();
            self.is_over_within(GIVEN_UP);
        }
        over
    }

    fn is_over_within(&self, within: Duration) -> bool {
        let waited = self.told_end.wait_timeout_while(lock(&self.ended), within, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn lock_alerts(&self) -> MutexGuard<'_, AlertQueue> {
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

/// Tells those who wait for it that the thread is over, even if it ends by a panic.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        *lock(&self.0.ended) = true;
        self.0.told_end.notify_all();
    }
}

fn run(mut reactor: Reactor, inbox: &mpsc::Receiver<Call>, last_words: LastWords) {
    let shared = &last_words.0;
    let mut asked = false;
    let drained = loop {
        if answer_calls(&mut reactor, inbox) == CALLS_A_TURN {
            shared.wake();
        }
        if !asked && shared.shutdown.load(Ordering::SeqCst) {
            asked = true;
            reactor.verbs().shutdown();
        }
        // A closure may have asked for the end, too.
        if reactor.is_drained() {
            break true;
        }
        if shared.given_up.load(Ordering::SeqCst) {
            log::error!("the engine is given up before it has ended");
            forward_alerts(&mut reactor, shared, usize::MAX);
            return reactor.abandon();
        }
        if let Err(e) = reactor.poll(None) {
            log::error!("the engine ends: {e}");
            break false;
        }
        forward_alerts(&mut reactor, shared, ALERTS_BETWEEN);
    };
    // What is left is little, and the receiver may be waiting for the end of this thread.
    forward_alerts(&mut reactor, shared, usize::MAX);
    if drained {
        // Before the last words: at the end the addresses and the session folder can be had again.
        // A drained engine has no job that a worker could hang at; a failed one may have.
        drop(reactor);
    }
}

fn answer_calls(reactor: &mut Reactor, inbox: &mpsc::Receiver<Call>) -> usize {
    inbox.try_iter().take(CALLS_A_TURN).map(|call| call(reactor)).count()
}

/// Hands on alerts while there is room; the rest stay where they are coalesced, counted and
/// bounded.
fn forward_alerts(reactor: &mut Reactor, shared: &Shared, room: usize) {
    if !reactor.has_alerts() {
        return;
    }
    let mut queue = shared.lock_alerts();
    while queue.unwanted || queue.has_room(room) {
        match reactor.next_alert() {
            Some(_) if queue.unwanted => {}
            Some(alert) => queue.push(alert),
            None => break,
        }
    }
    queue.full = reactor.has_alerts();
    drop(queue);
    shared.arrived.notify_all();
}

/// None of these locks guards an invariant that a panic could break.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
