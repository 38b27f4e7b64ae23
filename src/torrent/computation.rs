//! What workers compute for a torrent that is about no storage: each kind is a case here, so that
//! what comes back is told apart in one place.

use std::any::Any;

use crate::{
    base::{
        arena::Key,
        job::{Job, task::Task},
    },
    torrent::{hash_answer::HashAnswer, info_parser::InfoParser, layer_proof::LayerProof},
};

/// See the module.
#[derive(Debug)]
pub(crate) enum Computation {
    /// An info dictionary is parsed.
    Info(Box<InfoParser>),
    /// A peer's request for hashes of a tree is answered.
    Hashes(HashAnswer),
    /// The pieces of a file are held against its root.
    Layer(LayerProof),
}

impl Computation {
    /// The job that it is for this torrent.
    pub(super) fn job(self, torrent: Key) -> Job {
        Job::Compute { torrent, task: Box::new(self) }
    }

    /// What came back of such a job.
    pub(crate) fn of(task: Box<dyn Task>) -> Option<Self> {
        let task: Box<dyn Any> = task;
        task.downcast().ok().map(|task| *task)
    }
}

impl Task for Computation {
    fn run(&mut self) {
        match self {
            Self::Info(parser) => parser.run(),
            Self::Hashes(answer) => answer.run(),
            Self::Layer(proof) => proof.run(),
        }
    }
}
