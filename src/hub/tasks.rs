//! A hub's calls, for tasks.

use std::future::Future;
use std::time::Duration;

use super::receive::topic_of;
use super::{AsyncHandlerFn, AsyncServeResultFn, Event, Hub, Request};
use crate::bus::{DrainReport, DrainScope, PublishError, drain_async};
use crate::delivery::Delivery;
use crate::handler::{Handler, Outcome, Spawner};
use crate::request::{PendingReply, RequestError};
use crate::routing::SubscribeError;

/// On an async runtime, with the feature `async`.
impl Hub {
    /// Publishes the event as [`publish`](Self::publish) does, but waits for room without holding up the thread.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`Publisher::publish_async`](crate::Publisher::publish_async).
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
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let hub = Hub::new();
    /// let orders = hub.subscribe::<OrderPlaced>()?;
    /// hub.publish_async(OrderPlaced { order: 7 }).await?;
    /// assert_eq!(orders.recv_async().await?.order, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn publish_async<E: Event>(&self, event: E) -> Result<Delivery, PublishError<E>> {
        self.bus::<E>().publish_async(E::TOPIC, event).await
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
    /// As [`Publisher::request_async`](crate::Publisher::request_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Hub, Request};
    ///
    /// #[derive(Clone)]
    /// struct GetPrice(&'static str);
    ///
    /// impl Request for GetPrice {
    ///     type Reply = u32;
    ///     const TOPIC: &'static str = "price.of";
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let hub = Hub::new();
    /// let on_tokio = |task| { tokio::spawn(task); };
    /// let _catalogue = hub.serve_async::<GetPrice>(on_tokio, |request| {
    ///     let item = request.0;
    ///     async move { if item == "tea" { 350 } else { 620 } }
    /// })?;
    /// assert_eq!(hub.request_async(GetPrice("tea")).await?.await?, 350);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn request_async<Q: Request>(&self, request: Q) -> Result<PendingReply<Q::Reply>, RequestError<Q>> {
        self.bus_with_reply::<Q, Q::Reply>().request_async(Q::TOPIC, request).await
    }

    /// Runs a closure that returns a future on every event of this type, on a task of your async runtime: as
    /// [`on`](Self::on), without a thread.
    ///
    /// It is the [`Bus::on_async`](crate::Bus::on_async) of [`bus::<E>()`](Self::bus) with the pattern `E::TOPIC`. The
    /// future returns `()` or a `Result<(), Error>` with an error that implements `Display`. What happens when the
    /// [`Handler`] is dropped, the bus closes or the mailbox is full is described at [`Handler`].
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
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
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let hub = Hub::new();
    /// let (seen, mut saw) = tokio::sync::mpsc::unbounded_channel();
    /// let _mail = hub.on_async::<OrderPlaced>(|task| { tokio::spawn(task); }, move |placed| {
    ///     let (order, seen) = (placed.order, seen.clone());
    ///     async move { seen.send(order) }
    /// })?;
    /// hub.publish_async(OrderPlaced { order: 7 }).await?;
    /// assert_eq!(saw.recv().await, Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_async<E: Event>(
        &self,
        spawner: impl Spawner,
        f: impl AsyncHandlerFn<E, E, Returned: Future<Output: Outcome>>,
    ) -> Result<Handler, SubscribeError> {
        self.bus::<E>().on_async(topic_of(E::TOPIC)?, spawner, f)
    }

    /// Answers every request of this type with the output of a future, on a task of your async runtime: as
    /// [`serve`](Self::serve), without a thread. For a closure that may fail see
    /// [`serve_result_async`](Self::serve_result_async).
    ///
    /// It is the [`Bus::serve_async`](crate::Bus::serve_async) of
    /// [`bus_with_reply::<Q, Q::Reply>()`](Self::bus_with_reply) with the pattern `Q::TOPIC`.
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe), for `Q::TOPIC`.
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Hub, Request};
    ///
    /// #[derive(Clone)]
    /// struct Double(u32);
    ///
    /// impl Request for Double {
    ///     type Reply = u32;
    ///     const TOPIC: &'static str = "double";
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let hub = Hub::new();
    /// let _server = hub.serve_async::<Double>(|task| { tokio::spawn(task); }, |request| {
    ///     let n = request.0;
    ///     async move { 2 * n }
    /// })?;
    /// assert_eq!(hub.request_async(Double(21)).await?.await?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_async<Q: Request>(
        &self,
        spawner: impl Spawner,
        f: impl AsyncHandlerFn<Q, Q::Reply, Returned: Future<Output = Q::Reply>>,
    ) -> Result<Handler, SubscribeError> {
        self.bus_with_reply::<Q, Q::Reply>().serve_async(topic_of(Q::TOPIC)?, spawner, f)
    }

    /// Answers every request of this type with the output of a future, or with the text of its error, on a task of your async
    /// runtime: as [`serve_result`](Self::serve_result), without a thread.
    ///
    /// It is the [`Bus::serve_result_async`](crate::Bus::serve_result_async) of
    /// [`bus_with_reply::<Q, Q::Reply>()`](Self::bus_with_reply) with the pattern `Q::TOPIC`.
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe), for `Q::TOPIC`.
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Hub, Request};
    ///
    /// #[derive(Clone)]
    /// struct Half(u32);
    ///
    /// impl Request for Half {
    ///     type Reply = u32;
    ///     const TOPIC: &'static str = "half";
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let hub = Hub::new();
    /// let _server = hub.serve_result_async::<Half>(|task| { tokio::spawn(task); }, |request| {
    ///     let n = request.0;
    ///     async move { if n % 2 == 0 { Ok(n / 2) } else { Err("it is odd") } }
    /// })?;
    /// assert_eq!(hub.request_async(Half(42)).await?.await?, 21);
    /// assert!(hub.request_async(Half(43)).await?.await.unwrap_err().is_failed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_result_async<Q: Request>(
        &self,
        spawner: impl Spawner,
        f: impl AsyncServeResultFn<Q, Q::Reply>,
    ) -> Result<Handler, SubscribeError> {
        self.bus_with_reply::<Q, Q::Reply>().serve_result_async(topic_of(Q::TOPIC)?, spawner, f)
    }

    /// Drains all buses as one, as [`drain`](Self::drain) does, without blocking the thread.
    ///
    /// Otherwise as [`Bus::drain_async`](crate::Bus::drain_async).
    ///
    /// # Cancel safety
    ///
    /// As [`Bus::drain_async`](crate::Bus::drain_async), for all buses of the hub.
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
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let hub = Hub::new();
    /// let _mail = hub.on_async::<OrderPlaced>(|task| { tokio::spawn(task); }, |placed| {
    ///     let order = placed.order;
    ///     async move { println!("order {order}") }
    /// })?;
    /// hub.publish_async(OrderPlaced { order: 7 }).await?;
    /// assert!(hub.drain_async(Duration::from_secs(5)).await.is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn drain_async(&self, within: Duration) -> DrainReport {
        drain_async(&*self.inner, DrainScope::Everything, within).await
    }

    /// Drains all buses as one and waits for handlers alone, as [`drain_handlers`](Self::drain_handlers) does, without
    /// blocking the thread.
    ///
    /// # Cancel safety
    ///
    /// As [`Bus::drain_async`](crate::Bus::drain_async), for all buses of the hub.
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
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let hub = Hub::new();
    /// let log = hub.subscribe::<OrderPlaced>()?;
    /// hub.publish_async(OrderPlaced { order: 7 }).await?;
    /// assert!(hub.drain_handlers_async(Duration::from_secs(5)).await.is_complete());
    /// assert_eq!(log.recv_async().await?.order, 7); // it was not waited for, and can still be read
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn drain_handlers_async(&self, within: Duration) -> DrainReport {
        drain_async(&*self.inner, DrainScope::Handlers, within).await
    }
}
