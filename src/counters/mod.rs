//! Counts that cost next to nothing on the path of a message.

mod loss;
#[cfg(feature = "metrics")]
mod recordings;
mod tally;
mod traffic;

pub(crate) use loss::{Dropped, Loss};
#[cfg(feature = "metrics")]
pub(crate) use recordings::{Recordings, Sample};
pub(crate) use tally::Tally;
#[cfg(feature = "metrics")]
pub(crate) use tally::this_thread;
pub(crate) use traffic::Traffic;
