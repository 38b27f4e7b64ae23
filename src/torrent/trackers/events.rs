//! Events that a torrent's trackers have still to hear when it stops (BEP 3): which of them are on
//! their way, and which were never acknowledged and are kept for the next run. When an event is due
//! while the torrent runs is the announcer's to say, and how one is told is the engine's.

use crate::{
    base::{
        ids::PeerId,
        tracker_events::{Completion, OwedEvent, TrackerEvents},
    },
    torrent::{
        SAVE, Torrent,
        announcer::{Leave, TrackerNo},
        cx::Cx,
        told::Farewell,
    },
    wire::tracker::{Announce, AnnounceEvent},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Events {
    kept: TrackerEvents,
    /// What an earlier run left has been taken over.
    restored: bool,
    /// Farewells are on their way, or about to be.
    leaving: bool,
}

impl Torrent {
    /// What is to be kept for the next run.
    pub(in crate::torrent) fn tracker_events(&self) -> TrackerEvents {
        self.trackers.events.kept.clone()
    }

    /// An earlier run left `events`: those that were never acknowledged are told now. Called again
    /// when the state file is read; the first that has something counts.
    pub(in crate::torrent) fn restore_events(&mut self, mut events: TrackerEvents, cx: &mut Cx) {
        if self.trackers.events.restored || events == TrackerEvents::default() {
            return;
        }
        self.trackers.events.restored = true;
        if events.completion == Completion::Due {
            // It is told to every tracker that hears of this run.
            events.owed.retain(|event| !event.completed);
        }
        events.bound();
        self.trackers.announcer.restore_completion(events.completion);
        for event in &events.owed {
            let announce = self.owed_announce(event, cx);
            let (torrent, url) = (self.identity.key(), event.url.clone());
            let (no, events) = (None, vec![announce]);
            let farewell =
                Farewell { torrent, no, url, known: true, old: true, also: false, events };
            self.say_farewell(farewell, cx);
            self.trackers.events.leaving = true;
        }
        self.trackers.events.kept = events;
    }

    fn owed_announce(&self, event: &OwedEvent, cx: &Cx) -> Announce {
        let what = if event.completed { AnnounceEvent::Completed } else { AnnounceEvent::Stopped };
        Announce {
            peer_id: event.peer_id,
            key: event.key,
            uploaded: event.uploaded,
            downloaded: event.downloaded,
            left: event.left,
            numwant: Some(0),
            ..self.announce(what, None, cx)
        }
    }

    /// A tracker is to hear that the torrent stops, after what went before.
    pub(in crate::torrent) fn take_leave(
        &mut self,
        mut farewell: Farewell,
        completed: bool,
        id: Option<Vec<u8>>,
        cx: &mut Cx,
    ) {
        if completed {
            farewell.events.push(self.announce(AnnounceEvent::Completed, id.clone(), cx));
        }
        farewell.events.push(self.announce(AnnounceEvent::Stopped, id, cx));
        self.trackers.events.leaving = true;
        self.say_farewell(farewell, cx);
    }

    /// A hybrid is known to trackers by two hashes, and takes leave by both.
    fn say_farewell(&self, farewell: Farewell, cx: &mut Cx) {
        let first = self.identity.info_hash();
        let second = self.identity.hashes().wire_hashes().find(|second| second.hash != first);
        let also = second.map(|second| {
            let mut also = Farewell { also: true, ..farewell.clone() };
            also.events.iter_mut().for_each(|event| event.info_hash = second.hash);
            also
        });
        [Some(farewell), also].into_iter().flatten().for_each(|f| cx.told.say_farewell(f));
    }

    /// All trackers that know of it, or may, are to hear that it stops.
    pub(in crate::torrent) fn take_leave_of_all(&mut self, cx: &mut Cx) {
        let torrent = self.identity.key();
        cx.told.silence(torrent);
        for Leave { tracker, known, completed } in self.trackers.announcer.stop() {
            if let Some(url) =
                self.trackers.announcer.url(tracker, self.content.trackers()).map(str::to_owned)
            {
                let id = self.trackers.announcer.tracker_id(tracker).map(<[u8]>::to_vec);
                let (no, old, events) = (Some(tracker), false, Vec::new());
                let farewell = Farewell { torrent, no, url, known, old, also: false, events };
                self.take_leave(farewell, completed, id, cx);
            }
        }
    }

    /// It runs again: what this run has not been acknowledged is told in its course.
    pub(in crate::torrent) fn forget_own_events(&mut self, cx: &mut Cx) {
        let own = cx.peer_id;
        let before = self.trackers.events.kept.owed.len();
        self.trackers.events.kept.owed.retain(|event| event.peer_id != own);
        if before != self.trackers.events.kept.owed.len() {
            self.events_changed(cx);
        }
    }

    /// An event of a farewell is about to be told. Until it is acknowledged it is kept.
    pub(crate) fn owe_event(&mut self, url: &str, announce: &Announce, cx: &mut Cx) {
        let completed = match announce.event {
            AnnounceEvent::Completed => true,
            AnnounceEvent::Stopped => false,
            AnnounceEvent::None | AnnounceEvent::Started => return,
        };
        let Announce { peer_id, key, uploaded, downloaded, left, .. } = *announce;
        self.trackers.events.kept.owe(OwedEvent {
            url: url.to_owned(),
            completed,
            peer_id,
            key,
            uploaded,
            downloaded,
            left,
        });
        self.events_changed(cx);
    }

    /// An event of a farewell need not be told any more: it was acknowledged by `no`, if that is
    /// still a tracker of ours, or (`heard` is false) it makes no sense.
    pub(crate) fn settle_event(
        &mut self,
        no: Option<TrackerNo>,
        url: &str,
        announce: &Announce,
        heard: bool,
        cx: &mut Cx,
    ) {
        let completed = announce.event == AnnounceEvent::Completed;
        if completed && heard {
            self.trackers.announcer.acknowledge_completed(no);
        }
        if announce.event != AnnounceEvent::Started {
            let same = |peer: PeerId| peer == announce.peer_id;
            self.trackers
                .events
                .kept
                .owed
                .retain(|e| !(e.url == url && e.completed == completed && same(e.peer_id)));
            self.events_changed(cx);
        }
        self.note_completion(cx);
    }

    /// None of its farewells is on its way any more.
    pub(crate) fn handle_farewells_over(&mut self, cx: &mut Cx) {
        self.trackers.events.leaving = false;
        self.forget(cx);
        self.settle(cx);
    }

    /// Whether what trackers say in the end is still to be kept: what it is known by then is
    /// recorded before it is gone.
    pub(in crate::torrent) fn awaits_farewells(&self) -> bool {
        self.trackers.events.leaving && !self.lifecycle.is_removed()
    }

    /// Notes how far `completed` is, so that it is kept.
    pub(in crate::torrent) fn note_completion(&mut self, cx: &mut Cx) {
        let completion = self.trackers.announcer.completion();
        if self.trackers.events.kept.completion != completion {
            self.trackers.events.kept.completion = completion;
            self.events_changed(cx);
        }
    }

    fn events_changed(&mut self, cx: &mut Cx) {
        self.settings_changed(cx);
        if self.keeps_own_state() {
            self.saves.note_news();
            if self.lifecycle.is_open() && self.timers.get(SAVE).is_none() {
                self.timers.set(SAVE, cx.now);
            }
        }
    }

    /// Whether its state is in a file of its own, and not in the session's folder.
    pub(in crate::torrent) fn keeps_own_state(&self) -> bool {
        !self.persistence.is_on() && self.location.state_file().is_some()
    }
}
