//! What a client asks for with ETRN and ATRN, and what it may be answered (RFC 1985, RFC 2645).

use crate::smtp::node::Node;

/// What a client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// ETRN: to begin the delivery of a node's mail, over another connection.
    Start(Node),
    /// ATRN: to be sent the mail of these domains over this connection; of all that are the
    /// client's where it named none.
    Turn(Vec<Node>),
}

/// The answer to ETRN (RFC 1985 §5.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EtrnAnswer {
    /// 250: its turn will come.
    Queued,
    /// 251: nothing waits.
    Nothing,
    /// 252: it has begun.
    Pending,
    /// 253: it has begun, with so many messages.
    Counted(u64),
    /// 458: not now.
    Unable,
    /// 459: not for this node, and why.
    NotAllowed(&'static str),
}

/// The answer to ATRN (RFC 2645 §5.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtrnAnswer {
    /// 250: the roles turn round after this reply.
    Turn,
    /// 450: not these domains, or not now.
    Refused,
    /// 451.
    Unable,
    /// 453: nothing waits.
    Nothing,
}
