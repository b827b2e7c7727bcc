//! Whether a core has mail to take, so that it looks after its spool often then, and seldom else.

use std::cell::Cell;

use crate::engine::task::Notify;

#[derive(Debug, Default)]
pub(super) struct Doze {
    /// A message has begun since the last look.
    messages: Cell<bool>,
    /// The next look comes late.
    dozing: Cell<bool>,
    ended: Notify,
}

impl Doze {
    /// Whether a message has begun since the last call of this.
    pub(super) fn has_messages(&self) -> bool {
        self.messages.take()
    }

    /// The next look comes late, unless a message begins.
    pub(super) fn begin(&self) {
        self.dozing.set(true);
    }

    /// A message ends the doze.
    pub(super) async fn over(&self) {
        self.ended.notified().await;
    }

    /// A message begins. `true`: it ends a doze, and a look is due first.
    #[inline]
    pub(super) fn message(&self) -> bool {
        self.messages.set(true);
        let ends = self.dozing.take();
        if ends {
            self.ended.notify_one();
        }
        ends
    }
}
