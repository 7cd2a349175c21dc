//! Dead letters for tasks, which wait for them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::reader::DeadLetters;
use super::{DeadLetter, quiet};
use crate::message::{RecvError, TryRecvError};
use crate::sync::atomic::AtomicU8;
use crate::sync::wait_list::{WaitEntry, WaitFlag, WaitList};

/// The tasks that wait for a letter of one reader.
#[derive(Default)]
pub(super) struct WaitingTasks {
    waiters: WaitList,
    waiting: AtomicU8,
}

impl WaitingTasks {
    fn mark(&self) -> WaitFlag<'_> {
        WaitFlag { byte: &self.waiting, bit: 1 }
    }

    /// Wakes every task: one that is never polled again must not keep the letter from the others.
    ///
    /// No wake-up is lost. A task enters under the lock that this takes, and looks at the queue after that: either it sees
    /// what was done to the queue before this call, or this call finds it.
    pub(super) fn wake(&self) {
        self.waiters.wake_all(self.mark());
    }

    fn enter(&self, place: &mut WaitEntry, waker: &Waker) {
        self.waiters.enter(place, waker, self.mark());
    }

    pub(super) fn leave(&self, place: &mut WaitEntry) {
        self.waiters.leave(place, self.mark());
    }
}

/// Wakes the tasks of one reader when it is dropped. It lies beside each copy of the queue's sender.
///
/// A letter is delivered through a copy of the sender, which is dropped afterwards, so this wakes for each letter. The last
/// copy is the end of the queue, so this wakes for the end too, whichever thread drops that copy.
#[derive(Clone)]
pub(super) struct WakesWhenDropped(pub(super) Arc<WaitingTasks>);

impl Drop for WakesWhenDropped {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Waits for one letter.
struct Receive<'a, T> {
    reader: &'a DeadLetters<T>,
    place: WaitEntry,
}

impl<T> Future for Receive<'_, T> {
    type Output = Result<DeadLetter<T>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.reader.poll_recv(&mut this.place, context)
    }
}

impl<T> Drop for Receive<'_, T> {
    fn drop(&mut self) {
        self.reader.tasks.leave(&mut self.place);
    }
}

impl<T> DeadLetters<T> {
    fn poll_recv(&self, place: &mut WaitEntry, context: &mut Context<'_>) -> Poll<Result<DeadLetter<T>, RecvError>> {
        let mut taken = self.take();
        if matches!(taken, Err(TryRecvError::Empty)) {
            self.tasks.enter(place, context.waker());
            // Again: a letter that came before the task had entered has woken nobody.
            taken = self.take();
        }
        let taken = match taken {
            Err(TryRecvError::Empty) => {
                // The thread goes on with other tasks, whose losses must make letters.
                quiet::forget_mark(self.origin.bus);
                return Poll::Pending;
            }
            Err(_) => Err(RecvError::Closed),
            Ok(letter) => Ok(letter),
        };
        self.tasks.leave(place);
        Poll::Ready(taken)
    }

    /// Waits for the next letter, as [`recv`](Self::recv) does, without holding up the thread. With the feature `async`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// A letter is taken out only when the future is ready with it: dropping it before loses nothing. A future that is
    /// never polled again keeps no letter from other receivers.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.publish_async("nobody.listens", 7).await?;
    /// let letter = dead_letters.recv_async().await?;
    /// bus.publish_async(letter.topic().clone(), letter.into_payload()).await?; // unheard again, without a letter
    /// assert!(dead_letters.is_empty());
    ///
    /// bus.close();
    /// assert!(dead_letters.recv_async().await.unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn recv_async(&self) -> Result<DeadLetter<T>, RecvError> {
        Receive { reader: self, place: WaitEntry::default() }.await
    }
}

/// The letters, until the bus is closed, its handlers have finished and all letters were read. With the feature `async`.
///
/// # Cancel safety
///
/// A letter is taken out only when it is returned.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let bus = tramline::Bus::<u32>::new();
/// let dead_letters = bus.dead_letters();
/// (1..=3).for_each(|n| bus.fire("nobody.listens", n));
/// drop(bus);
/// assert_eq!(dead_letters.map(|letter| *letter.payload()).collect::<Vec<_>>().await, [1, 2, 3]);
/// # });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<T> Stream for DeadLetters<T> {
    type Item = DeadLetter<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut place = std::mem::take(&mut self.place);
        let polled = self.poll_recv(&mut place, context);
        self.place = place;
        polled.map(Result::ok)
    }
}
