//! What the spool stores of a message besides its octets: a list of tagged values after the body.
//!
//! Tag (u16), length (u16), value; little endian, no padding. Tags a reader does not know are skipped.
//! Empty values are left out, except a recipient's path.

use std::fmt;

use super::error::SpoolError;
use super::format::RecordFlags;
use super::recipients::RecipientList;
use super::stored_tls::StoredTls;
use crate::limits::{ENVELOPE_BYTES_MAX, ENVELOPE_VALUE_HEAD_BYTES};

mod tag {
    pub(super) const RECEIVED: u16 = 1;
    pub(super) const SEALED: u16 = 2;
    pub(super) const PEER: u16 = 3;
    pub(super) const LISTENER: u16 = 4;
    pub(super) const HELO: u16 = 5;
    pub(super) const PROTOCOL: u16 = 6;
    pub(super) const TLS: u16 = 7;
    pub(super) const AUTH: u16 = 8;
    pub(super) const REVERSE_PATH: u16 = 9;
    pub(super) const REVERSE_PARAMS: u16 = 10;
    /// One for each recipient, in the order of RCPT.
    pub(super) const RECIPIENT: u16 = 11;
    /// Belongs to the recipient before it.
    pub(super) const RECIPIENT_PARAMS: u16 = 12;
    /// Only where the flag `headers-only` is set.
    pub(super) const SENT_BYTES: u16 = 13;
    pub(super) const DEVIATIONS: u16 = 14;
}

/// What the messages of a session have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionMeta<'a> {
    /// Address of the client as text.
    pub peer: &'a [u8],
    /// The address to which the client connected, as text.
    pub listener: &'a [u8],
    /// Argument of HELO, EHLO or LHLO.
    pub helo: &'a [u8],
    /// `SMTP`, `ESMTP`, `ESMTPS`, `LMTP` and so on (RFC 3848).
    pub protocol: &'a [u8],
    /// What [`StoredTls::encode`] made, or empty.
    pub tls: &'a [u8],
    /// Identity of AUTH, or empty.
    pub auth: &'a [u8],
}

impl SessionMeta<'_> {
    /// Appends the values to `out` as they stand in an envelope.
    ///
    /// # Errors
    /// [`SpoolError::EnvelopeTooLarge`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), SpoolError> {
        let texts = [
            (tag::PEER, self.peer),
            (tag::LISTENER, self.listener),
            (tag::HELO, self.helo),
            (tag::PROTOCOL, self.protocol),
            (tag::TLS, self.tls),
            (tag::AUTH, self.auth),
        ];
        texts.into_iter().try_for_each(|(tag, text)| put_text(out, tag, text))
    }
}

/// What a session knows of a message at its end, besides its recipients. Paths have no angle brackets;
/// parameters are the raw text after the path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta<'a> {
    /// First octet of the message, Unix nanoseconds.
    pub received_ns: u64,
    /// End of data, Unix nanoseconds.
    pub sealed_ns: u64,
    pub flags: RecordFlags,
    /// What [`SessionMeta::encode`] made, or empty.
    pub session: &'a [u8],
    pub reverse_path: &'a [u8],
    pub reverse_params: &'a [u8],
    /// Octets of the message as it was sent, if not all of them were stored; goes with
    /// [`RecordFlags::HEADERS_ONLY`].
    pub sent_bytes: Option<u64>,
    /// Names of the ways in which the client strayed from the grammar of SMTP, with commas between.
    pub deviations: &'a [u8],
}

impl Meta<'_> {
    /// Appends the encoded envelope to `out`, which the caller has emptied.
    pub(super) fn encode<'r>(
        &self,
        recipients: impl IntoIterator<Item = (&'r [u8], &'r [u8])>,
        out: &mut Vec<u8>,
    ) -> Result<(), SpoolError> {
        put(out, tag::RECEIVED, &self.received_ns.to_le_bytes())?;
        put(out, tag::SEALED, &self.sealed_ns.to_le_bytes())?;
        check_bytes(out.len() + self.session.len())?;
        out.extend_from_slice(self.session);
        put_text(out, tag::REVERSE_PATH, self.reverse_path)?;
        put_text(out, tag::REVERSE_PARAMS, self.reverse_params)?;
        put_text(out, tag::DEVIATIONS, self.deviations)?;
        if let Some(bytes) = self.sent_bytes {
            put(out, tag::SENT_BYTES, &bytes.to_le_bytes())?;
        }
        for (path, params) in recipients {
            put(out, tag::RECIPIENT, path)?;
            put_text(out, tag::RECIPIENT_PARAMS, params)?;
        }
        Ok(())
    }
}

fn put_text(out: &mut Vec<u8>, tag: u16, text: &[u8]) -> Result<(), SpoolError> {
    if text.is_empty() { Ok(()) } else { put(out, tag, text) }
}

fn put(out: &mut Vec<u8>, tag: u16, value: &[u8]) -> Result<(), SpoolError> {
    let bytes = out.len() + ENVELOPE_VALUE_HEAD_BYTES + value.len();
    check_bytes(bytes)?;
    let length = u16::try_from(value.len()).map_err(|_| too_large(bytes))?;
    let head: [u8; ENVELOPE_VALUE_HEAD_BYTES] =
        (u32::from(tag) | u32::from(length) << 16).to_le_bytes();
    out.extend_from_slice(&head);
    out.extend_from_slice(value);
    Ok(())
}

fn check_bytes(bytes: usize) -> Result<(), SpoolError> {
    if bytes <= ENVELOPE_BYTES_MAX { Ok(()) } else { Err(too_large(bytes)) }
}

#[cold]
fn too_large(bytes: usize) -> SpoolError {
    SpoolError::EnvelopeTooLarge { bytes, max: ENVELOPE_BYTES_MAX }
}

/// Passes each tag and its value to `take`. `None` if the values do not fill the octets exactly, or if
/// `take` returns it.
fn values<'b>(
    mut bytes: &'b [u8],
    mut take: impl FnMut(u16, &'b [u8]) -> Option<()>,
) -> Option<()> {
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (value, rest) = rest.split_at_checked(length)?;
        take(u16::from_le_bytes([head[0], head[1]]), value)?;
        bytes = rest;
    }
    Some(())
}

/// The first and the last time of an envelope; `None` where [`StoredEnvelope::decode`] returns that. It is
/// ten times as fast as decoding all of it.
pub(super) fn check(bytes: &[u8]) -> Option<(u64, u64)> {
    let (mut received_ns, mut sealed_ns, mut recipients) = (0, 0, 0);
    values(bytes, |tag, value| {
        match tag {
            tag::RECEIVED => received_ns = u64::from_le_bytes(value.try_into().ok()?),
            tag::SEALED => sealed_ns = u64::from_le_bytes(value.try_into().ok()?),
            tag::SENT_BYTES if value.len() != 8 => return None,
            tag::RECIPIENT => recipients += 1,
            tag::RECIPIENT_PARAMS if recipients == 0 => return None,
            _ => {}
        }
        Some(())
    })?;
    Some((received_ns, sealed_ns))
}

/// An envelope read back; the fields are those of [`SessionMeta`] and [`Meta`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoredEnvelope {
    pub received_ns: u64,
    pub sealed_ns: u64,
    pub flags: RecordFlags,
    pub peer: Vec<u8>,
    pub listener: Vec<u8>,
    pub helo: Vec<u8>,
    pub protocol: Vec<u8>,
    pub tls: Vec<u8>,
    pub auth: Vec<u8>,
    pub reverse_path: Vec<u8>,
    pub reverse_params: Vec<u8>,
    pub sent_bytes: Option<u64>,
    pub deviations: Vec<u8>,
    pub recipients: RecipientList,
}

impl StoredEnvelope {
    /// `None` if the values do not fill the octets exactly.
    pub(super) fn decode(bytes: &[u8], flags: RecordFlags) -> Option<Self> {
        let mut envelope = Self { flags, ..Self::default() };
        values(bytes, |tag, value| envelope.take(tag, value))?;
        Some(envelope)
    }

    fn take(&mut self, tag: u16, value: &[u8]) -> Option<()> {
        let text = match tag {
            tag::RECEIVED => {
                self.received_ns = u64::from_le_bytes(value.try_into().ok()?);
                return Some(());
            }
            tag::SEALED => {
                self.sealed_ns = u64::from_le_bytes(value.try_into().ok()?);
                return Some(());
            }
            tag::SENT_BYTES => {
                self.sent_bytes = Some(u64::from_le_bytes(value.try_into().ok()?));
                return Some(());
            }
            tag::RECIPIENT => {
                self.recipients.push(value);
                return Some(());
            }
            tag::PEER => &mut self.peer,
            tag::LISTENER => &mut self.listener,
            tag::HELO => &mut self.helo,
            tag::PROTOCOL => &mut self.protocol,
            tag::TLS => &mut self.tls,
            tag::AUTH => &mut self.auth,
            tag::REVERSE_PATH => &mut self.reverse_path,
            tag::REVERSE_PARAMS => &mut self.reverse_params,
            tag::DEVIATIONS => &mut self.deviations,
            tag::RECIPIENT_PARAMS => return self.recipients.set_params(value),
            _ => return Some(()),
        };
        *text = value.to_vec();
        Some(())
    }

    /// Octets of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let texts = [
            &self.peer,
            &self.listener,
            &self.helo,
            &self.protocol,
            &self.tls,
            &self.auth,
            &self.reverse_path,
            &self.reverse_params,
            &self.deviations,
        ];
        texts.map(Vec::capacity).iter().sum::<usize>() + self.recipients.memory_bytes()
    }

    /// The ways in which the client strayed from the grammar of SMTP, by name.
    pub fn deviations(&self) -> impl Iterator<Item = String> {
        self.deviations.split(|&b| b == b',').filter(|name| !name.is_empty()).map(text)
    }

    /// What was agreed on in the TLS handshake of its session; `None` if it came in plain text.
    pub fn tls(&self) -> Option<StoredTls> {
        StoredTls::decode(&self.tls)
    }
}

/// Octets as text. Those that are not UTF-8 are written as `\xNN`.
pub fn text(bytes: &[u8]) -> String {
    Text(bytes).to_string()
}

/// Octets that are shown as by [`text`].
#[derive(Clone, Copy, Debug)]
pub struct Text<'b>(pub &'b [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.utf8_chunks().try_for_each(|chunk| {
            f.write_str(chunk.valid())?;
            write!(f, "{}", chunk.invalid().escape_ascii())
        })
    }
}

impl serde::Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_comes_back_as_it_went() {
        let recipients = [(&b"a@x"[..], &b"NOTIFY=NEVER"[..]), (b"", b""), (b"c@x", b"")];
        let session = SessionMeta {
            peer: b"127.0.0.1:9",
            listener: b"smtp://127.0.0.1:1025",
            helo: b"h",
            protocol: b"ESMTP",
            tls: b"version=TLSv1.3",
            auth: b"me",
        };
        let mut encoded = Vec::new();
        session.encode(&mut encoded).unwrap();
        let meta = Meta {
            received_ns: 1,
            sealed_ns: u64::MAX,
            flags: RecordFlags::BDAT,
            session: &encoded,
            reverse_path: b"",
            reverse_params: b"SIZE=5",
            sent_bytes: Some(77),
            deviations: b"no-domain,bare-lf",
        };
        let mut bytes = Vec::new();
        meta.encode(recipients, &mut bytes).unwrap();
        let back = StoredEnvelope::decode(&bytes, RecordFlags::BDAT).unwrap();
        assert_eq!(check(&bytes), Some((back.received_ns, back.sealed_ns)));
        assert_eq!(back.received_ns, 1);
        assert_eq!(back.sealed_ns, u64::MAX);
        assert_eq!(back.auth, b"me");
        assert_eq!(back.tls().unwrap().version, "TLSv1.3");
        assert_eq!(StoredEnvelope::default().tls(), None);
        assert_eq!(back.reverse_params, b"SIZE=5");
        assert_eq!(back.sent_bytes, Some(77));
        assert_eq!(back.deviations().collect::<Vec<_>>(), ["no-domain", "bare-lf"]);
        assert_eq!(StoredEnvelope::default().deviations().count(), 0);
        assert_eq!(back.recipients.len(), 3);
        assert_eq!(back.recipients, recipients.into_iter().collect());
        for cut in 1..bytes.len() {
            let whole_values =
                StoredEnvelope::decode(&bytes[..cut], RecordFlags::empty()).is_some();
            assert_eq!(check(&bytes[..cut]).is_some(), whole_values);
            assert!(!whole_values || cut >= 12, "a cut value was read at {cut}");
        }
    }

    #[test]
    fn values_and_envelopes_beyond_their_bounds_are_refused() {
        let mut out = Vec::new();
        assert!(put(&mut out, tag::HELO, &[b'x'; 65_535]).is_ok());
        assert!(put(&mut out, tag::HELO, &[b'x'; 65_536]).is_err());
        let mut out = vec![0; ENVELOPE_BYTES_MAX - 4];
        assert!(put(&mut out, tag::RECIPIENT, b"x").is_err());
        assert!(put(&mut out, tag::RECIPIENT, b"").is_ok());
        let session = &vec![0; ENVELOPE_BYTES_MAX][..];
        assert!(Meta { session, ..Meta::default() }.encode([], &mut Vec::new()).is_err());
    }

    #[test]
    fn unknown_tags_are_skipped() {
        let envelope =
            StoredEnvelope::decode(&[99, 0, 2, 0, 1, 2, 5, 0, 1, 0, b'h'], RecordFlags::empty())
                .unwrap();
        assert_eq!(envelope.helo, b"h");
    }

    #[test]
    fn text_keeps_what_is_utf8_and_escapes_the_rest() {
        assert_eq!(text("pelé".as_bytes()), "pelé");
        assert_eq!(text(b"a\xffb"), "a\\xffb");
    }
}
