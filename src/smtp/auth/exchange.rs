//! A server's half of an exchange, whatever the mechanism.

use super::accounts::Credentials;
use super::bearer::{BearerForm, BearerServer};
use super::cram;
use super::mechanism::Mechanism;
use super::nonce::Nonce;
use super::plain;
use super::scram;
use super::step::SaslStep;

/// The server's half of one exchange.
#[derive(Debug)]
pub enum Exchange {
    Plain,
    Login(plain::LoginServer),
    CramMd5(cram::CramServer),
    ScramSha256(Box<scram::ScramServer>),
    Bearer(BearerServer),
}

impl Exchange {
    /// `nonce` must never repeat; `hostname` goes into challenges that carry one.
    pub fn new(mechanism: Mechanism, nonce: &Nonce, hostname: &str) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::Login(plain::LoginServer::default()),
            Mechanism::CramMd5 => Self::CramMd5(cram::CramServer::new(nonce, hostname)),
            Mechanism::ScramSha256 => Self::ScramSha256(Box::new(scram::ScramServer::new(nonce))),
            Mechanism::OauthBearer => Self::Bearer(BearerServer::new(BearerForm::OauthBearer)),
            Mechanism::Xoauth2 => Self::Bearer(BearerServer::new(BearerForm::Xoauth2)),
        }
    }

    /// Takes the client's word: at first the initial response, or `None` without one. Further steps
    /// follow challenges only.
    pub fn step(&mut self, response: Option<&[u8]>, credentials: &Credentials) -> SaslStep {
        match (self, response) {
            (Self::CramMd5(challenge), None) => SaslStep::Challenge(challenge.text().to_vec()),
            (Self::Login(login), None) => login.ask(),
            (_, None) => SaslStep::Challenge(Vec::new()),
            (Self::Plain, Some(response)) => plain::verify(response, credentials),
            (Self::Login(login), Some(response)) => login.step(response, credentials),
            (Self::CramMd5(challenge), Some(response)) => challenge.verify(response, credentials),
            (Self::ScramSha256(server), Some(response)) => server.step(response, credentials),
            (Self::Bearer(server), Some(response)) => server.step(response, credentials),
        }
    }
}
