//! JSON lines: one object a message, for programs that are no mail programs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::header;
use super::trace::format_time;
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

/// Adds to what [`as_json`] gave what became of the recipients that do not wait any more.
pub fn add_deliveries(object: &mut Value, settled: &[Delivery]) {
    for Delivery { recipient, fate, code, at_ns, .. } in settled {
        object["to"][*recipient as usize]["delivery"] =
            json!({ "fate": fate.name(), "code": code, "at_ns": at_ns });
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
    serde_json::to_writer(&mut *out, &object).expect("a vector takes all octets");
    out.push(b'\n');
}
