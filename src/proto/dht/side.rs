//! What the node has of one family: id, table, and whether anything answers.

use super::{external::External, table::Table};
use crate::{
    base::time::Instant,
    wire::krpc::{Family, NodeId},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) family: Family,
    pub(super) table: Table,
    pub(super) external: External,
    /// Queries in a row that stayed unanswered.
    pub(super) silent: u32,
    /// A node has answered, and not been followed by silence.
    pub(super) online: bool,
    /// A look-up of our own id is under way.
    pub(super) finding_self: bool,
    /// When votes of doubt last made us ask around.
    pub(super) doubted: Option<Instant>,
}

impl Side {
    pub(super) fn new(family: Family, id: NodeId) -> Self {
        Self {
            family,
            table: Table::new(id),
            external: External::default(),
            silent: 0,
            online: false,
            finding_self: false,
            doubted: None,
        }
    }

    pub(super) fn id(&self) -> NodeId {
        self.table.own()
    }
}
