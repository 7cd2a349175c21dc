//! Draining: refusing new work, and waiting until what is there is done.

use std::fmt;
use std::time::Duration;

use crate::sync::{Instant, thread};

/// One bus, or all of a hub.
pub(crate) trait Drain {
    /// Refuses what does not come from handlers.
    fn refuse(&self);
    /// Counts this thread, until the result is dropped, as one that handles nothing, if it is a handler's.
    fn pause_this_thread(&self) -> Vec<PausedThread>;
    /// Whether every queue is empty, or cannot get any shorter, and no handler is busy. The queues are looked at first: a
    /// worker is busy before it takes a message out.
    fn is_at_rest(&self) -> bool;
    /// Counts how often a worker has become busy.
    fn activity(&self) -> u64;
    /// Returns the depth of each queue, to be counted after the end.
    fn queue_depths(&self) -> Vec<QueueDepth>;
    fn close(&self);
    /// Workers whose threads have not ended, without those that drain.
    fn workers(&self) -> usize;
}

/// Undoes something when it is dropped.
pub(crate) type PausedThread = Box<dyn Send>;

/// Tells the number of messages in one queue.
pub(crate) type QueueDepth = Box<dyn Fn() -> usize>;

/// Refuses new work, waits until the queues are empty and the handlers idle, and closes.
///
/// It polls: a notification would cost every message something, and a drain happens once.
pub(crate) fn drain(bus: &impl Drain, within: Duration) -> DrainReport {
    let started = Instant::now();
    let mut pause = Pause::new(started.checked_add(within));
    // A handler that drains its own bus cannot wait for itself, nor for another that does the same.
    let _unable = bus.pause_this_thread();
    bus.refuse();
    rest(bus, &mut pause);
    let queue_depths = bus.queue_depths();
    bus.close();
    // What came from publishers that were on their way is handled too: the threads end when their queues are empty.
    while bus.workers() > 0 && pause.wait() {}
    let remaining = queue_depths.iter().map(|queue| queue()).sum();
    DrainReport { remaining, running: bus.workers(), elapsed: started.elapsed() }
}

/// Waits until the queues are empty and the handlers idle; `false` if they are not in time. Nothing is refused meanwhile, so
/// that this lasts only if nobody else publishes.
#[cfg(feature = "testkit")]
pub(crate) fn is_idle(bus: &impl Drain, within: Duration) -> bool {
    let mut pause = Pause::new(Instant::now().checked_add(within));
    let _unable = bus.pause_this_thread();
    rest(bus, &mut pause)
}

/// Handlers may still publish for one another while they finish, also into queues that were just looked at. So two looks in
/// a row have to find every queue empty and every worker idle, and no worker may have become busy from before the first
/// until after the second: then no handler published during the second. `false` if the time is over before that.
fn rest(bus: &impl Drain, pause: &mut Pause) -> bool {
    loop {
        let activity = bus.activity();
        if bus.is_at_rest() && bus.is_at_rest() && bus.activity() == activity {
            return true;
        }
        if !pause.wait() {
            return false;
        }
    }
}

/// Waits between looks: first very short, then longer, never past the deadline.
struct Pause {
    next: Duration,
    deadline: Option<Instant>,
}

impl Pause {
    fn new(deadline: Option<Instant>) -> Self {
        Self { next: Duration::from_micros(20), deadline }
    }

    /// `false` when the time is over.
    fn wait(&mut self) -> bool {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return false;
        }
        thread::sleep(left.map_or(self.next, |left| left.min(self.next)));
        self.next = (self.next * 2).min(Duration::from_millis(5));
        true
    }
}

/// The result of [`Bus::drain`](crate::Bus::drain).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let bus = tramline::Bus::<u32>::new();
/// let orders = bus.subscribe("orders.new")?;
/// bus.publish("orders.new", 7)?;
/// let report = bus.drain(Duration::ZERO);
/// assert!(!report.is_complete());
/// assert_eq!((report.remaining(), report.running()), (1, 0));
/// assert_eq!(*orders.recv()?, 7); // what is left can still be taken
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a drain that ran out of time leaves messages behind"]
pub struct DrainReport {
    remaining: usize,
    running: usize,
    elapsed: Duration,
}

/// One line, such as `complete after 12ms`, or `not complete after 5s: 1 message remaining, 0 workers running`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let bus = tramline::Bus::<u32>::new();
/// let _orders = bus.subscribe("orders.new")?;
/// bus.publish("orders.new", 7)?;
/// let report = bus.drain(Duration::ZERO);
/// assert!(report.to_string().ends_with(": 1 message remaining, 0 workers running"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remaining, running, elapsed } = *self;
        if self.is_complete() {
            return write!(f, "complete after {elapsed:.0?}");
        }
        write!(f, "not complete after {elapsed:.0?}: {}", Unfinished { remaining, running })
    }
}

/// Displays what a drain or a stop left behind.
pub(crate) struct Unfinished {
    pub(crate) remaining: usize,
    pub(crate) running: usize,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let Self { remaining, running } = *self;
        write!(f, "{remaining} message{} remaining, {running} worker{} running", plural(remaining), plural(running))
    }
}

impl DrainReport {
    /// Returns the number of messages that were still waiting in mailboxes when the bus was closed. Subscribers and
    /// handlers can go on to take them.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let (_audit, _mail) = (bus.subscribe("orders.>")?, bus.subscribe("orders.new")?);
    /// bus.publish("orders.new", 7)?;
    /// assert_eq!(bus.drain(std::time::Duration::ZERO).remaining(), 2); // one message, in two mailboxes
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Returns the number of handler threads that had not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let _handler = bus.on("work", move |_| { let _ = gate.recv(); })?;
    /// bus.publish("work", 1)?;
    /// assert_eq!(bus.drain(std::time::Duration::from_millis(1)).running(), 1);
    /// # drop(go);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn running(&self) -> usize {
        self.running
    }

    /// Returns `true` if every queue was empty and every handler had finished in time. Messages that a subscriber has taken
    /// out do not count.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", 7)?;
    /// let _ = orders.recv()?;
    /// assert!(bus.drain(std::time::Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_complete(&self) -> bool {
        self.remaining == 0 && self.running == 0
    }

    /// Returns the time that the drain took.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let within = std::time::Duration::from_secs(5);
    /// assert!(bus.drain(within).elapsed() < within); // there was nothing to wait for
    /// ```
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}
