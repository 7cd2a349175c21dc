//! The bus: owns the topic map, hands out handles.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dead_letter::{DeadLetters, Origin, Republish};
use crate::delivery::{Delivery, Wait};
use crate::lifecycle::Phase;
use crate::request::{PendingReply, Replies, RequestError};
use crate::topic::{Topic, TopicError};

mod batch;
mod builder;
mod drain;
#[cfg(feature = "async")]
mod drain_async;
mod error;
mod inner;
mod message_builder;
mod name;
#[cfg(feature = "async")]
mod publish_async;
mod publisher;
mod republish;
mod retained;
mod weak;

pub use batch::PublishAllError;
use batch::no_topic;
pub use builder::BusBuilder;
pub(crate) use builder::{DEFAULT_CAPACITY, default_name};
#[cfg(feature = "async")]
pub(crate) use drain::drain_async;
pub(crate) use drain::{Drain, DrainScope, Messages, PausedThread, Running, drain};
pub use drain::{DrainReport, Unfinished};
#[cfg(feature = "testkit")]
pub(crate) use drain::{is_idle, unfinished};
pub use error::{PublishError, Unsent};
#[cfg(feature = "gateway")]
pub(crate) use inner::Renewed;
pub(crate) use inner::{BusInner, leave, reader_left};
pub use message_builder::MessageBuilder;
pub use publisher::Publisher;
use publisher::wait_for;
pub use weak::WeakBus;

/// A message bus within one process, for payloads of type `T` and replies of type `R`.
///
/// A `Bus` is a handle: clones are the same bus, and every thread may have one. `T` is cloned for all mailboxes of a
/// message but one, so large payloads travel as `Arc<Big>`; it need not be `Sync`.
///
/// **Dropping** the last `Bus` and [`Publisher`] closes the bus, since no publisher is left: subscribers and
/// handlers take what is queued and end. [`downgrade`](Self::downgrade) gives a handle that does not count.
///
/// # Examples
///
/// ```
/// use tramline::Bus;
///
/// let bus = Bus::<String>::new();
/// let orders = bus.subscribe("orders.*")?;
/// bus.publish("orders.new", "tea".to_owned())?;
/// assert_eq!(orders.recv()?.as_str(), "tea");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Bus<T, R = T> {
    inner: Arc<BusInner<T, R>>,
}

impl<T> Bus<T>
where
    T: Clone + Send + 'static,
{
    /// Creates a bus whose replies are of the type of its payloads, with the default options.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.publish("nobody.listens", 1)?.is_unheard());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }
}

impl<T, R> Bus<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Returns a builder for a bus with options, or with a type of its own for replies.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32, String>::builder().capacity(16).overflow(Overflow::DropOldest).build();
    /// assert_eq!(bus.subscribe("orders.new")?.capacity(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> BusBuilder<T, R> {
        BusBuilder::new()
    }

    /// Returns a handle that publishes to one topic: the fast path.
    ///
    /// # Errors
    ///
    /// [`TopicError`] if the topic is invalid. On a closed bus the publisher is made, and its `publish` says so.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let ticks = bus.publisher("clock.tick")?;
    /// assert!(ticks.publish(1)?.is_unheard());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publisher(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
    ) -> Result<Publisher<T, R>, TopicError> {
        let topic = topic.try_into().map_err(Into::into)?;
        Ok(Publisher::new(Arc::clone(&self.inner), &topic))
    }

    /// Publishes to a topic, as [`Publisher::publish`] does.
    ///
    /// It also parses the topic, and finds it in the map under a read lock: a [`Publisher`] does neither.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.publish()`.
    ///
    /// # Errors
    ///
    /// With the payload: [`PublishError::Topic`] if the topic is invalid, [`PublishError::Closed`] if the bus is
    /// closed, or was closed during the wait: see [`PublishError::delivery`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _orders = bus.subscribe("orders.*")?;
    /// assert_eq!(bus.publish("orders.new", 1)?.delivered(), 1);
    /// assert!(bus.publish("orders..new", 1).unwrap_err().is_invalid_topic());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
    ) -> Result<Delivery, PublishError<T>> {
        self.send(topic, payload, Wait::Forever)
    }

    /// Publishes and waits for room up to the timeout, as [`Publisher::publish_timeout`] does.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.timeout(timeout).publish()`.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and [`PublishError::Timeout`] if a mailbox was still full;
    /// [`Publisher::publish_timeout`] says how to go on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let _slow = bus.subscription("work").capacity(1).open()?;
    /// let soon = Duration::from_millis(1);
    /// assert_eq!(bus.publish_timeout("work", 1, soon)?.delivered(), 1);
    /// assert!(bus.publish_timeout("work", 2, soon).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_timeout(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
        timeout: Duration,
    ) -> Result<Delivery, PublishError<T>> {
        self.send(topic, payload, wait_for(timeout))
    }

    /// Publishes every payload of `payloads` to a topic, in order, as [`Publisher::publish_all`] does.
    ///
    /// # Errors
    ///
    /// As [`Publisher::publish_all`], and [`PublishAllError::Topic`] if the topic is not valid. Then no payload was
    /// published, and the error holds them as with [`PublishAllError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let audit = bus.subscribe("work")?;
    /// assert_eq!(bus.publish_all("work", 1..=100)?.delivered(), 100);
    /// assert_eq!(audit.try_iter().map(|n| *n).sum::<u32>(), 5050);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_all(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payloads: impl IntoIterator<Item = T>,
    ) -> Result<Delivery, PublishAllError<T>> {
        match self.publisher(topic) {
            Ok(publisher) => publisher.publish_all(payloads),
            Err(error) => Err(no_topic(error, payloads.into_iter())),
        }
    }

    /// Publishes without waiting, as [`Publisher::try_publish`] does.
    ///
    /// Unlike `try_send` of a channel it returns `Ok` and drops the message where a mailbox is full: check
    /// [`Delivery::dropped`]. To keep the payload use [`publish_timeout`](Self::publish_timeout) with `Duration::ZERO`.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.no_wait().publish()`.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _slow = bus.subscription("work").capacity(1).open()?;
    /// bus.try_publish("work", 1)?;
    /// let delivery = bus.try_publish("work", 2)?;
    /// assert_eq!((delivery.delivered(), delivery.dropped()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_publish(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
    ) -> Result<Delivery, PublishError<T>> {
        self.send(topic, payload, Wait::Never)
    }

    /// Fire and forget, as [`Publisher::fire`]: never waits, never fails. An invalid topic is one more counted loss.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.fire()`.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.fire("nobody.listens", 1);
    /// bus.fire("an invalid topic", 2);
    /// assert_eq!((bus.stats().unheard, bus.stats().dropped), (1, 1));
    /// ```
    pub fn fire(&self, topic: impl TryInto<Topic, Error: Into<TopicError>>, payload: T) {
        self.inner.fire(self.try_publish(topic, payload));
    }

    /// Publishes and keeps the payload as the topic's last value, as [`Publisher::publish_retained`] does.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.publish_retained()`.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.publish_retained("price.tea", 7)?;
    /// let prices = bus.subscription("price.*").with_retained().open()?;
    /// assert_eq!(*prices.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_retained(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
    ) -> Result<Delivery, PublishError<T>> {
        // A publisher for a moment: it keeps the topic in the map until the value does.
        match self.publisher(topic) {
            Ok(publisher) => publisher.publish_retained(payload),
            Err(error) => Err(PublishError::Topic(error, payload)),
        }
    }

    /// Returns a clone of the last value that was kept for a topic; `None` if there is none, or the topic is invalid.
    ///
    /// When the bus closes, all kept values are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.publish_retained("price.tea", 7)?;
    /// bus.publish_retained("price.tea", 8)?;
    /// bus.publish("price.tea", 9)?; // not kept
    /// assert_eq!(bus.retained("price.tea"), Some(8));
    /// assert_eq!(bus.retained("price.coffee"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retained(&self, topic: impl TryInto<Topic, Error: Into<TopicError>>) -> Option<T> {
        let topic = topic.try_into().ok()?;
        let value = self.inner.map.read().retained(&topic);
        value.map(|value| value.get())
    }

    /// Removes the last value of a topic, and returns it. Later subscriptions do not begin with it.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.publish_retained("price.tea", 7)?;
    /// assert_eq!(bus.retained("price.tea"), Some(7));
    /// assert_eq!(bus.clear_retained("price.tea"), Some(7));
    /// assert_eq!(bus.retained("price.tea"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear_retained(&self, topic: impl TryInto<Topic, Error: Into<TopicError>>) -> Option<T> {
        let topic = topic.try_into().ok()?;
        let value = self.inner.change(|map, deferred| map.clear_retained(&topic, deferred));
        value.filter(|value| !value.is_expired()).map(|value| value.take())
    }

    /// Sends a request, as [`Publisher::request`] does: every subscription of the topic gets it, the first reply wins.
    ///
    /// Every subscription counts as a responder, also one that only watches, unless it is an
    /// [observer](crate::SubscriptionBuilder::observer): with such a subscription the request does not
    /// fail with [`RequestError::NoResponders`], and the caller waits until the subscription drops the request.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.request()`.
    ///
    /// # Errors
    ///
    /// With the payload: [`RequestError::NoResponders`] at once if no mailbox took it, [`RequestError::Topic`] if the
    /// topic is invalid, [`RequestError::Closed`] if the bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32, String>::builder().build();
    /// let _server = bus.serve("double", |n| (2 * **n).to_string())?;
    /// assert_eq!(bus.request("double", 21)?.wait()?, "42");
    /// assert!(bus.request("triple", 21).unwrap_err().is_no_responders());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
    ) -> Result<PendingReply<R>, RequestError<T>> {
        match topic.try_into() {
            Ok(topic) => {
                self.inner.request_after_a_look(&topic, payload, None, Wait::Forever, || self.inner.route(&topic))
            }
            Err(error) => Err(RequestError::Topic(error.into(), payload)),
        }
    }

    /// Sends a request to every subscription of the topic and collects all their replies.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.gather()`.
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
    /// let _half = bus.serve("bid", |ask| **ask / 2)?;
    /// let _full = bus.serve("bid", |ask| **ask)?;
    /// let mut bids = bus.gather("bid", 100)?.collect_within(Duration::from_secs(5));
    /// bids.sort();
    /// assert_eq!(bids, [50, 100]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gather(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
    ) -> Result<Replies<R>, RequestError<T>> {
        match topic.try_into() {
            Ok(topic) => {
                let _letters = self.inner.begin_publish();
                self.inner.gather(&topic, self.inner.route(&topic), payload, None, Wait::Forever)
            }
            Err(error) => Err(RequestError::Topic(error.into(), payload)),
        }
    }

    /// Returns a reader of dead letters: of each message that is lost from now on, and why.
    ///
    /// A message that [`DropOldest`](crate::Overflow::DropOldest) evicts is a dead letter too. The reader has room for 1,024
    /// letters, so a busy display that skips messages can push out a handler's failures: read steadily, or check
    /// [`DeadLetters::dropped`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.publish("nobody.listens", 7)?;
    /// assert_eq!(*dead_letters.recv()?.payload(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dead_letters(&self) -> DeadLetters<T> {
        let inner: Arc<dyn Republish<T>> = self.inner.clone();
        self.inner.losses.listen(Origin::new(&self.inner.lifecycle, Arc::downgrade(&inner)))
    }

    fn send(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
        wait: Wait,
    ) -> Result<Delivery, PublishError<T>> {
        match topic.try_into() {
            Ok(topic) => self.inner.publish_by_name(&topic, payload, wait),
            Err(error) => Err(PublishError::Topic(error.into(), payload)),
        }
    }

    /// Refuses new work, waits up to `within` until all queues are empty and all handlers idle, then closes the bus and
    /// reports what was left: see [`DrainReport::unfinished`] for where.
    ///
    /// What handlers of this bus publish or request while they finish still belongs to the work, and is accepted until the
    /// close. New subscriptions are refused, but a group that exists can still be joined. Called from a handler, it does not
    /// count that worker, and returns at once if no other worker could empty what is queued. After the close it waits, as long as there is time, until the threads of the handlers
    /// have ended. If a handler is busy when the time is over, it gets about a millisecond more, because one that has just
    /// handled its last message is not idle yet.
    ///
    /// The queues of subscribers count too: a subscriber that nobody reads, even one with a lossy policy, makes a drain wait
    /// its full time. Drop such a subscriber first, or wait for handlers alone with
    /// [`drain_handlers`](Self::drain_handlers). Of journals, all handlers count, and the readers of those that
    /// [block](crate::Overflow::Block), with what they have not taken. The call blocks its thread; a task calls `drain_async`, with the feature
    /// `async`. If a gateway serves this bus, shut the gateway down first, and then drain.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let _handler = bus.on("orders.new", |_| {})?;
    /// for order in 0..100 {
    ///     bus.publish("orders.new", order)?;
    /// }
    /// assert!(bus.drain(Duration::from_secs(5)).is_complete());
    /// assert!(bus.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&self, within: Duration) -> DrainReport {
        drain(&*self.inner, DrainScope::Everything, within)
    }

    /// Drains the bus as [`drain`](Self::drain) does, but waits for handlers alone.
    ///
    /// A mailbox that only subscribers read is neither waited for nor reported. Its messages stay in it: subscribers can
    /// take them after the close, and get `Closed` when it is empty. A mailbox that a handler shares with subscribers,
    /// as members of a group, is waited for. So is a handler that waits for room in the full mailbox of a subscriber.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let _handler = bus.on("orders.new", |_| {})?;
    /// let log = bus.subscribe(">")?;
    /// bus.publish("orders.new", 7)?;
    /// assert!(bus.drain_handlers(Duration::from_secs(5)).is_complete());
    /// assert_eq!(*log.recv()?, 7); // it was not waited for, and can still be read
    /// assert!(log.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain_handlers(&self, within: Duration) -> DrainReport {
        drain(&*self.inner, DrainScope::Handlers, within)
    }
}

impl<T, R> Bus<T, R> {
    /// Closes the bus, at once and for all handles.
    ///
    /// New messages and subscriptions are refused with `Closed`, publishers that wait for room wake up with it, pending
    /// requests end, retained values are dropped. Subscribers and handlers take what is queued; then subscribers get
    /// `Closed`, and handler threads end. Closing a closed bus does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", 1)?;
    /// bus.close();
    /// assert!(bus.publish("orders.new", 2).unwrap_err().is_closed());
    /// assert_eq!(*orders.recv()?, 1);
    /// assert!(orders.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        self.inner.close();
    }

    /// Returns `true` if the bus refuses new messages: it is closed, or being drained.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let other = bus.clone();
    /// assert!(!bus.is_closed());
    /// other.close(); // for all handles
    /// assert!(bus.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.inner.lifecycle.phase() != Phase::Open
    }

    pub(crate) fn inner(&self) -> &Arc<BusInner<T, R>> {
        &self.inner
    }

    pub(crate) fn from_inner(inner: Arc<BusInner<T, R>>) -> Self {
        Self { inner }
    }

    /// Returns a handle that does not keep the bus open, for closures that the bus itself holds.
    ///
    /// Once the last full handle is gone it leads nowhere, although handlers still finish what is queued. Where
    /// handlers publish for one another, end the bus with [`drain`](Self::drain), so that the whole chain is finished.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let weak = bus.downgrade();
    /// let _handler = bus.on("orders.new", move |order| {
    ///     let Some(bus) = weak.upgrade() else { return Err("the bus is gone".to_owned()) };
    ///     bus.publish("orders.seen", **order).map_err(|error| error.to_string())?;
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn downgrade(&self) -> WeakBus<T, R> {
        WeakBus::new(&self.inner)
    }
}

impl<T, R> Clone for Bus<T, R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T: Clone + Send + 'static> Default for Bus<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, R> fmt::Debug for Bus<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}
