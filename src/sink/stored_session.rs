//! What each message of a session is stored with: who sent it, and how it came.

use std::net::{IpAddr, SocketAddr};

use super::core::Door;
use crate::smtp::server::{Protocol, Relayed, Server};
use crate::spool::{SessionMeta, SpoolError};

/// The facts of a session, encoded when its first message is stored, and again when one of them has changed.
pub(super) struct StoredSession<'d> {
    door: &'d Door,
    /// The address of the client as text.
    peer: String,
    /// What was agreed on in the handshake; empty in plain text.
    tls: Vec<u8>,
    encoded: Vec<u8>,
    /// The version of the client that is encoded.
    version: Option<u32>,
}

impl<'d> StoredSession<'d> {
    pub(super) fn new(door: &'d Door, peer: String) -> Self {
        Self { door, peer, tls: Vec::new(), encoded: Vec::new(), version: None }
    }

    /// The handshake is done.
    pub(super) fn set_tls(&mut self, tls: Vec<u8>) {
        self.tls = tls;
        self.version = None;
    }

    /// The facts as envelopes hold them.
    ///
    /// # Errors
    /// [`SpoolError::EnvelopeTooLarge`].
    pub(super) fn encoded(&mut self, server: &Server) -> Result<&[u8], SpoolError> {
        if self.version != Some(server.client_version()) {
            self.version = None;
            self.encoded = self.encode(server)?;
            self.version = Some(server.client_version());
        }
        debug_assert!(
            self.encode(server).is_ok_and(|fresh| fresh == self.encoded),
            "what is known of a client changed, and its version did not"
        );
        Ok(&self.encoded)
    }

    fn encode(&self, server: &Server) -> Result<Vec<u8>, SpoolError> {
        let relayed = server.relayed();
        let peer = relayed.and_then(|relayed| relayed.address.map(|ip| relayed_peer(ip, relayed)));
        let meta = SessionMeta {
            peer: peer.as_ref().unwrap_or(&self.peer).as_bytes(),
            listener: self.door.url.as_bytes(),
            helo: relayed.and_then(|r| r.hello.as_deref()).unwrap_or(server.hello()),
            protocol: protocol(server, self.door),
            tls: &self.tls,
            // What a trusted relay says of the client's login goes before a login of the relay itself.
            auth: relayed
                .and_then(|r| r.login.as_deref())
                .or(server.identity())
                .unwrap_or_default(),
        };
        let mut encoded = Vec::new();
        meta.encode(&mut encoded)?;
        Ok(encoded)
    }
}

/// The name of what is spoken, as in the WITH clause of a Received field (RFC 3848).
fn protocol(server: &Server, door: &Door) -> &'static [u8] {
    let relayed = server.relayed().and_then(|relayed| relayed.extended);
    let extended = relayed.unwrap_or_else(|| server.extended());
    let authenticated = server.identity().is_some();
    // SMTP knows no TLS without EHLO, and no name for it.
    match (door.protocol, extended, server.is_secured(), authenticated) {
        (Protocol::Lmtp, _, false, false) => b"LMTP",
        (Protocol::Lmtp, _, false, true) => b"LMTPA",
        (Protocol::Lmtp, _, true, false) => b"LMTPS",
        (Protocol::Lmtp, _, true, true) => b"LMTPSA",
        (Protocol::Smtp, _, false, true) => b"ESMTPA",
        (Protocol::Smtp, _, true, true) => b"ESMTPSA",
        (Protocol::Smtp, _, true, false) => b"ESMTPS",
        (Protocol::Smtp, true, false, false) => b"ESMTP",
        (Protocol::Smtp, false, false, false) => b"SMTP",
    }
}

/// The client's address as XCLIENT gave it; port 0 where it gave none.
fn relayed_peer(ip: IpAddr, relayed: &Relayed) -> String {
    SocketAddr::new(ip, relayed.port.unwrap_or_default()).to_string()
}
