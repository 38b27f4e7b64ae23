//! Names to addresses, on threads of its own, since the system's resolver blocks for as long as it
//! likes. Answers come back through the Waker. Threads are never waited for: one that hangs ends
//! when its look-up does.

use std::{
    collections::VecDeque,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::wake::Waker;

const THREADS: usize = 2;
/// Names that wait for a thread.
const MAX_WAITING: usize = 256;
/// Addresses taken of one name.
const MAX_ADDRS: usize = 16;

/// A name, and its addresses or why there are none.
pub(super) type Answer = (String, Result<Vec<IpAddr>, String>);
type LookUp = fn(&str) -> Result<Vec<IpAddr>, String>;

/// See the module.
#[derive(Debug)]
pub(super) struct Resolver {
    shared: Arc<Shared>,
    threads: usize,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    waker: Waker,
    look_up: LookUp,
}

#[derive(Debug, Default)]
struct Queue {
    names: VecDeque<String>,
    answers: Vec<Answer>,
    idle: usize,
    closed: bool,
}

impl Resolver {
    /// One that asks the system, and wakes the loop when it knows. It has no threads until there is
    /// something to ask.
    pub(super) fn new(waker: Waker) -> Self {
        Self::with(waker, look_up)
    }

    fn with(waker: Waker, look_up: LookUp) -> Self {
        let shared = Shared { queue: Mutex::default(), arrived: Condvar::new(), waker, look_up };
        Self { shared: Arc::new(shared), threads: 0 }
    }

    /// Looks `host` up.
    ///
    /// # Errors
    /// Why it will not be, in words.
    pub(super) fn resolve(&mut self, host: String) -> Result<(), String> {
        let mut queue = lock(&self.shared);
        if queue.names.len() >= MAX_WAITING {
            return Err("too many names are being looked up".into());
        }
        queue.names.push_back(host);
        let busy = queue.idle < queue.names.len();
        drop(queue);
        self.shared.arrived.notify_one();
        if busy && self.threads < THREADS {
            let shared = self.shared.clone();
            match thread::Builder::new().name("resolver".into()).spawn(move || run(&shared)) {
                Ok(_) => self.threads += 1,
                Err(e) if self.threads == 0 => {
                    lock(&self.shared).names.clear();
                    return Err(format!("no thread to look names up: {e}"));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// What has become known.
    pub(super) fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut lock(&self.shared).answers)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared);
        queue.closed = true;
        queue.names.clear();
        drop(queue);
        self.shared.arrived.notify_all();
    }
}

fn run(shared: &Shared) {
    let mut queue = lock(shared);
    loop {
        queue.idle += 1;
        queue = shared
            .arrived
            .wait_while(queue, |queue| queue.names.is_empty() && !queue.closed)
            .unwrap_or_else(PoisonError::into_inner);
        queue.idle -= 1;
        if queue.closed {
            return;
        }
        let Some(host) = queue.names.pop_front() else { continue };
        drop(queue);
        let result = (shared.look_up)(&host);
        queue = lock(shared);
        queue.answers.push((host, result));
        shared.waker.wake();
    }
}

fn look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    let found = (host, 0).to_socket_addrs().map_err(|e| e.to_string())?;
    let mut addrs: Vec<IpAddr> = Vec::new();
    for ip in found.map(|addr| addr.ip()) {
        if !addrs.contains(&ip) && addrs.len() < MAX_ADDRS {
            addrs.push(ip);
        }
    }
    Ok(addrs)
}

fn lock(shared: &Shared) -> MutexGuard<'_, Queue> {
    shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use mio::{Events, Poll, Token};

    use super::*;

    fn waker(poll: &Poll) -> Waker {
        Waker::new(poll.registry(), Token(0)).unwrap()
    }

    fn answers(poll: &mut Poll, resolver: &mut Resolver, count: usize) -> Vec<Answer> {
        let (mut events, mut found) = (Events::with_capacity(4), Vec::new());
        let waker = resolver.shared.waker.clone();
        while found.len() < count {
            poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert!(!events.is_empty(), "nothing comes");
            waker.take();
            found.extend(resolver.answers());
        }
        found.sort();
        found
    }

    #[test]
    fn names_are_looked_up_and_failures_are_told_in_words() {
        let mut poll = Poll::new().unwrap();
        let mut resolver = Resolver::new(waker(&poll));
        resolver.resolve("localhost".into()).unwrap();
        let local = answers(&mut poll, &mut resolver, 1);
        assert!(local[0].1.as_ref().unwrap().iter().all(IpAddr::is_loopback), "{local:?}");
        resolver.resolve("no such name".into()).unwrap();
        let none = answers(&mut poll, &mut resolver, 1);
        assert!(!none[0].1.as_ref().unwrap_err().is_empty());
    }

    #[test]
    fn hung_lookup_holds_up_neither_the_next_nor_the_end() {
        // Hangs for ever: nothing is ever sent.
        fn hang(host: &str) -> Result<Vec<IpAddr>, String> {
            if host == "hang" {
                let (_kept, never) = mpsc::channel::<()>();
                let _ = never.recv();
            }
            Ok(Vec::new())
        }
        let mut poll = Poll::new().unwrap();
        let mut resolver = Resolver::with(waker(&poll), hang);
        resolver.resolve("hang".into()).unwrap();
        for n in 0..50 {
            resolver.resolve(n.to_string()).unwrap();
        }
        assert_eq!(answers(&mut poll, &mut resolver, 50).len(), 50);
        assert_eq!(resolver.threads, THREADS);
        resolver.resolve("hang".into()).unwrap();
        while lock(&resolver.shared).idle > 0 || !lock(&resolver.shared).names.is_empty() {
            thread::yield_now();
        }
        let taken =
            (0..2 * MAX_WAITING).filter(|n| resolver.resolve(n.to_string()).is_ok()).count();
        assert_eq!(taken, MAX_WAITING);
        drop(resolver);
    }
}
