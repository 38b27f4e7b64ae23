//! Local networks: what one node sends to the group, all nodes of its network get, itself as well,
//! as from a socket that is in the group. A node is in one of them at most.

use std::net::IpAddr;

use super::*;
use crate::engine::Interface;

impl World {
    /// Makes a local network of these nodes, which leave the one that they were in.
    pub fn lay_lan(&mut self, nodes: &[NodeId]) {
        let lan = self.nodes.iter().filter_map(|node| node.lan).max().unwrap_or(0) + 1;
        nodes.iter().for_each(|&node| self.set_lan(node, Some(lan)));
    }

    /// Puts a node into the local network of another, or takes it out of its own.
    pub fn join_lan(&mut self, node: NodeId, of: Option<NodeId>) {
        let lan = of.and_then(|of| self.nodes[of.0].lan);
        self.set_lan(node, lan);
    }

    fn set_lan(&mut self, node: NodeId, lan: Option<u32>) {
        self.nodes[node.0].lan = lan;
        self.tell_interfaces(node.0);
    }

    /// An engine is told of its interfaces.
    pub(super) fn tell_interfaces(&mut self, node: usize) {
        let (lan, clock) = (self.nodes[node].lan, self.clock(node));
        if let Body::Engine(host) = &mut self.nodes[node].body {
            let interfaces = lan.map(|lan| Interface::new(lan, false));
            host.engine.handle_interfaces(clock, interfaces.into_iter().collect(), Vec::new());
            self.service(node);
        }
    }

    /// An engine is told from which addresses its machine sends, as a driver does that looks.
    pub fn tell_addresses(&mut self, node: NodeId, addrs: &[IpAddr]) {
        let clock = self.clock(node.0);
        if let Body::Engine(host) = &mut self.nodes[node.0].body {
            host.engine.handle_addresses(clock, addrs.to_vec());
            self.service(node.0);
        }
    }

    /// `node` sends a datagram to its local network.
    pub(super) fn multicast(&mut self, node: usize, bytes: &[u8]) {
        let Some(lan) = self.nodes[node].lan else { return };
        for to in 0..self.nodes.len() {
            if self.nodes[to].lan == Some(lan) && !self.happens(self.air.lost) {
                let at = self.now + self.delay(node, to);
                self.schedule(at, Event::Multicast { from: node, to, bytes: bytes.to_vec() });
            }
        }
    }

    pub(super) fn multicast_arrives(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let (sender, node) = (&self.nodes[from], &self.nodes[to]);
        if !node.up || node.lan.is_none() || node.lan != sender.lan || !self.reaches(from, to) {
            return;
        }
        let (addr, clock) = (sender.addr, self.clock(to));
        match &mut self.nodes[to].body {
            Body::Engine(host) => {
                host.engine.handle_multicast(clock, addr, bytes);
                self.service(to);
            }
            Body::Script(_) => self.act(to, |script, talk| script.multicast(talk, addr, bytes)),
        }
    }
}
