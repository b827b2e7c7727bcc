//! JSON lines: one object for each message, for programs that do not read mail formats.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::header;
use super::received::format_time;
use crate::printable;
use crate::spool::{Delivery, Message};

/// Id, sizes, times, flags and envelope of a message, and its decoded subject.
pub fn as_json(message: &Message, subject: Option<&str>) -> Value {
    let mut object = message.envelope.to_json(message.place, message.bytes);
    let time = |unix_ns| format_time(unix_ns, &TimeZone::UTC, "%Y-%m-%dT%H:%M:%S.%6fZ");
    object["received"] = time(message.envelope.received_ns).into();
    object["sealed"] = time(message.envelope.sealed_ns).into();
    object["subject"] = json!(subject);
    object
}

/// Adds to the result of [`as_json`] what became of the recipients that do not wait any more.
pub fn add_deliveries(object: &mut Value, settled: &[Delivery]) {
    for Delivery { recipient, fate, code, at_ns, .. } in settled {
        // The file may have a record of a recipient that does not exist, if another program wrote it.
        if let Some(to) = object["to"].get_mut(*recipient as usize) {
            to["delivery"] = json!({ "fate": fate.name(), "code": code, "at_ns": at_ns });
        }
    }
}

/// Appends one line: [`as_json`] and the octets of the message, as text where they are UTF-8, else in
/// base64 (RFC 4648 §4); `message_encoding` says which.
pub(super) fn write(message: &Message, octets: &[u8], out: &mut Vec<u8>) {
    let mut object = as_json(message, header::subject(octets).as_deref());
    let (encoding, text) = match std::str::from_utf8(octets) {
        Ok(text) => ("utf-8", text.to_owned()),
        Err(_) => ("base64", STANDARD.encode(octets)),
    };
    object["message_encoding"] = encoding.into();
    object["message"] = text.into();
    out.extend_from_slice(printable::json(&object.to_string()).as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{DeliveryFate, Place, Recipient, StoredEnvelope};

    #[test]
    fn a_delivery_to_a_recipient_that_is_not_there_is_passed_over() {
        let to = Recipient { path: b"a@x.test".to_vec(), params: Vec::new() };
        let envelope = StoredEnvelope { recipients: vec![to], ..StoredEnvelope::default() };
        let message = Message::of_envelope(Place::default(), envelope);
        let settled = [0, 1].map(|recipient| Delivery {
            place: message.place,
            sealed_ns: 0,
            recipient,
            fate: DeliveryFate::Delivered,
            code: 250,
            at_ns: 7,
        });
        let mut object = as_json(&message, None);
        add_deliveries(&mut object, &settled);
        let told = &object["to"];
        assert_eq!(told[0]["delivery"], json!({ "fate": "delivered", "code": 250, "at_ns": 7 }));
        assert_eq!(told.as_array().map(Vec::len), Some(1));
    }
}
