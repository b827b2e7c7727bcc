//! XOAUTH2 (<https://developers.google.com/workspace/gmail/imap/xoauth2-protocol>): a name and a
//! bearer token. Here the token is compared as a password is.

use super::accounts::Credentials;
use super::step::SaslStep;

/// What Google's servers say of a bad token; the client answers with an empty line and gets 535.
const REFUSAL: &[u8] = br#"{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}"#;

#[derive(Debug, Default)]
pub struct BearerServer {
    /// The refusal was told, and the empty answer is due.
    refused: bool,
}

impl BearerServer {
    pub(super) fn step(&mut self, response: &[u8], credentials: &Credentials) -> SaslStep {
        if self.refused {
            return if response.is_empty() { SaslStep::Refused } else { SaslStep::Malformed };
        }
        let Some((user, token)) = parse(response) else {
            return SaslStep::Malformed;
        };
        if credentials.admit(user, token.as_bytes()) {
            return SaslStep::Accepted(user.into());
        }
        self.refused = true;
        SaslStep::Challenge(REFUSAL.to_vec())
    }
}

/// Client.
pub(super) fn response(user: &str, token: &str) -> Vec<u8> {
    format!("user={user}\x01auth=Bearer {token}\x01\x01").into_bytes()
}

/// `user=` name ^A `auth=Bearer ` token ^A ^A.
fn parse(response: &[u8]) -> Option<(&str, &str)> {
    let text = str::from_utf8(response).ok()?;
    let (user, rest) = text.strip_prefix("user=")?.split_once('\x01')?;
    let token = rest.strip_prefix("auth=")?.strip_suffix("\x01\x01")?;
    let (scheme, token) = token.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("Bearer") && !token.contains('\x01')).then_some((user, token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::auth::Accounts;

    /// The example of Google's page.
    const EXAMPLE: &[u8] =
        b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01";

    #[test]
    fn the_example_is_written_and_read() {
        let (user, token) = parse(EXAMPLE).unwrap();
        assert_eq!(user, "someuser@example.com");
        assert_eq!(response(user, token), EXAMPLE);
        let accepted = SaslStep::Accepted(user.into());
        assert_eq!(BearerServer::default().step(EXAMPLE, &Credentials::Any), accepted);
    }

    #[test]
    fn a_bad_token_is_told_why_and_then_refused() {
        let listed = Credentials::Listed(Accounts::parse(b"a:b", 1).unwrap().into());
        for (end, expected) in [(&b""[..], SaslStep::Refused), (b"x", SaslStep::Malformed)] {
            let mut server = BearerServer::default();
            let SaslStep::Challenge(json) = server.step(EXAMPLE, &listed) else {
                panic!("a challenge is due");
            };
            assert!(json.starts_with(b"{\"status\":\"401\""));
            assert_eq!(server.step(end, &listed), expected);
        }
    }

    #[test]
    fn what_has_another_form_is_malformed() {
        for bad in [
            "",
            "user=a",
            "user=a\x01auth=Bearer t",
            "user=a\x01auth=Bearer t\x01",
            "user=a\x01auth=Basic t\x01\x01",
            "user=a\x01auth=Bearer\x01\x01",
            "auth=Bearer t\x01user=a\x01\x01",
        ] {
            let step = BearerServer::default().step(bad.as_bytes(), &Credentials::Any);
            assert_eq!(step, SaslStep::Malformed, "{bad:?}");
        }
    }
}
