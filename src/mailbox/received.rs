//! The header fields that a relay and final delivery add before a message (RFC 5321 §4.4), and dates.

use std::net::SocketAddr;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::spool::{Message, Place, RecordFlags, StoredEnvelope};

/// The host that delivers, and the time zone of its dates.
#[derive(Clone, Debug)]
pub struct Tracer {
    /// Name of this host, for the BY clause.
    pub hostname: String,
    pub zone: TimeZone,
}

impl Tracer {
    /// Appends `Return-Path:` and `Received:`. Their lines end with CRLF.
    pub(super) fn write(&self, message: &Message, out: &mut Vec<u8>) {
        let envelope = &message.envelope;
        out.extend_from_slice(b"Return-Path: <");
        out.extend_from_slice(&envelope.reverse_path);
        out.extend_from_slice(b">\r\n");
        let only = envelope.recipients.get(0).filter(|_| envelope.recipients.len() == 1);
        let only = only.map(|only| only.path);
        self.write_received(message.place, envelope, only, out);
    }

    /// Appends `Received:`, which a relay adds too. `only` is the recipient, if there is only one: with
    /// several, the FOR clause would tell each of them of the others (RFC 5321 §7.2).
    pub fn write_received(
        &self,
        place: Place,
        envelope: &StoredEnvelope,
        only: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"Received: from ");
        write_from(envelope, out);
        out.extend_from_slice(b"\r\n\tby ");
        out.extend_from_slice(self.hostname.as_bytes());
        out.extend_from_slice(b" (ringpost)");
        let protocol = protocol(envelope);
        if !protocol.is_empty() {
            out.extend_from_slice(b" with ");
            out.extend_from_slice(&protocol);
        }
        out.extend_from_slice(format!(" id {place}").as_bytes());
        if let Some(path) = only {
            out.extend_from_slice(b"\r\n\tfor <");
            out.extend_from_slice(path);
            out.push(b'>');
        }
        let date = format_time(envelope.received_ns, &self.zone, "%a, %d %b %Y %H:%M:%S %z");
        out.extend_from_slice(format!(";\r\n\t{date}\r\n").as_bytes());
    }

    /// A time in the zone of this host, as strftime would write it; `None` if the pattern is wrong.
    pub(super) fn format(&self, unix_ns: u64, pattern: &str) -> Option<String> {
        jiff::fmt::strtime::format(pattern, &zoned(unix_ns, &self.zone)).ok()
    }
}

/// A time as a fixed pattern of strftime writes it.
pub(super) fn format_time(unix_ns: u64, zone: &TimeZone, pattern: &str) -> String {
    zoned(unix_ns, zone).strftime(pattern).to_string()
}

fn zoned(unix_ns: u64, zone: &TimeZone) -> Zoned {
    let at = Timestamp::from_nanosecond(unix_ns.into()).unwrap_or(Timestamp::MAX);
    at.to_zoned(zone.clone())
}

/// Appends the FROM clause: the name from HELO and the address of the connection. A name that is not allowed
/// there is replaced by the address. A unix socket has no address.
fn write_from(envelope: &StoredEnvelope, out: &mut Vec<u8>) {
    let literal = address_literal(&envelope.peer);
    let helo = envelope.helo.as_slice();
    match (is_domain_or_literal(helo), literal) {
        (true, Some(literal)) => {
            out.extend_from_slice(helo);
            out.extend_from_slice(format!(" ({literal})").as_bytes());
        }
        (true, None) => out.extend_from_slice(helo),
        (false, Some(literal)) => {
            out.extend_from_slice(format!("{literal} ({literal})").as_bytes());
        }
        (false, None) => out.extend_from_slice(b"localhost"),
    }
}

/// The literal of an address with a port: `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
fn address_literal(peer: &[u8]) -> Option<String> {
    let address: SocketAddr = std::str::from_utf8(peer).ok()?.parse().ok()?;
    Some(match address {
        SocketAddr::V4(v4) => format!("[{}]", v4.ip()),
        SocketAddr::V6(v6) => format!("[IPv6:{}]", v6.ip()),
    })
}

/// Whether a name has only octets that a domain (with U-labels) or an address literal may have.
fn is_domain_or_literal(name: &[u8]) -> bool {
    let inner = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(name);
    let plain = |b: &u8| b.is_ascii_alphanumeric() || !b.is_ascii() || b"-._:".contains(b);
    !inner.is_empty() && inner.iter().all(plain)
}

/// The protocol of the WITH clause (RFC 3848; RFC 6531 §4.3 for mail that was sent with SMTPUTF8).
fn protocol(envelope: &StoredEnvelope) -> Vec<u8> {
    if !envelope.flags.contains(RecordFlags::SMTPUTF8) {
        return envelope.protocol.clone();
    }
    let suffix = |lead: &[u8]| envelope.protocol.strip_prefix(lead).map(<[u8]>::to_vec);
    match (suffix(b"ESMTP"), suffix(b"LMTP")) {
        (Some(rest), _) => [b"UTF8SMTP".to_vec(), rest].concat(),
        (_, Some(rest)) => [b"UTF8LMTP".to_vec(), rest].concat(),
        _ => envelope.protocol.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> StoredEnvelope {
        StoredEnvelope {
            received_ns: 1_700_000_000_123_456_789,
            peer: b"192.0.2.7:40000".to_vec(),
            helo: b"client.example".to_vec(),
            protocol: b"ESMTPA".to_vec(),
            ..StoredEnvelope::default()
        }
    }

    fn from(envelope: &StoredEnvelope) -> String {
        let mut out = Vec::new();
        write_from(envelope, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_from_clause_has_name_and_address_literal() {
        assert_eq!(from(&envelope()), "client.example ([192.0.2.7])");
        let v6 = StoredEnvelope { peer: b"[2001:db8::1]:25".to_vec(), ..envelope() };
        assert_eq!(from(&v6), "client.example ([IPv6:2001:db8::1])");
        let unix = StoredEnvelope { peer: b"unix".to_vec(), ..envelope() };
        assert_eq!(from(&unix), "client.example");
        let literal = StoredEnvelope { helo: b"[192.0.2.7]".to_vec(), ..envelope() };
        assert_eq!(from(&literal), "[192.0.2.7] ([192.0.2.7])");
        for odd in [&b""[..], b"two words", b"a(b", b"x\r\nInjected: y", b"[]"] {
            let odd = StoredEnvelope { helo: odd.to_vec(), ..envelope() };
            assert_eq!(from(&odd), "[192.0.2.7] ([192.0.2.7])");
        }
    }

    #[test]
    fn the_with_clause_knows_smtputf8() {
        assert_eq!(protocol(&envelope()), b"ESMTPA");
        for (plain, utf8) in [
            (&b"ESMTP"[..], &b"UTF8SMTP"[..]),
            (b"ESMTPSA", b"UTF8SMTPSA"),
            (b"LMTPA", b"UTF8LMTPA"),
            (b"SMTP", b"SMTP"),
        ] {
            let mail = StoredEnvelope {
                protocol: plain.to_vec(),
                flags: RecordFlags::SMTPUTF8,
                ..envelope()
            };
            assert_eq!(protocol(&mail), utf8);
        }
    }

    #[test]
    fn dates_have_the_offset_of_the_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(-8));
        let tracer = Tracer { hostname: "mx.example".into(), zone };
        let to = (&b"b@x.test"[..], &b""[..]);
        let envelope = StoredEnvelope { reverse_path: b"a@x.test".to_vec(), ..envelope() };
        let delivered = |recipients: &[(&[u8], &[u8])]| {
            let recipients = recipients.iter().copied().collect();
            let place = Place { core: 1, segment: 2, offset: 64 };
            let envelope = StoredEnvelope { recipients, ..envelope.clone() };
            let mut out = Vec::new();
            tracer.write(&Message::of_envelope(place, envelope), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            delivered(&[to]),
            "Return-Path: <a@x.test>\r\n\
             Received: from client.example ([192.0.2.7])\r\n\
             \tby mx.example (ringpost) with ESMTPA id 1-2-64\r\n\
             \tfor <b@x.test>;\r\n\
             \tTue, 14 Nov 2023 14:13:20 -0800\r\n"
        );
        assert!(!delivered(&[to, to]).contains("for <"));
        assert_eq!(tracer.format(0, "%"), None);
    }
}
