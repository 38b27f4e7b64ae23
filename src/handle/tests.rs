//! Handles: what a closure may do to the engine and what not, and how an engine ends, on a disk
//! that hangs too.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use tempfile::TempDir;

use super::*;
use crate::{
    base::{ids::TorrentId, storage::Allocation},
    engine::TorrentParams,
    store::{Disk, FileStat, RealDisk},
    wire::metainfo::{Metainfo, MetainfoBuilder},
};

/// Long for anything that ends at all.
const LONG: Duration = Duration::from_secs(60);

fn conf() -> Conf {
    Conf::default().with(|conf| {
        conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        conf.storage.workers = 1;
    })
}

fn params(dir: &Path) -> TorrentParams {
    let mut builder = MetainfoBuilder::new("a", 1 << 17);
    builder.single_file(100_000);
    let metainfo = Metainfo::from_bytes(&builder.build(&[[7; 20]]).unwrap()).unwrap();
    TorrentParams::new(Arc::new(metainfo), dir)
}

fn start(conf: Conf, disk: Arc<dyn Disk>, dir: &Path) -> (EngineHandle, Alerts, TorrentId) {
    let (engine, alerts) = spawn_reactor(Reactor::with(conf, 1, disk).unwrap()).unwrap();
    let params = params(dir);
    let torrent = engine.call(|engine| engine.add_torrent(params)).unwrap().unwrap();
    (engine, alerts, torrent)
}

/// An engine whose torrent has nothing in its folder.
fn on_disk() -> (EngineHandle, Alerts, TorrentId, TempDir) {
    let dir = TempDir::new().unwrap();
    let (engine, alerts, torrent) = start(conf(), Arc::new(RealDisk::new(8)), dir.path());
    (engine, alerts, torrent, dir)
}

/// A disk on which nothing comes back before the end of a test.
#[derive(Debug, Default)]
struct Hung {
    over: Mutex<bool>,
    told: Condvar,
    asked: Mutex<bool>,
    was_asked: Condvar,
}

/// Lets go of the workers that wait for the disk.
struct Mended(Arc<Hung>);

impl Drop for Mended {
    fn drop(&mut self) {
        *lock(&self.0.over) = true;
        self.0.told.notify_all();
    }
}

impl Hung {
    fn hang(&self) -> io::Error {
        *lock(&self.asked) = true;
        self.was_asked.notify_all();
        drop(self.told.wait_while(lock(&self.over), |over| !*over));
        io::ErrorKind::TimedOut.into()
    }

    fn wait_until_asked(&self) {
        drop(self.was_asked.wait_while(lock(&self.asked), |asked| !*asked));
    }
}

impl Disk for Hung {
    fn read_at(&self, _: &Path, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(self.hang())
    }
    fn write_at(&self, _: &Path, _: u64, _: &[u8]) -> io::Result<usize> {
        Err(self.hang())
    }
    fn create(&self, _: &Path, _: u64, _: Allocation) -> io::Result<()> {
        Err(self.hang())
    }
    fn stat(&self, _: &Path) -> io::Result<Option<FileStat>> {
        Err(self.hang())
    }
    fn sync(&self, _: &Path) -> io::Result<()> {
        Err(self.hang())
    }
    fn load(&self, _: &Path, _: u64) -> io::Result<Option<Vec<u8>>> {
        Err(self.hang())
    }
    fn save(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(self.hang())
    }
    fn close(&self, _: &Path) {}
}

fn is_free(addr: SocketAddr) -> bool {
    TcpListener::bind(addr).is_ok()
}

#[test]
fn panic_in_a_call_is_its_error_and_the_engine_goes_on() {
    let (engine, _alerts, torrent, _dir) = on_disk();
    let call = engine.call(move |engine| -> () {
        engine.pause(torrent).unwrap();
        panic!("a panic that is part of {}", "a test")
    });
    assert_eq!(call, Err(CallError::Panicked("a panic that is part of a test".into())));
    assert_eq!(
        engine.call(|_| -> () { panic!("another") }),
        Err(CallError::Panicked("another".into()))
    );
    // No text, and one whose drop panics as well.
    struct Worse;
    impl Drop for Worse {
        fn drop(&mut self) {
            panic!("not again");
        }
    }
    let call = engine.call(|_| -> () { std::panic::panic_any(Worse) });
    assert!(matches!(call, Err(CallError::Panicked(_))));
    engine.tell(|_| panic!("a third"));
    // The verb before the panic is done, and everything else works.
    let paused =
        engine.call(move |engine| engine.params(torrent).map(|params| params.paused)).unwrap();
    assert_eq!(paused, Ok(true));
    engine.call(move |engine| engine.remove(torrent)).unwrap().unwrap();
    assert_eq!(engine.close(LONG), Ok(()));
}

#[test]
fn call_within_a_call_is_refused() {
    let (engine, _alerts, _, _dir) = on_disk();
    let (inner, closing, joining) = (engine.clone(), engine.clone(), engine.clone());
    assert_eq!(engine.call(move |_| inner.call(|_| ())), Ok(Err(CallError::Nested)));
    assert_eq!(engine.call(move |_| joining.join()), Ok(Err(CloseError::Nested)));
    // It has asked for the end nonetheless.
    assert_eq!(engine.call(move |_| closing.close(LONG)), Ok(Err(CloseError::Nested)));
    assert_eq!(engine.join(), Ok(()));
}

#[test]
fn shutdown_from_a_closure_ends_the_thread() {
    let (engine, alerts, _, _dir) = on_disk();
    engine.call(|engine| engine.shutdown()).unwrap();
    assert!(alerts.into_iter().count() < 100);
    assert_eq!(engine.call(|_| ()), Err(CallError::Ended));
    assert_eq!(engine.join(), Ok(()));
}

#[test]
fn last_handle_dropped_by_a_closure_ends_the_thread() {
    let (engine, alerts, torrent, _dir) = on_disk();
    let last = engine.clone();
    let (hold, held) = mpsc::channel();
    engine.tell(move |engine| {
        held.recv().unwrap();
        engine.pause(torrent).unwrap();
        drop(last);
    });
    // Not the last: it waits for nothing.
    drop(engine);
    hold.send(()).unwrap();
    assert!(alerts.into_iter().count() < 100);
}

#[test]
fn drop_of_the_last_handle_waits_until_the_engine_has_ended() {
    let (engine, alerts, _, _dir) = on_disk();
    let addr = engine.local_addrs()[0];
    assert!(!is_free(addr));
    drop(engine.clone());
    assert!(!is_free(addr), "that was not the last");
    drop(engine);
    assert!(is_free(addr));
    // Nothing more comes, and what came is there.
    while alerts.try_recv().is_ok() {}
    assert_eq!(alerts.try_recv().err(), Some(NoAlert::Ended));
}

#[test]
fn addresses_and_session_are_free_once_alerts_have_ended() {
    let dir = TempDir::new().unwrap();
    let [.., high, low] = std::process::id().to_be_bytes();
    // An address of this process alone, at a port below those that systems give out.
    let addr = SocketAddr::from((Ipv4Addr::new(127, high, low, 79), 20_100));
    let conf = conf().with(|conf| {
        conf.network.listen = vec![addr];
        conf.session.dir = Some(dir.path().to_owned());
        conf.storage.workers = 4;
    });
    for nth in 0..50 {
        let started = spawn(conf.clone());
        let (engine, alerts) = started.unwrap_or_else(|e| panic!("start {nth}: {e}"));
        engine.shutdown();
        while alerts.recv().is_some() {}
        // The handle is still there.
        assert!(is_free(addr), "end {nth}");
        drop(engine);
    }
}

#[test]
fn alerts_are_not_waited_for_on_the_engines_thread() {
    let (engine, alerts, _, _dir) = on_disk();
    let (tell, told) = mpsc::channel();
    engine.tell(move |_| {
        while alerts.recv().is_some() {}
        tell.send(alerts.recv_timeout(LONG).err()).unwrap();
    });
    assert_eq!(told.recv_timeout(LONG / 2), Ok(Some(NoAlert::Yet)));
    assert_eq!(engine.close(LONG), Ok(()));
}

#[test]
fn closure_that_hangs_holds_up_close_for_a_second_more() {
    let (engine, _alerts, _, _dir) = on_disk();
    let (let_go, held) = mpsc::channel::<()>();
    engine.tell(move |_| _ = held.recv());
    let short = Duration::from_millis(50);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(engine.close(short)));
    let closed = told.recv_timeout(Duration::from_millis(1900));
    assert_eq!(closed, Ok(Err(CloseError::TimedOut(short))));
    drop(let_go);
}

#[test]
fn hung_disk_holds_up_neither_close_nor_drop_nor_abandon() {
    let disk = Arc::new(Hung::default());
    let _mended = Mended(disk.clone());
    let short = Duration::from_millis(50);

    let (engine, alerts, _) = start(conf(), disk.clone(), Path::new("/d"));
    let addr = engine.local_addrs()[0];
    disk.wait_until_asked();
    assert_eq!(engine.clone().close(short), Err(CloseError::TimedOut(short)));
    assert!(is_free(addr), "its sockets are closed");
    assert_eq!(alerts.into_iter().count(), 0);
    assert_eq!(engine.call(|_| ()), Err(CallError::Ended));
    drop(engine);

    let (engine, _alerts, _) = start(
        conf().with(|conf| conf.session.close_timeout = short),
        disk.clone(),
        Path::new("/d"),
    );
    let addr = engine.local_addrs()[0];
    drop(engine);
    assert!(is_free(addr));

    let mut reactor = Reactor::with(conf(), 1, disk.clone()).unwrap();
    reactor.verbs().add_torrent(params(Path::new("/d"))).unwrap();
    *lock(&disk.asked) = false;
    reactor.poll(Some(Duration::ZERO)).unwrap();
    disk.wait_until_asked();
    reactor.abandon();
}
