//! What leaves the node: datagrams and names for the world, events for the owner.
//!
//! It decides nothing but what is dropped when nothing fetches it.

use std::{collections::VecDeque, net::SocketAddr};

use super::event::{DhtEvent, Output};
use crate::conf::Bootstrap as Name;

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    outputs: VecDeque<Output>,
    events: VecDeque<DhtEvent>,
    max_events: usize,
    /// Whether steps of searches are told.
    trace: bool,
    /// Packets and bytes that were sent.
    sent: (u64, u64),
}

impl Outbox {
    pub(super) fn new(max_events: usize) -> Self {
        Self {
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            max_events,
            trace: false,
            sent: (0, 0),
        }
    }

    pub(super) fn set_trace(&mut self, trace: bool) {
        self.trace = trace;
    }

    /// Packets and bytes that were sent.
    pub(super) fn sent(&self) -> (u64, u64) {
        self.sent
    }

    pub(super) fn transmit(&mut self, to: SocketAddr, data: Vec<u8>) {
        self.sent.0 += 1;
        self.sent.1 += data.len() as u64;
        self.outputs.push_back(Output::Send { to, data });
    }

    pub(super) fn resolve(&mut self, name: Name) {
        self.outputs.push_back(Output::Resolve { host: name.host, port: name.port });
    }

    /// Tells something. Steps are told if they are asked for; they are dropped when nothing
    /// fetches them, then what is oldest.
    pub(super) fn tell(&mut self, event: DhtEvent) {
        let is_step = |event: &DhtEvent| matches!(event, DhtEvent::Step { .. });
        if is_step(&event) && !self.trace {
            return;
        }
        if self.events.len() >= self.max_events {
            if is_step(&event) {
                return;
            }
            let step = self.events.iter().position(is_step);
            self.events.remove(step.unwrap_or(0));
        }
        self.events.push_back(event);
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<DhtEvent> {
        self.events.pop_front()
    }

    #[cfg(test)]
    pub(super) fn events(&self) -> usize {
        self.events.len()
    }
}
