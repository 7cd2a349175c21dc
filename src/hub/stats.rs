//! The statistics of one bus of a hub.

#[cfg(doc)]
use std::any::type_name;
use std::fmt;

#[cfg(doc)]
use super::Hub;
use crate::observe::BusStats;

/// The statistics of one bus of a hub, see [`Hub::stats`].
///
/// # Examples
///
/// ```
/// let hub = tramline::Hub::new();
/// let _lengths = hub.named_with_reply::<String, usize>("lengths");
/// let stats = &hub.stats()[0];
/// assert_eq!((stats.payload, stats.reply), ("alloc::string::String", "usize"));
/// assert_eq!((stats.stats.name.as_str(), stats.stats.topics), ("lengths", 0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubBusStats {
    /// The name of the type of its messages, as [`type_name`] writes it: for people, not for programs.
    pub payload: &'static str,
    /// The name of the type of its replies.
    pub reply: &'static str,
    /// Its own numbers. Its [name](BusStats::name) is the one given with [`Hub::named`], or the type of its messages, with
    /// ` -> ` and the type of its replies if that is another.
    pub stats: BusStats,
}

/// The [table](BusStats) of the bus.
///
/// # Examples
///
/// ```
/// let hub = tramline::Hub::new();
/// let _bus = hub.bus_with_reply::<u32, bool>();
/// let totals = "0 topics, 0 subscriptions, 0 groups, 0 unheard, 0 dropped, 0 abandoned, 0 dead letters";
/// assert_eq!(hub.stats()[0].to_string(), format!("u32 -> bool: {totals}"));
/// ```
impl fmt::Display for HubBusStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.stats, f)
    }
}
