//! What the schedule of a core makes due, counted apart from the work itself: it is held against the figures.

use super::{LoadModel, Work, claim};

/// Sessions whose messages were drawn, and how many messages these are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drawn {
    sessions: u64,
    messages: u64,
}

impl Drawn {
    fn and(self, messages: u64) -> Self {
        Self { sessions: self.sessions + 1, messages: self.messages + messages }
    }
}

/// What the schedule of a core has made due by some time.
#[derive(Clone, Copy, Debug)]
pub(in crate::blast) struct Scheduled {
    arrivals: u64,
    /// Of these, the sessions that no core has opened or given away.
    ahead: Drawn,
}

/// The work that was due on a core.
#[derive(Clone, Copy, Debug)]
pub(in crate::blast) struct Due {
    /// What its schedule made due: messages, or sessions.
    pub(in crate::blast) arrivals: u64,
    /// What it knows of: taken, from other cores too, or still ahead.
    pub(in crate::blast) known: u64,
    /// The messages of all that it knows of.
    pub(in crate::blast) messages: u64,
    /// Of these, those that are not due, because their session had no time for them.
    pub(in crate::blast) let_go: u64,
}

impl Work {
    /// What the schedule of this core makes due until the end, or until the run is stopped; `None` where there is
    /// none, or a number of messages ends sessions that are due for ever.
    pub(in crate::blast) fn scheduled_until(&self, now_ns: u64) -> Option<Scheduled> {
        if self.model == LoadModel::Sessions && self.is_counted() {
            return None;
        }
        let until_ns = now_ns.min(self.stopped_ns.get().unwrap_or(u64::MAX));
        let arrivals = self.schedule.as_ref()?.due_before(until_ns).count() as u64;
        // As `waiting` draws them.
        let mut counts = self.counts.borrow().clone();
        let ahead = self.arrivals.borrow();
        let ahead = ahead.as_ref()?.due_before(until_ns);
        let ahead = ahead.fold(Drawn::default(), |drawn, _| {
            drawn.and(claim::draw(self.per_connection, &mut counts))
        });
        Some(Scheduled { arrivals, ahead })
    }

    /// The account of this core, when it has counted what is left of `scheduled`.
    pub(in crate::blast) fn due(&self, scheduled: Scheduled) -> Due {
        let Scheduled { arrivals, ahead } = scheduled;
        let drawn = self.drawn.get();
        let (known, messages) = match self.model {
            LoadModel::Sessions => {
                (drawn.sessions + ahead.sessions, drawn.messages + ahead.messages)
            }
            LoadModel::Closed | LoadModel::Messages => (arrivals, arrivals),
        };
        Due { arrivals, known, messages, let_go: self.let_go.get() }
    }

    /// Draws how many messages a connection sends.
    pub(super) fn draw(&self) -> u64 {
        let messages = claim::draw(self.per_connection, &mut self.counts.borrow_mut());
        self.note_drawn(messages);
        messages
    }

    pub(super) fn note_drawn(&self, messages: u64) {
        self.drawn.set(self.drawn.get().and(messages));
    }

    /// Of the work that cores gave to others, what nobody has taken: when it was due, and how many messages.
    pub(in crate::blast) fn given_and_left(&self) -> (Vec<(u64, u64)>, u64) {
        let messages = self.exchange.take_messages(u64::MAX);
        let mut left = if self.is_counted() { messages } else { u64::MAX };
        let mut counts = self.counts.borrow_mut();
        let due = std::iter::from_fn(|| self.exchange.take()).map_while(|given| {
            let of = self.given(given, &mut counts, &mut left)?;
            if given.messages == 0 {
                self.note_drawn(of.1);
            }
            Some(of)
        });
        (due.collect(), messages)
    }

    /// A session has ended in time, without so many of its messages.
    pub(in crate::blast) fn let_go(&self, messages: u64) {
        self.let_go.set(self.let_go.get() + messages);
    }
}
