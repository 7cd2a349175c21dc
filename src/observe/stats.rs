//! Snapshots of what a bus is doing.

use crate::bus::{Bus, BusInner};
use crate::mailbox::{Mailbox, Overflow};
use crate::sync::counters::Ordering;
use crate::topic::Pattern;

/// The statistics of one bus, see [`Bus::stats`](crate::Bus::stats).
///
/// It displays as a table that a person can read in a terminal.
///
/// A snapshot: while messages flow, its numbers need not be of one moment. When the bus is at rest they are exact.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let _orders = bus.subscribe("orders.*")?;
/// bus.publish("orders.new", 1)?;
/// bus.publish("nobody.listens", 2)?;
///
/// let stats = bus.stats();
/// assert_eq!(stats.unheard, 1);
/// assert_eq!(stats.subscriptions[0].depth, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusStats {
    /// The name that was given to the bus, or the name of the type of its messages, see
    /// [`BusBuilder::name`](crate::BusBuilder::name) and [`Hub::named`](crate::Hub::named).
    pub name: String,
    /// Topics in use: with a publisher, a subscription to just this topic, or a retained value.
    pub topics: usize,
    /// Every mailbox that has a member, oldest first.
    pub subscriptions: Vec<SubscriptionStats>,
    /// Messages that no mailbox took, observers aside: because there was none, because filters rejected them, or because all were full
    /// (then they count in `dropped` too).
    pub unheard: u64,
    /// Messages lost at mailboxes, counted once for each mailbox, and messages fired at a closed bus or an invalid
    /// topic.
    pub dropped: u64,
    /// Messages that were still queued when the last reader of their mailbox left: a subscriber or handler was dropped,
    /// or stopped before it had finished. The program chose to end the subscription, so these make no dead letters.
    pub abandoned: u64,
    /// Dead letters posted; only counted while a reader listens for them.
    pub dead_letters: u64,
    /// Messages that a handler gave up on because of an error.
    pub handler_failures: u64,
    /// Messages on which a handler panicked.
    pub handler_panics: u64,
    /// Requests that a handler made with `serve` or `serve_result` did not serve because the caller had gone. They make no dead
    /// letters.
    pub skipped_requests: u64,
    /// Times that a filter panicked; its mailbox did not get the message.
    pub filter_panics: u64,
    /// Times that a callback of a reply panicked.
    pub callback_panics: u64,
}

/// One mailbox in a snapshot, see [`BusStats::subscriptions`].
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Overflow};
///
/// let bus = Bus::<u32>::new();
/// let price = bus.subscription("price.*").name("ticker").capacity(2).overflow(Overflow::DropOldest).open()?;
/// for value in 1..=5 {
///     bus.publish("price.tea", value)?;
/// }
/// let _ = price.recv()?;
///
/// let ticker = &bus.stats().subscriptions[0];
/// assert_eq!((ticker.name.as_deref(), ticker.members), (Some("ticker"), 1));
/// assert_eq!((ticker.delivered, ticker.dropped), (5, 3)); // all were put in, three evicted
/// assert_eq!((ticker.depth, ticker.high_water), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionStats {
    /// The patterns subscribed to.
    pub patterns: Vec<Pattern>,
    /// The group that shares the mailbox.
    pub group: Option<String>,
    /// The name that was given to the subscription.
    pub name: Option<String>,
    /// Subscribers and handlers that take from the mailbox.
    pub members: usize,
    /// Messages waiting.
    pub depth: usize,
    /// The most messages that can wait.
    pub capacity: usize,
    /// The most messages that were seen waiting: exact for a burst into a mailbox that was empty, a sample otherwise.
    pub high_water: usize,
    /// The policy at a full mailbox.
    pub overflow: Overflow,
    /// Messages put into the mailbox. Retained values that its filter is going to reject count until they are looked at.
    pub delivered: u64,
    /// Messages lost at the mailbox: never put in, evicted, or expired.
    pub dropped: u64,
    /// `true` if it is an [observer](crate::SubscriptionBuilder::observer), which does not count as one that a message is for.
    pub observer: bool,
    /// `true` if it overflowed under [`Overflow::Disconnect`], so that it gets no more messages.
    pub overflowed: bool,
}

impl SubscriptionStats {
    pub(crate) fn new<T, R>(mailbox: &Mailbox<T, R>) -> Self {
        let depth = mailbox.len();
        Self {
            patterns: mailbox.options.patterns.clone(),
            group: mailbox.options.group.clone(),
            name: mailbox.options.name.clone(),
            members: mailbox.members(),
            depth,
            capacity: mailbox.options.capacity,
            high_water: mailbox.high_water(),
            overflow: mailbox.options.overflow,
            delivered: mailbox.received() + mailbox.removed() + depth as u64,
            dropped: mailbox.dropped(),
            observer: mailbox.is_observer(),
            overflowed: mailbox.is_overflowed(),
        }
    }
}

/// Statistics.
impl<T, R> Bus<T, R> {
    /// Returns the statistics of the bus.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.fire("one.off", 1);
    /// assert_eq!((bus.stats().unheard, bus.stats().topics), (1, 0)); // a topic without users is forgotten
    /// let _orders = bus.publisher("orders.new")?;
    /// assert_eq!(bus.stats().topics, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> BusStats {
        stats(self.inner())
    }
}

/// Takes the snapshot of one bus, whatever holds it.
pub(crate) fn stats<T, R>(inner: &BusInner<T, R>) -> BusStats {
    let (topics, mailboxes) = inner.in_use();
    let losses = &*inner.losses;
    BusStats {
        name: inner.name.get().to_string(),
        topics,
        subscriptions: mailboxes
            .iter()
            .map(|mailbox| SubscriptionStats::new(mailbox))
            .filter(|subscription| subscription.members > 0)
            .collect(),
        unheard: losses.unheard.get(),
        dropped: losses.dropped.total(),
        abandoned: losses.abandoned.load(Ordering::Relaxed),
        dead_letters: losses.dead_letters.load(Ordering::Relaxed),
        handler_failures: losses.handler_failures.load(Ordering::Relaxed),
        handler_panics: losses.handler_panics.load(Ordering::Relaxed),
        skipped_requests: losses.skipped_requests.load(Ordering::Relaxed),
        filter_panics: losses.filter_panics.load(Ordering::Relaxed),
        callback_panics: inner.lifecycle.callback_panics.load(Ordering::Relaxed),
    }
}
