//! Receiving by the type of the message.

use super::{Event, HandlerFn, Hub, Request, ServeResultFn};
use crate::handler::Handler;
use crate::message::Message;
use crate::routing::SubscribeError;
use crate::subscription::Subscriber;
use crate::topic::{Topic, TopicError};

impl Hub {
    /// Subscribes to an event on its own topic, with the defaults of the hub.
    ///
    /// It is the [`Bus::subscribe`](crate::Bus::subscribe) of [`bus::<E>()`](Self::bus) with the pattern `E::TOPIC`. For
    /// other patterns, or a subscription with options of its own, use that bus. Dropping the [`Subscriber`] ends the
    /// subscription. When the hub closes, the subscriber gets what is queued, then `Closed`. When its mailbox is full, the
    /// [`Overflow`](crate::Overflow) policy of the hub applies.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if `E::TOPIC` is not a valid topic, the hub is closed or being drained, or the default capacity of
    /// the hub is invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Event, Hub};
    ///
    /// #[derive(Clone)]
    /// struct OrderPlaced { order: u32 }
    ///
    /// impl Event for OrderPlaced {
    ///     const TOPIC: &'static str = "order.placed";
    /// }
    ///
    /// let hub = Hub::new();
    /// let orders = hub.subscribe::<OrderPlaced>()?;
    /// hub.publish(OrderPlaced { order: 7 })?;
    /// assert_eq!(orders.recv()?.order, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe<E: Event>(&self) -> Result<Subscriber<E>, SubscribeError> {
        self.bus::<E>().subscribe(topic_of(E::TOPIC)?)
    }

    /// Calls `f` with every event of this type, on a thread of its own.
    ///
    /// It is the [`Bus::on`](crate::Bus::on) of [`bus::<E>()`](Self::bus) with the pattern `E::TOPIC`. The closure returns
    /// `()` or a `Result<(), Error>` with an error that implements `Display`. For retries, several workers, a name or other
    /// options use `hub.bus::<E>().subscription(E::TOPIC)`, a
    /// [`SubscriptionBuilder`](crate::SubscriptionBuilder). What happens when the closure fails or panics is described at
    /// [`SubscriptionBuilder::handle`](crate::SubscriptionBuilder::handle), and what happens when the [`Handler`] is
    /// dropped, the bus closes or the mailbox is full at [`Handler`]. A closure that captures the hub keeps its own bus
    /// open: capture [`downgrade`](Self::downgrade) there.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe), and [`SubscribeError::Thread`] if the thread cannot be spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Event, Hub};
    ///
    /// #[derive(Clone)]
    /// struct OrderPlaced { order: u32 }
    ///
    /// impl Event for OrderPlaced {
    ///     const TOPIC: &'static str = "order.placed";
    /// }
    ///
    /// let hub = Hub::new();
    /// let mut orders = 0;
    /// let _counting = hub.on::<OrderPlaced>(move |_| orders += 1)?;
    /// let _mail = hub.on::<OrderPlaced>(|placed| {
    ///     if placed.order == 0 { Err("order 0 does not exist") } else { Ok(()) }
    /// })?;
    /// hub.publish(OrderPlaced { order: 7 })?;
    /// assert!(hub.drain(Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on<E: Event>(&self, f: impl HandlerFn<E>) -> Result<Handler, SubscribeError> {
        self.bus::<E>().on(topic_of(E::TOPIC)?, f)
    }

    /// Answers every request of this type with what `f` returns, on a thread of its own.
    ///
    /// It is the [`Bus::serve`](crate::Bus::serve) of [`bus_with_reply::<Q, Q::Reply>()`](Self::bus_with_reply) with
    /// the pattern `Q::TOPIC`; a handler of `bus::<Q>()` would be on a different bus, which never sees the request. If
    /// `f` panics, the caller gets `Failed` and the next request is served. A request whose caller has gone is skipped and
    /// counted. To refuse a request, use [`serve_result`](Self::serve_result), whose closure may return an error. What
    /// happens when the [`Handler`] is dropped, the bus closes or the mailbox is full is described at [`Handler`].
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on), for `Q::TOPIC`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Hub, Request};
    ///
    /// #[derive(Clone)]
    /// struct GetPrice { order: u32 }
    ///
    /// impl Request for GetPrice {
    ///     type Reply = f64;
    ///     const TOPIC: &'static str = "price.of";
    /// }
    ///
    /// let hub = Hub::new();
    /// let _prices = hub.serve::<GetPrice>(|request| f64::from(request.order) / 2.0)?;
    /// assert_eq!(hub.request(GetPrice { order: 7 })?.wait()?, 3.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve<Q: Request>(
        &self,
        f: impl FnMut(&Message<Q, Q::Reply>) -> Q::Reply + Send + 'static,
    ) -> Result<Handler, SubscribeError> {
        self.bus_with_reply::<Q, Q::Reply>().serve(topic_of(Q::TOPIC)?, f)
    }

    /// Answers every request of this type with what `f` returns, or with the text of its error, on a thread of its own.
    ///
    /// It is the [`Bus::serve_result`](crate::Bus::serve_result) of
    /// [`bus_with_reply::<Q, Q::Reply>()`](Self::bus_with_reply) with the pattern `Q::TOPIC`. As [`serve`](Self::serve), but
    /// `f` may fail: then the caller gets [`ReplyError::Failed`](crate::ReplyError::Failed), and the message becomes a dead
    /// letter of that bus.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on), for `Q::TOPIC`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Hub, Request};
    ///
    /// #[derive(Clone)]
    /// struct GetPrice { item: &'static str }
    ///
    /// impl Request for GetPrice {
    ///     type Reply = u32;
    ///     const TOPIC: &'static str = "price.of";
    /// }
    ///
    /// let hub = Hub::new();
    /// let _prices = hub.serve_result::<GetPrice>(|request| match request.item {
    ///     "tea" => Ok(350),
    ///     item => Err(format!("{item} is not for sale")),
    /// })?;
    /// assert_eq!(hub.request(GetPrice { item: "tea" })?.wait()?, 350);
    /// let error = hub.request(GetPrice { item: "the shop" })?.wait().unwrap_err();
    /// assert_eq!(error.to_string(), "the request failed: the shop is not for sale");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_result<Q: Request>(&self, f: impl ServeResultFn<Q, Q::Reply>) -> Result<Handler, SubscribeError> {
        self.bus_with_reply::<Q, Q::Reply>().serve_result(topic_of(Q::TOPIC)?, f)
    }
}

/// A wildcard would be a valid pattern, but nothing can be published on it.
pub(super) fn topic_of(topic: &'static str) -> Result<Topic, TopicError> {
    Topic::new(topic)
}
