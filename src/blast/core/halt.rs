//! Ends a run early: at a refusal or a broken connection where the plan asks for that, or at too many.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::LoadCore;
use crate::blast::failure::words;
use crate::blast::policy::ErrorsMax;
use crate::human::counted;
use crate::measure::{ErrorKind, Phase};
use crate::run::Stopped;

/// Messages begun from which on a share of errors means something.
const ERRORS_SHARE_MESSAGES_MIN: u64 = 100;

/// What ends a run early: a reply, a failure without a reply, or too many of both.
#[derive(Debug)]
struct Trouble {
    target: Option<usize>,
    phase: Phase,
    code: Option<u16>,
    error: Option<ErrorKind>,
    text: String,
}

impl Trouble {
    fn reply(target: usize, phase: Phase, code: u16, said: &[u8]) -> Self {
        Self { target: Some(target), phase, code: Some(code), error: None, text: words(said) }
    }
}

impl LoadCore {
    /// A command was refused. The refusal is `usual` if the dialogue goes on in another way.
    #[cold]
    pub(in crate::blast) fn refused(
        &self,
        target: usize,
        phase: Phase,
        code: u16,
        said: &[u8],
        usual: bool,
    ) {
        if let Some(by) = self.policy.stops_at(code, usual) {
            self.halt(by, Trouble::reply(target, phase, code, said));
        }
    }

    /// A message was refused.
    #[cold]
    pub(in crate::blast) fn message_refused(
        &self,
        target: usize,
        phase: Phase,
        code: u16,
        said: &[u8],
    ) {
        self.count_error(|| Trouble::reply(target, phase, code, said));
    }

    /// A connection could not be made, or has broken.
    #[cold]
    pub(in crate::blast) fn broke(
        &self,
        target: usize,
        phase: Phase,
        kind: ErrorKind,
        why: impl Fn() -> String,
    ) {
        let trouble = || {
            let (target, text) = (Some(target), why());
            Trouble { target, phase, code: None, error: Some(kind), text }
        };
        // A target that never answered is unreachable, which `failed` reports.
        if self.policy.stop_on_error && self.reached(target) {
            self.halt("--on-error stop".to_owned(), trouble());
        }
        self.count_error(trouble);
    }

    fn count_error(&self, trouble: impl FnOnce() -> Trouble) {
        self.errors.set(self.errors.get() + 1);
        if let Some(most @ ErrorsMax::Count(count)) = self.policy.errors_max
            && self.shared.errors.fetch_add(1, Relaxed) >= count
        {
            self.halt(most.to_string(), trouble());
        }
    }

    /// Ends the run in order: nothing more begins, and what is under way is finished and counted.
    fn halt(&self, by: String, trouble: Trouble) {
        let Trouble { target, phase, code, error, text } = trouble;
        let at_s = self.clock.elapsed_ns() as f64 / 1e9;
        let target = target.filter(|_| self.targets.len() > 1);
        let target = target.map(|target| self.targets[target].target.url.clone());
        self.shared.halt(Stopped { by, at_s, target, phase, code, error, text });
        self.notice_stop();
    }

    /// Adds this core's counts to those of all cores, and checks the share of errors.
    pub(super) fn watch_share(&self) {
        self.hold_share(ERRORS_SHARE_MESSAGES_MIN);
    }

    /// The same for the whole run, at its end: then few messages are all that there are.
    pub(super) fn watch_whole_share(&self) {
        self.hold_share(1);
    }

    fn hold_share(&self, messages_min: u64) {
        let Some(most @ ErrorsMax::Percent(_)) = self.policy.errors_max else { return };
        let (messages, errors) = (self.seq.get(), self.errors.get());
        let (messages_shown, errors_shown) = self.shown.replace((messages, errors));
        let add = |total: &AtomicU64, more: u64| total.fetch_add(more, Relaxed) + more;
        let messages = add(&self.shared.messages, messages - messages_shown);
        let errors = add(&self.shared.errors, errors - errors_shown);
        if messages >= messages_min && most.is_passed(errors, messages) {
            let [errors, messages] = [(errors, "error"), (messages, "message")]
                .map(|(count, noun)| counted(count, noun));
            let text = format!("{errors} in {messages}");
            let (phase, target) = (Phase::Message, None);
            let trouble = Trouble { target, phase, code: None, error: None, text };
            self.halt(most.to_string(), trouble);
        }
    }

    pub(in crate::blast) fn notice_stop(&self) {
        if self.shared.stop.load(Relaxed) {
            self.work.stop(self.clock.elapsed_ns());
        }
    }
}
