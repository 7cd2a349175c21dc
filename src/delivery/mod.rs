//! How a message gets into the mailboxes of its route.

use std::sync::Arc;

use crate::dead_letter::DeadLetterReason;
use crate::lifecycle::CountGuard;
use crate::log::SyncLog;
use crate::mailbox::{Mailbox, Permit};
use crate::message::Outgoing;
use crate::metadata::Properties;
use crate::request::MetadataSource;
use crate::routing::RouteGuard;
use crate::sync::Instant;
use crate::topic::Topic;

mod at_once;
mod copies;
mod in_order;
mod indices;
mod into_logs;
mod passes;
#[cfg(feature = "async")]
mod pending;
#[cfg(feature = "async")]
mod pending_in_order;
mod sleeping;
mod to_one;
mod wake_tasks;

pub(crate) use at_once::{Undelivered, deliver_at_once};
pub(crate) use in_order::{InOrder, PutInOrder};
#[cfg(feature = "async")]
pub(crate) use pending::{PendingDelivery, deliver_pending};
#[cfg(feature = "async")]
pub(crate) use pending_in_order::PendingInOrder;
pub(crate) use sleeping::deliver_rest;
use sleeping::look_again;
pub(crate) use to_one::{NotTaken, deliver_to_log, deliver_to_one};

/// The outcome of one publish.
///
/// `Ok(delivery)` means that the message is in `delivered` mailboxes and [journals](crate::Journal), not that anybody has read
/// it. A journal counts as one, however many readers it has.
/// [Observers](crate::SubscriptionBuilder::observer) do not count.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let delivery = bus.publish("nobody.listens", 1)?;
/// assert!(delivery.is_unheard());
///
/// let _subscriber = bus.subscribe("nobody.>")?;
/// let delivery = bus.publish("nobody.listens", 2)?;
/// assert_eq!((delivery.delivered(), delivery.dropped()), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    delivered: usize,
    dropped: usize,
}

impl Delivery {
    pub(crate) const NONE: Self = Self { delivered: 0, dropped: 0 };

    /// One more mailbox took the message, after evicting `evicted` older ones.
    #[inline(always)]
    fn enqueued(&mut self, evicted: usize) {
        self.delivered += 1;
        self.dropped += evicted;
    }

    pub(crate) fn new(delivered: usize, dropped: usize) -> Self {
        Self { delivered, dropped }
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { delivered: self.delivered + other.delivered, dropped: self.dropped + other.dropped }
    }

    /// Returns the number of mailboxes and journals that took the message.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _one = bus.subscription("jobs").group("workers").open()?;
    /// let _two = bus.subscription("jobs").group("workers").open()?;
    /// let _audit = bus.subscribe(">")?;
    /// assert_eq!(bus.publish("jobs", 1)?.delivered(), 2); // a group has one mailbox
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delivered(&self) -> usize {
        self.delivered
    }

    /// Returns the number of messages lost by this delivery, each at one full mailbox or journal: this message where it was not
    /// taken, or older ones evicted from a mailbox to make room under [`Overflow::DropOldest`](crate::Overflow::DropOldest). What
    /// readers of a journal miss is in [`Entry::lost_before`](crate::Entry::lost_before) alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::new();
    /// let latest = bus.subscription("price").capacity(1).overflow(Overflow::DropOldest).open()?;
    /// bus.publish("price", 1)?;
    /// let delivery = bus.publish("price", 2)?;
    /// assert_eq!((delivery.delivered(), delivery.dropped()), (1, 1)); // 2 is in, 1 was evicted
    /// assert_eq!(*latest.recv()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Returns `true` if no mailbox and no journal took the message: there is none, no filter accepts it, every mailbox
    /// dropped it, or the publish ended before any had room, see [`PublishError::delivery`](crate::PublishError::delivery).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _even = bus.subscription("numbers").filter(|n| n % 2 == 0).open()?;
    /// assert!(bus.publish("numbers", 1)?.is_unheard());
    /// assert!(!bus.publish("numbers", 2)?.is_unheard());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_unheard(&self) -> bool {
        self.delivered == 0
    }
}

/// How long a publisher waits at full mailboxes that block.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// Not at all: the message is dropped for that mailbox.
    Never,
    Until(Instant),
    Forever,
}

impl Wait {
    pub(crate) fn may_wait(self) -> bool {
        !matches!(self, Self::Never)
    }

    /// The end of the time, if there is one.
    #[inline]
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Until(deadline) => Some(deadline),
            Self::Forever | Self::Never => None,
        }
    }

    fn is_over(self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// Asks whether this publisher may wait for room in all of these mailboxes. If it serves one of them, it counts as a reader
/// that takes nothing out while the guard is kept. Otherwise returns the index of the one in which it would wait for itself.
fn permit_to_wait<'a, T: 'a, R: 'a>(
    mailboxes: impl Iterator<Item = &'a Arc<Mailbox<T, R>>>,
) -> Result<Option<CountGuard<Mailbox<T, R>>>, usize> {
    let mut paused = None;
    for (index, mailbox) in mailboxes.enumerate() {
        match mailbox.permit_to_wait() {
            Permit::Granted(None) => {}
            Permit::Granted(reader) => paused = reader,
            Permit::SelfDeadlock => return Err(index),
        }
    }
    Ok(paused)
}

/// Why a delivery stopped before its end.
pub(crate) enum Stopped {
    Closed,
    Timeout,
}

pub(crate) struct Delivered<T, R> {
    pub(crate) delivery: Delivery,
    pub(crate) stopped: Option<Stopped>,
    /// Who had no room in time.
    pub(crate) late: Vec<Late<T, R>>,
    /// The message, if no mailbox has taken the original.
    pub(crate) rest: Option<Outgoing<T, R>>,
}

/// A mailbox or a log that had no room in time.
pub(crate) enum Late<T, R> {
    Mailbox(Arc<Mailbox<T, R>>),
    /// Also whether it does not count.
    Log(Arc<dyn SyncLog<T>>, bool),
}

impl<T: Clone, R> Late<T, R> {
    fn is_observer(&self) -> bool {
        match self {
            Self::Mailbox(mailbox) => mailbox.is_observer(),
            Self::Log(_, is_observer) => *is_observer,
        }
    }

    fn is_log(&self, other: &Arc<dyn SyncLog<T>>) -> bool {
        matches!(self, Self::Log(log, _) if log.id == other.id)
    }

    fn lost(&self, topic: &Topic, payload: &T, properties: Option<&Arc<Properties>>, reason: DeadLetterReason) {
        match self {
            Self::Mailbox(mailbox) => mailbox.lost(topic, payload, properties, reason),
            Self::Log(log, _) => log.count_loss(topic, payload, properties, reason),
        }
    }
}

impl<T, R> Delivered<T, R> {
    /// Does without observers that had no room in time, if nobody else is missing: they have lost the message.
    pub(crate) fn settle_observers(&mut self, topic: &Topic)
    where
        T: Clone,
    {
        if self.late.iter().all(Late::is_observer) {
            self.settle_late(topic);
        }
    }

    /// The same for all mailboxes that had no room in time, if any other has the message.
    pub(crate) fn settle_for_some(&mut self, topic: &Topic)
    where
        T: Clone,
    {
        if self.delivery.delivered > 0 {
            self.settle_late(topic);
        }
    }

    fn settle_late(&mut self, topic: &Topic)
    where
        T: Clone,
    {
        let (Some(Stopped::Timeout), Some(rest)) = (&self.stopped, &self.rest) else { return };
        for late in self.late.drain(..) {
            self.delivery.dropped += usize::from(!late.is_observer());
            late.lost(topic, &rest.payload, rest.properties(), DeadLetterReason::Full);
        }
        self.stopped = None;
    }

    pub(crate) fn complete(delivery: Delivery) -> Self {
        Self { delivery, stopped: None, late: Vec::new(), rest: None }
    }
}

/// Delivers the message to every mailbox of the route that wants it, and waits for those that block and were full.
///
/// N mailboxes cost N-1 clones: the last to be served gets the original. `overflowed` takes a mailbox off all routes that
/// has just run over, at once: its subscriber sees the end when no route holds a sender any more.
#[inline]
pub(crate) fn deliver<T: Clone, R, S: MetadataSource<R>>(
    route: RouteGuard<T, R>,
    topic: &Topic,
    message: Outgoing<T, R>,
    source: &S,
    wait: Wait,
    overflowed: impl Fn(&Mailbox<T, R>),
) -> Delivered<T, R> {
    let undelivered = match route.simple() {
        None => Undelivered::new(message),
        Some(mailboxes) => {
            let Outgoing { payload, metadata } = message;
            match deliver_at_once(mailboxes, topic, payload, S::own(metadata), source) {
                Ok(delivery) => return Delivered::complete(delivery),
                Err(undelivered) => undelivered,
            }
        }
    };
    deliver_rest(route, topic, undelivered, source, wait, overflowed)
}
