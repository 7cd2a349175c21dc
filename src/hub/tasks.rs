//! A hub's calls, for tasks.

use super::{Event, Hub, Request};
use crate::bus::PublishError;
use crate::delivery::Delivery;
use crate::request::{PendingReply, RequestError};

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
    /// let orders = hub.bus::<OrderPlaced>().subscribe("order.*")?;
    /// hub.publish_async(OrderPlaced { order: 7 }).await?;
    /// assert_eq!(orders.recv_async().await?.order, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn publish_async<E: Event>(&self, event: E) -> Result<Delivery, PublishError<E>> {
        self.bus::<E>().publish_async(E::TOPIC, event).await
    }

    /// Asks as [`request`](Self::request) does, but waits for room without holding up the thread. The reply comes from awaiting
    /// what this returns.
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
    /// let _catalogue = hub.bus_with_reply::<GetPrice, u32>().serve_async(GetPrice::TOPIC, on_tokio, |request| {
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
}
