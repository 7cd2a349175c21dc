//! Counts that cost next to nothing on the path of a message.

mod loss;
mod messages;
mod owner_biased;
#[cfg(feature = "metrics")]
mod recordings;

pub(crate) use loss::{Loss, LossCounters};
pub(crate) use messages::MessageCounters;
pub(crate) use owner_biased::OwnerBiasedCounter;
#[cfg(feature = "metrics")]
pub(crate) use owner_biased::this_thread;
#[cfg(feature = "metrics")]
pub(crate) use recordings::{QueueGauges, Recordings, Sample};
