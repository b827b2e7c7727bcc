//! Delivery status notifications (RFC 3464) about messages of a run.

use mail_parser::{MessageParser, MimeHeaders};

use crate::stamp::Stamp;

/// What a notification says of one recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BounceAction {
    Failed,
    Delayed,
}

/// A notification about a message that has a stamp.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Bounce {
    pub(super) stamp: Stamp,
    /// Each recipient by the address that the sender gave, or else by the final one.
    pub(super) recipients: Vec<(BounceAction, Vec<u8>)>,
}

/// Octets of the start of a message in which its type is looked for.
const HEADER_BYTES: usize = 16 * 1024;

/// Reads a message as a notification; `None` if it is none, or about a message without a stamp.
pub(super) fn bounce(message: &[u8]) -> Option<Bounce> {
    let head = &message[..message.len().min(HEADER_BYTES)];
    memchr::memmem::find(&head.to_ascii_lowercase(), b"multipart/report")?;
    let parsed = MessageParser::default().parse(message)?;
    let mut found = None;
    let mut recipients = Vec::new();
    for part in &parsed.parts {
        let Some(kind) = part.content_type() else { continue };
        let kind = (kind.ctype(), kind.subtype().unwrap_or_default());
        // The end of a part is not always known; then what follows belongs to it as far as it fits.
        let (start, end) = (part.offset_body as usize, part.offset_end as usize);
        let octets = message.get(start..end).or_else(|| message.get(start..)).unwrap_or_default();
        let is = |main: &str, sub: &str| {
            kind.0.eq_ignore_ascii_case(main) && kind.1.eq_ignore_ascii_case(sub)
        };
        if is("message", "delivery-status") || is("message", "global-delivery-status") {
            recipients.extend(statuses(octets));
        } else if is("message", "rfc822")
            || is("text", "rfc822-headers")
            || is("message", "global")
            || is("message", "global-headers")
        {
            found = found.or_else(|| Stamp::find(octets.trim_ascii_start()));
        }
    }
    found.map(|stamp| Bounce { stamp, recipients })
}

/// The groups of fields for each recipient (RFC 3464 §2.3).
fn statuses(part: &[u8]) -> Vec<(BounceAction, Vec<u8>)> {
    let mut all = Vec::new();
    let (mut action, mut original, mut last) = (None, None, None);
    let text = String::from_utf8_lossy(part);
    for line in text.lines().chain([""]) {
        let line = line.trim_end();
        if line.is_empty() {
            if let (Some(action), Some(address)) = (action.take(), original.take().or(last.take()))
            {
                all.push((action, address));
            }
            (original, last) = (None, None);
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let address = || {
            let address = value.split_once(';').map_or(value, |(_, address)| address).trim();
            address.trim_start_matches('<').trim_end_matches('>').as_bytes().to_vec()
        };
        match &*name.to_ascii_lowercase() {
            "action" => {
                action = match &*value.to_ascii_lowercase() {
                    "failed" => Some(BounceAction::Failed),
                    "delayed" => Some(BounceAction::Delayed),
                    _ => None,
                }
            }
            "original-recipient" => original = Some(address()),
            "final-recipient" => last = Some(address()),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_names_the_message_and_its_recipients() {
        let mut stamp = Vec::new();
        Stamp { run: 7, seq: 3, ..Stamp::default() }.write(&mut stamp);
        let stamp = String::from_utf8(stamp).unwrap();
        let text = format!(
            "From: MAILER-DAEMON\r\nTo: a@x\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"b\"\r\n\r\n\
             --b\r\n\r\nIt failed.\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; mx\r\n\r\n\
             Final-Recipient: rfc822; real@y.test\r\nOriginal-Recipient: rfc822;b@y.test\r\n\
             Action: failed\r\nStatus: 5.1.1\r\n\r\n\
             Final-Recipient: rfc822;c@y.test\r\nAction: delayed\r\n\r\n\
             Final-Recipient: rfc822;d@y.test\r\nAction: relayed\r\n\r\n\
             --b\r\nContent-Type: text/rfc822-headers\r\n\r\nReceived: by mx\r\n{stamp}Subject: x\r\n\r\n--b--\r\n"
        );
        let found = bounce(text.as_bytes()).unwrap();
        assert_eq!((found.stamp.run, found.stamp.seq), (7, 3));
        let expected = [
            (BounceAction::Failed, b"b@y.test".to_vec()),
            (BounceAction::Delayed, b"c@y.test".to_vec()),
        ];
        assert_eq!(found.recipients, expected);
        let other = text.replace("multipart/report", "multipart/mixed");
        assert_eq!(bounce(other.as_bytes()), None);
        for cut in 0..text.len() {
            let _ = bounce(&text.as_bytes()[..cut]);
        }
    }
}
