//! Event handlers: closures that run on threads of their own.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::bus::{BusInner, Messages, Running, leave};
use crate::lifecycle::{Moment, WorkerCounts};
use crate::mailbox::Mailbox;
use crate::routing::SubscribeError;
use crate::sync::Instant;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::channel::{Receiver, RecvTimeoutError};
use crate::sync::thread::JoinHandle;

mod control;
mod outcome;
mod retry;
#[cfg(feature = "async")]
mod spawner;
mod start;
mod stopwatch;
#[cfg(feature = "async")]
mod task;
mod thread;
mod worker;

use control::Control;
pub use outcome::Outcome;
pub use retry::Retry;
#[cfg(feature = "async")]
pub use spawner::{HandlerTask, Spawner};
pub(crate) use start::{Start, StartingWorkers};
#[cfg(feature = "metrics")]
pub(crate) use stopwatch::HANDLER_DURATION;
use stopwatch::Stopwatch;
use worker::Worker;

/// The most threads that one handler may have.
const MAX_WORKERS: usize = 1024;

/// A closure at work on the messages of a subscription.
///
/// Made by [`Bus::on`](crate::Bus::on), [`Bus::serve`](crate::Bus::serve) and the `handle` and `serve` of
/// [`SubscriptionBuilder`](crate::SubscriptionBuilder).
///
/// **Dropping it** unsubscribes and returns at once: each thread finishes the message in its hand and ends, what is
/// queued is dropped, or left to the other members of a group. **[`stop`](Self::stop)** finishes what is queued.
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
#[must_use = "dropping a handler unsubscribes it: keep it in a variable such as `_mail`; `let _ =` drops it at once"]
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
trait Attached: Send + Sync {
    /// Stops the flow of new messages. `true` if no other member is left for those that are queued.
    ///
    /// `begun` workers have begun: they stay readers of the mailbox until they end.
    fn leave(&self, begun: usize) -> bool;
    /// Drops what is queued.
    fn abandon(&self) -> usize;
    fn len(&self) -> usize;
}

struct Attachment<T, R> {
    mailbox: Arc<Mailbox<T, R>>,
    inner: Weak<BusInner<T, R>>,
    workers: usize,
    has_left: AtomicBool,
}

impl<T: Send, R: Send> Attached for Attachment<T, R> {
    fn leave(&self, begun: usize) -> bool {
        // Relaxed: the lock of the map orders what follows.
        let first = !self.has_left.swap(true, Ordering::Relaxed);
        first && leave(&self.inner, &self.mailbox, self.workers.saturating_sub(begun))
    }

    fn abandon(&self) -> usize {
        self.mailbox.abandon()
    }

    fn len(&self) -> usize {
        self.mailbox.len()
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
    /// The call blocks its thread; on a runtime with one thread call it from `spawn_blocking`. If it times out,
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
    pub fn stop(mut self, within: Duration) -> StopReport {
        self.stopped = true;
        let deadline = Instant::now().checked_add(within);
        let last = self.subscription.leave(self.workers);
        if !last {
            self.control.leave();
        }
        if self.control.is_run_by_this_thread() {
            let remaining = if last { self.subscription.len() } else { 0 };
            return StopReport { remaining, running: self.running_since(self.control.workers.counts()) };
        }
        let ended = match deadline {
            Some(deadline) => !matches!(self.ended.recv_deadline(deadline), Err(RecvTimeoutError::Timeout)),
            None => self.ended.recv().is_err(),
        };
        if ended {
            for thread in self.threads.drain(..) {
                // A worker catches what panics in its closure, so there is nothing to hear from it.
                let _ = thread.join();
            }
            let remaining = if last { self.subscription.abandon() } else { 0 };
            return StopReport { remaining, running: 0 };
        }
        // A worker whose last message has just been handled is not idle yet.
        let mut moment = Moment::to_idle();
        while self.control.workers.counts().is_awake() && moment.wait() {}
        // Counted before the workers hear of it: one that was cut short is not one that has finished.
        let before = self.control.workers.counts();
        self.control.abandon();
        let remaining = if last { self.subscription.abandon() } else { 0 };
        StopReport { remaining, running: self.running_since(before) }
    }

    /// Returns the number of workers that had a message in hand at the moment of `before`, or have taken one out since.
    fn running_since(&self, before: WorkerCounts) -> usize {
        // As `Mailbox::left`: one that looks may have taken a message out.
        let mut moment = Moment::to_look();
        loop {
            let counts = self.control.workers.counts();
            if counts.looking() == 0 || !moment.wait() {
                return before.busy() + counts.found_since(before) + counts.looking();
            }
        }
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
    /// its thread still handles them.
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
