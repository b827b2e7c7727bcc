//! Where the mail of a node goes, and which user may fetch it.

use std::str::FromStr;
use std::sync::Arc;

use crate::dial::{Target, TargetSecurity};
use crate::smtp::node::Node;
use crate::smtp::path::domain_of;
use crate::spool::{Deliveries, Message, SpoolError};

/// Where the mail of a node is sent when ETRN asks for it.
#[derive(Clone, Debug)]
pub struct Route {
    pub node: Node,
    pub target: Target,
    /// How deliveries go under TLS; `None` for plain text.
    pub security: Option<TargetSecurity>,
}

/// All routes of a sink, each node once.
#[derive(Clone, Debug, Default)]
pub struct Routes(Vec<Route>);

impl Routes {
    /// # Errors
    /// The node that has two routes.
    pub fn new(routes: Vec<Route>) -> Result<Self, Node> {
        for (index, route) in routes.iter().enumerate() {
            if routes[..index].iter().any(|other| other.node == route.node) {
                return Err(route.node.clone());
            }
        }
        Ok(Self(routes))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The narrowest route that the whole of `node` lies on, by its number.
    fn find(&self, node: &Node) -> Option<usize> {
        let covering = self.0.iter().enumerate().filter(|(_, route)| route.node.covers(node));
        let narrowest = covering.max_by_key(|(_, route)| match &route.node {
            Node::Subtree(name) => name.len(),
            Node::Domain(_) | Node::Queue(_) => usize::MAX,
        });
        narrowest.map(|(index, _)| index)
    }

    fn of_domain(&self, domain: &[u8]) -> Option<usize> {
        self.find(&Node::parse(domain)?)
    }
}

/// One user's domains.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    pub user: Box<str>,
    /// Domains and subtrees.
    pub nodes: Vec<Node>,
}

/// A text that is no grant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("write USER=DOMAIN[,DOMAIN...]; a domain after @ stands for its subdomains too")]
pub struct BadGrant;

impl FromStr for Grant {
    type Err = BadGrant;

    /// A user's name may hold `=`; a domain does not.
    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let (user, domains) = text.rsplit_once('=').ok_or(BadGrant)?;
        let node = |text: &str| {
            Node::parse(text.trim().as_bytes()).filter(|node| !matches!(node, Node::Queue(_)))
        };
        let nodes: Option<Vec<_>> = domains.split(',').map(node).collect();
        match nodes {
            Some(nodes) if !user.is_empty() => Ok(Self { user: user.into(), nodes }),
            _ => Err(BadGrant),
        }
    }
}

/// Which user may say ATRN, and for what.
#[derive(Clone, Debug, Default)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// The grants of a sink.
    pub fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The nodes whose mail `user` is to be sent: `asked`, or all that are granted where the user asked
    /// for none. `None`: not all that was asked for is granted, or nothing is.
    pub(super) fn of(&self, user: &[u8], asked: &[Node]) -> Option<Vec<Node>> {
        let granted = || {
            let grants = self.0.iter().filter(|grant| grant.user.as_bytes() == user);
            grants.flat_map(|grant| &grant.nodes)
        };
        if asked.is_empty() {
            return Some(granted().cloned().collect()).filter(|nodes: &Vec<_>| !nodes.is_empty());
        }
        let all = asked.iter().all(|node| granted().any(|own| own.covers(node)));
        all.then(|| asked.to_vec())
    }
}

/// Which recipients one delivery is for.
#[derive(Clone, Debug)]
pub(super) enum RecipientSelection {
    /// All recipients.
    Everything,
    /// The recipients in a node whose narrowest route is this one.
    Route { node: Node, routes: Arc<Routes>, index: usize },
    /// The recipients in these nodes.
    Nodes(Vec<Node>),
}

impl RecipientSelection {
    /// What ETRN for `node` asks for, and where it goes. `None`: there is no route.
    pub(super) fn of_route(node: &Node, routes: &Arc<Routes>) -> Option<(Self, Route)> {
        let index = routes.find(node)?;
        let selection = match node {
            Node::Queue(_) => Self::Everything,
            _ => Self::Route { node: node.clone(), routes: routes.clone(), index },
        };
        Some((selection, routes.0[index].clone()))
    }

    fn holds(&self, domain: &[u8]) -> bool {
        match self {
            Self::Everything => true,
            Self::Route { node, routes, index } => {
                node.holds(domain) && routes.of_domain(domain) == Some(*index)
            }
            Self::Nodes(nodes) => nodes.iter().any(|node| node.holds(domain)),
        }
    }

    /// Numbers of the recipients of a message that are selected and not decided yet.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when the deliveries cannot be read.
    pub(super) fn waiting(
        &self,
        message: &Message,
        known: &Deliveries,
    ) -> Result<Vec<u32>, SpoolError> {
        let known = known.of(message)?;
        let is_decided =
            |index| known.binary_search_by_key(&index, |delivery| delivery.recipient).is_ok();
        let recipients = (0..).zip(message.envelope.recipients.iter());
        let waiting = recipients.filter(|(index, recipient)| {
            self.holds(domain_of(recipient.path)) && !is_decided(*index)
        });
        Ok(waiting.map(|(index, _)| index).collect())
    }

    /// Whether the two may have a recipient in common.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (self.nodes(), other.nodes()) else { return true };
        own.iter().any(|own| others.iter().any(|other| own.covers(other) || other.covers(own)))
    }

    /// `None` for everything.
    fn nodes(&self) -> Option<&[Node]> {
        match self {
            Self::Everything => None,
            Self::Route { node, .. } => Some(std::slice::from_ref(node)),
            Self::Nodes(nodes) => Some(nodes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        Node::parse(text.as_bytes()).unwrap()
    }

    fn routes(nodes: &[&str]) -> Arc<Routes> {
        let target = Target::parse("127.0.0.1:25", &[]).unwrap();
        let route =
            |text: &&str| Route { node: node(text), target: target.clone(), security: None };
        Arc::new(Routes::new(nodes.iter().map(route).collect()).unwrap())
    }

    #[test]
    fn the_narrowest_route_is_taken() {
        let routes = routes(&["@org.example", "@a.org.example", "b.org.example", "#all"]);
        for (asked, expected) in [
            ("org.example", Some(0)),
            ("@org.example", Some(0)),
            ("x.a.org.example", Some(1)),
            ("b.org.example", Some(2)),
            ("@b.org.example", Some(0)),
            ("#all", Some(3)),
            ("#other", None),
            ("@example.com", None),
        ] {
            assert_eq!(routes.find(&node(asked)), expected, "{asked}");
        }
        let twice = vec![routes.0[0].clone(), routes.0[1].clone(), routes.0[0].clone()];
        assert_eq!(Routes::new(twice).unwrap_err(), node("@org.example"));
    }

    #[test]
    fn a_selection_leaves_other_routes_their_mail() {
        let routes = routes(&["@org.example", "b.org.example", "#all"]);
        let (subtree, _) = RecipientSelection::of_route(&node("@org.example"), &routes).unwrap();
        assert!(subtree.holds(b"ORG.example") && subtree.holds(b"x.org.example"));
        assert!(!subtree.holds(b"b.org.example") && !subtree.holds(b"com.example"));
        assert!(!subtree.holds(b"") && !subtree.holds(b"[192.0.2.1]"));
        let (all, _) = RecipientSelection::of_route(&node("#all"), &routes).unwrap();
        assert!(all.holds(b"") && all.overlaps(&subtree) && subtree.overlaps(&all));
        assert!(RecipientSelection::of_route(&node("example.com"), &routes).is_none());
        let nodes =
            |text: &[&str]| RecipientSelection::Nodes(text.iter().map(|text| node(text)).collect());
        assert!(subtree.overlaps(&nodes(&["example.com", "c.org.example"])));
        assert!(!subtree.overlaps(&nodes(&["example.com"])));
    }

    #[test]
    fn grants_are_all_or_nothing() {
        let grants =
            ["ada=a.example,@b.example", "tim=a.example"].map(|text| text.parse().unwrap());
        let grants = Grants::new(grants.to_vec());
        let asked = |text: &[&str]| text.iter().map(|text| node(text)).collect::<Vec<_>>();
        assert_eq!(grants.of(b"ada", &[]), Some(asked(&["a.example", "@b.example"])));
        let two = asked(&["a.example", "x.b.example"]);
        assert_eq!(grants.of(b"ada", &two), Some(two.clone()));
        assert_eq!(grants.of(b"tim", &two), None);
        assert_eq!(grants.of(b"eve", &[]), None);
        for bad in ["", "ada", "=a.example", "ada=", "ada=org", "ada=#q", "ada=a.example,"] {
            assert_eq!(bad.parse::<Grant>(), Err(BadGrant), "{bad}");
        }
        assert_eq!("a=b=c.example".parse::<Grant>().unwrap().user.as_ref(), "a=b");
    }
}
