//! The same plan at many rates: a sweep, which measures latency under load step by step, and the search for the
//! highest rate at which a service level is kept.
//!
//! [`Steps`] runs one rate after the other and says what happens while it does; [`Steps::sweep`] and
//! [`Steps::find_max`] say which rate is next and when to stop. [`Bisection`] is the search without clock and
//! sockets.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use ringpost::blast::StopRequest;
//! use ringpost::blast::content::{Content, spread::Spread};
//! use ringpost::blast::plan::Plan;
//! use ringpost::blast::schedule::Spacing;
//! use ringpost::blast::search::{Rates, StepEvent, Steps};
//! use ringpost::dial::Target;
//! use ringpost::engine::EngineKind;
//!
//! let target = Target::parse("127.0.0.1:1025", &[])?;
//! let content = Content::plain(Spread::one(1024), "a@client.example", "b@server.example");
//! let plan = Plan::new(target.into(), content, vec![1], EngineKind::Epoll);
//! let steps = Steps { plan: &plan, spacing: Spacing::Constant, stop: StopRequest::default() };
//! let rates = Rates::Doubling { start: 500.0, most: 64_000.0 };
//! let sweep = steps.sweep(&rates, &mut |event| {
//!     if let StepEvent::Done(step) = event {
//!         println!("{:?} of {} messages/s", step.run.rate_msg_s, step.asked);
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! println!("knee: {:?}", sweep.knee().map(|step| step.asked));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bisection;
mod find_max;
mod steps;
mod sweep;

pub use self::bisection::{Bisection, SearchOptions, Tried};
pub use self::find_max::FoundMax;
pub use self::steps::{EarlyEnd, EndCause, Observer, SearchError, StepEvent, Steps};
pub use self::sweep::{Rates, Sweep};
