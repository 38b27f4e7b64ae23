//! Web servers, and how engines are told of them.

use super::*;
use crate::sim::web_server::{WebManners, WebServer};

impl World {
    /// A web server that has the files of these samples.
    pub fn web_server(&mut self, samples: &[Arc<Sample>], manners: WebManners) -> NodeId {
        let node = self.scripted(WebServer::new(samples, manners));
        self.set_web_manners(node, manners);
        node
    }

    /// Changes how a web server behaves.
    ///
    /// # Panics
    /// If the node is none.
    pub fn set_web_manners(&mut self, node: NodeId, manners: WebManners) {
        let other = match manners {
            WebManners::Redirects(other) => self.web_url(other),
            _ => self.web_url(node),
        };
        let Body::Script(scripted) = &mut self.nodes[node.0].body else {
            panic!("{node:?} is no web server");
        };
        let script: &mut dyn std::any::Any = &mut *scripted.script;
        let Some(server) = script.downcast_mut::<WebServer>() else {
            panic!("{node:?} is no web server");
        };
        server.set_manners(manners);
        server.set_other(other.trim_end_matches('/').to_owned());
    }

    /// Where a web server is, for torrents to have: its name, and the folder that has the files.
    pub fn web_url(&self, node: NodeId) -> String {
        format!("http://{}:{}/", self.host_name(node), self.addr(node).port())
    }

    /// An engine has read bytes of a web server, which count with those of its peers: whole blocks
    /// of them, and some of what is around.
    pub(super) fn count_web_bytes(host: &mut Host, stream: StreamId, bytes: usize) {
        let Some(id) = host.engine.web_seed_of(stream) else { return };
        if let Some(held) = host.held.iter_mut().find(|held| held.id == id) {
            held.wire_down += bytes as u64;
            held.met_script = true;
        }
    }
}
