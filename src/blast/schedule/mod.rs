//! When work is due: by arithmetic from the start of the run, so that nothing has to be stored for
//! work that waits, and the intended time of each arrival does not depend on when anybody looked.
//!
//! A [`Profile`] is a rate over time. [`Arrivals`] walks the instants at which its integral passes
//! one position after the other: the whole numbers for constant spacing, the sums of exponential
//! steps of mean 1 for Poisson arrivals (the time-rescaling theorem makes them a Poisson process of
//! that rate, ramps included). Each core walks the same arrivals and takes its turn of them, so the
//! cores' arrivals together are exactly those of one core, whatever their number.

mod arrivals;
mod profile;
mod spacing;
mod think;

pub use self::arrivals::{Arrivals, ScheduleEnd};
pub use self::profile::{Leg, Profile, ProfileError};
pub use self::spacing::{Schedule, Spacing};
pub use self::think::Think;
