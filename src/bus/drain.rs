//! Draining: refusing new work, and waiting until what is there is done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "async")]
use crate::lifecycle::take_steps_async;
use crate::lifecycle::{Moment, Step, take_steps};
use crate::log::{LogOptions, ReaderLeft};
use crate::mailbox::{Left, Mailbox, MailboxOptions, SeenWorkers};
use crate::sync::Instant;
use crate::topic::Pattern;

/// The mailboxes for which a drain waits, and which its report names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainScope {
    Everything,
    /// Mailboxes of which a handler takes, and all workers.
    Handlers,
}

/// One bus, or all of a hub.
pub(crate) trait Drain {
    /// Refuses what does not come from handlers.
    fn refuse(&self);
    /// Counts this thread, until the result is dropped, as one that handles nothing, if it is a handler's.
    fn pause_this_thread(&self) -> Vec<PausedThread>;
    /// Returns `true` if the work is done: each queue is empty or has no reader left, and no worker handles or looks for a message. The
    /// queues are looked at first: a worker is seen to look before it takes a message out. Adds to `seen` what the workers
    /// do, and what changes each time that one of them finds a message.
    fn is_at_rest(&self, scope: DrainScope, seen: &mut SeenWorkers) -> bool;
    /// Returns `true` while a worker counts as busy that may be about to find its queue empty.
    fn is_awake(&self) -> bool;
    fn close(&self);
    /// Workers whose threads have not ended, without those that drain.
    fn workers(&self) -> usize;
    /// Returns the mailboxes with messages that wait, or with workers that have one in hand. Makes `is_settled` false if a
    /// worker was on its way to a message, so that another look shows whether it has found one.
    fn unfinished(&self, scope: DrainScope, is_settled: &mut bool) -> Vec<Unfinished>;
}

/// Undoes something when it is dropped.
pub(crate) type PausedThread = Box<dyn Send>;

/// Refuses new work, waits until the queues are empty and the handlers idle, and closes.
pub(crate) fn drain(bus: &impl Drain, scope: DrainScope, within: Duration) -> DrainReport {
    let mut draining = Draining::begin(bus, scope, within);
    take_steps(|| draining.step())
}

/// As [`drain`], in a task. Nothing happens before the first poll. A future that is dropped leaves the bus as it is: refusing.
#[cfg(feature = "async")]
pub(crate) async fn drain_async(bus: &impl Drain, scope: DrainScope, within: Duration) -> DrainReport {
    let mut draining = Draining::begin(bus, scope, within);
    take_steps_async(|| draining.step()).await
}

/// Waits until the queues are empty and the handlers idle; `false` if they are not in time. Nothing is refused meanwhile, so
/// that this lasts only if nobody else publishes.
#[cfg(feature = "testkit")]
pub(crate) fn is_idle(bus: &impl Drain, within: Duration) -> bool {
    let mut pause = Pause::new(Instant::now().checked_add(within));
    let _unable = bus.pause_this_thread();
    let mut rest = Rest::new(DrainScope::Everything);
    take_steps(|| rest.step(bus, &mut pause))
}

/// Returns what has not finished.
#[cfg(feature = "testkit")]
pub(crate) fn unfinished(bus: &impl Drain) -> Vec<Unfinished> {
    let mut moment = Moment::to_look();
    take_steps(|| look(bus, DrainScope::Everything, &mut moment))
}

fn look(bus: &impl Drain, scope: DrainScope, moment: &mut Moment) -> Step<Vec<Unfinished>> {
    let mut is_settled = true;
    let unfinished = bus.unfinished(scope, &mut is_settled);
    match moment.pause() {
        Some(pause) if !is_settled => Step::Pause(pause),
        _ => Step::Done(unfinished),
    }
}

/// A drain under way.
///
/// It polls: a notification would cost every message something, and a drain happens once.
struct Draining<'a, D> {
    bus: &'a D,
    scope: DrainScope,
    started: Instant,
    pause: Pause,
    stage: Stage,
    _unable: Vec<PausedThread>,
}

enum Stage {
    /// Waits until the queues are empty and the handlers idle.
    Resting(Rest),
    /// The bus is closed; waits until the workers have ended.
    Ending,
    /// Waits until no worker is on its way to a message.
    Looking(Moment),
}

impl<'a, D: Drain> Draining<'a, D> {
    fn begin(bus: &'a D, scope: DrainScope, within: Duration) -> Self {
        let started = Instant::now();
        let pause = Pause::new(started.checked_add(within));
        // A handler that drains its own bus cannot wait for itself, nor for another that does the same.
        let unable = bus.pause_this_thread();
        bus.refuse();
        Self { bus, scope, started, pause, stage: Stage::Resting(Rest::new(scope)), _unable: unable }
    }

    fn step(&mut self) -> Step<DrainReport> {
        loop {
            match &mut self.stage {
                Stage::Resting(rest) => {
                    if let Step::Pause(pause) = rest.step(self.bus, &mut self.pause) {
                        return Step::Pause(pause);
                    }
                    self.bus.close();
                    self.stage = Stage::Ending;
                }
                Stage::Ending => {
                    // What came from publishers that were on their way is handled too: the workers end when their queues are
                    // empty.
                    if self.bus.workers() > 0 {
                        if let Some(pause) = self.pause.next() {
                            return Step::Pause(pause);
                        }
                    }
                    self.stage = Stage::Looking(Moment::to_look());
                }
                Stage::Looking(moment) => {
                    return match look(self.bus, self.scope, moment) {
                        Step::Pause(pause) => Step::Pause(pause),
                        Step::Done(unfinished) => {
                            Step::Done(DrainReport { unfinished, elapsed: self.started.elapsed() })
                        }
                    };
                }
            }
        }
    }
}

/// Looks whether the queues are empty and the handlers idle.
///
/// Handlers may still publish for one another while they finish, also into queues that were just looked at. So two looks in
/// a row have to find every queue empty and every worker idle, and no worker may have found a message from the first look
/// at it until the second: then no handler published while the second look was at the queues.
struct Rest {
    scope: DrainScope,
    first: SeenWorkers,
    second: SeenWorkers,
    /// However little time there is: a handler whose last message has just been handled is not idle yet.
    moment: Moment,
}

impl Rest {
    fn new(scope: DrainScope) -> Self {
        Self { scope, first: SeenWorkers::new(), second: SeenWorkers::new(), moment: Moment::to_idle() }
    }

    /// `false` if the time is over before that.
    fn step(&mut self, bus: &impl Drain, pause: &mut Pause) -> Step<bool> {
        let Self { scope, first, second, moment } = self;
        first.clear();
        second.clear();
        if bus.is_at_rest(*scope, first) && bus.is_at_rest(*scope, second) && first == second {
            return Step::Done(true);
        }
        let pause = pause.next().or_else(|| if bus.is_awake() { moment.pause() } else { None });
        pause.map_or(Step::Done(false), Step::Pause)
    }
}

/// The pauses between looks: first very short, then longer, never past the deadline.
struct Pause {
    next: Duration,
    deadline: Option<Instant>,
}

impl Pause {
    fn new(deadline: Option<Instant>) -> Self {
        Self { next: Duration::from_micros(20), deadline }
    }

    /// `None` when the time is over.
    fn next(&mut self) -> Option<Duration> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return None;
        }
        let pause = left.map_or(self.next, |left| left.min(self.next));
        self.next = (self.next * 2).min(Duration::from_millis(5));
        Some(pause)
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a drain that ran out of time leaves messages behind"]
pub struct DrainReport {
    unfinished: Vec<Unfinished>,
    elapsed: Duration,
}

/// One line, such as `complete after 12ms`, or `not complete after 5s: 1 message remaining, 0 workers running`. If it is not
/// complete, a line for each subscription that has not finished follows, up to twenty, see [`Unfinished`].
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
/// let lines = report.to_string();
/// let (total, each) = lines.split_once('\n').unwrap();
/// assert!(total.ends_with(": 1 message remaining, 0 workers running"));
/// assert_eq!(each, "  orders.new: 1 message remaining");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // More would hide what comes before the report.
        const MOST_LINES: usize = 20;
        let elapsed = self.elapsed;
        if self.is_complete() {
            return write!(f, "complete after {elapsed:.0?}");
        }
        write!(f, "not complete after {elapsed:.0?}: {}, {}", Messages(self.remaining()), Running(self.running()))?;
        for subscription in self.unfinished.iter().take(MOST_LINES) {
            write!(f, "\n  {subscription}")?;
        }
        match self.unfinished.len().saturating_sub(MOST_LINES) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Displays the messages that a drain or a stop left behind.
pub(crate) struct Messages(pub(crate) usize);

impl fmt::Display for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} message{} remaining", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// Displays the workers that a drain or a stop left behind.
pub(crate) struct Running(pub(crate) usize);

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} worker{} running", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

impl DrainReport {
    /// Returns the number of messages that were still waiting in mailboxes when the bus was closed. Subscribers and
    /// handlers can go on to take them. After [`drain_handlers`](crate::Bus::drain_handlers), mailboxes that only subscribers
    /// read do not count.
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
        self.unfinished.iter().map(Unfinished::remaining).sum()
    }

    /// Returns the number of workers of handlers that had a message in hand. A worker that waits for a message does not
    /// count, although its thread may end a moment later. Each of them finishes its message after the report.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let (begun, has_begun) = std::sync::mpsc::channel();
    /// let _handler = bus.on("work", move |_| {
    ///     let _ = begun.send(());
    ///     let _ = gate.recv();
    /// })?;
    /// bus.publish("work", 1)?;
    /// has_begun.recv()?;
    /// assert_eq!(bus.drain(std::time::Duration::from_millis(1)).running(), 1);
    /// # drop(go);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn running(&self) -> usize {
        self.unfinished.iter().map(Unfinished::running).sum()
    }

    /// Returns the subscriptions and handlers that had not finished, oldest first for each bus: those with messages that
    /// remain, or with workers that have a message in hand. It is empty if the drain is complete.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _audit = bus.subscription("orders.>").name("audit").open()?;
    /// let _mail = bus.subscribe("mail")?;
    /// bus.publish("orders.new", 7)?;
    /// let report = bus.drain(std::time::Duration::ZERO);
    /// let [audit] = report.unfinished() else { panic!("one has not finished") };
    /// assert_eq!((audit.name(), audit.remaining(), audit.running()), (Some("audit"), 1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unfinished(&self) -> &[Unfinished] {
        &self.unfinished
    }

    /// Returns `true` if every queue was empty and no worker had a message in hand in time. Messages that a subscriber has
    /// taken out do not count, nor do, after `drain_handlers`, the queues of subscribers.
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
        self.unfinished.is_empty()
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

/// A subscription that had not finished when a drain ended, see [`DrainReport::unfinished`]. The members of a group are one
/// subscription. It does not say whether a subscriber or a handler reads it: give your subscriptions
/// [names](crate::SubscriptionBuilder::name).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::Hub;
///
/// let hub = Hub::new();
/// let _mail = hub.bus::<u32>().subscription("orders.*").group("mail").open()?;
/// hub.bus::<u32>().publish("orders.new", 7)?;
/// let report = hub.drain(Duration::ZERO);
/// for subscription in report.unfinished() {
///     println!("{} of the bus {}: {subscription}", subscription.patterns()[0], subscription.bus());
/// }
/// # assert_eq!(report.unfinished()[0].to_string(), "orders.* (bus u32, group mail): 1 message remaining");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    bus: Arc<str>,
    /// Whether others are drained with the bus.
    is_of_a_hub: bool,
    patterns: Vec<Pattern>,
    group: Option<String>,
    name: Option<String>,
    remaining: usize,
    running: usize,
}

impl Unfinished {
    /// `None` if it has finished.
    pub(super) fn new<T, R>(bus: &Arc<str>, mailbox: &Mailbox<T, R>, all_settled: &mut bool) -> Option<Self> {
        let Left { remaining, running, is_settled } = mailbox.left();
        *all_settled &= is_settled;
        let MailboxOptions { patterns, group, name, .. } = &mailbox.options;
        (remaining > 0 || running > 0).then(|| Self {
            bus: Arc::clone(bus),
            is_of_a_hub: false,
            patterns: patterns.clone(),
            group: group.clone(),
            name: name.clone(),
            remaining,
            running,
        })
    }

    /// What a reader of a journal has left; `None` if that is nothing.
    pub(super) fn of_reader(
        bus: &Arc<str>,
        log: &LogOptions,
        left: ReaderLeft,
        all_settled: &mut bool,
    ) -> Option<Self> {
        let ReaderLeft { name, remaining, running, is_settled } = left;
        *all_settled &= is_settled;
        (remaining > 0 || running > 0).then(|| Self {
            bus: Arc::clone(bus),
            is_of_a_hub: false,
            patterns: log.patterns.clone(),
            group: None,
            name: Some(name.unwrap_or_else(|| log.name.clone())),
            remaining,
            running,
        })
    }

    pub(crate) fn of_a_hub(self) -> Self {
        Self { is_of_a_hub: true, ..self }
    }

    /// Returns the name that the bus had when the drain ended, see [`BusBuilder::name`](crate::BusBuilder::name) and
    /// [`Hub::named`](crate::Hub::named): it says which bus of a hub it is.
    ///
    /// # Examples
    ///
    /// ```
    /// let hub = tramline::Hub::new();
    /// let _orders = hub.bus::<u32>().subscribe("orders.new")?;
    /// hub.bus::<u32>().publish("orders.new", 7)?;
    /// assert_eq!(hub.drain(std::time::Duration::ZERO).unfinished()[0].bus(), "u32");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bus(&self) -> &str {
        &self.bus
    }

    /// Returns the patterns subscribed to.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _orders = bus.subscribe("orders.*")?;
    /// bus.publish("orders.new", 7)?;
    /// let report = bus.drain(std::time::Duration::ZERO);
    /// assert_eq!(report.unfinished()[0].patterns()[0].as_str(), "orders.*");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Returns the group that shares the mailbox.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _mail = bus.subscription("orders.new").group("mail").open()?;
    /// bus.publish("orders.new", 7)?;
    /// assert_eq!(bus.drain(std::time::Duration::ZERO).unfinished()[0].group(), Some("mail"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Returns the name that was given to the subscription; that of its first member if it is a group.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _audit = bus.subscription(">").name("audit").open()?;
    /// bus.publish("orders.new", 7)?;
    /// assert_eq!(bus.drain(std::time::Duration::ZERO).unfinished()[0].name(), Some("audit"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the number of messages in its mailbox, see [`DrainReport::remaining`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", 7)?;
    /// assert_eq!(bus.drain(std::time::Duration::ZERO).unfinished()[0].remaining(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Returns the number of its workers that had a message in hand, see [`DrainReport::running`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let (begun, has_begun) = std::sync::mpsc::channel();
    /// let _handler = bus.on("work", move |_| {
    ///     let _ = begun.send(());
    ///     let _ = gate.recv();
    /// })?;
    /// bus.publish("work", 1)?;
    /// has_begun.recv()?;
    /// assert_eq!(bus.drain(std::time::Duration::from_millis(50)).unfinished()[0].running(), 1);
    /// # drop(go);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn running(&self) -> usize {
        self.running
    }
}

/// One line, such as `orders.*, returns (group audit): 2 messages remaining, 1 worker running`. It names the bus if a hub was
/// drained.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let _audit = bus.subscription("orders.*").also("returns").name("audit").open()?;
/// bus.publish("orders.new", 7)?;
/// let report = bus.drain(std::time::Duration::ZERO);
/// assert_eq!(report.unfinished()[0].to_string(), "orders.*, returns (name audit): 1 message remaining");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<_> = self.patterns.iter().map(Pattern::as_str).collect();
        f.write_str(&patterns.join(", "))?;
        let labels = [("bus", self.is_of_a_hub.then_some(&*self.bus)), ("group", self.group()), ("name", self.name())];
        let labels = labels.iter().filter_map(|(label, text)| text.map(|text| format!("{label} {text}")));
        let labels: Vec<_> = labels.collect();
        if !labels.is_empty() {
            write!(f, " ({})", labels.join(", "))?;
        }
        match (self.remaining, self.running) {
            (remaining, 0) => write!(f, ": {}", Messages(remaining)),
            (0, running) => write!(f, ": {}", Running(running)),
            (remaining, running) => write!(f, ": {}, {}", Messages(remaining), Running(running)),
        }
    }
}
