//! What was agreed on in a handshake, as each message of its session is stored with it.

use crate::spool::{StoredClient, StoredTls};
use crate::tls::{TlsFacts, hex};

/// The value that each message of the session gets. Made once for a session.
pub(super) fn stored(facts: &TlsFacts) -> Vec<u8> {
    let client = facts.peer.as_ref().map(|certificate| StoredClient {
        subject: certificate.subject.clone(),
        sha256: hex(&certificate.sha256),
    });
    let stored = StoredTls {
        version: facts.version.to_owned(),
        suite: facts.suite.clone(),
        group: facts.group.clone().unwrap_or_default(),
        sni: facts.server_name.as_deref().unwrap_or_default().to_owned(),
        resumed: facts.resumed,
        client,
    };
    stored.encode()
}
