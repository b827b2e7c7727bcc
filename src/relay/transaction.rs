//! One message in one transaction: what is sent, and what each reply means for its recipients.

use super::reading::QueuedMessage;
use crate::host::unix_ns;
use crate::mailbox::Tracer;
use crate::smtp::blank::Filling;
use crate::smtp::client::ReplyTo;
use crate::smtp::offered::Offered;
use crate::smtp::onward::{Lack, Onward, Transfer, is_sendable, is_sendable_rcpt, rcpt_params};
use crate::smtp::outgoing::{Outgoing, Recipients};
use crate::smtp::server::Protocol;
use crate::spool::{Delivery, DeliveryFate, Place, Recipient, RecordFlags, StoredEnvelope};

/// One message on its way to one server, for the recipients that share a transaction.
#[derive(Debug)]
pub(super) struct RelayTransaction {
    message: QueuedMessage,
    /// Octets of the body that were given out.
    had: u64,
    manner: Transfer,
    recipients: Recipients,
    /// Our Received field, which is sent in front of the body.
    received: Vec<u8>,
    /// For each recipient the code of the reply that decided it. INVARIANT: as many as the message
    /// has recipients.
    codes: Vec<Option<u16>>,
    /// Replies to RCPT so far.
    heard: usize,
    lmtp: bool,
}

/// The server that messages go to, as far as it matters to them.
pub(super) struct RelayHop {
    pub(super) protocol: Protocol,
    pub(super) offered: Offered,
    /// Under TLS, and the server has proved who it is.
    pub(super) is_verified: bool,
}

impl RelayTransaction {
    /// # Errors
    /// [`Lack`] when the message must not go to this server.
    pub(super) fn new(
        message: QueuedMessage,
        tracer: &Tracer,
        hop: &RelayHop,
    ) -> Result<Self, Lack> {
        let paths = recipients_of(&message).map(|to| to.path);
        if !paths.chain([&*message.envelope.reverse_path]).all(is_sendable) {
            return Err(Lack::Path);
        }
        if !recipients_of(&message).all(|to| is_sendable_rcpt(to.params)) {
            return Err(Lack::Params);
        }
        let received = received(&message, tracer);
        let offered = &hop.offered;
        let onward = onward(&message, received.len(), hop.is_verified);
        let manner = onward.prepare(offered)?;
        let mut recipients = Recipients::default();
        for to in recipients_of(&message) {
            recipients.push_with(to.path, &rcpt_params(to.params, offered));
        }
        let codes = vec![None; message.recipients.len()];
        let lmtp = hop.protocol == Protocol::Lmtp;
        Ok(Self { message, had: 0, manner, recipients, received, codes, heard: 0, lmtp })
    }

    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        let StoredEnvelope { reverse_path, flags, .. } = &self.message.envelope;
        Outgoing {
            from: reverse_path,
            from_blanks: &[],
            recipients: &self.recipients,
            size: self.received.len() as u64 + self.message.bytes,
            eight_bit: flags.contains(RecordFlags::EIGHT_BIT),
            params: &self.manner.params,
            filling: Filling::default(),
        }
    }

    pub(super) fn chunking(&self) -> bool {
        self.manner.chunking
    }

    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Octets of the body.
    pub(super) fn bytes(&self) -> u64 {
        self.message.bytes
    }

    /// The next octets of the body; `None` when no more can be had. The last octets are held back until
    /// it is known that all octets were the message's: without them no server can accept it.
    pub(super) async fn piece(&mut self) -> Option<Vec<u8>> {
        let piece = self.message.pieces.recv().await?;
        self.had += piece.len() as u64;
        if self.had >= self.message.bytes {
            (&mut self.message.sound).await.ok()?;
        }
        Some(piece)
    }

    /// Takes a reply to a command of this transaction.
    pub(super) fn hear(&mut self, phase: ReplyTo, code: u16) {
        let failed = code >= 400;
        match phase {
            ReplyTo::Mail | ReplyTo::Data if failed => self.decide_rest(code),
            ReplyTo::Rcpt => {
                // Too many recipients, as older servers say it: RFC 5321 §4.5.3.1.10.
                let code = if code == 552 { 452 } else { code };
                let open = self.codes.get_mut(self.heard).filter(|known| known.is_none() && failed);
                if let Some(known) = open {
                    *known = Some(code);
                }
                self.heard += 1;
            }
            // RFC 2033 §4.2: one for each recipient that was accepted.
            ReplyTo::EndOfData if self.lmtp && code != 421 => {
                if let Some(known) = self.codes.iter_mut().find(|known| known.is_none()) {
                    *known = Some(code);
                }
            }
            ReplyTo::EndOfData => self.decide_rest(code),
            _ => {}
        }
    }

    fn decide_rest(&mut self, code: u16) {
        for known in self.codes.iter_mut().filter(|known| known.is_none()) {
            *known = Some(code);
        }
    }

    /// What became of the recipients that were decided. The others wait for the next delivery.
    pub(super) fn settled(&self) -> Vec<Delivery> {
        let decided = self.message.recipients.iter().zip(&self.codes);
        let settled = decided.filter_map(|(recipient, code)| {
            let code = (*code)?;
            Some(Delivery {
                place: self.message.place,
                sealed_ns: self.message.envelope.sealed_ns,
                recipient: *recipient,
                fate: fate(code)?,
                code,
                at_ns: unix_ns(),
            })
        });
        settled.collect()
    }

    pub(super) fn place(&self) -> Place {
        self.message.place
    }
}

/// The final fate that a reply decides; `None` if the message must wait. 503, 530 and 538 are about the
/// session and not about the message.
fn fate(code: u16) -> Option<DeliveryFate> {
    match code {
        200..300 => Some(DeliveryFate::Delivered),
        503 | 530 | 538 => None,
        500..600 => Some(DeliveryFate::Refused),
        _ => None,
    }
}

fn recipients_of(message: &QueuedMessage) -> impl Iterator<Item = Recipient<'_>> {
    let recipient = |number: &u32| message.envelope.recipients.get(*number as usize);
    message
        .recipients
        .iter()
        .map(move |number| recipient(number).expect("a number of one of the envelope's recipients"))
}

fn onward(message: &QueuedMessage, received_bytes: usize, verified: bool) -> Onward<'_> {
    let StoredEnvelope { reverse_params, flags, sealed_ns, .. } = &message.envelope;
    Onward {
        params: reverse_params,
        size: message.bytes + received_bytes as u64,
        eight_bit: flags.contains(RecordFlags::EIGHT_BIT),
        lines: !flags.intersects(RecordFlags::BARE_CR | RecordFlags::BARE_LF | RecordFlags::NUL),
        smtputf8: flags.contains(RecordFlags::SMTPUTF8),
        age_s: unix_ns().saturating_sub(*sealed_ns) / 1_000_000_000,
        hops: message.hops,
        verified,
    }
}

/// Our Received field. It names the recipient where there is only one.
fn received(message: &QueuedMessage, tracer: &Tracer) -> Vec<u8> {
    let envelope = &message.envelope;
    let only = match message.recipients.as_slice() {
        [number] => envelope.recipients.get(*number as usize).map(|only| only.path),
        _ => None,
    };
    let mut out = Vec::new();
    tracer.write_received(message.place, envelope, only, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::engine::{EngineKind, run_core};
    use crate::smtp::extension::Extensions;

    fn transaction(protocol: Protocol, paths: &[&str], numbers: &[u32]) -> RelayTransaction {
        try_transaction(protocol, paths, numbers).unwrap()
    }

    fn try_transaction(
        protocol: Protocol,
        paths: &[&str],
        numbers: &[u32],
    ) -> Result<RelayTransaction, Lack> {
        let envelope = StoredEnvelope {
            received_ns: 1_700_000_000_000_000_000,
            helo: b"client.example".to_vec(),
            peer: b"192.0.2.1:9".to_vec(),
            protocol: b"ESMTP".to_vec(),
            reverse_path: b"me@a.example".to_vec(),
            recipients: paths.iter().map(|path| (path.as_bytes(), &b""[..])).collect(),
            ..StoredEnvelope::default()
        };
        let (_, pieces) = mpsc::channel(1);
        let (_, sound) = oneshot::channel();
        let place = Place { core: 0, segment: 1, offset: 64 };
        let recipients = numbers.to_vec();
        let message =
            QueuedMessage { place, envelope, recipients, bytes: 5, hops: 0, pieces, sound };
        let offered = Offered { extensions: Extensions::ALL, ..Offered::default() };
        let tracer = Tracer { hostname: "sink.example".to_owned(), zone: TimeZone::UTC };
        RelayTransaction::new(message, &tracer, &RelayHop { protocol, offered, is_verified: false })
    }

    #[test]
    fn an_address_that_would_be_a_command_of_its_own_is_not_sent() {
        for (paths, lack) in [
            (&["a@x", "b@y>\r\nRCPT TO:<c@z"][..], Some(Lack::Path)),
            (&["a@x> NOTIFY=NEVER"], Some(Lack::Path)),
            (&["\"a b\"@x"], None),
        ] {
            let numbers: Vec<u32> = (0..paths.len() as u32).collect();
            assert_eq!(try_transaction(Protocol::Smtp, paths, &numbers).err(), lack, "{paths:?}");
        }
        // Those that are not among its recipients are not sent.
        assert!(try_transaction(Protocol::Smtp, &["a\n@x", "b@x"], &[1]).is_ok());
    }

    fn fates(transaction: &RelayTransaction) -> Vec<(u32, DeliveryFate, u16)> {
        transaction.settled().iter().map(|d| (d.recipient, d.fate, d.code)).collect()
    }

    #[test]
    fn the_last_octets_are_kept_back_until_all_are_known_to_be_sound() {
        for (sound, expected) in [(true, Some(b"lo".to_vec())), (false, None)] {
            let mut transaction = transaction(Protocol::Smtp, &["a@x"], &[0]);
            let (sender, pieces) = mpsc::channel(2);
            let (confirm, told) = oneshot::channel();
            (transaction.message.pieces, transaction.message.sound) = (pieces, told);
            for piece in ["hel", "lo"] {
                sender.try_send(piece.as_bytes().to_vec()).unwrap();
            }
            let confirm = sound.then_some(confirm);
            let ended = run_core(EngineKind::Epoll, async {
                assert_eq!(transaction.piece().await.as_deref(), Some(&b"hel"[..]));
                if let Some(confirm) = confirm {
                    confirm.send(()).unwrap();
                }
                assert_eq!(transaction.piece().await, expected);
            });
            ended.unwrap();
        }
    }

    #[test]
    fn each_recipient_has_the_reply_that_decided_it() {
        let mut transaction =
            transaction(Protocol::Smtp, &["a@x", "b@x", "c@x", "d@x"], &[0, 1, 3]);
        for (phase, code) in [
            (ReplyTo::Mail, 250),
            (ReplyTo::Rcpt, 250),
            (ReplyTo::Rcpt, 550),
            (ReplyTo::Rcpt, 450),
            (ReplyTo::Data, 354),
            (ReplyTo::EndOfData, 250),
        ] {
            transaction.hear(phase, code);
        }
        let expected = [(0, DeliveryFate::Delivered, 250), (1, DeliveryFate::Refused, 550)];
        assert_eq!(fates(&transaction), expected);
    }

    /// RFC 5321 §4.5.3.1.10: 552 to RCPT says that there are too many, and those are to be sent once more.
    #[test]
    fn recipients_beyond_what_the_server_takes_wait_and_the_others_are_delivered() {
        for (code, refused) in [(552, None), (452, None), (550, Some(DeliveryFate::Refused))] {
            let mut transaction = transaction(Protocol::Smtp, &["a@x", "b@x"], &[0, 1]);
            for (phase, code) in [
                (ReplyTo::Mail, 250),
                (ReplyTo::Rcpt, 250),
                (ReplyTo::Rcpt, code),
                (ReplyTo::Data, 354),
                (ReplyTo::EndOfData, 250),
            ] {
                transaction.hear(phase, code);
            }
            let delivered = (0, DeliveryFate::Delivered, 250);
            let expected = [delivered].into_iter().chain(refused.map(|fate| (1, fate, code)));
            assert!(fates(&transaction).into_iter().eq(expected), "{code}");
        }
    }

    #[test]
    fn lmtp_decides_each_accepted_recipient_by_a_reply_of_its_own() {
        let mut transaction = transaction(Protocol::Lmtp, &["a@x", "b@x", "c@x"], &[0, 1, 2]);
        for (phase, code) in [
            (ReplyTo::Mail, 250),
            (ReplyTo::Rcpt, 250),
            (ReplyTo::Rcpt, 550),
            (ReplyTo::Rcpt, 250),
            (ReplyTo::Data, 354),
            (ReplyTo::EndOfData, 451),
            (ReplyTo::EndOfData, 250),
        ] {
            transaction.hear(phase, code);
        }
        assert_eq!(
            fates(&transaction),
            [(1, DeliveryFate::Refused, 550), (2, DeliveryFate::Delivered, 250)]
        );
    }

    #[test]
    fn a_refusal_of_the_whole_speaks_for_all_and_what_speaks_of_the_session_for_none() {
        for (replies, settled) in [
            (&[(ReplyTo::Mail, 552)][..], 2),
            (&[(ReplyTo::Mail, 530), (ReplyTo::Rcpt, 503), (ReplyTo::Rcpt, 503)], 0),
            (&[(ReplyTo::Mail, 451)], 0),
            (
                &[
                    (ReplyTo::Mail, 250),
                    (ReplyTo::Rcpt, 250),
                    (ReplyTo::Rcpt, 250),
                    (ReplyTo::Data, 554),
                ],
                2,
            ),
            (&[(ReplyTo::Mail, 250), (ReplyTo::Rcpt, 421)], 0),
            (&[(ReplyTo::Mail, 250)], 0),
        ] {
            let mut transaction = transaction(Protocol::Smtp, &["a@x", "b@x"], &[0, 1]);
            for (phase, code) in replies {
                transaction.hear(*phase, *code);
            }
            assert_eq!(transaction.settled().len(), settled, "{replies:?}");
        }
    }

    #[test]
    fn our_received_field_counts_as_part_of_the_message_and_names_a_lone_recipient() {
        let one = transaction(Protocol::Smtp, &["a@x", "b@x"], &[1]);
        let received = String::from_utf8(one.received().to_vec()).unwrap();
        assert!(
            received.contains("\tfor <b@x>;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n"),
            "{received}"
        );
        assert_eq!(one.outgoing().size, received.len() as u64 + 5);
        let two = transaction(Protocol::Smtp, &["a@x", "b@x"], &[0, 1]);
        assert!(!String::from_utf8_lossy(two.received()).contains("for <"));
    }
}
