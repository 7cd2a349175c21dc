//! Replies that a task awaits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{GatherError, PendingReply, Replies, ReplyError};

/// The reply, as [`wait`](PendingReply::wait) has it; with the feature `async`. There is no time limit: put one of your
/// runtime around it, which leaves the request pending if it is given `&mut pending`.
///
/// # Cancel safety
///
/// Dropping a pending reply cancels the request, whether it is being awaited or not. One that is awaited by reference can
/// be awaited again. After it was ready it has no answer any more: it says `Unanswered`, or again `Closed`.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, ReplyError};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let bus = Bus::<u32>::new();
/// let service = bus.subscribe("double")?;
/// let mut pending = bus.request("double", 21)?;
/// assert!(futures_lite::future::poll_once(&mut pending).await.is_none());
///
/// let request = service.recv_async().await?;
/// let _ = request.reply(2 * *request);
/// assert_eq!(pending.await?, 42);
///
/// let unanswered = bus.request("double", 21)?;
/// drop(service.recv_async().await?);
/// assert!(unanswered.await.unwrap_err().is_unanswered());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<R: Send + 'static> Future for PendingReply<R> {
    type Output = Result<R, ReplyError<R>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(context)
    }
}

/// The replies as they come, with the feature `async`. A responder that failed or gave no answer is an item too; the
/// stream ends when all have answered or gone, or the bus is closed.
///
/// # Cancel safety
///
/// A reply is taken only when it is returned. Dropping the stream cancels the request.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let bus = tramline::Bus::<u32>::new();
/// let _shops = [bus.serve("price", |_| 350)?, bus.serve("price", |_| 340)?];
/// let mut replies = bus.gather("price", 0)?;
/// let mut best = u32::MAX;
/// while let Some(reply) = replies.next().await {
///     best = best.min(reply?);
/// }
/// assert_eq!(best, 340);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<R: Send + 'static> Stream for Replies<R> {
    type Item = Result<R, GatherError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_reply(context.waker()).map(|reply| match reply {
            Err(GatherError::Closed) => None,
            reply => Some(reply),
        })
    }
}
