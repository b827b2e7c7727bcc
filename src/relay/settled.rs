//! Up to where in the spool no mail waits for a node, so that ETRN looks at what came later alone.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::smtp::node::Node;
use crate::spool::Place;

/// Nodes that are remembered. A client can name as many as it likes, where a route is for a subtree.
const NODES_MAX: usize = 256;

/// The last message of each core up to which none waits, by node.
///
/// It stays true: what was delivered or refused once does not wait again, and what comes has a higher place.
#[derive(Default)]
pub(super) struct Settled {
    /// Each node once, the latest last.
    nodes: VecDeque<(Node, Arc<[Place]>)>,
}

impl Settled {
    pub(super) fn of(&self, node: &Node) -> Arc<[Place]> {
        let known = self.nodes.iter().find(|(known, _)| known == node);
        known.map(|(_, until)| until.clone()).unwrap_or_default()
    }

    pub(super) fn note(&mut self, node: Node, until: Arc<[Place]>) {
        self.nodes.retain(|(known, _)| *known != node);
        self.nodes.push_back((node, until));
        if self.nodes.len() > NODES_MAX {
            self.nodes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_nodes_are_remembered() {
        let node = |number: usize| Node::parse(format!("n{number}.example").as_bytes()).unwrap();
        let until = |segment| -> Arc<[Place]> { [Place { core: 0, segment, offset: 64 }].into() };
        let mut settled = Settled::default();
        for number in 0..NODES_MAX {
            settled.note(node(number), until(1));
        }
        settled.note(node(0), until(2));
        settled.note(node(NODES_MAX), until(3));
        assert_eq!((settled.of(&node(0)), settled.of(&node(NODES_MAX))), (until(2), until(3)));
        assert!(settled.of(&node(1)).is_empty() && settled.nodes.len() == NODES_MAX);
    }
}
