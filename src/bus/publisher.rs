//! The publishing handle: bound to one topic, the fast path.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::batch::publish_all;
use super::{BusInner, PublishAllError, PublishError};
use crate::delivery::{Delivery, Wait};
use crate::message::Outgoing;
use crate::request::{PendingReply, Replies, RequestError};
use crate::routing::{RouteGuard, TopicEntry};
use crate::sync::Instant;
use crate::sync::atomic::Ordering;
use crate::topic::Topic;

/// Publishes to one topic.
///
/// Made by [`Bus::publisher`](crate::Bus::publisher). It finds the mailboxes of its topic without a lock, a look-up or
/// an allocation, so a loop wants one of these rather than [`Bus::publish`](crate::Bus::publish). Subscriptions that
/// come and go are seen by the next message. Clones publish to the same topic; one handle may be used by many threads.
///
/// Messages of one thread reach one mailbox in the order in which they were published. What a filter publishes comes before
/// the message that it sees.
///
/// A publisher keeps its bus open. **Dropping** the last `Bus` and `Publisher` closes the bus. **When a mailbox is
/// full**, its [`Overflow`](crate::Overflow) policy and the method say what happens: [`publish`](Self::publish) waits
/// for one that blocks, [`try_publish`](Self::try_publish) does not. **When the bus is closed**, all but
/// [`fire`](Self::fire) hand the payload back.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let ticks = bus.publisher("clock.tick")?;
/// let clock = bus.subscribe("clock.*")?;
/// for tick in 0..3 {
///     assert_eq!(ticks.publish(tick)?.delivered(), 1);
/// }
/// assert_eq!(clock.try_iter().map(|tick| *tick).collect::<Vec<_>>(), [0, 1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Publisher<T, R = T> {
    inner: Arc<BusInner<T, R>>,
    entry: Arc<TopicEntry<T, R>>,
}

impl<T, R> Publisher<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    pub(crate) fn new(inner: Arc<BusInner<T, R>>, topic: &Topic) -> Self {
        let entry = inner.add_publisher(topic);
        Self { inner, entry }
    }

    /// Publishes, and waits for room in mailboxes that are full and [block](crate::Overflow::Block).
    ///
    /// The message is first offered to all mailboxes, so a full one delays only its own subscriber. The wait ends when
    /// there is room, when the subscriber goes, or when the bus closes. Publishing without subscribers is not an error:
    /// see [`Delivery::is_unheard`].
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.publish()`.
    ///
    /// # Errors
    ///
    /// [`PublishError::Closed`], with the payload, if the bus is closed, or was closed during the wait; in that case
    /// the mailboxes that had room have the message, and [`PublishError::delivery`] counts them.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let slow = bus.subscription("work").capacity(1).open()?;
    /// let work = bus.publisher("work")?;
    /// let reader = std::thread::spawn(move || slow.iter().map(|n| *n).sum::<u32>());
    /// for n in 1..=100 {
    ///     assert_eq!(work.publish(n)?.dropped(), 0); // waits for the reader, loses nothing
    /// }
    /// bus.close();
    /// assert_eq!(reader.join().unwrap(), 5050);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(&self, payload: T) -> Result<Delivery, PublishError<T>> {
        self.send(payload, Wait::Forever)
    }

    /// Publishes, and waits for room up to the timeout.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.timeout(timeout).publish()`.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and [`PublishError::Timeout`], with the payload, if a mailbox was still full. For that
    /// mailbox nothing is counted as lost, since the error returns the payload.
    ///
    /// # Going on after a timeout
    ///
    /// The mailboxes that had room have the message, and [`PublishError::delivery`] counts them. If there are none, as
    /// always when the topic has one mailbox, the payload can be published again without a duplicate. If there are some, publishing it again
    /// duplicates the message there. To go on without duplicates:
    ///
    /// - treat the message as published, and go on with the next. The full mailboxes miss this one, and neither the
    ///   statistics, `lost_before` nor a dead letter says so: log it, or count it yourself.
    /// - or publish again a payload that carries a number, and have subscribers ignore a number that they have seen.
    ///
    /// No method publishes to those mailboxes alone that missed the message. Where no subscription may hold the others up, give the slow one an [`Overflow`](crate::Overflow) policy that does not
    /// block, or use [`try_publish`](Self::try_publish): both count what a full mailbox misses, and never time out.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let slow = bus.subscription("work").capacity(1).open()?;
    /// let work = bus.publisher("work")?;
    /// work.publish(1)?;
    /// let error = work.publish_timeout(2, Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert!(error.delivery().is_unheard()); // no mailbox has it: publishing it again makes no duplicate
    /// slow.recv()?;
    /// assert_eq!(work.publish(error.into_inner())?.delivered(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_timeout(&self, payload: T, timeout: Duration) -> Result<Delivery, PublishError<T>> {
        self.send(payload, wait_for(timeout))
    }

    /// Publishes every payload of `payloads`, in order, as [`publish`](Self::publish) does, and returns the sum of the
    /// deliveries. Cheaper than a loop: the mailboxes are found once for up to 64 messages.
    ///
    /// So a subscription to just this topic that comes while this runs may miss up to 64 messages more than the loop would
    /// make it miss. A payload is taken from the iterator when it is about to be published, or earlier, with up to 63
    /// others, if the [`size_hint`](Iterator::size_hint) of the iterator promises that many.
    ///
    /// # Errors
    ///
    /// [`PublishAllError::Closed`], with the payloads that were not published, if the bus is closed, or was closed
    /// during a wait; in that case the mailboxes that had room have the first of them, and
    /// [`PublishAllError::first_delivery`] counts them. If the upper bound of the iterator's
    /// [`size_hint`](Iterator::size_hint) is at most 65,536, all that are left are among them. Otherwise the rest goes with the
    /// iterator, and is not counted: lend it with [`by_ref`](Iterator::by_ref) to keep it.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let audit = bus.subscribe("work")?;
    /// let work = bus.publisher("work")?;
    /// assert_eq!(work.publish_all(1..=100)?.delivered(), 100);
    /// assert_eq!(audit.try_iter().map(|n| *n).sum::<u32>(), 5050);
    ///
    /// bus.close();
    /// let error = work.publish_all([101, 102]).unwrap_err();
    /// assert_eq!(error.into_inner(), [101, 102]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_all(&self, payloads: impl IntoIterator<Item = T>) -> Result<Delivery, PublishAllError<T>> {
        publish_all(&self.inner, &self.entry, payloads.into_iter())
    }

    /// Publishes without waiting: a full mailbox that blocks does not get the message, and counts it as dropped.
    ///
    /// Unlike `try_send` of a channel it returns `Ok` and drops the message where a mailbox is full: check
    /// [`Delivery::dropped`]. To keep the payload use [`publish_timeout`](Self::publish_timeout) with `Duration::ZERO`.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.no_wait().publish()`.
    ///
    /// # Errors
    ///
    /// [`PublishError::Closed`], with the payload, if the bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let slow = bus.subscription("work").capacity(1).open()?;
    /// let work = bus.publisher("work")?;
    /// assert_eq!(work.try_publish(1)?.delivered(), 1);
    /// assert_eq!(work.try_publish(2)?.dropped(), 1);
    /// assert_eq!(slow.dropped(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_publish(&self, payload: T) -> Result<Delivery, PublishError<T>> {
        self.send(payload, Wait::Never)
    }

    /// Fire and forget: publishes without waiting, and never fails.
    ///
    /// What a full mailbox or a closed bus does not take is counted in [`BusStats::dropped`](crate::BusStats::dropped),
    /// and what a full mailbox does not take also becomes a dead letter.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.fire()`.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<&str>::new();
    /// let _log = bus.subscription("log").capacity(1).open()?;
    /// let log = bus.publisher("log")?;
    /// log.fire("started");
    /// log.fire("too much");
    /// assert_eq!(bus.stats().dropped, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fire(&self, payload: T) {
        self.inner.fire(self.try_publish(payload));
    }

    /// Publishes as [`publish`](Self::publish) does, and keeps a clone of the payload as the last value of the topic.
    ///
    /// Subscriptions made with [`with_retained`](crate::SubscriptionBuilder::with_retained) get the kept value first. Each
    /// either gets the kept value or the live message: never both, never neither.
    ///
    /// Retained values of one topic reach every mailbox in the order in which they are kept, also those of several
    /// publishers and those that wait for room. So the last retained value that gets into a mailbox is the one that is
    /// kept, unless its filter rejects that value, the mailbox loses it, or its publish is cancelled or ends with the bus.
    /// Nothing is promised about the order of `publish_retained` and `publish` of different threads. A publish that waits for
    /// a full mailbox keeps the next ones from that mailbox alone.
    ///
    /// Filters are asked and clones are made before the value is kept.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.publish_retained()`.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let price = bus.publisher("price.tea")?;
    /// let early = bus.subscribe("price.tea")?;
    /// for value in [7, 8] {
    ///     price.publish_retained(value)?;
    /// }
    /// let late = bus.subscription("price.tea").with_retained().open()?;
    /// assert_eq!((early.len(), late.len()), (2, 1)); // both prices live, the last one kept
    /// assert_eq!(*late.recv()?, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_retained(&self, payload: T) -> Result<Delivery, PublishError<T>> {
        self.inner.publish_retained(&self.entry, Outgoing { payload, metadata: None }, Wait::Forever)
    }

    /// Sends a request and returns its pending reply. Waits for room as [`publish`](Self::publish) does.
    ///
    /// Every subscription of the topic gets it, one per group; the first reply wins. So a subscription that only
    /// watches counts as a responder too, unless it is an [observer](crate::SubscriptionBuilder::observer): there is no
    /// `NoResponders` while it exists, and no `Unanswered` while it keeps the message. Dropping the [`PendingReply`] cancels.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.request()`.
    ///
    /// # Errors
    ///
    /// With the payload: [`RequestError::NoResponders`] at once if no mailbox took it, [`RequestError::Closed`] if the
    /// bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let double = bus.publisher("double")?;
    /// assert!(double.request(21).unwrap_err().is_no_responders());
    /// let _server = bus.serve("double", |n| 2 * **n)?;
    /// let (one, two) = (double.request(1)?, double.request(2)?); // both are on their way
    /// assert_eq!((one.wait()?, two.wait()?), (2, 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request(&self, payload: T) -> Result<PendingReply<R>, RequestError<T>> {
        self.inner.request_to(&self.entry, payload)
    }

    /// Sends a request to every subscription of the topic and collects all their replies.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.gather()`.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let _shop = bus.subscription("bid").group("shop").serve(|_| 40)?;
    /// let _same_shop = bus.subscription("bid").group("shop").serve(|_| 40)?;
    /// let _private = bus.serve("bid", |_| 42)?;
    /// let mut bids = bus.publisher("bid")?.gather(1)?.collect_within(Duration::from_secs(5));
    /// bids.sort();
    /// assert_eq!(bids, [40, 42]); // a group answers once
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gather(&self, payload: T) -> Result<Replies<R>, RequestError<T>> {
        let _letters = self.inner.begin_publish();
        self.inner.gather(&self.entry.topic, self.route(), payload, None, Wait::Forever)
    }

    #[inline(always)]
    fn send(&self, payload: T, wait: Wait) -> Result<Delivery, PublishError<T>> {
        self.inner.publish_to(&self.entry, payload, wait)
    }
}

impl<T, R> Publisher<T, R> {
    pub(crate) fn inner(&self) -> &Arc<BusInner<T, R>> {
        &self.inner
    }

    pub(crate) fn entry(&self) -> &Arc<TopicEntry<T, R>> {
        &self.entry
    }
}

impl<T, R> Publisher<T, R> {
    /// The mailboxes of the topic; `None` if the bus takes no message of this thread.
    #[inline(always)]
    pub(super) fn route(&self) -> Option<RouteGuard<T, R>> {
        self.inner.route_at_once(&self.entry).or_else(|| self.inner.route_of(&self.entry))
    }

    /// Returns the topic of this publisher.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let ticks = bus.publisher("clock.tick")?;
    /// let same = bus.publisher(ticks.topic())?;
    /// assert_eq!(same.topic(), &"clock.tick");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn topic(&self) -> &Topic {
        &self.entry.topic
    }

    /// Returns the number of mailboxes that match the topic now. A group counts as one.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let ticks = bus.publisher("clock.tick")?;
    /// assert_eq!(ticks.subscriber_count(), 0);
    /// let _clock = bus.subscribe("clock.>")?;
    /// assert_eq!(ticks.subscriber_count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscriber_count(&self) -> usize {
        self.inner.map.read().subscriber_count(&self.entry.topic)
    }
}

/// A time beyond the end of the clock is no limit.
pub(crate) fn wait_for(timeout: Duration) -> Wait {
    Instant::now().checked_add(timeout).map_or(Wait::Forever, Wait::Until)
}

impl<T, R> Clone for Publisher<T, R> {
    fn clone(&self) -> Self {
        // Relaxed: this handle keeps the count above zero.
        self.entry.publishers.fetch_add(1, Ordering::Relaxed);
        Self { inner: Arc::clone(&self.inner), entry: Arc::clone(&self.entry) }
    }
}

impl<T, R> Drop for Publisher<T, R> {
    fn drop(&mut self) {
        self.inner.drop_publisher(&self.entry);
    }
}

impl<T, R> fmt::Debug for Publisher<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("topic", self.topic()).finish_non_exhaustive()
    }
}
