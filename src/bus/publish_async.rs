//! Publishing and asking by tasks.
//!
//! The methods are functions that return a future, and not `async`: what their caller has done before, such as taking the
//! payload out of a dead letter, was done on the thread of the call, and the first poll may be on another one.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use super::batch::{no_topic, publish_all_async};
use super::inner::{may_not_ask, outcome, refusal};
use super::{Bus, BusInner, PublishAllError, PublishError, Publisher};
use crate::dead_letter::LetterPolicy;
use crate::delivery::{Delivered, Delivery, PendingDelivery, deliver_at_once, deliver_pending};
use crate::message::Outgoing;
use crate::request::{EachReply, NoReply, OneReply, PendingReply, Replies, ReplySource, RequestError};
use crate::routing::RouteGuard;
use crate::spans::{PublishingTask, Requesting};
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
struct WaitForRoom<'a, T: Clone, R, S: ReplySource<R>> {
    inner: &'a BusInner<T, R>,
    topic: &'a Topic,
    replies: &'a S,
    letters: LetterPolicy,
    pending: PendingDelivery<T, R>,
}

impl<T: Clone, R, S: ReplySource<R>> WaitForRoom<'_, T, R, S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Delivered<T, R>> {
        let Self { inner, topic, replies, letters, pending } = self;
        letters.within(&inner.lifecycle, || pending.poll(context, topic, *replies, |mailbox| inner.unroute(mailbox)))
    }
}

impl<T: Clone, R, S: ReplySource<R>> Drop for WaitForRoom<'_, T, R, S> {
    fn drop(&mut self) {
        let Self { inner, topic, replies, letters, pending } = self;
        if let Some(delivery) = letters.within(&inner.lifecycle, || pending.cancel(topic, *replies)) {
            inner.losses.messages.published(delivery.delivered());
        }
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
        let span = PublishingTask::new(topic);
        let Some(route) = route() else {
            span.end(0, 0, "closed");
            return Err(PublishError::Closed(payload.into()));
        };
        let outgoing = Outgoing { payload, reply: None };
        let first_pass = || self.first_pass(topic, route, outgoing, &NoReply);
        let first = span.within(|| letters.within(&self.lifecycle, first_pass));
        let first = match first {
            FirstPass::AtOnce(delivery) => {
                self.losses.messages.published(delivery.delivered());
                span.end(delivery.delivered(), delivery.dropped(), "delivered");
                return Ok(delivery);
            }
            FirstPass::Rest(rest) => rest,
        };
        let second = self.second_pass(topic, first, &NoReply, letters, |part| span.within(part));
        self.published_by_task(topic, second.await, letters, span)
    }

    /// Turns the delivery of a task into its result.
    pub(super) fn published_by_task(
        &self,
        topic: &Topic,
        delivered: Delivered<T, R>,
        letters: LetterPolicy,
        span: PublishingTask,
    ) -> Result<Delivery, PublishError<T>> {
        let Delivered { delivery, stopped, rest } = delivered;
        self.losses.messages.published(delivery.delivered());
        let result = match rest {
            None => Ok(delivery),
            Some(rest) => {
                let settle = || self.make_of_the_rest(topic, rest.payload, delivery, stopped);
                span.within(|| letters.within(&self.lifecycle, settle))
            }
        };
        span.end(delivery.delivered(), delivery.dropped(), outcome(&result));
        result
    }

    async fn request_async(
        &self,
        topic: &Topic,
        route: impl FnOnce() -> Option<RouteGuard<T, R>>,
        payload: T,
        letters: LetterPolicy,
    ) -> Result<PendingReply<R>, RequestError<T>> {
        let (responder, pending) = OneReply::pending(&self.lifecycle, Requesting::one(topic));
        let outgoing = Outgoing { payload, reply: Some(responder) };
        // Not through another `async fn`, which would move all of this once more.
        let asked = match self.first_ask(topic, route(), outgoing, &OneReply, letters, pending.requesting()) {
            FirstAsk::Done(asked) => asked,
            FirstAsk::Waiting(delivery) => self.ask_on(topic, delivery, &OneReply, letters, pending.requesting()).await,
        };
        match asked {
            Ok(()) => Ok(pending),
            Err(error) => {
                pending.requesting().end(refusal(&error));
                Err(error)
            }
        }
    }

    async fn gather_async(
        &self,
        topic: &Topic,
        route: impl FnOnce() -> Option<RouteGuard<T, R>>,
        payload: T,
        letters: LetterPolicy,
    ) -> Result<Replies<R>, RequestError<T>> {
        let (each, replies, first) = {
            let route = route();
            let most = route.as_ref().map_or(0, |route| route.len());
            let (each, replies) = EachReply::new(&self.lifecycle, most, Requesting::many(topic));
            let outgoing = Outgoing { payload, reply: Some(each.responder()) };
            let first = self.first_ask(topic, route, outgoing, &each, letters, &each.requesting);
            (each, replies, first)
        };
        let asked = match first {
            FirstAsk::Done(asked) => asked,
            FirstAsk::Waiting(delivery) => self.ask_on(topic, delivery, &each, letters, &each.requesting).await,
        };
        each.requesting.end(asked.as_ref().map_or_else(refusal, |()| "asked"));
        asked.map(|()| replies)
    }

    /// Asks, up to the first wait.
    #[inline]
    fn first_ask<S: ReplySource<R>>(
        &self,
        topic: &Topic,
        route: Option<RouteGuard<T, R>>,
        outgoing: Outgoing<T, R>,
        replies: &S,
        letters: LetterPolicy,
        span: &Requesting,
    ) -> FirstAsk<T, R> {
        let Some(route) = route else { return FirstAsk::Done(Err(may_not_ask(outgoing, replies))) };
        let first_pass = || self.first_pass(topic, route, outgoing, replies);
        let first = span.within(|| letters.within(&self.lifecycle, first_pass));
        match first {
            FirstPass::AtOnce(delivery) => {
                self.losses.messages.published(delivery.delivered());
                FirstAsk::Done(Ok(()))
            }
            FirstPass::Rest(Ok(delivered)) => FirstAsk::Done(self.asked(delivered, replies)),
            FirstPass::Rest(Err(pending)) => FirstAsk::Waiting(pending),
        }
    }

    /// Goes on with a request that waits for room.
    async fn ask_on<S: ReplySource<R>>(
        &self,
        topic: &Topic,
        pending: PendingDelivery<T, R>,
        replies: &S,
        letters: LetterPolicy,
        span: &Requesting,
    ) -> Result<(), RequestError<T>> {
        let delivered = self.second_pass(topic, Err(pending), replies, letters, |part| span.within(part)).await;
        self.asked(delivered, replies)
    }

    /// Lets go of the route before anything can wait, see `deliver`.
    #[inline]
    fn first_pass<S: ReplySource<R>>(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        outgoing: Outgoing<T, R>,
        replies: &S,
    ) -> FirstPass<T, R> {
        match deliver_at_once(&route, topic, outgoing, replies) {
            Ok(delivery) => FirstPass::AtOnce(delivery),
            Err(undelivered) => {
                FirstPass::Rest(deliver_pending(route, topic, undelivered, replies, |mailbox| self.unroute(mailbox)))
            }
        }
    }

    async fn second_pass<S: ReplySource<R>>(
        &self,
        topic: &Topic,
        first: Result<Delivered<T, R>, PendingDelivery<T, R>>,
        replies: &S,
        letters: LetterPolicy,
        within: impl Fn(Part<'_, T, R>) -> Poll<Delivered<T, R>>,
    ) -> Delivered<T, R> {
        match first {
            Ok(delivered) => delivered,
            Err(pending) => {
                let mut waiting = WaitForRoom { inner: self, topic, replies, letters, pending };
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
        self.inner().publish_retained_async(self.entry(), payload, letters)
    }

    /// Asks as [`request`](Self::request) does, but waits for room without holding up the thread. The reply comes from
    /// awaiting what this returns.
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
        self.inner().request_async(self.topic(), || self.route(), payload, letters)
    }

    /// Asks all as [`gather`](Self::gather) does, but waits for room without holding up the thread. What it returns is a
    /// `Stream` of the answers.
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
        self.inner().gather_async(self.topic(), || self.route(), payload, letters)
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
                Ok(topic) => self.inner().request_async(&topic, || self.inner().route(&topic), payload, letters).await,
                Err(error) => Err(RequestError::Topic(error.into(), payload)),
            }
        }
    }

    /// Asks all as [`gather`](Self::gather) does, but waits for room without holding up the thread. What it returns is a
    /// `Stream` of the answers.
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
                Ok(topic) => self.inner().gather_async(&topic, || self.inner().route(&topic), payload, letters).await,
                Err(error) => Err(RequestError::Topic(error.into(), payload)),
            }
        }
    }
}
