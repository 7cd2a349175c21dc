//! Event handlers: closures that run on threads of their own.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender, bounded};

use crate::core::{Core, leave, reader_left};
use crate::dead_letter::{DeadLetterReason, Losses};
use crate::error::{SubscribeError, TryRecvError};
use crate::lifecycle::{EndSignal, EndTrigger, Lifecycle, serve_on_this_thread};
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::panic::catch;
use crate::retry::Retry;
use crate::stopwatch::Stopwatch;
use crate::trace::Handling;

/// The most threads that one handler may have.
const MAX_WORKERS: usize = 1024;

/// What a handler's closure may return: `()`, or a `Result<(), E>` whose error can be displayed.
///
/// A closure that only panics has to name its type: `|_| -> () { panic!() }`.
///
/// # Examples
///
/// ```
/// use tramline::Outcome;
///
/// assert_eq!(().into_result(), Ok(()));
/// assert_eq!(Err("no paper").into_result(), Err("no paper".to_owned()));
/// ```
pub trait Outcome {
    /// Success, or the text of the error for the dead letter.
    ///
    /// # Errors
    ///
    /// If the handler failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Outcome;
    ///
    /// let parsed = "seven".parse::<u32>().map(drop);
    /// assert_eq!(parsed.into_result(), Err("invalid digit found in string".to_owned()));
    /// ```
    fn into_result(self) -> Result<(), String>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

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
/// let _ = bus.publish("orders.new", 7)?;
/// assert!(handler.stop(Duration::from_secs(5)).is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a handler unsubscribes it"]
pub struct Handler {
    subscription: Box<dyn Attached>,
    name: String,
    control: Arc<Control>,
    threads: Vec<JoinHandle<()>>,
    /// Ends when the last thread does.
    ended: Receiver<Infallible>,
    stopped: bool,
}

/// A handler's hold on its mailbox, whatever the types of the bus.
trait Attached: Send + Sync {
    /// Stops the flow of new messages. `true` if no other member is left for those that are queued.
    ///
    /// So many threads have begun: they stay readers of the mailbox until they end.
    fn leave(&self, threads: usize) -> bool;
    /// Drops what is queued.
    fn abandon(&self) -> usize;
    fn len(&self) -> usize;
}

struct Attachment<T, R> {
    mailbox: Arc<Mailbox<T, R>>,
    core: Weak<Core<T, R>>,
    workers: usize,
}

impl<T: Send, R: Send> Attached for Attachment<T, R> {
    fn leave(&self, threads: usize) -> bool {
        leave(&self.core, &self.mailbox, self.workers - threads)
    }

    fn abandon(&self) -> usize {
        self.mailbox.abandon()
    }

    fn len(&self) -> usize {
        self.mailbox.len()
    }
}

/// How a handler tells its threads to end.
struct Control {
    /// They take no other message.
    leaving: AtomicBool,
    left: EndSignal,
    leave: EndTrigger,
    /// They do not even try the message in hand again.
    abandoned: EndSignal,
    abandon: EndTrigger,
}

impl Control {
    fn new() -> Arc<Self> {
        let (leave, left) = EndTrigger::new();
        let (abandon, abandoned) = EndTrigger::new();
        Arc::new(Self { leaving: AtomicBool::new(false), left, leave, abandoned, abandon })
    }

    fn leave(&self) {
        // Release pairs with the load in `is_leaving`.
        self.leaving.store(true, Ordering::Release);
        self.leave.fire();
    }

    fn abandon(&self) {
        self.leave();
        self.abandon.fire();
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Sleeps between two attempts; `false` if there is to be no other.
    fn sleep(&self, pause: Duration) -> bool {
        matches!(self.abandoned.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
    }
}

impl Handler {
    pub(crate) fn check(workers: usize) -> Result<(), SubscribeError> {
        if (1..=MAX_WORKERS).contains(&workers) {
            return Ok(());
        }
        Err(SubscribeError::Workers { workers, limit: MAX_WORKERS })
    }

    /// Unsubscribes, finishes what is queued, at most for this long, and ends the threads.
    ///
    /// When the time is over, what is still queued is dropped and reported, and threads that are busy end after the
    /// message in hand. A member of a group leaves what is queued to the others. Called from its own closure it cannot
    /// wait for itself: it unsubscribes, reports what is queued, and the thread finishes that after the closure
    /// returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let handler = bus.on("work", move |_| { let _ = gate.recv(); })?;
    /// for n in 0..3 {
    ///     let _ = bus.publish("work", n)?;
    /// }
    /// let report = handler.stop(Duration::from_millis(50));
    /// assert!(!report.is_complete());
    /// assert_eq!(report.busy(), 1);
    /// # drop(go);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(mut self, within: Duration) -> StopReport {
        self.stopped = true;
        let deadline = Instant::now().checked_add(within);
        let last = self.subscription.leave(self.threads.len());
        if !last {
            self.control.leave();
        }
        if self.is_own_thread() {
            let left = if last { self.subscription.len() } else { 0 };
            return StopReport { left, busy: self.busy() };
        }
        let ended = match deadline {
            Some(deadline) => !matches!(self.ended.recv_deadline(deadline), Err(RecvTimeoutError::Timeout)),
            None => self.ended.recv().is_err(),
        };
        // Counted before they are told: a thread that was cut short is not one that has finished.
        let busy = self.busy();
        if ended {
            for thread in self.threads.drain(..) {
                // A worker catches what panics in its closure, so there is nothing to hear from it.
                let _ = thread.join();
            }
        } else {
            self.control.abandon();
        }
        let left = if last { self.subscription.abandon() } else { 0 };
        StopReport { left, busy: if ended { 0 } else { busy } }
    }

    fn is_own_thread(&self) -> bool {
        let current = std::thread::current().id();
        self.threads.iter().any(|thread| thread.thread().id() == current)
    }

    fn busy(&self) -> usize {
        self.threads.iter().filter(|thread| !thread.is_finished()).count()
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if !self.stopped {
            self.control.abandon();
            if self.subscription.leave(self.threads.len()) {
                self.subscription.abandon();
            }
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("name", &self.name)
            .field("workers", &self.threads.len())
            .finish_non_exhaustive()
    }
}

/// What [`Handler::stop`] left.
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
/// assert_eq!((report.busy(), report.left()), (1, 2)); // one in hand, two in the mailbox
/// # drop(go);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a stop that ran out of time leaves messages behind"]
pub struct StopReport {
    left: usize,
    busy: usize,
}

impl StopReport {
    /// The messages that were queued and not handled. 0 if other members of a group are there for them.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let handler = bus.on("work", |_| {})?;
    /// (1..=3).for_each(|n| bus.fire("work", n));
    /// assert_eq!(handler.stop(Duration::from_secs(5)).left(), 0); // it finishes what is queued
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left(&self) -> usize {
        self.left
    }

    /// The threads that had not ended: busy with a message, or not given the time to end.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let handler = bus.on("work", move |_| { let _ = gate.recv(); })?;
    /// let _ = bus.publish("work", 1)?;
    /// assert_eq!(handler.stop(Duration::from_millis(1)).busy(), 1);
    /// drop(go); // now the thread ends
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Whether everything was handled in time.
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
        self.left == 0 && self.busy == 0
    }
}

/// A handler that is being started, thread by thread.
pub(crate) struct Start<T, R> {
    handler: Handler,
    worker: Worker<T, R>,
    running: Vec<Running<T>>,
}

impl<T, R> Start<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    pub(crate) fn new(
        core: &Arc<Core<T, R>>,
        mailbox: Arc<Mailbox<T, R>>,
        running: Vec<Running<T>>,
        name: Option<String>,
        retry: Retry,
        serves: bool,
    ) -> Self {
        let name = name.or_else(|| mailbox.patterns.first().map(ToString::to_string)).unwrap_or_default();
        let control = Control::new();
        let (done, ended) = bounded(0);
        let worker = Worker {
            mailbox: Arc::clone(&mailbox),
            core: Arc::downgrade(core),
            lifecycle: Arc::clone(&core.lifecycle),
            losses: Arc::clone(&core.losses),
            control: Arc::clone(&control),
            retry,
            stopwatch: Stopwatch::new(&core.name, &name),
            serves,
            _done: done,
        };
        let subscription = Box::new(Attachment { mailbox, core: Arc::downgrade(core), workers: running.len() });
        let handler = Handler { subscription, name, control, threads: Vec::new(), ended, stopped: false };
        Self { handler, worker, running }
    }

    pub(crate) fn worker<F>(&mut self, index: usize, f: F) -> Result<(), SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Result<(), String> + Send + 'static,
    {
        let worker = self.worker.clone();
        // A zero byte would make the thread's name invalid.
        let name = format!("{}-{index}", self.handler.name.replace('\0', ""));
        let running = self.running.pop();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            worker.run(f);
            drop(running);
        });
        self.handler.threads.push(thread.map_err(SubscribeError::Thread)?);
        Ok(())
    }

    pub(crate) fn into_handler(self) -> Handler {
        self.handler
    }
}

/// A worker that counts as one, from before its handler is attached until its thread has ended: so that neither a drain
/// nor a close overlooks it.
pub(crate) struct Running<T> {
    lifecycle: Arc<Lifecycle>,
    losses: Arc<Losses<T>>,
}

impl<T> Running<T> {
    pub(crate) fn new<R>(core: &Core<T, R>) -> Self {
        core.lifecycle.worker_started();
        Self { lifecycle: Arc::clone(&core.lifecycle), losses: Arc::clone(&core.losses) }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if self.lifecycle.worker_ended() {
            self.losses.close();
        }
    }
}

/// One thread of a handler.
struct Worker<T, R> {
    mailbox: Arc<Mailbox<T, R>>,
    core: Weak<Core<T, R>>,
    lifecycle: Arc<Lifecycle>,
    losses: Arc<Losses<T>>,
    control: Arc<Control>,
    retry: Retry,
    stopwatch: Stopwatch,
    /// Whether it was made to answer requests: then its failure is the answer.
    serves: bool,
    /// Dropped when the thread ends, see `Handler::ended`.
    _done: Sender<Infallible>,
}

impl<T, R> Clone for Worker<T, R> {
    fn clone(&self) -> Self {
        Self {
            mailbox: Arc::clone(&self.mailbox),
            core: Weak::clone(&self.core),
            lifecycle: Arc::clone(&self.lifecycle),
            losses: Arc::clone(&self.losses),
            control: Arc::clone(&self.control),
            retry: self.retry,
            stopwatch: self.stopwatch.clone(),
            serves: self.serves,
            _done: self._done.clone(),
        }
    }
}

impl<T: Clone, R> Worker<T, R> {
    fn run(self, mut f: impl FnMut(&Message<T, R>) -> Result<(), String>) {
        serve_on_this_thread(&self.lifecycle, self.mailbox.id);
        let mut select = Select::new();
        self.mailbox.register(&mut select);
        select.recv(&self.control.left);
        loop {
            // What is caught here is a panic outside the closure: in the `Drop` of a payload, or the `Clone` of a
            // retained value.
            let went_on = catch(|| match self.next(&mut select) {
                Some(message) => {
                    let started = self.stopwatch.start();
                    self.process(message, &mut f);
                    self.stopwatch.stop(started);
                    true
                }
                None => false,
            });
            match went_on {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    self.losses.handler_panics.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        // The closure may hold handles of the bus, and they must be gone before the thread counts as ended.
        let _ = catch(|| drop(f));
        reader_left(&self.core, &self.mailbox);
    }

    /// Waits for the next message, asleep in `select`; `None` when there is nothing more to do.
    fn next(&self, select: &mut Select<'_>) -> Option<Message<T, R>> {
        loop {
            if self.control.is_leaving() {
                return None;
            }
            match self.mailbox.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed | TryRecvError::Overflowed) => return None,
            }
            if !self.mailbox.let_some_gather() {
                self.lifecycle.worker_idles();
                select.ready();
                self.lifecycle.worker_wakes();
            }
        }
    }

    fn process(&self, message: Message<T, R>, f: &mut impl FnMut(&Message<T, R>) -> Result<(), String>) {
        let mailbox = &*self.mailbox;
        let (group, name) = (mailbox.group.as_deref(), mailbox.name.as_deref());
        let span = Handling::enter(message.requesting(), message.topic(), &mailbox.patterns, group, name);
        let mut attempts = 0;
        let reason = loop {
            attempts += 1;
            match catch(|| f(&message)) {
                Ok(Ok(())) => {
                    self.losses.traffic.handled();
                    return span.end("ok", attempts);
                }
                Ok(Err(error)) => match self.retry.pause_after(attempts) {
                    Some(pause) if self.control.sleep(pause) => {}
                    _ => break DeadLetterReason::Failed(error),
                },
                Err(panic) => break DeadLetterReason::Panicked(panic),
            }
        };
        let (counter, outcome) = match &reason {
            DeadLetterReason::Panicked(_) => (&self.losses.handler_panics, "panicked"),
            _ => (&self.losses.handler_failures, "failed"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        span.end(outcome, attempts);
        if message.is_request() {
            let why = reason.to_string();
            if self.serves { message.fail(why) } else { message.give_up(why) }
        }
        if self.losses.is_listening() {
            let topic = message.topic().clone();
            self.losses.post(&topic, message.into_payload(), reason, attempts);
        }
    }
}
