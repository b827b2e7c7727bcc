//! Mechanisms that send the password as it is: PLAIN (RFC 4616) and LOGIN
//! (draft-murchison-sasl-login).

use super::accounts::Credentials;
use super::step::SaslStep;

/// PLAIN, server: `[authzid] NUL authcid NUL passwd`, all in UTF-8.
pub(super) fn verify(response: &[u8], credentials: &Credentials) -> SaslStep {
    let Ok(text) = str::from_utf8(response) else {
        return SaslStep::Malformed;
    };
    let parts: Vec<&str> = text.split('\0').collect();
    let [acting_as, user, password] = parts[..] else {
        return SaslStep::Malformed;
    };
    // A listed user may not act as another; where every user is let in, it may.
    let acting_as = if acting_as.is_empty() { user } else { acting_as };
    let foreign = acting_as != user && !matches!(credentials, Credentials::Any);
    if foreign || !credentials.admit(user, password.as_bytes()) {
        return SaslStep::Refused;
    }
    SaslStep::Accepted(acting_as.into())
}

/// PLAIN, client.
pub(super) fn response(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

/// LOGIN, server. Clients look at the order of the questions, not at their wording.
#[derive(Debug, Default)]
pub struct LoginServer {
    user: Option<String>,
}

impl LoginServer {
    pub(super) fn ask(&self) -> SaslStep {
        SaslStep::Challenge(if self.user.is_none() {
            b"Username:".to_vec()
        } else {
            b"Password:".into()
        })
    }

    pub(super) fn step(&mut self, response: &[u8], credentials: &Credentials) -> SaslStep {
        let Some(user) = self.user.take() else {
            let Ok(user) = str::from_utf8(response) else {
                return SaslStep::Malformed;
            };
            self.user = Some(user.to_owned());
            return self.ask();
        };
        if credentials.admit(&user, response) {
            SaslStep::Accepted(user.into())
        } else {
            SaslStep::Refused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::auth::Accounts;

    fn listed() -> Credentials {
        Credentials::Listed(Accounts::parse(b"tim:tanstaaftanstaaf", 1).unwrap().into())
    }

    /// RFC 4616 §4.
    #[test]
    fn plain_takes_the_examples_of_its_rfc() {
        let example = response("tim", "tanstaaftanstaaf");
        assert_eq!(example, b"\0tim\0tanstaaftanstaaf");
        assert_eq!(verify(&example, &listed()), SaslStep::Accepted(b"tim".to_vec()));
        let foreign = b"Ursel\0Kurt\0xipj3plmq";
        assert_eq!(verify(foreign, &listed()), SaslStep::Refused);
        assert_eq!(verify(foreign, &Credentials::Any), SaslStep::Accepted(b"Ursel".to_vec()));
        assert_eq!(
            verify(b"tim\0tim\0tanstaaftanstaaf", &listed()),
            SaslStep::Accepted(b"tim".to_vec())
        );
        assert_eq!(verify(b"x\0tim\0tanstaaftanstaaf", &listed()), SaslStep::Refused);
    }

    #[test]
    fn plain_has_three_parts_of_utf_8() {
        for bad in [&b""[..], b"a", b"a\0b", b"a\0b\0c\0d", b"\0\xff\0b"] {
            assert_eq!(verify(bad, &Credentials::Any), SaslStep::Malformed, "{bad:?}");
        }
        for bare in [&b"\0\0b"[..], b"\0a\0", b"x\0\0"] {
            assert_eq!(verify(bare, &Credentials::Any), SaslStep::Refused, "{bare:?}");
        }
    }

    #[test]
    fn login_asks_for_the_name_and_then_for_the_password() {
        for (password, expected) in [
            ("tanstaaftanstaaf", SaslStep::Accepted(b"tim".to_vec())),
            ("wrong", SaslStep::Refused),
        ] {
            let mut login = LoginServer::default();
            assert_eq!(login.ask(), SaslStep::Challenge(b"Username:".to_vec()));
            assert_eq!(login.step(b"tim", &listed()), SaslStep::Challenge(b"Password:".to_vec()));
            assert_eq!(login.step(password.as_bytes(), &listed()), expected);
        }
    }
}
