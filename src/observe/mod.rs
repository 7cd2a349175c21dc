//! What a program sees of its buses: statistics, their table, metrics.

#[cfg(feature = "metrics")]
mod metrics;
mod stats;
mod table;

#[cfg(feature = "metrics")]
pub(crate) use metrics::record;
pub(crate) use stats::stats;
pub use stats::{BusStats, SubscriptionStats};
