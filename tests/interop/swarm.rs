//! All clients in one swarm: one of ours is the only seed, through a thin cable, and another of
//! ours fetches among the others. They find each other by a tracker of the test's own; ours do not
//! ask trackers, so it names them from the start, and our leech is told of the others.

use std::{net::SocketAddr, time::Duration};

use crate::{
    clients::{self, Client, Role},
    member::Member,
    support::{
        clock,
        network::Switch,
        system::{is_root, skip},
    },
};

/// How long the swarm may take.
const LIMIT: Duration = Duration::from_secs(120);
/// What the seed may send, in Mbit/s.
const SEED_MBIT: u32 = 20;

#[test]
fn a_swarm_of_all_completes_from_one_seed_of_ours() {
    let mut kinds = vec![
        Client::Libtorrent,
        Client::Transmission,
        Client::Aria2,
        Client::Qbittorrent,
        Client::Rtorrent,
    ];
    // It takes minutes to build, and may be the only one that is not there.
    kinds.extend(Client::Rqbit.find().is_ok().then_some(Client::Rqbit));
    let test = "interop of all in one swarm";
    if let Some(why) = kinds.iter().find_map(|client| client.find().err()) {
        return skip(test, &why);
    }
    let switch = match Switch::lay(kinds.len() as u8 + 2) {
        Ok(switch) => switch,
        Err(why) if !is_root() => return skip(test, &why),
        Err(why) => panic!("{why}"),
    };

    let torrent = crate::folder();
    let mut seed = Member::new("our seed".into(), &torrent, switch.place(0));
    let mut ours = Member::new("our leech".into(), &torrent, switch.place(1));
    seed.place.throttle(SEED_MBIT).unwrap();
    torrent.write_files(&seed.folder);
    let (_tracker, url) = clients::tracker(&seed.bench, &[seed.addr(), ours.addr()], &switch.hub());
    let created = crate::create(&torrent, &seed.folder, Some(&url));
    for member in [&seed, &ours] {
        std::fs::write(&member.bench.torrent, &created).unwrap();
    }
    seed.start_ours(&[]);
    clock::wait_for("ours seeds", LIMIT, || {
        clients::serves(&seed.bench, &torrent, seed.addr(), &switch.hub()).then_some(())
    });

    let mut others: Vec<Member> = Vec::new();
    for (n, client) in kinds.iter().enumerate() {
        let mut member = Member::new(format!("{client:?}"), &torrent, switch.place(2 + n));
        std::fs::write(&member.bench.torrent, &created).unwrap();
        member.start_theirs(*client, Role::Leech);
        others.push(member);
    }
    let peers: Vec<SocketAddr> =
        std::iter::once(seed.addr()).chain(others.iter().map(Member::addr)).collect();
    ours.start_ours(&peers);

    let started = clock::now();
    let mut told = Vec::new();
    let complete = clock::try_wait_for(LIMIT, || {
        for member in others.iter_mut().chain([&mut ours]) {
            if !member.done && member.look(&torrent) {
                told.push(format!("{} after {:.1?}", member.name, clock::now() - started));
            }
        }
        (ours.done && others.iter().all(|member| member.done)).then_some(())
    });
    let missing: Vec<_> =
        others.iter().chain([&ours]).filter(|m| !m.done).map(|m| &m.name).collect();
    println!(
        "{} MiB each, the seed sent {} MiB, our leech {} MiB; complete: {}",
        torrent.len() >> 20,
        seed.place.sent() >> 20,
        ours.place.sent() >> 20,
        told.join(", ")
    );
    assert!(complete.is_some(), "incomplete after {LIMIT:?}: {missing:?}");

    // They did trade: the seed did not send everything to everybody, and ours gave, too.
    let copies = others.len() as u64 + 1;
    assert!(
        seed.place.sent() < torrent.len() * (copies - 1),
        "the seed had to send nearly everything"
    );
    assert!(ours.place.sent() > torrent.len() / 8, "our leech gave hardly anything");
    for member in [&mut ours, &mut seed] {
        let process = member.process.as_mut().unwrap();
        process.terminate();
        let status = process.wait(Duration::from_secs(15));
        assert!(status.success(), "{}: {status}", member.name);
    }
    torrent.assert_in(&ours.folder);
}
