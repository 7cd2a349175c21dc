//! Publishing many messages at once.

use std::fmt;
#[cfg(feature = "async")]
use std::future::Future;
use std::sync::Arc;

use thiserror::Error;

use super::{BusInner, PublishError};
use crate::delivery::{Delivery, Wait};
use crate::message::Outgoing;
use crate::routing::{RouteGuard, TopicEntry};
use crate::spans::Publishing;
use crate::topic::TopicError;

/// The most messages for which the mailboxes are found once.
const CHUNK: usize = 64;

/// The most payloads that are taken from an iterator only to be handed back.
const MOST_HANDED_BACK: usize = 65_536;

pub(crate) fn publish_all<T: Clone, R>(
    inner: &BusInner<T, R>,
    entry: &Arc<TopicEntry<T, R>>,
    mut payloads: impl Iterator<Item = T>,
) -> Result<Delivery, PublishAllError<T>> {
    let topic = &entry.topic;
    let mut total = Delivery::NONE;
    let mut chunk = Vec::new();
    loop {
        // The iterator is user code and may take its time, or close the bus: nothing of the bus is held meanwhile. One
        // that promises no more is not asked for more: it may be waiting for what comes.
        let ready = payloads.size_hint().0.clamp(1, CHUNK);
        chunk.extend(payloads.by_ref().take(ready));
        if chunk.is_empty() {
            return Ok(total);
        }
        let mut route: Option<RouteGuard<T, R>> = None;
        let mut rest = chunk.drain(..);
        while let Some(payload) = rest.next() {
            let mut _letters = None;
            let found = match route.take() {
                Some(route) if inner.is_right(&route) => Some(route),
                _ => {
                    _letters = inner.begin_publish();
                    inner.route_of(entry)
                }
            };
            let published = if inner.traces() {
                inner.publish_outgoing(topic, found, Outgoing { payload, metadata: None }, Wait::Forever)
            } else {
                let span = Publishing::enter(topic);
                match found {
                    None => inner.refuse(payload, span),
                    Some(found) => match found.simple() {
                        None => inner.publish_closer(topic, found, payload, Wait::Forever, span),
                        Some(mailboxes) => match inner.publish_at_once(topic, mailboxes, payload, &span) {
                            Ok(delivery) => {
                                route = Some(found);
                                Ok(delivery)
                            }
                            Err(undelivered) => inner.publish_rest(topic, found, undelivered, Wait::Forever, span),
                        },
                    },
                }
            };
            match published {
                Ok(delivery) => total = total.and(delivery),
                // Without a time limit there is no other error.
                Err(error) => {
                    let first = error.delivery();
                    let mut left = vec![PublishError::into_inner(error)];
                    left.extend(rest);
                    add_the_rest(&mut left, payloads);
                    return Err(PublishAllError::closed(left, total, first));
                }
            }
        }
    }
}

/// Takes what is left of the payloads out of their iterator, for the caller. Not if they are more than `MOST_HANDED_BACK`,
/// or have no end: a caller who wants those back lends the iterator.
fn add_the_rest<T>(rest: &mut Vec<T>, payloads: impl Iterator<Item = T>) {
    if payloads.size_hint().1.is_some_and(|most| most <= MOST_HANDED_BACK && rest.try_reserve(most).is_ok()) {
        // No more than it has promised, either.
        rest.extend(payloads.take(MOST_HANDED_BACK));
    }
}

/// None is published, because the topic is not valid.
pub(super) fn no_topic<T>(error: TopicError, payloads: impl Iterator<Item = T>) -> PublishAllError<T> {
    let mut rest = Vec::new();
    add_the_rest(&mut rest, payloads);
    PublishAllError::Topic { error, rest }
}

/// The batch of a task: one payload after the other, each as by `publish`.
#[cfg(feature = "async")]
pub(super) async fn publish_all_async<T, F>(
    mut payloads: impl Iterator<Item = T>,
    mut publish: impl FnMut(T) -> F,
) -> Result<Delivery, PublishAllError<T>>
where
    F: Future<Output = Result<Delivery, PublishError<T>>>,
{
    let mut total = Delivery::NONE;
    while let Some(payload) = payloads.next() {
        match publish(payload).await {
            Ok(delivery) => total = total.and(delivery),
            // Without a time limit there is no other error.
            Err(error) => {
                let first = error.delivery();
                let mut rest = vec![error.into_inner()];
                add_the_rest(&mut rest, payloads);
                return Err(PublishAllError::closed(rest, total, first));
            }
        }
    }
    Ok(total)
}

/// Why [`Publisher::publish_all`](crate::Publisher::publish_all) or [`Bus::publish_all`](crate::Bus::publish_all) stopped.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, PublishAllError};
///
/// let bus = Bus::<&str>::new();
/// let orders = bus.publisher("orders.new")?;
/// bus.close();
/// let Err(PublishAllError::Closed { rest, delivery, .. }) = orders.publish_all(["tea", "soup"]) else {
///     unreachable!()
/// };
/// assert_eq!(rest, ["tea", "soup"]);
/// assert_eq!(delivery.delivered(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishAllError<T> {
    /// The topic is not valid, and no payload was published.
    #[error("cannot publish: {error}")]
    #[non_exhaustive]
    Topic {
        /// What is wrong with the topic.
        error: TopicError,
        /// The payloads, in order.
        rest: Vec<T>,
    },
    /// The bus is closed.
    #[error("the bus is closed, {} payloads are left{}", rest.len(), FirstHolders(*first_delivery))]
    #[non_exhaustive]
    Closed {
        /// The payloads that are handed back, in order. Some mailboxes may have the first; no mailbox has the others.
        rest: Vec<T>,
        /// The sum of what was delivered: of the payloads before `rest`, and of the first of `rest` to the mailboxes that
        /// had room.
        delivery: Delivery,
        /// The part of `delivery` that is of the first of `rest`, which may be in some mailboxes.
        first_delivery: Delivery,
    },
}

impl<T> PublishAllError<T> {
    /// `before` is of the payloads before `rest`, `first` of the first of `rest`.
    fn closed(rest: Vec<T>, before: Delivery, first: Delivery) -> Self {
        Self::Closed { rest, delivery: before.and(first), first_delivery: first }
    }

    /// Returns the sum of what was delivered, of all payloads together; nothing if the topic is not valid.
    ///
    /// It includes the mailboxes that took the payload with which the bus closed, see
    /// [`first_delivery`](Self::first_delivery).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _work = bus.subscribe("work")?;
    /// let own = bus.clone();
    /// let payloads = (1..=5).inspect(|n| if *n == 3 { own.close() });
    /// let error = bus.publisher("work")?.publish_all(payloads.filter(|_| true)).unwrap_err();
    /// assert_eq!(error.delivery().delivered(), 2);
    /// assert_eq!(error.into_inner(), [3, 4, 5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Topic { .. } => Delivery::NONE,
            Self::Closed { delivery, .. } => *delivery,
        }
    }

    /// Returns the part of [`delivery`](Self::delivery) that is of the first payload handed back.
    ///
    /// If the bus closed while that payload waited for room, the mailboxes that had room have it, and publishing it on
    /// another bus with the same readers duplicates it there. The payloads after it are in no mailbox.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let work = bus.publisher("work")?;
    /// bus.close();
    /// assert_eq!(work.publish_all([1, 2]).unwrap_err().first_delivery().delivered(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first_delivery(&self) -> Delivery {
        match self {
            Self::Topic { .. } => Delivery::NONE,
            Self::Closed { first_delivery, .. } => *first_delivery,
        }
    }

    /// Hands the payloads back that were not published, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let work = bus.publisher("work")?;
    /// bus.close();
    /// assert_eq!(work.publish_all(vec![1, 2, 3]).unwrap_err().into_inner(), [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> Vec<T> {
        match self {
            Self::Topic { rest, .. } | Self::Closed { rest, .. } => rest,
        }
    }

    /// Returns `true` if the topic is not valid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let error = bus.publish_all("orders.*", [1, 2]).unwrap_err(); // a wildcard is for subscriptions
    /// assert!(error.is_invalid_topic());
    /// assert_eq!(error.into_inner(), [1, 2]);
    /// ```
    pub fn is_invalid_topic(&self) -> bool {
        matches!(self, Self::Topic { .. })
    }

    /// Whether the bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let work = bus.publisher("work")?;
    /// bus.close();
    /// assert!(work.publish_all([1]).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

impl<T> fmt::Debug for PublishAllError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic { error, rest } => {
                f.debug_struct("Topic").field("error", error).field("rest", &rest.len()).finish_non_exhaustive()
            }
            Self::Closed { rest, delivery, first_delivery } => f
                .debug_struct("Closed")
                .field("rest", &rest.len())
                .field("delivery", delivery)
                .field("first_delivery", first_delivery)
                .finish_non_exhaustive(),
        }
    }
}

/// Displays how many mailboxes have the first payload that is handed back; nothing if none has.
struct FirstHolders(Delivery);

impl fmt::Display for FirstHolders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.delivered() {
            0 => Ok(()),
            1 => f.write_str("; 1 mailbox has the first"),
            mailboxes => write!(f, "; {mailboxes} mailboxes have the first"),
        }
    }
}
