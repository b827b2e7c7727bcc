//! A name and a bearer token, which is compared as a password is: OAUTHBEARER (RFC 7628), and XOAUTH2, which
//! Google had before it (<https://developers.google.com/workspace/gmail/imap/xoauth2-protocol>).

use super::accounts::Credentials;
use super::saslname::{escape, unescape};
use super::step::SaslStep;

/// How name and token are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BearerForm {
    OauthBearer,
    Xoauth2,
}

impl BearerForm {
    /// What a client of a bad token is told: the status is the least of it (RFC 7628 §3.2.2, Google's page).
    fn refusal(self) -> &'static [u8] {
        match self {
            Self::OauthBearer => br#"{"status":"invalid_token"}"#,
            Self::Xoauth2 => {
                br#"{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}"#
            }
        }
    }

    /// What the client answers to that, and gets 535 (RFC 7628 §3.2.3, Google's page).
    pub(super) fn dummy(self) -> &'static [u8] {
        match self {
            Self::OauthBearer => b"\x01",
            Self::Xoauth2 => b"",
        }
    }

    /// Client.
    pub(super) fn response(self, user: &str, token: &str) -> Vec<u8> {
        match self {
            Self::OauthBearer => {
                format!("n,a={},\x01auth=Bearer {token}\x01\x01", escape(user)).into_bytes()
            }
            Self::Xoauth2 => format!("user={user}\x01auth=Bearer {token}\x01\x01").into_bytes(),
        }
    }

    /// The name, if there is one, and the token.
    fn parse(self, response: &[u8]) -> Option<(Option<String>, &str)> {
        let text = str::from_utf8(response).ok()?;
        match self {
            Self::OauthBearer => parse_oauthbearer(text),
            Self::Xoauth2 => {
                let (user, rest) = text.strip_prefix("user=")?.split_once('\x01')?;
                let auth = rest.strip_prefix("auth=")?.strip_suffix("\x01\x01")?;
                (!auth.contains('\x01')).then_some((Some(user.to_owned()), token(auth)?))
            }
        }
    }
}

#[derive(Debug)]
pub struct BearerServer {
    form: BearerForm,
    /// The refusal was told, and its answer is due.
    refused: bool,
}

impl BearerServer {
    pub(super) fn new(form: BearerForm) -> Self {
        Self { form, refused: false }
    }

    pub(super) fn step(&mut self, response: &[u8], credentials: &Credentials) -> SaslStep {
        if self.refused {
            let expected = response == self.form.dummy();
            return if expected { SaslStep::Refused } else { SaslStep::Malformed };
        }
        let Some((user, token)) = self.form.parse(response) else {
            return SaslStep::Malformed;
        };
        let user = match user {
            Some(user) => credentials.admit(&user, token.as_bytes()).then_some(user),
            // The token says whose it is (RFC 7628 §3.1).
            None => credentials.holder(token.as_bytes()).map(str::to_owned),
        };
        if let Some(user) = user {
            return SaslStep::Accepted(user.into());
        }
        self.refused = true;
        SaslStep::Challenge(self.form.refusal().to_vec())
    }
}

/// `gs2-header ^A *(key "=" value ^A) ^A` (RFC 7628 §3.1). Of the keys `auth` must be there; all others, as
/// `host` and `port`, say nothing of the client.
fn parse_oauthbearer(text: &str) -> Option<(Option<String>, &str)> {
    let (header, pairs) = text.split_once('\x01')?;
    // `y`: the client would bind the channel, and saw that the server does not.
    let acting_as = header.strip_prefix("n,").or(header.strip_prefix("y,"))?.strip_suffix(',')?;
    let user = match acting_as {
        "" => None,
        name => Some(unescape(name.strip_prefix("a=")?)?),
    };
    let mut auth = None;
    for pair in pairs.strip_suffix("\x01\x01")?.split('\x01') {
        let (key, value) = pair.split_once('=')?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphabetic()) {
            return None;
        }
        if key == "auth" && auth.replace(value).is_some() {
            return None;
        }
    }
    Some((user, token(auth?)?))
}

/// The token behind its scheme, which is written in any case (RFC 6750 §2.1, RFC 7235 §2.1).
fn token(auth: &str) -> Option<&str> {
    let (scheme, token) = auth.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::BearerForm::{OauthBearer, Xoauth2};
    use super::*;
    use crate::smtp::auth::Accounts;

    /// The example of Google's page.
    const GOOGLE: &[u8] =
        b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01";

    /// The example of RFC 7628 §4.1.
    const RFC_7628: &[u8] = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
        auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";

    fn listed(text: &[u8]) -> Credentials {
        Credentials::Listed(Accounts::parse(text, 1).unwrap().into())
    }

    #[test]
    fn the_examples_are_read_and_what_is_written_is_read() {
        for (form, example, user) in
            [(Xoauth2, GOOGLE, "someuser@example.com"), (OauthBearer, RFC_7628, "user@example.com")]
        {
            let (name, token) = form.parse(example).unwrap();
            assert_eq!(name.as_deref(), Some(user));
            let step = BearerServer::new(form).step(example, &Credentials::Any);
            assert_eq!(step, SaslStep::Accepted(user.into()));
            assert_eq!(form.parse(&form.response(user, token)), Some((name, token)));
        }
        assert_eq!(
            Xoauth2.response("someuser@example.com", Xoauth2.parse(GOOGLE).unwrap().1),
            GOOGLE
        );
        let odd = OauthBearer.response("a=b,c", "t");
        assert_eq!(odd, b"n,a=a=3Db=2Cc,\x01auth=Bearer t\x01\x01");
        assert_eq!(OauthBearer.parse(&odd).unwrap().0.as_deref(), Some("a=b,c"));
    }

    #[test]
    fn a_bad_token_is_told_why_and_then_refused() {
        for (form, example, status) in
            [(Xoauth2, GOOGLE, "401"), (OauthBearer, RFC_7628, "invalid_token")]
        {
            for end in [&b""[..], b"\x01", b"x"] {
                let mut server = BearerServer::new(form);
                let SaslStep::Challenge(json) = server.step(example, &listed(b"a:b")) else {
                    panic!("a challenge is due");
                };
                let told: serde_json::Value = serde_json::from_slice(&json).unwrap();
                assert_eq!(told["status"], status);
                let good = end == form.dummy();
                let expected = if good { SaslStep::Refused } else { SaslStep::Malformed };
                assert_eq!(server.step(end, &listed(b"a:b")), expected, "{form:?} {end:?}");
            }
        }
    }

    #[test]
    fn a_token_without_a_name_is_that_of_its_one_holder() {
        let nameless = b"n,,\x01auth=Bearer b\x01\x01";
        let step =
            |credentials: &Credentials| BearerServer::new(OauthBearer).step(nameless, credentials);
        assert_eq!(step(&listed(b"a:b\nc:d")), SaslStep::Accepted(b"a".to_vec()));
        assert_eq!(step(&Credentials::Any), SaslStep::Accepted(Vec::new()));
        for nobody in [&b"a:x"[..], b"a:b\nc:b"] {
            assert!(matches!(step(&listed(nobody)), SaslStep::Challenge(_)));
        }
    }

    #[test]
    fn what_has_another_form_is_malformed() {
        let google = [
            "",
            "user=a",
            "user=a\x01auth=Bearer t",
            "user=a\x01auth=Bearer t\x01",
            "user=a\x01auth=Basic t\x01\x01",
            "user=a\x01auth=Bearer\x01\x01",
            "user=a\x01auth=Bearer t\x01x\x01\x01",
            "auth=Bearer t\x01user=a\x01\x01",
        ];
        let rfc = [
            "",
            "\x01",
            "n,a=u,",
            "n,a=u,\x01\x01",
            "n,a=u,\x01auth=Bearer t\x01",
            "n,a=u,\x01auth=Bearer t",
            "n,a=u,\x01auth=Basic t\x01\x01",
            "n,a=u,\x01auth=Bearer\x01\x01",
            "n,a=u,\x01host=h\x01\x01",
            "n,a=u,\x01auth=Bearer t\x01auth=Bearer t\x01\x01",
            "n,a=u,\x01host\x01auth=Bearer t\x01\x01",
            "n,a=u,\x01=h\x01auth=Bearer t\x01\x01",
            "n,a=u,\x01\x01auth=Bearer t\x01\x01",
            "n,a=,\x01auth=Bearer t\x01\x01",
            "n,a=u=,\x01auth=Bearer t\x01\x01",
            "n,a=u,v,\x01auth=Bearer t\x01\x01",
            "n,u,\x01auth=Bearer t\x01\x01",
            "n,a=u\x01auth=Bearer t\x01\x01",
            "p=x,a=u,\x01auth=Bearer t\x01\x01",
        ];
        for (form, texts) in [(Xoauth2, &google[..]), (OauthBearer, &rfc[..])] {
            for bad in texts {
                let step = BearerServer::new(form).step(bad.as_bytes(), &Credentials::Any);
                assert_eq!(step, SaslStep::Malformed, "{form:?} {bad:?}");
            }
        }
    }
}
