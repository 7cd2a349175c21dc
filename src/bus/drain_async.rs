//! Draining from a task.

use std::time::Duration;

use super::{Bus, DrainReport, DrainScope, drain_async};

/// Draining from a task, with the feature `async`.
impl<T, R> Bus<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Drains the bus as [`drain`](Self::drain) does, without blocking the thread.
    ///
    /// It also works on a runtime with one thread whose tasks are the handlers that are drained. The time `within` begins with
    /// the first poll. A handler that awaits this in its own future is not waited for. That is known of the future that is
    /// first polled within the handler; a handler that spawns a task for the drain and waits for that task waits for itself,
    /// up to the time `within`.
    ///
    /// # Cancel safety
    ///
    /// Before the first poll nothing has happened. A future that is dropped later leaves the bus as it was at that moment:
    /// usually being drained. The bus refuses new work from then on, and handlers go on with what is queued, but it is not
    /// closed. [Close](Self::close) it, or drain it again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _handler = bus.on_async("orders.new", |task| { tokio::spawn(task); }, |order| {
    ///     let order = **order;
    ///     async move { println!("order {order}") }
    /// })?;
    /// for order in 0..100 {
    ///     bus.publish_async("orders.new", order).await?;
    /// }
    /// assert!(bus.drain_async(Duration::from_secs(5)).await.is_complete());
    /// assert!(bus.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn drain_async(&self, within: Duration) -> DrainReport {
        drain_async(&**self.inner(), DrainScope::Everything, within).await
    }

    /// Drains the bus as [`drain_handlers`](Self::drain_handlers) does, without blocking the thread.
    ///
    /// # Cancel safety
    ///
    /// As [`drain_async`](Self::drain_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _handler = bus.on_async("orders.new", |task| { tokio::spawn(task); }, |order| {
    ///     let order = **order;
    ///     async move { println!("order {order}") }
    /// })?;
    /// let log = bus.subscribe(">")?;
    /// bus.publish_async("orders.new", 7).await?;
    /// assert!(bus.drain_handlers_async(Duration::from_secs(5)).await.is_complete());
    /// assert_eq!(*log.recv_async().await?, 7); // it was not waited for, and can still be read
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn drain_handlers_async(&self, within: Duration) -> DrainReport {
        drain_async(&**self.inner(), DrainScope::Handlers, within).await
    }
}
