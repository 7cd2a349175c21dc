//! Counts that cost next to nothing on the path of a message.

mod loss;
mod tally;
mod traffic;

pub(crate) use loss::{Dropped, Loss};
pub(crate) use tally::Tally;
#[cfg(feature = "metrics")]
pub(crate) use tally::this_thread;
pub(crate) use traffic::Traffic;
