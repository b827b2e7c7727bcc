//! Messages as JSON objects, for programs that do not read mail formats. Nothing here holds an object as a whole: a
//! message may have half a million recipients, and any length.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::json;

use super::body::Body;
use super::header;
use super::received::format_time;
use crate::printable::JsonOut;
use crate::spool::{Delivery, Message, Recipient, RecipientList, Text};

/// Id, sizes, times, flags and envelope of a message, its decoded subject, and what became of the recipients
/// that do not wait any more.
pub struct MessageJson<'m> {
    message: &'m Message,
    subject: Option<&'m str>,
    settled: &'m [Delivery],
    octets: Option<&'m Octets<'m>>,
}

impl<'m> MessageJson<'m> {
    /// `settled` is in the order of the recipients.
    pub fn new(message: &'m Message, subject: Option<&'m str>, settled: &'m [Delivery]) -> Self {
        Self { message, subject, settled, octets: None }
    }
}

impl Serialize for MessageJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { place, bytes, envelope, .. } = self.message;
        let time = |unix_ns| format_time(unix_ns, &TimeZone::UTC, "%Y-%m-%dT%H:%M:%S.%6fZ");
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("auth", &Text(&envelope.auth))?;
        map.serialize_entry("bytes", bytes)?;
        map.serialize_entry("deviations", &envelope.deviations().collect::<Vec<_>>())?;
        map.serialize_entry("flags", &envelope.flags.names().collect::<Vec<_>>())?;
        let from = PathJson(&envelope.reverse_path, &envelope.reverse_params, None);
        map.serialize_entry("from", &from)?;
        map.serialize_entry("helo", &Text(&envelope.helo))?;
        map.serialize_entry("id", place)?;
        map.serialize_entry("listener", &Text(&envelope.listener))?;
        if let Some(octets) = self.octets {
            map.serialize_entry("message", octets)?;
            map.serialize_entry("message_encoding", octets.encoding.name())?;
        }
        map.serialize_entry("peer", &Text(&envelope.peer))?;
        map.serialize_entry("protocol", &Text(&envelope.protocol))?;
        map.serialize_entry("received", &time(envelope.received_ns))?;
        map.serialize_entry("received_ns", &envelope.received_ns)?;
        map.serialize_entry("sealed", &time(envelope.sealed_ns))?;
        map.serialize_entry("sealed_ns", &envelope.sealed_ns)?;
        map.serialize_entry("sent_bytes", &envelope.sent_bytes.unwrap_or(*bytes))?;
        map.serialize_entry("subject", &self.subject)?;
        map.serialize_entry("tls", &envelope.tls().map(|tls| tls.to_json()))?;
        map.serialize_entry("to", &RecipientsJson(&envelope.recipients, self.settled))?;
        map.end()
    }
}

struct RecipientsJson<'m>(&'m RecipientList, &'m [Delivery]);

impl Serialize for RecipientsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(recipients, settled) = *self;
        let mut list = serializer.serialize_seq(Some(recipients.len()))?;
        for (index, Recipient { path, params }) in recipients.iter().enumerate() {
            let of = settled.binary_search_by_key(&index, |delivery| delivery.recipient as usize);
            list.serialize_element(&PathJson(path, params, of.ok().map(|at| &settled[at])))?;
        }
        list.end()
    }
}

/// Path, parameters, and what became of the recipient.
struct PathJson<'m>(&'m [u8], &'m [u8], Option<&'m Delivery>);

impl Serialize for PathJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(path, params, settled) = *self;
        let mut map = serializer.serialize_map(None)?;
        if let Some(Delivery { fate, code, at_ns, .. }) = settled {
            let told = json!({ "fate": fate.name(), "code": code, "at_ns": at_ns });
            map.serialize_entry("delivery", &told)?;
        }
        map.serialize_entry("params", &Text(params))?;
        map.serialize_entry("path", &Text(path))?;
        map.end()
    }
}

/// How the octets of a message are written.
#[derive(Clone, Copy)]
enum Encoding {
    Utf8,
    /// RFC 4648 §4.
    Base64,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Base64 => "base64",
        }
    }

    fn of(body: &mut Body) -> io::Result<Self> {
        let mut carry = Carry::default();
        let mut is_text = true;
        body.pieces::<io::Error>(1, |piece| {
            is_text = is_text && carry.text(piece, |_| Ok(())).is_ok();
            Ok(())
        })?;
        Ok(if is_text && carry.is_empty() { Self::Utf8 } else { Self::Base64 })
    }
}

/// The octets of a message as one string.
struct Octets<'b> {
    encoding: Encoding,
    body: RefCell<&'b mut Body>,
    /// Why the octets could not be read.
    failed: RefCell<Option<io::Error>>,
}

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut carry = Carry::default();
        let mut encoded = String::new();
        let written = self.body.borrow_mut().pieces(3, |piece| match self.encoding {
            Encoding::Utf8 => carry.text(piece, |text| f.write_str(text)).map_err(|_| Failed(None)),
            Encoding::Base64 => {
                encoded.clear();
                STANDARD.encode_string(piece, &mut encoded);
                f.write_str(&encoded).map_err(|_| Failed(None))
            }
        });
        written.map_err(|Failed(cause)| {
            self.failed.replace(cause);
            fmt::Error
        })
    }
}

/// An error of the input, or `None` for one of the output.
struct Failed(Option<io::Error>);

impl From<io::Error> for Failed {
    fn from(cause: io::Error) -> Self {
        Self(Some(cause))
    }
}

/// The start of a character whose other octets are in the next piece.
#[derive(Default)]
struct Carry {
    octets: Vec<u8>,
}

impl Carry {
    fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Passes the text of the next piece to `take`. An error: it is not UTF-8, or `take` returns one.
    fn text(&mut self, mut piece: &[u8], mut take: impl FnMut(&str) -> fmt::Result) -> fmt::Result {
        while !self.octets.is_empty() {
            let Some((&next, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.octets.push(next);
            match std::str::from_utf8(&self.octets) {
                Ok(text) => {
                    take(text)?;
                    self.octets.clear();
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(fmt::Error),
            }
        }
        let (text, rest) = match std::str::from_utf8(piece) {
            Ok(text) => (text, &[][..]),
            Err(error) if error.error_len().is_none() => {
                let (text, rest) = piece.split_at(error.valid_up_to());
                (std::str::from_utf8(text).map_err(|_| fmt::Error)?, rest)
            }
            Err(_) => return Err(fmt::Error),
        };
        self.octets.extend_from_slice(rest);
        take(text)
    }
}

/// Writes one line: [`MessageJson`] and the octets of the message, as text where they are UTF-8, else in base64;
/// `message_encoding` says which.
pub(super) fn write(message: &Message, body: &mut Body, out: &mut dyn Write) -> io::Result<()> {
    let subject = header::subject(header::search_area(body.start()));
    let encoding = Encoding::of(body)?;
    let octets = Octets { encoding, body: RefCell::new(body), failed: RefCell::default() };
    let mut json = MessageJson::new(message, subject.as_deref(), &[]);
    json.octets = Some(&octets);
    let written = serde_json::to_writer(JsonOut::new(&mut *out), &json);
    if let Some(cause) = octets.failed.take() {
        return Err(cause);
    }
    written?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::spool::{DeliveryFate, Place, StoredEnvelope};

    #[test]
    fn a_delivery_to_a_recipient_that_is_not_there_is_passed_over() {
        let recipients = [(&b"a@x.test"[..], &b""[..])].into_iter().collect();
        let envelope = StoredEnvelope { recipients, ..StoredEnvelope::default() };
        let message = Message::of_envelope(Place::default(), envelope);
        let settled = [0, 1].map(|recipient| Delivery {
            place: message.place,
            sealed_ns: 0,
            recipient,
            fate: DeliveryFate::Delivered,
            code: 250,
            at_ns: 7,
        });
        let object = json!(MessageJson::new(&message, None, &settled));
        let told = &object["to"];
        assert_eq!(told[0]["delivery"], json!({ "fate": "delivered", "code": 250, "at_ns": 7 }));
        assert_eq!(told.as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn octets_come_back_as_text_or_in_base64_however_many_there_are() {
        let message = Message::of_envelope(Place::default(), StoredEnvelope::default());
        let long = "ü€\u{1f4e7}x".repeat(500_000);
        for octets in [
            b"".to_vec(),
            "Gr\u{fc}\u{df}e \u{202e}\x1b\r\n\"".into(),
            long.clone().into_bytes(),
            long.as_bytes()[..long.len() - 3].to_vec(),
            [long.as_bytes(), b"\xff"].concat(),
            b"\xff".to_vec(),
        ] {
            let mut body = Body::default();
            octets.chunks(99_991).for_each(|piece| body.write_all(piece).unwrap());
            let mut line = Vec::new();
            write(&message, &mut body, &mut line).unwrap();
            let line = String::from_utf8(line).unwrap();
            assert!(!line.contains(['\x1b', '\u{202e}']) && line.ends_with("}\n"));
            let object: Value = serde_json::from_str(&line).unwrap();
            let text = object["message"].as_str().unwrap();
            let back = match object["message_encoding"].as_str() {
                Some("utf-8") => text.as_bytes().to_vec(),
                _ => STANDARD.decode(text).unwrap(),
            };
            assert!(back == octets);
            let is_text = std::str::from_utf8(&octets).is_ok();
            assert_eq!(object["message_encoding"] == "utf-8", is_text);
        }
    }
}
