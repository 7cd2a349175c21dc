//! What a program sees of its buses: statistics, their table, metrics.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "metrics")]
mod recordings;
mod stats;
mod table;

#[cfg(feature = "metrics")]
pub(crate) use metrics::record;
#[cfg(feature = "metrics")]
pub(crate) use recordings::{Recordings, Sample};
pub use stats::{BusStats, SubscriptionStats};
