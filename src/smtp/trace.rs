//! The trace field that a server puts in front of a message which it hands on (RFC 5321 §4.4).

use core::net::SocketAddr;

use super::path::is_host;

/// How a message came to us.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Argument of HELO, EHLO or LHLO.
    pub hello: &'a [u8],
    /// Address and port of the client; what is neither is left out.
    pub peer: &'a [u8],
    /// Our name.
    pub by: &'a str,
    /// Of RFC 3848.
    pub protocol: &'a str,
    pub id: &'a str,
    /// The recipient, where there is one alone.
    pub recipient: Option<&'a [u8]>,
    /// As in RFC 5322 §3.3.
    pub date: &'a str,
}

/// Recipients longer than this are left out, so that no line comes near 998 octets (RFC 5322 §2.1.1).
const RECIPIENT_BYTES_MAX: usize = 320;

impl Received<'_> {
    /// Appends the field, folded, with its CRLF.
    pub fn write(&self, out: &mut Vec<u8>) {
        // XCLIENT may have brought a name that no greeting would.
        let hello = if is_host(self.hello) { self.hello } else { b"unknown" };
        out.extend_from_slice(b"Received: from ");
        out.extend_from_slice(hello);
        let peer = str::from_utf8(self.peer).ok().and_then(|peer| peer.parse().ok());
        if let Some(peer) = peer {
            out.extend_from_slice(literal(peer).as_bytes());
        }
        let by = format!("\r\n\tby {} with {} id {}", self.by, self.protocol, self.id);
        out.extend_from_slice(by.as_bytes());
        let recipient = self
            .recipient
            .filter(|path| path.is_ascii() && (1..=RECIPIENT_BYTES_MAX).contains(&path.len()));
        if let Some(path) = recipient {
            out.extend_from_slice(b"\r\n\tfor <");
            out.extend_from_slice(path);
            out.push(b'>');
        }
        out.extend_from_slice(format!(";\r\n\t{}\r\n", self.date).as_bytes());
    }
}

/// ` ([192.0.2.1])` or ` ([IPv6:2001:db8::1])`.
fn literal(peer: SocketAddr) -> String {
    match peer {
        SocketAddr::V4(peer) => format!(" ([{}])", peer.ip()),
        SocketAddr::V6(peer) => format!(" ([IPv6:{}])", peer.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_says_who_by_whom_how_and_when() {
        let received = Received {
            hello: b"client.example",
            peer: b"192.0.2.1:4000",
            by: "sink.example",
            protocol: "ESMTP",
            id: "0-1-64",
            recipient: Some(b"a@b.example"),
            date: "Thu, 1 Jan 2026 00:00:00 +0000",
        };
        let text = |received: Received<'_>| {
            let mut out = Vec::new();
            received.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            text(received),
            "Received: from client.example ([192.0.2.1])\r\n\tby sink.example with ESMTP id 0-1-64\r\n\
             \tfor <a@b.example>;\r\n\tThu, 1 Jan 2026 00:00:00 +0000\r\n"
        );
        let other = Received {
            hello: b"odd name",
            peer: b"[2001:db8::1]:25",
            recipient: Some("ü@b.example".as_bytes()),
            ..received
        };
        assert_eq!(
            text(other),
            "Received: from unknown ([IPv6:2001:db8::1])\r\n\tby sink.example with ESMTP id 0-1-64;\r\n\
             \tThu, 1 Jan 2026 00:00:00 +0000\r\n"
        );
        assert!(
            text(Received { peer: b"unix", ..received })
                .starts_with("Received: from client.example\r\n")
        );
    }
}
