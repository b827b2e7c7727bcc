//! CRAM-MD5 (RFC 2195): the server asks, the client answers with a keyed digest.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use subtle::ConstantTimeEq;

use super::accounts::Credentials;
use super::nonce::Nonce;
use super::step::SaslStep;

/// Server: the question that waits for its answer.
#[derive(Debug)]
pub struct CramServer {
    text: String,
}

impl CramServer {
    /// `<nonce@hostname>`, in the form of a message id.
    pub(super) fn new(nonce: &Nonce, hostname: &str) -> Self {
        Self { text: format!("<{}@{hostname}>", nonce.text()) }
    }

    pub(super) fn text(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// `user SP digest`; the name may hold spaces.
    pub(super) fn verify(&self, response: &[u8], credentials: &Credentials) -> SaslStep {
        let Some((user, digest)) = split(response) else {
            return SaslStep::Malformed;
        };
        let good = match credentials {
            Credentials::None => false,
            // Without a password there is nothing to compare: any digest will do.
            Credentials::Any => !user.is_empty(),
            Credentials::Listed(accounts) => accounts.get(user).is_some_and(|account| {
                let expected = self::digest(account.password.as_bytes(), self.text());
                digest.as_bytes().ct_eq(expected.as_bytes()).into()
            }),
        };
        if good { SaslStep::Accepted(user.into()) } else { SaslStep::Refused }
    }
}

/// Client.
pub(super) fn response(user: &str, password: &str, challenge: &[u8]) -> Vec<u8> {
    format!("{user} {}", digest(password.as_bytes(), challenge)).into_bytes()
}

/// The name and 32 digits of hexadecimal, in lower case (RFC 2195 §2).
fn split(response: &[u8]) -> Option<(&str, &str)> {
    let (user, digest) = str::from_utf8(response).ok()?.rsplit_once(' ')?;
    let lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (digest.len() == 32 && digest.bytes().all(lower_hex)).then_some((user, digest))
}

fn digest(password: &[u8], challenge: &[u8]) -> String {
    let mut mac = Hmac::<Md5>::new_from_slice(password).expect("any length will do");
    mac.update(challenge);
    mac.finalize().into_bytes().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::auth::Accounts;

    fn example() -> CramServer {
        CramServer { text: "<1896.697170952@postoffice.reston.mci.net>".to_owned() }
    }

    /// RFC 2195 §2.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let expected = b"tim b913a602c7eda7a495b4e6e7334d3890";
        assert_eq!(response("tim", "tanstaaftanstaaf", example().text()), expected);
        let accounts = Accounts::parse(b"tim:tanstaaftanstaaf", 1).unwrap();
        let listed = Credentials::Listed(accounts.into());
        assert_eq!(example().verify(expected, &listed), SaslStep::Accepted(b"tim".to_vec()));
    }

    #[test]
    fn another_password_challenge_or_name_is_refused() {
        let accounts = Accounts::parse(b"tim:tanstaaftanstaaf\na b:c", 1).unwrap();
        let listed = Credentials::Listed(accounts.into());
        let answer = |user, password| response(user, password, example().text());
        assert_eq!(example().verify(&answer("tim", "wrong"), &listed), SaslStep::Refused);
        assert_eq!(
            example().verify(&answer("tom", "tanstaaftanstaaf"), &listed),
            SaslStep::Refused
        );
        assert_eq!(
            example().verify(&answer("a b", "c"), &listed),
            SaslStep::Accepted(b"a b".to_vec())
        );
        let other = CramServer::new(&Nonce::new(1, 1), "sink.example");
        assert_eq!(other.verify(&answer("tim", "tanstaaftanstaaf"), &listed), SaslStep::Refused);
        assert!(other.text().ends_with(b"@sink.example>"));
    }

    #[test]
    fn any_digest_will_do_for_anybody_and_nothing_else() {
        let any = |response: &[u8]| example().verify(response, &Credentials::Any);
        let digest = "0123456789abcdef0123456789abcdef";
        assert_eq!(any(format!("x {digest}").as_bytes()), SaslStep::Accepted(b"x".to_vec()));
        assert_eq!(any(format!(" {digest}").as_bytes()), SaslStep::Refused);
        for bad in ["", "x", digest, "x 0123", "x 0123456789ABCDEF0123456789ABCDEF", "x \u{e9}"] {
            assert_eq!(any(bad.as_bytes()), SaslStep::Malformed, "{bad}");
        }
    }
}
