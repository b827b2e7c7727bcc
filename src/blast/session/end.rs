//! What the end of a connection says about its target.

use super::LoadSession;
use crate::blast::failure::Failure;
use crate::dial::TalkError;
use crate::smtp::auth::Mechanism;
use crate::smtp::client::Fault;

/// How a connection ended.
#[derive(Debug)]
pub(in crate::blast) enum SessionEnd {
    /// We closed it because nothing was left to do on it.
    Worked,
    /// The server ended it, or it broke, after a message was decided or the greeting was done.
    Broken,
    /// The server did not greet it, and nothing is left to do.
    NeverGreeted(Failure),
    /// It did no work. A later connection may do better.
    Useless(Failure),
    /// No connection to this target can do what is asked.
    Unfit(Failure),
}

impl LoadSession<'_> {
    /// What became of a session that ended with `result`.
    pub(super) fn judge(&self, result: Result<(), TalkError>) -> SessionEnd {
        let state = &self.core.targets[self.target];
        let target = state.target.url.clone();
        if let Err(TalkError::Fault(Fault::NotOffered(extension))) = result {
            let cure = match extension {
                "CHUNKING" => "leave out --chunking",
                "SMTPUTF8" => "leave out the address that is not ASCII",
                // --chunking pipelines by itself, unless it is told not to.
                _ if state.settings.chunking => "with --chunking, add --pipelining none",
                _ => "leave out --pipelining",
            };
            return SessionEnd::Unfit(Failure::NotOffered { target, extension, cure });
        }
        if let Err(TalkError::Fault(Fault::NoMechanism)) = result {
            let named = state.settings.login.as_ref().and_then(|login| login.mechanism());
            let wanted = match named {
                Some(mechanism) => format!("AUTH {}", mechanism.name()),
                None => "AUTH with a password".to_owned(),
            };
            return SessionEnd::Unfit(Failure::NoMechanism { target, wanted });
        }
        if self.talk.client().login_failed() {
            let mechanism = self.talk.client().mechanism().map_or("", Mechanism::name);
            let why = match self.talk.client().login_fault() {
                Some(fault) => fault.to_string(),
                None => String::from_utf8_lossy(self.talk.client().refusal()).into_owned(),
            };
            return SessionEnd::Useless(Failure::Login { target, mechanism, why });
        }
        let ready = self.talk.client().ready();
        match result {
            Ok(()) if ready && self.leaving => SessionEnd::Worked,
            _ if self.decided > 0 => SessionEnd::Broken,
            Ok(()) if ready => SessionEnd::Broken,
            Ok(()) => {
                let why = String::from_utf8_lossy(self.talk.client().refusal()).into_owned();
                SessionEnd::Useless(Failure::Refused { target, why })
            }
            Err(TalkError::Timeout) if self.core.work.over(self.now_ns) => {
                SessionEnd::NeverGreeted(Failure::NeverGreeted { target })
            }
            Err(error) => {
                SessionEnd::Useless(Failure::Unreachable { target, why: error.to_string() })
            }
        }
    }
}

/// Whether no connection to this target can do what is asked.
pub(super) fn is_unfit(error: &TalkError) -> bool {
    matches!(error, TalkError::Fault(Fault::NotOffered(_) | Fault::NoMechanism))
}
