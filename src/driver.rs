//! What a driver of an [`Engine`](crate::Engine) needs, and other programs do not: the effects it
//! has to carry out, the jobs it has to have done, their answers, and the keys that tie them
//! together.
//!
//! A driver is what connects an engine with sockets, disk and clock: [`Reactor`](crate::Reactor) is
//! one, the simulator another. It feeds the engine by its `handle_*` methods, fetches
//! [`Effect`]s by [`Engine::poll_effect`](crate::Engine::poll_effect) until there are none, and
//! answers each [`Job`] with the [`Done`] of the same name. [`store::Runner`](crate::store::Runner)
//! does jobs on a [`Disk`](crate::store::Disk), [`store::Pool`](crate::store::Pool) on threads.

pub use crate::{
    base::{
        arena::Key,
        bitfield::BitfieldError,
        buf::Buf,
        distrust::Distrust,
        geometry::Block,
        hash::{Digest, Hasher, Judgement, PieceHash, Sha1State},
        ids::{ReadId, Version, WireHash},
        job::{
            Chain, Done, Job, READ_GAP, Run, RunData, RunDone, Verdict, batch_len,
            extract::{Extract, ExtractError, ExtractProof},
            key_exchange::KeyExchange,
            task::Task,
        },
        partial::{BlockSet, PartialPiece},
        storage::{
            Borrowed, FoundNames, Leftovers, Opened, RecordKind, SaveState, SessionRecord, StoreOp,
            StoreSpec,
        },
        tracker_events::{Completion, OwedEvent, TrackerEvents},
    },
    engine::{CloseCause, DatagramOwner, Effect, Interface, StreamId},
};
