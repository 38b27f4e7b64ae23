//! What a torrent's trackers have still to hear, as state files and session records have it: a
//! bencoded dictionary. An unreadable event is passed over: it is not worth a torrent.

use super::bencode::{Encoder, Value};
use crate::base::{
    ids::PeerId,
    tracker_events::{Completion, OwedEvent, TrackerEvents},
};

/// Writes `events` as the value of `key`; nothing if there is nothing to say.
pub(super) fn push(e: &mut Encoder, key: &[u8], events: &TrackerEvents) {
    if *events == TrackerEvents::default() {
        return;
    }
    e.key(key).dict();
    e.key(b"completion").uint(match events.completion {
        Completion::None => 0,
        Completion::Due => 1,
        Completion::Told => 2,
    });
    e.key(b"owed").list();
    for event in &events.owed {
        let numbers = [
            event.uploaded,
            event.downloaded,
            event.left,
            event.key.into(),
            event.completed.into(),
        ];
        let numbers: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
        e.list().bytes(event.url.as_bytes()).bytes(&event.peer_id.0).bytes(&numbers).end();
    }
    e.end().end();
}

/// Reads them; an absent value is none.
pub(super) fn read(value: Option<Value<'_>>) -> TrackerEvents {
    let Some(value) = value else { return TrackerEvents::default() };
    let completion = match value.get(b"completion").and_then(|v| v.as_int()) {
        Some(1) => Completion::Due,
        Some(2) => Completion::Told,
        _ => Completion::None,
    };
    let owed = value.get(b"owed").and_then(|v| v.as_list());
    let mut events = TrackerEvents {
        completion,
        owed: owed.into_iter().flatten().filter_map(owed_event).collect(),
    };
    events.bound();
    events
}

fn owed_event(value: Value<'_>) -> Option<OwedEvent> {
    let mut parts = value.as_list()?;
    let url = parts.next()?.as_str()?.to_owned();
    let peer_id = PeerId(parts.next()?.as_bytes()?.try_into().ok()?);
    let (numbers, rest) = parts.next()?.as_bytes()?.as_chunks::<8>();
    let &[uploaded, downloaded, left, key, completed] = numbers else { return None };
    let number = u64::from_be_bytes;
    rest.is_empty().then_some(OwedEvent {
        url,
        completed: number(completed) != 0,
        peer_id,
        key: u32::try_from(number(key)).ok()?,
        uploaded: number(uploaded),
        downloaded: number(downloaded),
        left: number(left),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::bencode::Document;

    fn round_trip(events: &TrackerEvents) -> TrackerEvents {
        let mut e = Encoder::new();
        e.dict();
        push(&mut e, b"events", events);
        e.end();
        let bytes = e.finish();
        let document = Document::parse(&bytes).unwrap();
        read(document.root().get(b"events"))
    }

    #[test]
    fn tracker_events_round_trip_and_unreadable_ones_are_skipped() {
        let event = |url: &str, completed| OwedEvent {
            url: url.into(),
            completed,
            peer_id: PeerId([7; 20]),
            key: u32::MAX,
            uploaded: u64::MAX,
            downloaded: 5,
            left: 6,
        };
        for completion in [Completion::None, Completion::Due, Completion::Told] {
            for owed in
                [vec![], vec![event("udp://a.test/x", true), event("http://b.test/?y", false)]]
            {
                let events = TrackerEvents { completion, owed };
                assert_eq!(round_trip(&events), events);
            }
        }
        let document = Document::parse(b"d10:completioni7e4:owedli3el1:a1:b1:cel3:abceee").unwrap();
        assert_eq!(read(Some(document.root())), TrackerEvents::default());
        let document = Document::parse(b"i5e").unwrap();
        assert_eq!(read(Some(document.root())), TrackerEvents::default());
    }
}
