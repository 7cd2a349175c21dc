//! Event handlers: closures that run on threads of their own.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::bus::{BusInner, Messages, Running, leave};
use crate::lifecycle::take_steps;
#[cfg(feature = "async")]
use crate::lifecycle::take_steps_async;
use crate::mailbox::Mailbox;
use crate::routing::SubscribeError;
use crate::sync::Instant;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::channel::Receiver;
use crate::sync::thread::JoinHandle;

mod control;
mod outcome;
mod retry;
#[cfg(feature = "async")]
mod spawner;
mod start;
mod stop;
mod stopwatch;
#[cfg(feature = "async")]
mod task;
mod thread;
mod worker;

pub(crate) use control::Control;
pub use outcome::Outcome;
pub use retry::Retry;
#[cfg(feature = "async")]
pub use spawner::{HandlerTask, Spawner};
pub(crate) use start::{Start, StartingWorkers};
use stop::Stopping;
#[cfg(feature = "metrics")]
pub(crate) use stopwatch::HANDLER_DURATION;
pub(crate) use stopwatch::Stopwatch;
pub(crate) use worker::Verdict;
use worker::Worker;

/// The most threads that one handler may have.
const MAX_WORKERS: usize = 1024;

/// A closure at work on the messages of a subscription.
///
/// Made by [`Bus::on`](crate::Bus::on), [`Bus::serve`](crate::Bus::serve), [`Journal::on`](crate::Journal::on) and the `handle` and `serve` of
/// [`SubscriptionBuilder`](crate::SubscriptionBuilder).
///
/// **Dropping it** unsubscribes and returns at once: each thread finishes the message in its hand and ends, what is
/// queued is dropped, or left to the other members of a group. **[`stop`](Self::stop)** finishes what is queued.
/// **[`detach`](Self::detach)** lets it run until the bus closes, without a variable that holds it.
/// **When the bus closes** the threads finish what is queued and end by themselves. **When its mailbox is full**, the
/// [`Overflow`](crate::Overflow) policy says what happens; a mailbox that runs over under
/// [`Disconnect`](crate::Overflow::Disconnect) ends the threads, after what is queued. The handler does not keep the
/// bus open, but its closure does if it has captured a `Bus` or `Publisher`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let bus = tramline::Bus::<u32>::new();
/// let handler = bus.on("orders.new", |order| println!("order {}", **order))?;
/// bus.publish("orders.new", 7)?;
/// assert!(handler.stop(Duration::from_secs(5)).is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a handler unsubscribes it: keep it in a variable such as `_mail`, or `detach` it; `let _ =` drops it at once"]
pub struct Handler {
    subscription: Arc<dyn Attached>,
    name: String,
    control: Arc<Control>,
    /// How many have begun.
    workers: usize,
    /// Those of them that are threads.
    threads: Vec<JoinHandle<()>>,
    /// Ends when the last worker does.
    ended: Receiver<Infallible>,
    stopped: bool,
}

/// A handler's hold on its mailbox, whatever the types of the bus.
pub(crate) trait Attached: Send + Sync {
    /// Stops the flow of new messages. `true` if no other member is left for those that are queued.
    ///
    /// `begun` workers have begun: they stay readers of the mailbox until they end.
    fn leave(&self, begun: usize) -> bool;
    /// Drops what is queued.
    fn abandon(&self) -> usize;
    fn len(&self) -> usize;
    /// Leaves the end to the workers: the subscription leaves when the last of them has ended.
    fn detach(&self);
}

struct Attachment<T, R> {
    mailbox: Arc<Mailbox<T, R>>,
    inner: Weak<BusInner<T, R>>,
    workers: usize,
    has_left: AtomicBool,
    is_detached: AtomicBool,
}

impl<T, R> Attachment<T, R> {
    fn leave_once(&self, begun: usize) -> bool {
        // Relaxed: the lock of the map orders what follows.
        let first = !self.has_left.swap(true, Ordering::Relaxed);
        first && leave(&self.inner, &self.mailbox, self.workers.saturating_sub(begun))
    }
}

impl<T, R> Drop for Attachment<T, R> {
    fn drop(&mut self) {
        // Its handler and all its workers are gone. Relaxed: they have let go of it after what they did.
        if self.is_detached.load(Ordering::Relaxed) && self.leave_once(usize::MAX) {
            self.mailbox.abandon();
        }
    }
}

impl<T: Send, R: Send> Attached for Attachment<T, R> {
    fn leave(&self, begun: usize) -> bool {
        self.leave_once(begun)
    }

    fn abandon(&self) -> usize {
        self.mailbox.abandon()
    }

    fn len(&self) -> usize {
        self.mailbox.len()
    }

    fn detach(&self) {
        self.is_detached.store(true, Ordering::Relaxed);
    }
}

impl Handler {
    pub(crate) fn check(workers: usize) -> Result<(), SubscribeError> {
        if (1..=MAX_WORKERS).contains(&workers) {
            return Ok(());
        }
        Err(SubscribeError::Workers { workers, limit: MAX_WORKERS })
    }

    /// Unsubscribes, finishes the queued messages within the time `within`, and ends the threads.
    ///
    /// The call blocks its thread; a task calls `stop_async`, with the feature `async`. If it times out,
    /// messages that are still queued are dropped and reported, and threads that are busy end after the message in
    /// hand. A worker that is busy then gets about a millisecond more, because one that has just handled its last message
    /// is not idle yet. A member of a group leaves what is queued to the others. Called from its own closure it cannot wait for
    /// itself: it unsubscribes, reports what is queued, and the thread finishes that after the closure returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let (begun, has_begun) = std::sync::mpsc::channel();
    /// let handler = bus.on("work", move |_| {
    ///     let _ = begun.send(());
    ///     let _ = gate.recv();
    /// })?;
    /// for n in 0..3 {
    ///     bus.publish("work", n)?;
    /// }
    /// has_begun.recv()?;
    /// let report = handler.stop(Duration::from_millis(50));
    /// assert!(!report.is_complete());
    /// assert_eq!(report.running(), 1);
    /// # drop(go);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(self, within: Duration) -> StopReport {
        let deadline = Instant::now().checked_add(within);
        let mut stopping = Stopping::begin(self);
        if stopping.waits_for_end() && stopping.wait_for_end(deadline) {
            return stopping.ended();
        }
        take_steps(|| stopping.step())
    }

    /// Stops the handler as [`stop`](Self::stop) does, without blocking the thread. With the feature `async`.
    ///
    /// It also works on a runtime with one thread whose tasks are the workers of the handler. The time `within` begins with the
    /// first poll. Threads have taken their last message and dropped their closure when this is ready; unlike `stop`, it does
    /// not wait until the operating system has ended them. Awaited in a future of the handler's own closure, it returns at
    /// once, as `stop` does there.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped drops the handler, as [`Handler`] says: it unsubscribes, each worker finishes the message in
    /// its hand, and what is still queued is dropped, or left to the other members of a group. Before the first poll
    /// nothing has happened, but the future owns the handler then too.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let handler = bus.on_async("orders.new", |task| { tokio::spawn(task); }, |order| {
    ///     let order = **order;
    ///     async move { println!("order {order}") }
    /// })?;
    /// bus.publish_async("orders.new", 7).await?;
    /// assert!(handler.stop_async(Duration::from_secs(5)).await.is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "async")]
    pub async fn stop_async(self, within: Duration) -> StopReport {
        let mut stopping = Stopping::begin(self);
        if stopping.waits_for_end() && stopping.wait_for_end_async(within).await {
            return stopping.ended();
        }
        take_steps_async(|| stopping.step()).await
    }

    /// Lets the handler run for as long as the bus is open, and lets go of the handle.
    ///
    /// Everything goes on as if the handler was kept in a variable until the bus closes. When the bus
    /// [closes](crate::Bus::close), which it also does when its last [`Bus`](crate::Bus) and
    /// [`Publisher`](crate::Publisher) are dropped, the workers finish what is queued and end. They free what the closure has
    /// captured, and the subscription is gone from the statistics. A [drain](crate::Bus::drain) waits for the workers and
    /// reports them. A member of a group stays a member. Under [`Overflow::Disconnect`](crate::Overflow::Disconnect) a mailbox
    /// that runs over ends the handler before the bus closes.
    ///
    /// A detached handler cannot be stopped by itself. It does not keep the bus open, but its closure does if it has captured a
    /// `Bus` or `Publisher`: then the bus closes only if [`close`](crate::Bus::close) or [`drain`](crate::Bus::drain) is
    /// called. Capture a [`WeakBus`](crate::WeakBus) instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, SubscribeError};
    ///
    /// fn begin_mail(bus: &Bus<u32>) -> Result<(), SubscribeError> {
    ///     bus.on("orders.new", |order| println!("order {}", **order))?.detach();
    ///     Ok(())
    /// }
    ///
    /// let bus = Bus::<u32>::new();
    /// begin_mail(&bus)?;
    /// assert_eq!(bus.publish("orders.new", 7)?.delivered(), 1);
    /// assert!(bus.drain(Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn detach(mut self) {
        // Not to be undone by the `Drop` of this handle.
        self.stopped = true;
        self.subscription.detach();
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if !self.stopped {
            self.control.abandon();
            if self.subscription.leave(self.workers) {
                self.subscription.abandon();
            }
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("name", &self.name).field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// The result of [`Handler::stop`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let bus = tramline::Bus::<u32>::new();
/// let (go, gate) = std::sync::mpsc::channel::<()>();
/// let (begun, has_begun) = std::sync::mpsc::channel();
/// let handler = bus.on("work", move |_| {
///     let _ = begun.send(());
///     let _ = gate.recv();
/// })?;
/// (1..=3).for_each(|n| bus.fire("work", n));
/// has_begun.recv()?;
/// let report = handler.stop(Duration::ZERO);
/// assert_eq!((report.running(), report.remaining()), (1, 2)); // one in hand, two in the mailbox
/// # drop(go);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a stop that ran out of time leaves messages behind"]
pub struct StopReport {
    remaining: usize,
    running: usize,
}

/// One line: `complete`, or such as `2 messages remaining, 1 worker running`.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let handler = bus.on("work", |_| {})?;
/// assert_eq!(handler.stop(std::time::Duration::from_secs(5)).to_string(), "complete");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("complete");
        }
        write!(f, "{}, {}", Messages(self.remaining), Running(self.running))
    }
}

impl StopReport {
    /// Returns the number of messages that were queued and not handled; 0 if the group has other members. They are dropped,
    /// count as [`BusStats::abandoned`](crate::BusStats), and make no dead letters; after a stop from the handler's own closure
    /// its thread still handles them. Entries of a journal are not dropped and not counted there: the journal keeps them.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let handler = bus.on("work", |_| {})?;
    /// (1..=3).for_each(|n| bus.fire("work", n));
    /// assert_eq!(handler.stop(Duration::from_secs(5)).remaining(), 0); // it finishes what is queued
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Returns the number of workers that had a message in hand. A worker that waits for a message does not count, although
    /// its thread may end a moment later.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let (begun, has_begun) = std::sync::mpsc::channel();
    /// let handler = bus.on("work", move |_| {
    ///     let _ = begun.send(());
    ///     let _ = gate.recv();
    /// })?;
    /// bus.publish("work", 1)?;
    /// has_begun.recv()?;
    /// assert_eq!(handler.stop(Duration::from_millis(1)).running(), 1);
    /// drop(go); // now the thread ends
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn running(&self) -> usize {
        self.running
    }

    /// Returns `true` if everything was handled in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let handler = bus.subscription("work").workers(2).handle(|_| {})?;
    /// assert!(handler.stop(Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_complete(&self) -> bool {
        self.remaining == 0 && self.running == 0
    }
}
