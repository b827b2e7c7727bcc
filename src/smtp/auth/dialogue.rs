//! A client's half of an exchange, whatever the mechanism.

use std::sync::PoisonError;

use super::bearer::BearerForm;
use super::cram;
use super::fault::LoginFault;
use super::login::Login;
use super::mechanism::Mechanism;
use super::nonce::Nonce;
use super::plain;
use super::scram;

/// The client's half of one exchange.
#[derive(Debug)]
pub enum Dialogue {
    /// What is left to say, whatever the challenges are.
    Simple(std::vec::IntoIter<Vec<u8>>),
    CramMd5 {
        answered: bool,
    },
    ScramSha256(Box<scram::ScramClient>),
}

impl Dialogue {
    /// Begins; answers the initial response, if the mechanism has one.
    pub fn new(mechanism: Mechanism, login: &Login, nonce: &Nonce) -> (Self, Option<Vec<u8>>) {
        let simple = |answers: Vec<Vec<u8>>| Self::Simple(answers.into_iter());
        let (user, secret) = (&login.user, &login.secret);
        // The challenge after a bad token says why it is bad, and wants an answer all the same.
        let bearer = |form: BearerForm| {
            (simple(vec![form.dummy().to_vec()]), Some(form.response(user, secret)))
        };
        match mechanism {
            Mechanism::Plain => (simple(Vec::new()), Some(plain::response(user, secret))),
            Mechanism::Login => {
                (simple(vec![user.clone().into_bytes(), secret.clone().into_bytes()]), None)
            }
            Mechanism::OauthBearer => bearer(BearerForm::OauthBearer),
            Mechanism::Xoauth2 => bearer(BearerForm::Xoauth2),
            Mechanism::CramMd5 => (Self::CramMd5 { answered: false }, None),
            Mechanism::ScramSha256 => {
                let client = scram::ScramClient::new(user, nonce);
                let first = client.first();
                (Self::ScramSha256(Box::new(client)), Some(first))
            }
        }
    }

    /// The answer to a challenge.
    ///
    /// # Errors
    /// [`LoginFault`]: the exchange is to be cancelled.
    pub fn answer(&mut self, challenge: &[u8], login: &Login) -> Result<Vec<u8>, LoginFault> {
        match self {
            Self::Simple(answers) => answers.next().ok_or(LoginFault::Challenge),
            Self::CramMd5 { answered: true } => Err(LoginFault::Challenge),
            Self::CramMd5 { answered } => {
                *answered = true;
                Ok(cram::response(&login.user, &login.secret, challenge))
            }
            Self::ScramSha256(client) => {
                let mut derived = login.derived.lock().unwrap_or_else(PoisonError::into_inner);
                client.answer(challenge, &login.secret, &mut derived)
            }
        }
    }

    /// Takes the server's consent.
    ///
    /// # Errors
    /// [`LoginFault`] when the server has not proven itself, where the mechanism says that it must.
    pub fn finish(&self) -> Result<(), LoginFault> {
        match self {
            Self::ScramSha256(client) if !client.is_proven() => Err(LoginFault::Impostor),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::auth::{Accounts, Credentials, Exchange, Mechanisms, SaslStep};

    fn login(mechanism: Option<Mechanism>) -> Login {
        Login::new("tim".into(), "tanstaaftanstaaf".into(), mechanism)
    }

    #[test]
    fn the_best_mechanism_is_chosen_unless_one_is_named() {
        use Mechanism::{CramMd5, OauthBearer, Plain, ScramSha256, Xoauth2};
        let set = |mechanisms: &[Mechanism]| mechanisms.iter().copied().collect::<Mechanisms>();
        assert_eq!(login(None).choose(Mechanisms::ALL), Some(ScramSha256));
        assert_eq!(login(None).choose(set(&[Plain, CramMd5])), Some(CramMd5));
        assert_eq!(login(None).choose(set(&[Xoauth2, Mechanism::Login])), Some(Mechanism::Login));
        assert_eq!(login(None).choose(set(&[Xoauth2, OauthBearer])), None);
        assert_eq!(login(Some(Xoauth2)).choose(Mechanisms::ALL), Some(Xoauth2));
        assert_eq!(login(Some(Plain)).choose(set(&[CramMd5])), None);
    }

    /// Both halves of one mechanism to their end; whether the client was let in.
    fn converse(mechanism: Mechanism, login: &Login, credentials: &Credentials) -> bool {
        let mut server = Exchange::new(mechanism, &Nonce::new(1, 1), "sink.example");
        let (mut client, initial) = Dialogue::new(mechanism, login, &Nonce::new(2, 1));
        let mut step = server.step(initial.as_deref(), credentials);
        for _ in 0..4 {
            step = match step {
                SaslStep::Challenge(challenge) => {
                    let answer = client.answer(&challenge, login).unwrap();
                    server.step(Some(&answer), credentials)
                }
                SaslStep::Accepted(user) => {
                    assert_eq!((user, client.finish()), (b"tim".to_vec(), Ok(())));
                    return true;
                }
                SaslStep::Refused => return false,
                SaslStep::Malformed => panic!("{mechanism:?}"),
            };
        }
        panic!("{mechanism:?} does not end");
    }

    #[test]
    fn both_halves_of_every_mechanism_understand_each_other() {
        let accounts = |text: &[u8]| Credentials::Listed(Accounts::parse(text, 1).unwrap().into());
        let good = accounts(b"tim:tanstaaftanstaaf");
        for mechanism in Mechanism::ALL {
            let login = login(None);
            assert!(converse(mechanism, &login, &good), "{mechanism:?}");
            assert!(converse(mechanism, &login, &good), "{mechanism:?} with the keys kept");
            assert!(!converse(mechanism, &login, &accounts(b"tim:other")), "{mechanism:?}");
            assert!(!converse(mechanism, &login, &accounts(b"tom:x")), "{mechanism:?}");
            if mechanism != Mechanism::ScramSha256 {
                assert!(converse(mechanism, &login, &Credentials::Any), "{mechanism:?}");
            }
        }
    }

    #[test]
    fn consent_without_a_proof_is_none() {
        let login = login(None);
        let (client, _) = Dialogue::new(Mechanism::ScramSha256, &login, &Nonce::new(2, 1));
        assert_eq!(client.finish(), Err(LoginFault::Impostor));
        let (mut client, _) = Dialogue::new(Mechanism::Plain, &login, &Nonce::new(2, 1));
        assert_eq!(client.answer(b"more?", &login), Err(LoginFault::Challenge));
    }
}
