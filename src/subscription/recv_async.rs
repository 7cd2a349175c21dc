//! Receiving by tasks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Subscriber;
use crate::mailbox::Mailbox;
use crate::message::{Message, RecvError};
use crate::sync::wait_list::WaitEntry;

/// Waits for one message.
pub(crate) struct Receive<'a, T, R> {
    mailbox: &'a Mailbox<T, R>,
    place: WaitEntry,
}

impl<'a, T, R> Receive<'a, T, R> {
    pub(crate) fn new(mailbox: &'a Mailbox<T, R>) -> Self {
        Self { mailbox, place: WaitEntry::default() }
    }
}

impl<T: Clone, R> Future for Receive<'_, T, R> {
    type Output = Result<Message<T, R>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.mailbox.poll_recv(&mut self.place, context)
    }
}

impl<T, R> Drop for Receive<'_, T, R> {
    fn drop(&mut self) {
        self.mailbox.leave_message_wait(&mut self.place);
    }
}

/// Receiving on an async runtime, with the feature `async`.
///
/// These mix with [`recv`](Self::recv) and its kind, on one subscriber and in one group. A task that finds messages
/// waiting takes them without giving way to others; on a runtime with one thread, `yield_now` now and then does.
impl<T, R> Subscriber<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Waits for a message, as [`recv`](Self::recv) does, without holding up the thread.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// A message is taken out only when the future is ready with it: dropping it before loses nothing, nor does
    /// forgetting it keep messages from other receivers.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.publish_async("orders.new", 7).await?;
    /// assert_eq!(*orders.recv_async().await?, 7);
    ///
    /// bus.close();
    /// assert!(orders.recv_async().await.unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn recv_async(&self) -> Result<Message<T, R>, RecvError> {
        Receive::new(self.mailbox()).await
    }

    /// Waits for a message, then takes what is there, up to `limit` messages in all, as
    /// [`recv_many`](Self::recv_many) does. Appends them to `messages` and returns their number.
    ///
    /// With a limit of 0 it returns at once.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), if there is not one message.
    ///
    /// # Cancel safety
    ///
    /// As [`recv_async`](Self::recv_async): `messages` is as it was if the future is dropped before it is ready.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// (0..5).for_each(|order| bus.fire("orders.new", order));
    /// let mut batch = Vec::new();
    /// assert_eq!(orders.recv_many_async(&mut batch, 3).await?, 3);
    /// assert_eq!(orders.recv_many_async(&mut batch, 3).await?, 2);
    /// assert_eq!(batch.len(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn recv_many_async(&self, messages: &mut Vec<Message<T, R>>, limit: usize) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let first = self.recv_async().await?;
        Ok(self.take_more(first, messages, limit))
    }
}

/// The messages, until there will be none: the bus is closed, or the mailbox has run over, and all were taken. What was
/// lost in between is counted in [`Message::lost_before`] of an item, and does not end the stream. When it has ended,
/// [`try_recv`](Subscriber::try_recv) returns the reason.
///
/// # Cancel safety
///
/// A message is taken out only when it is returned.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
/// use tramline::{Bus, Overflow};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let bus = Bus::<u32>::new();
/// let mut prices = bus.subscription("price").capacity(2).overflow(Overflow::DropOldest).open()?;
/// (1..=5).for_each(|price| bus.fire("price", price));
/// drop(bus);
///
/// let mut seen = Vec::new();
/// while let Some(price) = prices.next().await {
///     seen.push((*price, price.lost_before()));
/// }
/// assert_eq!(seen, [(4, 3), (5, 0)]);
/// assert!(prices.try_recv().unwrap_err().is_closed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<T, R> Stream for Subscriber<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    type Item = Message<T, R>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context).map(Result::ok)
    }
}
