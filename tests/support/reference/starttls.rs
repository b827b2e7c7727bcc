//! STARTTLS (RFC 3207). What is under TLS here is what came after it: no octet is encrypted.

use ringpost::limits::FOLLOWERS_MAX;
use ringpost::smtp::extension::Extensions;

use super::{BAD_ARGUMENT, Client, NOT_DONE, OUT_OF_ORDER, Quirk, Reference};

/// What waits for TLS where TLS is required (§4). The octets of a chunk are read in any case, so that BDAT is
/// answered as ever.
const WAITS: [&[u8]; 15] = [
    b"HELO", b"MAIL", b"SEND", b"SOML", b"SAML", b"RCPT", b"DATA", b"RSET", b"AUTH", b"XCLIENT",
    b"VRFY", b"EXPN", b"HELP", b"ATRN", b"ETRN",
];

impl Reference<'_> {
    pub(super) fn needs_tls(&self, verb: &[u8]) -> bool {
        let required = self.policy.tls.required && !self.is(Quirk::TlsIsOptional);
        required && !self.secured && WAITS.contains(&verb)
    }

    pub(super) fn refuse_in_plain_text(&mut self, verb: &[u8]) {
        let begins = matches!(verb, b"MAIL" | b"SEND" | b"SOML" | b"SAML");
        if begins {
            self.followers = FOLLOWERS_MAX;
            return self.error("530/5.7.0");
        }
        self.error_unless_following("530/5.7.0");
    }

    pub(super) fn starttls(&mut self, argument: &[u8]) {
        if self.secured {
            return self.error("554/5.5.1");
        }
        if !self.offers(Extensions::STARTTLS) {
            return self.error(NOT_DONE);
        }
        let open = self.mail.is_some() || self.failed.is_some();
        if !self.extended || (open && !self.is(Quirk::StartTlsInTransaction)) {
            return self.error(OUT_OF_ORDER);
        }
        if !argument.is_empty() {
            return self.error(BAD_ARGUMENT);
        }
        // CVE-2011-0411: they were sent in plain text, by whomever.
        if self.more && !self.is(Quirk::OctetsBehindStartTls) {
            return self.close("554/5.5.0");
        }
        if self.circumstances.crowded {
            return self.say("454/4.7.0");
        }
        self.say("220/2.0.0");
        self.begin_anew();
    }

    /// §4.2: nothing that the client said counts any more.
    fn begin_anew(&mut self) {
        self.secured = true;
        self.reset();
        if !self.is(Quirk::StartTlsKeepsGreeting) {
            self.greeted = false;
            self.extended = false;
            self.hello.clear();
            self.hello_odd.clear();
        }
        if !self.is(Quirk::StartTlsKeepsLogin) {
            self.identity = None;
        }
        if !self.is(Quirk::StartTlsKeepsClient) {
            self.client = Client::default();
        }
    }
}
