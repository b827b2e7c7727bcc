//! What the end of a connection says about its target.

use super::Session;
use crate::blast::failure::Failure;
use crate::dial::TalkError;
use crate::smtp::auth::Mechanism;
use crate::smtp::client::Fault;

/// How a connection ended.
#[derive(Debug)]
pub(in crate::blast) enum End {
    /// We closed it because nothing was left to do on it.
    Worked,
    /// The server ended it, or it broke, after it was of use.
    Broken,
    /// It came to nothing; a later one may do better.
    Useless(Failure),
    /// No connection to this target can do what is asked.
    Unfit(Failure),
}

impl Session<'_> {
    pub(super) fn judge(&self, result: Result<(), TalkError>) -> End {
        let goal = &self.core.goals[self.goal];
        let target = goal.target.url.clone();
        if let Err(TalkError::Fault(Fault::NotOffered(extension))) = result {
            let cure = match extension {
                "CHUNKING" => "--chunking",
                "SMTPUTF8" => "the address that is not ASCII",
                _ => "--pipelining",
            };
            return End::Unfit(Failure::NotOffered { target, extension, cure });
        }
        if let Err(TalkError::Fault(Fault::NoMechanism)) = result {
            let named = goal.settings.login.as_ref().and_then(|login| login.mechanism());
            let wanted = match named {
                Some(mechanism) => format!("AUTH {}", mechanism.name()),
                None => "AUTH with a password".to_owned(),
            };
            return End::Unfit(Failure::NoMechanism { target, wanted });
        }
        if self.talk.client().login_failed() {
            let mechanism = self.talk.client().mechanism().map_or("", Mechanism::name);
            let why = match self.talk.client().login_fault() {
                Some(fault) => fault.to_string(),
                None => String::from_utf8_lossy(self.talk.client().refusal()).into_owned(),
            };
            return End::Useless(Failure::Login { target, mechanism, why });
        }
        let ready = self.talk.client().ready();
        match result {
            Ok(()) if ready && self.leaving => End::Worked,
            _ if self.decided > 0 => End::Broken,
            Ok(()) if ready => End::Broken,
            Ok(()) => {
                let why = String::from_utf8_lossy(self.talk.client().refusal()).into_owned();
                End::Useless(Failure::Refused { target, why })
            }
            Err(lost) => End::Useless(Failure::Unreachable { target, why: lost.to_string() }),
        }
    }
}

/// Whether no connection to this target can do what is asked.
pub(super) fn is_unfit(lost: &TalkError) -> bool {
    matches!(lost, TalkError::Fault(Fault::NotOffered(_) | Fault::NoMechanism))
}
