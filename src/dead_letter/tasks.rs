//! Dead letters for tasks: waiting for a letter, and knowing the task that has one in hand.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::losses::Losses;
use super::reader::DeadLetters;
use super::{DeadLetter, republishing};
use crate::lifecycle::BusId;
use crate::message::{RecvError, TryRecvError};
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU8;
use crate::sync::counters::{AtomicUsize, Ordering};
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

/// The most tasks of one reader that are known to have a letter in hand. A task that ends with a letter in hand stays in
/// the list, so it needs a bound.
const MOST: usize = 64;

/// The tasks that have taken a letter and have not asked for the next one, the newest [`MOST`] of each reader.
#[derive(Default)]
pub(super) struct InHand {
    /// The address of the reader's [`WaitingTasks`], which the reader keeps from being used again. The oldest come first.
    tasks: Mutex<Vec<(usize, Waker)>>,
    /// The length of `tasks`, to be read without the lock on the path of a message.
    count: AtomicUsize,
}

impl InHand {
    /// Adds a task that has taken a letter. Wakers are code of the user: they are cloned and dropped under no lock.
    fn begin(&self, reader: usize, waker: &Waker) {
        let waker = waker.clone();
        self.change(|tasks| {
            let of_reader = tasks.iter().filter(|(other, _)| *other == reader).count();
            let oldest = tasks.iter().position(|(other, _)| *other == reader).filter(|_| of_reader >= MOST);
            let removed = oldest.map(|index| tasks.remove(index));
            tasks.push((reader, waker));
            removed
        });
    }

    /// Removes a task that asks for the next letter.
    fn end(&self, reader: usize, waker: &Waker) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.change(|tasks| {
                let index = tasks.iter().position(|(other, holder)| *other == reader && is_same_task(holder, waker));
                index.map(|index| tasks.remove(index))
            });
        }
    }

    /// Removes the tasks of a reader that is gone.
    pub(super) fn remove_reader(&self, reader: usize) {
        self.change(|tasks| {
            let (gone, others): (Vec<_>, Vec<_>) = tasks.drain(..).partition(|(other, _)| *other == reader);
            *tasks = others;
            gone
        });
    }

    /// Changes the list under its lock; what `change` removes is dropped after it.
    fn change<A>(&self, change: impl FnOnce(&mut Vec<(usize, Waker)>) -> A) {
        let mut tasks = self.tasks.lock();
        let removed = change(&mut tasks);
        self.count.store(tasks.len(), Ordering::Relaxed);
        drop(tasks);
        drop(removed);
    }

    fn has(&self, waker: &Waker) -> bool {
        // Relaxed: a task sees what it has done itself, on whatever thread.
        self.count.load(Ordering::Relaxed) > 0
            && self.tasks.lock().iter().any(|(_, holder)| is_same_task(holder, waker))
    }
}

/// Whether two wakers wake the same task.
///
/// `will_wake` compares the tables of functions too, and is documented as best effort: with optimisation, the waker of
/// tokio's `block_on` and its clone have tables at two addresses (tokio 1.54, current-thread runtime). The data is the
/// task itself, which the clone keeps alive.
fn is_same_task(one: &Waker, other: &Waker) -> bool {
    one.will_wake(other) || (one.data() == other.data() && !one.data().is_null())
}

/// Whether what a task publishes makes no dead letters, because it has one in hand.
#[derive(Clone, Copy)]
pub(crate) struct Republisher(Option<BusId>);

impl Republisher {
    /// Runs a part of a publish on this thread.
    pub(crate) fn within<A>(self, part: impl FnOnce() -> A) -> A {
        match self.0 {
            Some(bus) => republishing::during(bus, part),
            None => part(),
        }
    }
}

impl<T> Losses<T> {
    /// Looks whether the task that is being polled has a letter of this bus in hand. Does not wait.
    pub(crate) async fn republisher(&self) -> Republisher {
        poll_fn(|context| Poll::Ready(Republisher(self.in_hand.has(context.waker()).then_some(self.bus)))).await
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
        // Also for a letter that this thread took before, with `recv` or `try_recv`.
        self.asks();
        let (losses, reader) = (self.losses.upgrade(), Arc::as_ptr(&self.tasks).addr());
        if let Some(losses) = &losses {
            losses.in_hand.end(reader, context.waker());
        }
        let mut taken = self.take();
        if matches!(taken, Err(TryRecvError::Empty)) {
            self.tasks.enter(place, context.waker());
            // Again: a letter that came before the task had entered has woken nobody.
            taken = self.take();
        }
        let taken = match taken {
            Err(TryRecvError::Empty) => return Poll::Pending,
            Err(_) => Err(RecvError::Closed),
            Ok(letter) => {
                if let Some(losses) = &losses {
                    losses.in_hand.begin(reader, context.waker());
                }
                Ok(letter)
            }
        };
        self.tasks.leave(place);
        Poll::Ready(taken)
    }

    /// Waits for the next letter, as [`recv`](Self::recv) does, without holding up the thread. With the feature `async`.
    ///
    /// What the task publishes with `publish_async` and the other methods of that kind makes no dead letters, until it waits
    /// for the next one. See [`DeadLetters`].
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
/// assert_eq!(dead_letters.map(|letter| letter.into_payload()).collect::<Vec<_>>().await, [1, 2, 3]);
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
