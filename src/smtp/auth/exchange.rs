//! A server's half of an exchange, whatever the mechanism.

use super::accounts::Credentials;
use super::bearer;
use super::cram;
use super::mechanism::Mechanism;
use super::nonce::Nonce;
use super::plain;
use super::scram;
use super::step::Step;

/// The server's half of one exchange.
#[derive(Debug)]
pub enum Exchange {
    Plain,
    Login(plain::Login),
    CramMd5(cram::Challenge),
    ScramSha256(Box<scram::Server>),
    Xoauth2(bearer::Server),
}

impl Exchange {
    /// `nonce` must never repeat; `hostname` goes into challenges that carry one.
    pub fn new(mechanism: Mechanism, nonce: &Nonce, hostname: &str) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::Login(plain::Login::default()),
            Mechanism::CramMd5 => Self::CramMd5(cram::Challenge::new(nonce, hostname)),
            Mechanism::ScramSha256 => Self::ScramSha256(Box::new(scram::Server::new(nonce))),
            Mechanism::Xoauth2 => Self::Xoauth2(bearer::Server::default()),
        }
    }

    /// Takes the client's word: at first the initial response, or `None` without one. Further steps
    /// follow challenges only.
    pub fn step(&mut self, response: Option<&[u8]>, credentials: &Credentials) -> Step {
        match (self, response) {
            (Self::CramMd5(challenge), None) => Step::Challenge(challenge.text().to_vec()),
            (Self::Login(login), None) => login.ask(),
            (_, None) => Step::Challenge(Vec::new()),
            (Self::Plain, Some(response)) => plain::verify(response, credentials),
            (Self::Login(login), Some(response)) => login.step(response, credentials),
            (Self::CramMd5(challenge), Some(response)) => challenge.verify(response, credentials),
            (Self::ScramSha256(server), Some(response)) => server.step(response, credentials),
            (Self::Xoauth2(server), Some(response)) => server.step(response, credentials),
        }
    }
}
