//! Publishing and asking by tasks.
//!
//! The methods are functions that return a future, and not `async`: what their caller has done before, such as taking the
//! payload out of a dead letter, was done on the thread of the call, and the first poll may be on another one.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::batch::{no_topic, publish_all_async};
use super::inner::{may_not_ask, outcome, refusal};
use super::{Bus, BusInner, PublishAllError, PublishError, Publisher};
use crate::dead_letter::LetterPolicy;
use crate::delivery::{Delivered, Delivery, PendingDelivery, Undelivered, Wait, deliver_at_once, deliver_pending};
use crate::mailbox::Mailbox;
use crate::message::Outgoing;
use crate::metadata::Properties;
use crate::request::{EachReply, MetadataSource, NoMetadata, PendingReply, Replies, RequestError, SharedMetadata};
use crate::routing::RouteGuard;
use crate::spans::{PublishingTask, Requesting};
use crate::sync::{Delay, Instant};
use crate::topic::{Topic, TopicError};

/// A part of a delivery, to be run within its span.
type Part<'a, T, R> = &'a mut dyn FnMut() -> Poll<Delivered<T, R>>;

/// What came of the first pass of a publish.
enum FirstPass<T, R> {
    /// Every mailbox took the message, or dropped it, at first sight: nearly always.
    AtOnce(Delivery),
    Rest(Result<Delivered<T, R>, PendingDelivery<T, R>>),
}

/// What came of the first pass of a request.
enum FirstAsk<T, R> {
    Done(Result<(), RequestError<T>>),
    Waiting(PendingDelivery<T, R>),
}

/// Waits for room in the mailboxes that were full.
struct WaitForRoom<'a, T: Clone, R, S: MetadataSource<R>> {
    inner: &'a BusInner<T, R>,
    topic: &'a Topic,
    source: &'a S,
    letters: LetterPolicy,
    pending: PendingDelivery<T, R>,
    timer: Timer,
}

impl<T: Clone, R, S: MetadataSource<R>> WaitForRoom<'_, T, R, S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Delivered<T, R>> {
        let Self { inner, topic, source, letters, pending, timer } = self;
        letters.within(&inner.lifecycle, || {
            match pending.poll(context, topic, *source, |mailbox| inner.unroute(mailbox)) {
                Poll::Pending => timer.poll(context).map(|()| pending.time_out(topic, *source)),
                delivered => delivered,
            }
        })
    }
}

impl<T: Clone, R, S: MetadataSource<R>> Drop for WaitForRoom<'_, T, R, S> {
    fn drop(&mut self) {
        let Self { inner, topic, source, letters, pending, .. } = self;
        if let Some(delivery) = letters.within(&inner.lifecycle, || pending.cancel(topic, *source)) {
            inner.losses.messages.published(delivery.delivered());
        }
    }
}

/// Wakes a task when its time to wait is over.
pub(super) struct Timer {
    deadline: Option<Instant>,
    /// Made when the task first waits.
    delay: Option<Delay>,
}

impl Timer {
    pub(super) fn until(wait: Wait) -> Self {
        Self { deadline: wait.deadline(), delay: None }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let left = || deadline.saturating_duration_since(Instant::now());
        Pin::new(self.delay.get_or_insert_with(|| Delay::new(left()))).poll(context)
    }
}

impl<T: Clone, R> BusInner<T, R> {
    async fn publish_async(
        &self,
        topic: &Topic,
        route: impl FnOnce() -> Option<RouteGuard<T, R>>,
        payload: T,
        letters: LetterPolicy,
    ) -> Result<Delivery, PublishError<T>> {
        let outgoing = Outgoing { payload, metadata: None };
        if self.traces() {
            return self.publish_outgoing_async(topic, route, outgoing, Wait::Forever, letters).await;
        }
        self.publish_from(topic, route, outgoing, &NoMetadata, Wait::Forever, letters).await
    }

    pub(super) async fn publish_outgoing_async(
        &self,
        topic: &Topic,
        route: impl FnOnce() -> Option<RouteGuard<T, R>>,
        outgoing: Outgoing<T, R>,
        wait: Wait,
        letters: LetterPolicy,
    ) -> Result<Delivery, PublishError<T>> {
        let outgoing = self.traced(outgoing);
        self.publish_from(topic, route, outgoing, &SharedMetadata, wait, letters).await
    }

    async fn publish_from<S: MetadataSource<R>>(
        &self,
        topic: &Topic,
        route: impl FnOnce() -> Option<RouteGuard<T, R>>,
        outgoing: Outgoing<T, R>,
        source: &S,
        wait: Wait,
        letters: LetterPolicy,
    ) -> Result<Delivery, PublishError<T>> {
        let span = PublishingTask::new(topic);
        let Some(route) = route() else {
            span.end(0, 0, "closed");
            return Err(PublishError::Closed(outgoing.payload.into()));
        };
        let first_pass = || self.first_pass(topic, route, outgoing, source, wait);
        let first = span.within(|| letters.within(&self.lifecycle, first_pass));
        let first = match first {
            FirstPass::AtOnce(delivery) => {
                self.losses.messages.published(delivery.delivered());
                span.end(delivery.delivered(), delivery.dropped(), "delivered");
                return Ok(delivery);
            }
            FirstPass::Rest(rest) => rest,
        };
        let second = self.second_pass(topic, first, source, wait, letters, |part| span.within(part));
        self.published_by_task(topic, second.await, letters, span)
    }

    /// Turns the delivery of a task into its result.
    pub(super) fn published_by_task(
        &self,
        topic: &Topic,
        mut delivered: Delivered<T, R>,
        letters: LetterPolicy,
        span: PublishingTask,
    ) -> Result<Delivery, PublishError<T>> {
        span.within(|| letters.within(&self.lifecycle, || delivered.settle_observers(topic)));
        let Delivered { delivery, stopped, rest, .. } = delivered;
        self.losses.messages.published(delivery.delivered());
        let result = match rest {
            None => Ok(delivery),
            Some(rest) => {
                let settle = || self.make_of_the_rest(topic, rest, delivery, stopped);
                span.within(|| letters.within(&self.lifecycle, settle))
            }
        };
        span.end(delivery.delivered(), delivery.dropped(), outcome(&result));
        result
    }

    pub(super) async fn request_async(
        &self,
        topic: &Topic,
        route: impl FnOnce() -> Option<RouteGuard<T, R>>,
        payload: T,
        properties: Option<Arc<Properties>>,
        wait: Wait,
        letters: LetterPolicy,
    ) -> Result<PendingReply<R>, RequestError<T>> {
        let requesting = Requesting::one(topic);
        let (metadata, pending) = PendingReply::new(&self.lifecycle, properties, requesting);
        let outgoing = Outgoing { payload, metadata: Some(metadata) };
        // Not through another `async fn`, which would move all of this once more.
        let asked = match self.first_ask(topic, route(), outgoing, &SharedMetadata, wait, letters, pending.requesting())
        {
            FirstAsk::Done(asked) => asked,
            FirstAsk::Waiting(delivery) => {
                self.ask_on(topic, delivery, &SharedMetadata, wait, letters, pending.requesting()).await
            }
        };
        match asked {
            Ok(()) => Ok(pending),
            Err(error) => {
                pending.requesting().end(refusal(&error));
                Err(error)
            }
        }
    }

    pub(super) async fn gather_async(
        &self,
        topic: &Topic,
        route: impl FnOnce() -> Option<RouteGuard<T, R>>,
        payload: T,
        properties: Option<Arc<Properties>>,
        wait: Wait,
        letters: LetterPolicy,
    ) -> Result<Replies<R>, RequestError<T>> {
        let (each, replies, first) = {
            let route = route();
            let most = route.as_ref().map_or(0, |route| route.len());
            let (each, replies) = EachReply::new(&self.lifecycle, most, properties, Requesting::many(topic));
            let outgoing = Outgoing { payload, metadata: Some(each.metadata()) };
            let first = self.first_ask(topic, route, outgoing, &each, wait, letters, &each.requesting);
            (each, replies, first)
        };
        let asked = match first {
            FirstAsk::Done(asked) => asked,
            FirstAsk::Waiting(delivery) => self.ask_on(topic, delivery, &each, wait, letters, &each.requesting).await,
        };
        each.requesting.end(asked.as_ref().map_or_else(refusal, |()| "asked"));
        asked.map(|()| replies)
    }

    /// Asks, up to the first wait.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "what a request has, once for each kind")]
    fn first_ask<S: MetadataSource<R>>(
        &self,
        topic: &Topic,
        route: Option<RouteGuard<T, R>>,
        outgoing: Outgoing<T, R>,
        source: &S,
        wait: Wait,
        letters: LetterPolicy,
        span: &Requesting,
    ) -> FirstAsk<T, R> {
        let Some(route) = route else { return FirstAsk::Done(Err(may_not_ask(outgoing, source))) };
        let first_pass = || self.first_pass(topic, route, outgoing, source, wait);
        let first = span.within(|| letters.within(&self.lifecycle, first_pass));
        match first {
            FirstPass::AtOnce(delivery) => {
                self.losses.messages.published(delivery.delivered());
                FirstAsk::Done(Ok(()))
            }
            FirstPass::Rest(Ok(delivered)) => FirstAsk::Done(self.asked(topic, delivered, source)),
            FirstPass::Rest(Err(pending)) => FirstAsk::Waiting(pending),
        }
    }

    /// Goes on with a request that waits for room.
    async fn ask_on<S: MetadataSource<R>>(
        &self,
        topic: &Topic,
        pending: PendingDelivery<T, R>,
        source: &S,
        wait: Wait,
        letters: LetterPolicy,
        span: &Requesting,
    ) -> Result<(), RequestError<T>> {
        let delivered = self.second_pass(topic, Err(pending), source, wait, letters, |part| span.within(part)).await;
        span.within(|| letters.within(&self.lifecycle, || self.asked(topic, delivered, source)))
    }

    /// Lets go of the route before anything can wait, see `deliver`.
    #[inline]
    fn first_pass<S: MetadataSource<R>>(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        outgoing: Outgoing<T, R>,
        source: &S,
        wait: Wait,
    ) -> FirstPass<T, R> {
        let undelivered = match route.simple() {
            None => Undelivered::new(outgoing),
            Some(mailboxes) => {
                let Outgoing { payload, metadata } = outgoing;
                match deliver_at_once(mailboxes, topic, payload, S::own(metadata), source) {
                    Ok(delivery) => return FirstPass::AtOnce(delivery),
                    Err(undelivered) => undelivered,
                }
            }
        };
        let overflowed = |mailbox: &Mailbox<T, R>| self.unroute(mailbox);
        FirstPass::Rest(deliver_pending(route, topic, undelivered, source, wait.may_wait(), overflowed))
    }

    async fn second_pass<S: MetadataSource<R>>(
        &self,
        topic: &Topic,
        first: Result<Delivered<T, R>, PendingDelivery<T, R>>,
        source: &S,
        wait: Wait,
        letters: LetterPolicy,
        within: impl Fn(Part<'_, T, R>) -> Poll<Delivered<T, R>>,
    ) -> Delivered<T, R> {
        match first {
            Ok(delivered) => delivered,
            Err(pending) => {
                let mut waiting =
                    WaitForRoom { inner: self, topic, source, letters, pending, timer: Timer::until(wait) };
                poll_fn(|context| within(&mut || waiting.poll(context))).await
            }
        }
    }
}

/// Publishing on an async runtime, with the feature `async`.
impl<T, R> Publisher<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Publishes the payload as [`publish`](Self::publish) does, but waits for room without holding up the thread. Never
    /// waits when no mailbox that blocks is full.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.publish_async()`.
    ///
    /// # Errors
    ///
    /// [`PublishError::Closed`] if the bus is closed, also while it waits; it hands the payload back, and
    /// [`PublishError::delivery`] says how many mailboxes have it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the mailboxes that had room have the message. For those that it was
    /// waiting for it is a loss, counted like any other, with a dead letter that says
    /// [`Cancelled`](crate::DeadLetterReason::Cancelled). A future that was never polled has done nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::builder().capacity(1).build();
    /// let orders = bus.subscribe("orders.new")?;
    /// let publisher = bus.publisher("orders.new")?;
    /// let both = async {
    ///     publisher.publish_async(1).await?;
    ///     publisher.publish_async(2).await // waits until the first is taken
    /// };
    /// let (second, first) = futures_lite::future::zip(both, orders.recv_async()).await;
    /// assert_eq!((*first?, second?.delivered()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_async(&self, payload: T) -> impl Future<Output = Result<Delivery, PublishError<T>>> {
        let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
        self.inner().publish_async(self.topic(), || self.route(), payload, letters)
    }

    /// Publishes every payload of `payloads`, in order, as [`publish_async`](Self::publish_async) does, and adds up what
    /// became of them.
    ///
    /// A payload is taken from the iterator when it is about to be published.
    ///
    /// # Errors
    ///
    /// As [`publish_all`](Self::publish_all).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the payloads before the one that it was waiting with are published. The
    /// one that it was waiting with is as with [`publish_async`](Self::publish_async): the mailboxes that had room have it,
    /// and for the others it is a counted loss. The payloads after it are not published, and are dropped with the iterator.
    /// Lend the iterator with [`by_ref`](Iterator::by_ref) to keep those. A future that was never polled has done nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::builder().capacity(2).build();
    /// let orders = bus.subscribe("orders.new")?;
    /// let publisher = bus.publisher("orders.new")?;
    /// let reader = async {
    ///     for order in 1..=5 {
    ///         assert_eq!(*orders.recv_async().await?, order);
    ///     }
    ///     Ok::<(), tramline::RecvError>(())
    /// };
    /// let (delivery, read) = futures_lite::future::zip(publisher.publish_all_async(1..=5), reader).await;
    /// assert_eq!(delivery?.delivered(), 5); // waited for the reader
    /// read?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_all_async(
        &self,
        payloads: impl IntoIterator<Item = T>,
    ) -> impl Future<Output = Result<Delivery, PublishAllError<T>>> {
        let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
        self.publish_batch_async(payloads, letters)
    }

    /// Publishes the first payload with these letters. For each, the iterator may take the payload out of a letter.
    async fn publish_batch_async(
        &self,
        payloads: impl IntoIterator<Item = T>,
        letters: LetterPolicy,
    ) -> Result<Delivery, PublishAllError<T>> {
        let mut first = Some(letters).filter(|letters| *letters == LetterPolicy::Suppress);
        let publish = |payload| {
            let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
            self.inner().publish_async(self.topic(), || self.route(), payload, first.take().unwrap_or(letters))
        };
        publish_all_async(payloads.into_iter(), publish).await
    }

    /// Publishes the payload and keeps it as the topic's last value, as [`publish_retained`](Self::publish_retained) does, but waits for
    /// room without holding up the thread.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.publish_retained_async()`.
    ///
    /// # Errors
    ///
    /// As [`publish_async`](Self::publish_async).
    ///
    /// # Cancel safety
    ///
    /// As [`publish_async`](Self::publish_async); the value is kept as soon as the future has been polled.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let level = bus.publisher("level")?;
    /// level.publish_retained_async(3).await?;
    /// assert_eq!(bus.retained("level"), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_retained_async(&self, payload: T) -> impl Future<Output = Result<Delivery, PublishError<T>>> {
        let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
        let outgoing = Outgoing { payload, metadata: None };
        self.inner().publish_retained_async(self.entry(), outgoing, Wait::Forever, letters)
    }

    /// Asks as [`request`](Self::request) does, but waits for room without holding up the thread. The reply comes from
    /// awaiting what this returns.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.request_async()`.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the request is cancelled. Mailboxes that were still full count it as
    /// lost, as for [`publish_async`](Self::publish_async).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _server = bus.serve("double", |n| 2 * **n)?;
    /// let double = bus.publisher("double")?;
    /// assert_eq!(double.request_async(21).await?.await?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_async(&self, payload: T) -> impl Future<Output = Result<PendingReply<R>, RequestError<T>>> {
        let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
        self.inner().request_async(self.topic(), || self.route(), payload, None, Wait::Forever, letters)
    }

    /// Asks all as [`gather`](Self::gather) does, but waits for room without holding up the thread. What it returns is a
    /// `Stream` of the answers.
    ///
    /// Long form, with headers and limits: [`message(payload)`](Self::message)`.gather_async()`.
    ///
    /// # Errors
    ///
    /// As [`gather`](Self::gather).
    ///
    /// # Cancel safety
    ///
    /// As [`request_async`](Self::request_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::StreamExt;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _shops = [bus.serve("price", |_| 350)?, bus.serve("price", |_| 340)?];
    /// let ask = bus.publisher("price")?;
    /// let prices: Vec<u32> = ask.gather_async(0).await?.try_collect().await?;
    /// assert_eq!(prices.iter().min(), Some(&340));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gather_async(&self, payload: T) -> impl Future<Output = Result<Replies<R>, RequestError<T>>> {
        let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
        self.inner().gather_async(self.topic(), || self.route(), payload, None, Wait::Forever, letters)
    }
}

/// Publishing on an async runtime, with the feature `async`.
impl<T, R> Bus<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Publishes the payload as [`publish`](Self::publish) does, but waits for room without holding up the thread.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.publish_async()`.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`Publisher::publish_async`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.*")?;
    /// let delivery = bus.publish_async("orders.new", 7).await?;
    /// assert_eq!(delivery.delivered(), 1);
    /// assert_eq!(*orders.recv_async().await?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_async(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
    ) -> impl Future<Output = Result<Delivery, PublishError<T>>> {
        let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
        async move {
            match topic.try_into() {
                Ok(topic) => self.inner().publish_async(&topic, || self.inner().route(&topic), payload, letters).await,
                Err(error) => Err(PublishError::Topic(error.into(), payload)),
            }
        }
    }

    /// Publishes every payload of `payloads` to a topic, in order, as [`Publisher::publish_all_async`] does.
    ///
    /// # Errors
    ///
    /// As [`publish_all`](Self::publish_all).
    ///
    /// # Cancel safety
    ///
    /// As [`Publisher::publish_all_async`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.*")?;
    /// assert_eq!(bus.publish_all_async("orders.new", [7, 8]).await?.delivered(), 2);
    /// assert_eq!(orders.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_all_async(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payloads: impl IntoIterator<Item = T>,
    ) -> impl Future<Output = Result<Delivery, PublishAllError<T>>> {
        let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
        async move {
            match self.publisher(topic) {
                Ok(publisher) => publisher.publish_batch_async(payloads, letters).await,
                Err(error) => Err(no_topic(error, payloads.into_iter())),
            }
        }
    }

    /// Asks as [`request`](Self::request) does, but waits for room without holding up the thread. The reply comes from
    /// awaiting what this returns.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.request_async()`.
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
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _server = bus.serve("double", |n| 2 * **n)?;
    /// assert_eq!(bus.request_async("double", 21).await?.await?, 42);
    /// assert!(bus.request_async("treble", 21).await.unwrap_err().is_no_responders());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_async(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
    ) -> impl Future<Output = Result<PendingReply<R>, RequestError<T>>> {
        let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
        async move {
            match topic.try_into() {
                Ok(topic) => {
                    let route = || self.inner().route(&topic);
                    self.inner().request_async(&topic, route, payload, None, Wait::Forever, letters).await
                }
                Err(error) => Err(RequestError::Topic(error.into(), payload)),
            }
        }
    }

    /// Asks all as [`gather`](Self::gather) does, but waits for room without holding up the thread. What it returns is a
    /// `Stream` of the answers.
    ///
    /// Long form, with headers and limits: [`message(topic, payload)`](Self::message)`.gather_async()`.
    ///
    /// # Errors
    ///
    /// As [`gather`](Self::gather).
    ///
    /// # Cancel safety
    ///
    /// As [`Publisher::request_async`].
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::StreamExt;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _shops = [bus.serve("price", |_| 350)?, bus.serve("price", |_| 340)?];
    /// let replies = bus.gather_async("price", 0).await?;
    /// assert_eq!(replies.count().await, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gather_async(
        &self,
        topic: impl TryInto<Topic, Error: Into<TopicError>>,
        payload: T,
    ) -> impl Future<Output = Result<Replies<R>, RequestError<T>>> {
        let letters = LetterPolicy::of_next_publish(&self.inner().lifecycle);
        async move {
            match topic.try_into() {
                Ok(topic) => {
                    let route = || self.inner().route(&topic);
                    self.inner().gather_async(&topic, route, payload, None, Wait::Forever, letters).await
                }
                Err(error) => Err(RequestError::Topic(error.into(), payload)),
            }
        }
    }
}
