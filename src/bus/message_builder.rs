//! Messages with more than a payload: one builder instead of a method for every combination.

use std::fmt;
#[cfg(feature = "async")]
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::{Bus, BusInner, PublishError, Publisher, wait_for};
#[cfg(feature = "async")]
use crate::dead_letter::LetterPolicy;
use crate::delivery::{Delivery, Wait};
use crate::message::Outgoing;
use crate::metadata::{HeaderError, Headers, Properties};
use crate::request::{Metadata, PendingReply, Replies, RequestError};
use crate::routing::{RouteGuard, TopicEntry};
use crate::sync::Instant;
use crate::topic::{Topic, TopicError};

/// A message that is being built: its headers, how long it may wait for room, and when it expires.
///
/// [`Bus::message`], [`Publisher::message`] and [`Hub::message`](crate::Hub::message) make it. A call such as
/// [`publish`](Self::publish) or [`request`](Self::request) ends it. Nothing happens before that call: a builder that is dropped
/// publishes nothing.
///
/// | this | is the long form of |
/// | --- | --- |
/// | `bus.message(topic, payload).publish()` | [`bus.publish(topic, payload)`](Bus::publish) |
/// | `….timeout(timeout).publish()` | [`publish_timeout`](Bus::publish_timeout) |
/// | `….no_wait().publish()` | [`try_publish`](Bus::try_publish) |
/// | `….publish_retained()` | [`publish_retained`](Bus::publish_retained) |
/// | `….request()`, `….gather()`, `….fire()` | [`request`](Bus::request), [`gather`](Bus::gather), [`fire`](Bus::fire) |
///
/// A message without headers and without a time at which it expires is a bare message: it allocates nothing, and costs about
/// 20 ns more than the short form. One with either has one piece of memory that all its copies share, about 70 ns, and each copy
/// waits in a small box of its own, about 40 ns.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let bus = tramline::Bus::<u32>::new();
/// let _prices = bus.serve("price.of", |item| if item.headers().get("tenant") == Some("acme") { 90 } else { 100 })?;
///
/// let price = bus
///     .message("price.of", 7)
///     .header("tenant", "acme")
///     .timeout(Duration::from_secs(2)) // for room and reply together
///     .request()? // `RequestError::Timeout` if no responder had room in time
///     .wait()?; // `ReplyError::Timeout` if none has answered in time
/// assert_eq!(price, 90);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is published before a call such as `publish` ends the builder"]
pub struct MessageBuilder<'a, T, R = T> {
    inner: Handle<'a, T, R>,
    target: Result<Target<'a, T, R>, TopicError>,
    payload: T,
    /// `None` as long as it has no headers.
    properties: Option<Arc<Properties>>,
    invalid: Option<HeaderError>,
    expires_after: Option<Duration>,
    limit: Limit,
}

/// A bus that the caller keeps, or that only the builder has.
enum Handle<'a, T, R> {
    Borrowed(&'a Arc<BusInner<T, R>>),
    Owned(Arc<BusInner<T, R>>),
}

impl<T, R> Deref for Handle<'_, T, R> {
    type Target = Arc<BusInner<T, R>>;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Borrowed(inner) => inner,
            Self::Owned(inner) => inner,
        }
    }
}

/// Where the message goes.
enum Target<'a, T, R> {
    /// Has to be found in the map.
    Topic(Topic),
    /// Of a publisher.
    Entry(&'a Arc<TopicEntry<T, R>>),
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    None,
    Timeout(Duration),
    NoWait,
}

/// A message whose topic and headers are valid.
struct Ready<'a, T, R> {
    inner: Handle<'a, T, R>,
    target: Target<'a, T, R>,
    payload: T,
    properties: Option<Arc<Properties>>,
    wait: Wait,
}

/// Why a message cannot go anywhere.
enum Invalid {
    Topic(TopicError),
    Header(HeaderError),
}

impl Invalid {
    fn of_publish<T>(self, payload: T) -> PublishError<T> {
        match self {
            Self::Topic(error) => PublishError::Topic(error, payload),
            Self::Header(error) => PublishError::Header(error, payload),
        }
    }

    fn of_request<T>(self, payload: T) -> RequestError<T> {
        match self {
            Self::Topic(error) => RequestError::Topic(error, payload),
            Self::Header(error) => RequestError::Header(error, payload),
        }
    }
}

impl<T, R> Target<'_, T, R> {
    fn topic(&self) -> &Topic {
        match self {
            Self::Topic(topic) => topic,
            Self::Entry(entry) => &entry.topic,
        }
    }

    /// The mailboxes of the topic; `None` if the bus takes no message of this thread.
    fn route(&self, inner: &BusInner<T, R>) -> Option<RouteGuard<T, R>> {
        match self {
            Self::Topic(topic) => inner.route(topic),
            Self::Entry(entry) => inner.route_at_once(entry).or_else(|| inner.route_of(entry)),
        }
    }
}

impl<T, R> Ready<'_, T, R> {
    /// Goes on with the entry of the topic, which stays in the map meanwhile.
    fn with_entry<A>(self, go_on: impl FnOnce(&BusInner<T, R>, &Arc<TopicEntry<T, R>>, Outgoing<T, R>, Wait) -> A) -> A
    where
        T: Clone + Send + 'static,
        R: Send + 'static,
    {
        let Self { inner, target, payload, properties, wait } = self;
        let outgoing = Outgoing { payload, metadata: properties.map(Metadata::Message) };
        match target {
            Target::Entry(entry) => go_on(&inner, entry, outgoing, wait),
            Target::Topic(topic) => {
                let publisher = Publisher::new(Arc::clone(&inner), &topic);
                go_on(&inner, publisher.entry(), outgoing, wait)
            }
        }
    }
}

impl<T, R> Bus<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Begins a message for this topic, with headers and limits; see [`MessageBuilder`].
    ///
    /// An invalid topic is an error of the call that ends the builder.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("order.*")?;
    /// bus.message("order.placed", 7).header("tenant", "acme").publish()?;
    /// assert_eq!(orders.recv()?.headers().get("tenant"), Some("acme"));
    ///
    /// let error = bus.message("order.*", 7).publish().unwrap_err();
    /// assert!(error.is_invalid_topic());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn message(&self, topic: impl TryInto<Topic, Error: Into<TopicError>>, payload: T) -> MessageBuilder<'_, T, R> {
        let target = topic.try_into().map(Target::Topic).map_err(Into::into);
        MessageBuilder::new(Handle::Borrowed(self.inner()), target, payload)
    }

    /// The same for a bus that nobody else needs to keep.
    pub(crate) fn into_message(
        self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
    ) -> MessageBuilder<'static, T, R> {
        let target = topic.try_into().map(Target::Topic).map_err(Into::into);
        MessageBuilder::new(Handle::Owned(Arc::clone(self.inner())), target, payload)
    }
}

impl<T, R> Publisher<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Begins a message for the topic of this publisher, with headers and limits; see [`MessageBuilder`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("order.*")?;
    /// let placed = bus.publisher("order.placed")?;
    /// placed.message(7).header("tenant", "acme").publish()?;
    /// assert_eq!(orders.recv()?.headers().get("tenant"), Some("acme"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn message(&self, payload: T) -> MessageBuilder<'_, T, R> {
        MessageBuilder::new(Handle::Borrowed(self.inner()), Ok(Target::Entry(self.entry())), payload)
    }
}

impl<'a, T, R> MessageBuilder<'a, T, R> {
    fn new(inner: Handle<'a, T, R>, target: Result<Target<'a, T, R>, TopicError>, payload: T) -> Self {
        Self { inner, target, payload, properties: None, invalid: None, expires_after: None, limit: Limit::None }
    }

    /// Sets a header: a short pair of strings that every copy of the message has. The same name again replaces the value.
    ///
    /// A message has up to [16](Headers::MAX_LEN) headers; a name and a value have up to [256](Headers::MAX_BYTES) bytes each,
    /// and a name has at least one. The call that ends the builder reports the first header that is invalid, also if the same
    /// name is set again, and returns the payload.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("order.placed")?;
    /// bus.message("order.placed", 7).header("tenant", "acme").header("attempt", 1.to_string()).publish()?;
    /// assert_eq!(orders.recv()?.headers().get("attempt"), Some("1"));
    ///
    /// let error = bus.message("order.placed", 7).header("note", "x".repeat(257)).publish().unwrap_err();
    /// assert!(error.is_invalid_header());
    /// assert_eq!(error.into_inner(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.set(name.as_ref(), value.as_ref());
        self
    }

    /// Sets all of these headers, such as those of a message that is passed on. Others stay; of the same name the last call
    /// stands, so set your own afterwards.
    ///
    /// Nothing else is passed on: neither a timeout nor the time at which the message expires. A future cannot borrow the
    /// message of its handler: clone the headers for it.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let weak = bus.downgrade(); // a clone would keep the bus open
    /// let _shop = bus.on("order.placed", move |order| {
    ///     let bus = weak.upgrade().ok_or("the bus is gone")?;
    ///     let paid = bus.message("order.paid", **order).headers(order.headers());
    ///     paid.header("by", "shop").publish().map_err(|_| "the bus is closed")?;
    ///     Ok::<_, &str>(())
    /// })?;
    /// let paid = bus.subscribe("order.paid")?;
    /// bus.message("order.placed", 7).header("tenant", "acme").publish()?;
    /// assert_eq!(paid.recv()?.headers().get("tenant"), Some("acme"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn headers(mut self, headers: &Headers) -> Self {
        headers.iter().for_each(|(name, value)| self.set(name, value));
        self
    }

    fn set(&mut self, name: &str, value: &str) {
        // The builder is the only one that has them, and the first error is the one to report.
        if let (Some(properties), None) = (Arc::get_mut(self.properties.get_or_insert_default()), &self.invalid) {
            self.invalid = properties.headers.set(name, value).err();
        }
    }

    /// Sets the longest wait for room in mailboxes that are full and [block](crate::Overflow::Block); by default there is no
    /// limit. For a request it is the longest wait for room and reply together.
    ///
    /// The time begins with the call that ends the builder. A time beyond the end of the clock is no limit. After
    /// [`no_wait`](Self::no_wait) it takes its place.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let _stuck = bus.subscription("work").capacity(1).open()?;
    /// bus.publish("work", 1)?;
    /// let error = bus.message("work", 2).timeout(Duration::from_millis(1)).publish().unwrap_err();
    /// assert!(error.is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limit = Limit::Timeout(timeout);
        self
    }

    /// Never waits for room: mailboxes that are full and [block](crate::Overflow::Block) count as dropped. After
    /// [`timeout`](Self::timeout) it takes its place: then a request has no limit for its reply.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _stuck = bus.subscription("price").capacity(1).open()?;
    /// bus.publish("price", 1)?;
    /// let delivery = bus.message("price", 2).no_wait().publish_retained()?;
    /// assert_eq!((delivery.delivered(), delivery.dropped()), (0, 1));
    /// assert_eq!(bus.retained("price"), Some(2)); // it is kept
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn no_wait(mut self) -> Self {
        self.limit = Limit::NoWait;
        self
    }

    /// Sets the time after which the message is not delivered any more; by default there is none.
    ///
    /// A subscriber or handler that takes the message out of its mailbox later than that does not get it. It becomes a
    /// [dead letter](Bus::dead_letters) with the reason [`Expired`](crate::DeadLetterReason::Expired), and counts as dropped in
    /// the statistics and in [`lost_before`](crate::Message::lost_before) of the next message. Until it is taken out it takes
    /// its room in the mailbox. When no copy of a request is left, its caller gets
    /// [`Unanswered`](crate::ReplyError::Unanswered). A retained value that has expired is as if it had
    /// not been kept, but for its memory, until it is replaced or cleared.
    ///
    /// The time begins with the call that ends the builder. One beyond the end of the clock never comes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, DeadLetterReason};
    ///
    /// let bus = Bus::<&str>::new();
    /// let dead_letters = bus.dead_letters();
    /// let offers = bus.subscribe("offer")?;
    /// bus.message("offer", "today only").expires_after(Duration::ZERO).publish()?;
    /// bus.publish("offer", "always")?;
    /// assert_eq!(*offers.recv()?, "always");
    /// assert_eq!(dead_letters.recv()?.reason(), &DeadLetterReason::Expired);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expires_after(mut self, time: Duration) -> Self {
        self.expires_after = Some(time);
        self
    }

    fn ready(self) -> Result<Ready<'a, T, R>, (Invalid, T)> {
        let Self { inner, target, payload, mut properties, invalid, expires_after, limit } = self;
        let target = match (target, invalid) {
            (Ok(target), None) => target,
            (Err(error), _) => return Err((Invalid::Topic(error), payload)),
            (_, Some(error)) => return Err((Invalid::Header(error), payload)),
        };
        if let Some(expires) = expires_after.and_then(|time| Instant::now().checked_add(time)) {
            // As in `set`.
            if let Some(properties) = Arc::get_mut(properties.get_or_insert_default()) {
                properties.expires = Some(expires);
            }
        }
        let wait = match limit {
            Limit::None => Wait::Forever,
            Limit::NoWait => Wait::Never,
            Limit::Timeout(timeout) => wait_for(timeout),
        };
        Ok(Ready { inner, target, payload, properties, wait })
    }

    /// The same for a request, whose timeout is for the reply too.
    fn ready_to_ask(self) -> Result<Ready<'a, T, R>, RequestError<T>> {
        let mut ready = self.ready().map_err(|(invalid, payload)| invalid.of_request(payload))?;
        if let Some(deadline) = ready.wait.deadline() {
            // As in `set`.
            if let Some(properties) = Arc::get_mut(ready.properties.get_or_insert_default()) {
                properties.reply_until = Some(deadline);
            }
        }
        Ok(ready)
    }
}

impl<T, R> MessageBuilder<'_, T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Publishes the message, see [`Bus::publish`].
    ///
    /// # Errors
    ///
    /// With the payload: [`PublishError::Topic`] or [`PublishError::Header`] if it is invalid; [`PublishError::Closed`] if the bus
    /// is closed, also while it waits; [`PublishError::Timeout`] if a mailbox had no room within the
    /// [timeout](Self::timeout), and [`PublishError::delivery`] says how many mailboxes have it.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("order.placed")?;
    /// assert_eq!(bus.message("order.placed", 7).header("tenant", "acme").publish()?.delivered(), 1);
    /// assert_eq!(*orders.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(self) -> Result<Delivery, PublishError<T>> {
        match self.ready() {
            Ok(Ready { inner, target, payload, properties, wait }) => {
                publish(&inner, &target, payload, properties, wait)
            }
            Err((invalid, payload)) => Err(invalid.of_publish(payload)),
        }
    }

    /// Publishes the message and forgets it: never waits, whatever the [timeout](Self::timeout), and never fails. See
    /// [`Bus::fire`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("order.placed")?;
    /// bus.message("order.placed", 7).header("tenant", "acme").fire();
    /// bus.message("order.placed", 8).header("", "no name").fire(); // a counted loss
    /// assert_eq!((orders.len(), bus.stats().dropped), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fire(self) {
        let Self { inner, target, payload, properties, invalid, expires_after, .. } = self;
        let message = MessageBuilder {
            inner: Handle::Borrowed(&inner),
            target,
            payload,
            properties,
            invalid,
            expires_after,
            limit: Limit::NoWait,
        };
        inner.fire(message.publish());
    }

    /// Publishes the message and keeps it as the last value of its topic, see [`Bus::publish_retained`].
    ///
    /// Later subscribers get the value with its headers, until it [expires](Self::expires_after). The value is kept also if a
    /// mailbox has no room in time.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.message("price.tea", 7).header("currency", "EUR").publish_retained()?;
    /// let prices = bus.subscription("price.*").with_retained().open()?;
    /// assert_eq!(prices.recv()?.headers().get("currency"), Some("EUR"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_retained(self) -> Result<Delivery, PublishError<T>> {
        match self.ready() {
            Ok(ready) => ready.with_entry(BusInner::publish_retained),
            Err((invalid, payload)) => Err(invalid.of_publish(payload)),
        }
    }

    /// Sends the message as a request, see [`Bus::request`].
    ///
    /// With a [timeout](Self::timeout), [`PendingReply::wait`] waits for what is left of it: the caller always comes back. If
    /// the time is over and a responder has the request, while others had no room for it, that is a loss for those, and the
    /// reply is pending still: it may be there already.
    ///
    /// # Errors
    ///
    /// With the payload: as [`Bus::request`], [`RequestError::Header`] for an invalid header, and [`RequestError::Timeout`] if no
    /// mailbox had room in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, ReplyError};
    ///
    /// let bus = Bus::<u32>::new();
    /// let _hangs = bus.subscription("double").capacity(1).open()?; // never answers
    /// let ask = || bus.message("double", 21).timeout(Duration::from_millis(1)).request();
    /// assert!(matches!(ask()?.wait(), Err(ReplyError::Timeout(_)))); // the mailbox had room
    /// assert!(ask().unwrap_err().is_timeout()); // it is full
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request(self) -> Result<PendingReply<R>, RequestError<T>> {
        let Ready { inner, target, payload, properties, wait } = self.ready_to_ask()?;
        inner.request_after_a_look(target.topic(), payload, properties, wait, || target.route(&inner))
    }

    /// Sends the message as a request to every subscription of the topic, see [`Bus::gather`].
    ///
    /// With a [timeout](Self::timeout), a full responder delays the caller no longer than that: if the others have the request,
    /// it counts as dropped for the full one, and the replies are those of the others. The time does not limit the wait for the
    /// replies, for which [`Replies::collect_within`] has a time of its own.
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
    /// let _hangs = bus.subscription("bid").capacity(1).open()?;
    /// bus.publish("bid", 0)?;
    /// let _shop = bus.serve("bid", |_| 42)?;
    /// let bids = bus.message("bid", 1).timeout(Duration::from_millis(1)).gather()?;
    /// assert_eq!(bids.collect_within(Duration::from_secs(5)), [42]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gather(self) -> Result<Replies<R>, RequestError<T>> {
        let Ready { inner, target, payload, properties, wait } = self.ready_to_ask()?;
        let _letters = inner.begin_publish();
        inner.gather(target.topic(), target.route(&inner), payload, properties, wait)
    }
}

fn publish<T: Clone, R>(
    inner: &BusInner<T, R>,
    target: &Target<'_, T, R>,
    payload: T,
    properties: Option<Arc<Properties>>,
    wait: Wait,
) -> Result<Delivery, PublishError<T>> {
    match (properties, target) {
        (None, Target::Topic(topic)) => inner.publish_by_name(topic, payload, wait),
        (None, Target::Entry(entry)) => inner.publish_to(entry, payload, wait),
        (Some(properties), target) => {
            let _letters = inner.begin_publish();
            let outgoing = Outgoing { payload, metadata: Some(Metadata::Message(properties)) };
            inner.publish_outgoing(target.topic(), target.route(inner), outgoing, wait)
        }
    }
}

/// Ending the builder on an async runtime, with the feature `async`.
#[cfg(feature = "async")]
impl<'a, T, R> MessageBuilder<'a, T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Publishes the message as [`publish`](Self::publish) does, but waits for room without holding up the thread.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`Publisher::publish_async`]. The times of [`timeout`](Self::timeout) and [`expires_after`](Self::expires_after) begin
    /// with the call, not with the first poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _stuck = bus.subscription("work").capacity(1).open()?;
    /// bus.publish_async("work", 1).await?;
    /// let error = bus.message("work", 2).timeout(Duration::from_millis(1)).publish_async().await.unwrap_err();
    /// assert!(error.is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_async(self) -> impl Future<Output = Result<Delivery, PublishError<T>>> + use<'a, T, R> {
        let letters = LetterPolicy::of_next_publish(&self.inner.lifecycle);
        let ready = self.ready();
        async move {
            let ready = ready.map_err(|(invalid, payload)| invalid.of_publish(payload))?;
            let Ready { inner, target, payload, properties, wait } = ready;
            let outgoing = Outgoing { payload, metadata: properties.map(Metadata::Message) };
            inner.publish_outgoing_async(target.topic(), || target.route(&inner), outgoing, wait, letters).await
        }
    }

    /// Publishes the message and keeps it as the last value of its topic, as [`publish_retained`](Self::publish_retained) does,
    /// but waits for room without holding up the thread.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`Publisher::publish_retained_async`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.message("level", 3).header("unit", "m").publish_retained_async().await?;
    /// assert_eq!(bus.retained("level"), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_retained_async(self) -> impl Future<Output = Result<Delivery, PublishError<T>>> + use<'a, T, R> {
        let letters = LetterPolicy::of_next_publish(&self.inner.lifecycle);
        let ready = self.ready();
        async move {
            let ready = ready.map_err(|(invalid, payload)| invalid.of_publish(payload))?;
            let Ready { inner, target, payload, properties, wait } = ready;
            let outgoing = Outgoing { payload, metadata: properties.map(Metadata::Message) };
            match target {
                Target::Entry(entry) => inner.publish_retained_async(entry, outgoing, wait, letters).await,
                Target::Topic(topic) => {
                    let publisher = Publisher::new(Arc::clone(&inner), &topic);
                    inner.publish_retained_async(publisher.entry(), outgoing, wait, letters).await
                }
            }
        }
    }

    /// Sends the message as a request, as [`request`](Self::request) does, but waits for room without holding up the thread. The
    /// reply comes from awaiting what this returns, for as long as is left of the [timeout](Self::timeout).
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    ///
    /// # Cancel safety
    ///
    /// As [`Publisher::request_async`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _hangs = bus.subscribe("double")?;
    /// let reply = bus.message("double", 21).timeout(Duration::from_millis(1)).request_async().await?;
    /// assert!(reply.await.unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_async(self) -> impl Future<Output = Result<PendingReply<R>, RequestError<T>>> + use<'a, T, R> {
        let letters = LetterPolicy::of_next_publish(&self.inner.lifecycle);
        let ready = self.ready_to_ask();
        async move {
            let Ready { inner, target, payload, properties, wait } = ready?;
            let route = || target.route(&inner);
            inner.request_async(target.topic(), route, payload, properties, wait, letters).await
        }
    }

    /// Sends the message as a request to every subscription of the topic, as [`gather`](Self::gather) does, but waits for room
    /// without holding up the thread. What it returns is a `Stream` of the answers.
    ///
    /// # Errors
    ///
    /// As [`gather`](Self::gather).
    ///
    /// # Cancel safety
    ///
    /// As [`Publisher::gather_async`].
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::StreamExt;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _shops = [bus.serve("price", |_| 350)?, bus.serve("price", |_| 340)?];
    /// let prices = bus.message("price", 0).header("tenant", "acme").gather_async().await?;
    /// assert_eq!(prices.count().await, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gather_async(self) -> impl Future<Output = Result<Replies<R>, RequestError<T>>> + use<'a, T, R> {
        let letters = LetterPolicy::of_next_publish(&self.inner.lifecycle);
        let ready = self.ready_to_ask();
        async move {
            let Ready { inner, target, payload, properties, wait } = ready?;
            let route = || target.route(&inner);
            inner.gather_async(target.topic(), route, payload, properties, wait, letters).await
        }
    }
}

impl<T, R> fmt::Debug for MessageBuilder<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBuilder")
            .field("topic", &self.target.as_ref().map(Target::topic))
            .field("headers", Properties::headers(self.properties.as_ref()))
            .field("limit", &self.limit)
            .field("expires_after", &self.expires_after)
            .finish_non_exhaustive()
    }
}
