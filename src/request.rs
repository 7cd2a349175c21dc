//! Requests: the reply slot that travels with a message, and the two ends of it.
//!
//! Every copy of a request shares one [`ReplySlot`]. The first answer goes to the caller through a one-shot channel; when
//! the last copy is dropped without an answer, the slot itself says so. For `gather` every copy has a slot of its own.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, select};
use crossbeam_utils::Backoff;
use parking_lot::Mutex;
use thiserror::Error;

use crate::lifecycle::{EndsWithBus, Lifecycle, Phase, Registration};

/// What became of one request at one responder, or at all of them.
pub(crate) enum Answer<R> {
    Reply(R),
    Failed(String),
    Gone,
}

impl<R> Answer<R> {
    fn into_result(self) -> Result<R, ReplyRecvError<R>> {
        match self {
            Self::Reply(reply) => Ok(reply),
            Self::Failed(text) => Err(ReplyRecvError::Failed(text)),
            Self::Gone => Err(ReplyRecvError::Unanswered),
        }
    }
}

type Callback<R> = Box<dyn FnOnce(Result<R, ReplyRecvError<R>>) + Send>;

/// Where the answer goes.
///
/// | state       | answer             | last copy dropped    | caller dropped | bus closed           |
/// |-------------|--------------------|----------------------|----------------|----------------------|
/// | `Channel`   | sent, `Answered`   | `Gone` sent          | `Cancelled`    | the caller sees it   |
/// | `Callback`  | called, `Answered` | called: `Unanswered` | -              | called: `Closed`     |
/// | `Answered`  | `AlreadyAnswered`  | -                    | -              | -                    |
/// | `Cancelled` | `Cancelled`        | -                    | -              | -                    |
enum SlotState<R> {
    Channel(Sender<Answer<R>>),
    Callback(Callback<R>, #[expect(dead_code, reason = "dropped with the state")] Registration),
    Answered,
    Cancelled,
}

pub(crate) struct ReplySlot<R> {
    state: Mutex<SlotState<R>>,
    /// For `gather`: alive as long as somebody collects the replies.
    collector: Option<Weak<()>>,
    lifecycle: Arc<Lifecycle>,
}

impl<R> ReplySlot<R> {
    fn new(answers: Sender<Answer<R>>, collector: Option<Weak<()>>, lifecycle: &Arc<Lifecycle>) -> Arc<Self> {
        let state = Mutex::new(SlotState::Channel(answers));
        Arc::new(Self { state, collector, lifecycle: Arc::clone(lifecycle) })
    }

    fn end(&self, end: SlotState<R>) -> SlotState<R> {
        let mut state = self.state.lock();
        match *state {
            SlotState::Channel(_) | SlotState::Callback(..) => std::mem::replace(&mut *state, end),
            SlotState::Answered => SlotState::Answered,
            SlotState::Cancelled => SlotState::Cancelled,
        }
    }

    pub(crate) fn reply(&self, reply: R) -> Result<(), ReplyError<R>> {
        if self.is_collector_gone() {
            return Err(ReplyError::Cancelled(reply));
        }
        match self.end(SlotState::Answered) {
            SlotState::Channel(answers) => match answers.try_send(Answer::Reply(reply)) {
                Ok(()) => Ok(()),
                Err(error) => match error.into_inner() {
                    Answer::Reply(reply) => Err(ReplyError::Cancelled(reply)),
                    Answer::Failed(_) | Answer::Gone => Ok(()),
                },
            },
            SlotState::Callback(callback, _) => {
                call(&self.lifecycle, callback, Ok(reply));
                Ok(())
            }
            SlotState::Answered => Err(ReplyError::AlreadyAnswered(reply)),
            SlotState::Cancelled => Err(ReplyError::Cancelled(reply)),
        }
    }

    pub(crate) fn fail(&self, text: String) {
        match self.end(SlotState::Answered) {
            // A caller who is gone does not want to hear of the failure.
            SlotState::Channel(answers) => drop(answers.try_send(Answer::Failed(text))),
            SlotState::Callback(callback, _) => call(&self.lifecycle, callback, Err(ReplyRecvError::Failed(text))),
            SlotState::Answered | SlotState::Cancelled => {}
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_collector_gone() || matches!(*self.state.lock(), SlotState::Cancelled)
    }

    fn is_collector_gone(&self) -> bool {
        self.collector.as_ref().is_some_and(|collector| collector.strong_count() == 0)
    }
}

/// Runs a callback on a thread that is not its owner's, so a panic must not go on from here.
fn call<R>(lifecycle: &Lifecycle, callback: Callback<R>, result: Result<R, ReplyRecvError<R>>) {
    if catch_unwind(AssertUnwindSafe(|| callback(result))).is_err() {
        lifecycle.callback_panics.fetch_add(1, Ordering::Relaxed);
    }
}

impl<R: Send> EndsWithBus for ReplySlot<R> {
    fn bus_closed(&self) {
        if let SlotState::Callback(callback, _) = self.end(SlotState::Cancelled) {
            call(&self.lifecycle, callback, Err(ReplyRecvError::Closed));
        }
    }
}

impl<R> Drop for ReplySlot<R> {
    fn drop(&mut self) {
        match self.end(SlotState::Answered) {
            SlotState::Channel(answers) => drop(answers.try_send(Answer::Gone)),
            SlotState::Callback(callback, _) => call(&self.lifecycle, callback, Err(ReplyRecvError::Unanswered)),
            SlotState::Answered | SlotState::Cancelled => {}
        }
    }
}

/// Where the copies of one message get their reply slots from.
pub(crate) trait ReplySource<R> {
    /// The slot of one more copy.
    fn slot(&self) -> Option<Arc<ReplySlot<R>>>;
    /// A copy was made and not needed; its slot must not count as a responder that went without answering.
    fn unused(&self, slot: Option<Arc<ReplySlot<R>>>);
}

/// A plain message wants no reply.
pub(crate) struct NoReply;

impl<R> ReplySource<R> for NoReply {
    fn slot(&self) -> Option<Arc<ReplySlot<R>>> {
        None
    }

    fn unused(&self, _: Option<Arc<ReplySlot<R>>>) {}
}

/// A request: all copies share one slot.
pub(crate) struct OneReply<R>(Arc<ReplySlot<R>>);

impl<R> OneReply<R> {
    pub(crate) fn new(lifecycle: &Arc<Lifecycle>) -> (Self, PendingReply<R>) {
        let (sender, answers) = crossbeam_channel::bounded(1);
        let slot = ReplySlot::new(sender, None, lifecycle);
        let pending = PendingReply {
            answers,
            slot: Arc::downgrade(&slot),
            lifecycle: Arc::clone(lifecycle),
            done: AtomicBool::new(false),
        };
        (Self(slot), pending)
    }
}

impl<R> ReplySource<R> for OneReply<R> {
    fn slot(&self) -> Option<Arc<ReplySlot<R>>> {
        Some(Arc::clone(&self.0))
    }

    fn unused(&self, _: Option<Arc<ReplySlot<R>>>) {}
}

/// A gathered request: each copy has a slot of its own.
pub(crate) struct EachReply<R> {
    sender: Sender<Answer<R>>,
    collector: Weak<()>,
    lifecycle: Arc<Lifecycle>,
}

impl<R> EachReply<R> {
    /// `responders` is the most copies that can be made.
    pub(crate) fn new(lifecycle: &Arc<Lifecycle>, responders: usize) -> (Self, Replies<R>) {
        let (sender, answers) = crossbeam_channel::bounded(responders.max(1));
        let collector = Arc::new(());
        let each = Self { sender, collector: Arc::downgrade(&collector), lifecycle: Arc::clone(lifecycle) };
        (each, Replies { answers, lifecycle: Arc::clone(lifecycle), collector: Mutex::new(Some(collector)) })
    }
}

impl<R> ReplySource<R> for EachReply<R> {
    fn slot(&self) -> Option<Arc<ReplySlot<R>>> {
        Some(ReplySlot::new(self.sender.clone(), Some(self.collector.clone()), &self.lifecycle))
    }

    fn unused(&self, slot: Option<Arc<ReplySlot<R>>>) {
        if let Some(slot) = slot {
            drop(slot.end(SlotState::Answered));
        }
    }
}

/// The answer to a request, on its way.
///
/// Made by [`Bus::request`](crate::Bus::request) and [`Publisher::request`](crate::Publisher::request). Exactly one of
/// these happens to it: a reply; `Failed`, when a responder gave up or panicked; `Unanswered`, the moment that every copy
/// of the request is gone without an answer; `Closed`, when the bus closes first.
///
/// Dropping it cancels the request: responders can see it ([`Responder::is_cancelled`]), and a reply that comes later is
/// handed back to them as [`ReplyError::Cancelled`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::Bus;
///
/// let bus = Bus::<u32, String>::builder().build();
/// let _server = bus.serve("double", |n| (2 * **n).to_string())?;
/// assert_eq!(bus.request("double", 21)?.wait_timeout(Duration::from_secs(5))?, "42");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a pending reply cancels the request"]
pub struct PendingReply<R> {
    answers: Receiver<Answer<R>>,
    slot: Weak<ReplySlot<R>>,
    lifecycle: Arc<Lifecycle>,
    /// The answer was taken: there is nothing left to cancel.
    done: AtomicBool,
}

impl<R> PendingReply<R> {
    /// Waits for the answer, however long it takes.
    ///
    /// A handler that waits here for an answer that only its own thread could give waits for ever; use
    /// [`wait_timeout`](Self::wait_timeout) where that may happen.
    ///
    /// # Errors
    ///
    /// [`Failed`](ReplyRecvError::Failed), [`Unanswered`](ReplyRecvError::Unanswered) or
    /// [`Closed`](ReplyRecvError::Closed); never `Timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// drop(service.recv()?); // the only copy, not answered
    /// assert!(pending.wait().unwrap_err().is_unanswered());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(self) -> Result<R, ReplyRecvError<R>> {
        self.wait_until(None)
    }

    /// Waits for the answer, at most this long.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`Timeout`](ReplyRecvError::Timeout) with the pending reply, which can be waited on
    /// again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, ReplyRecvError};
    ///
    /// let bus = Bus::<u32>::new();
    /// let service = bus.subscribe("slow")?;
    /// let pending = match bus.request("slow", 1)?.wait_timeout(Duration::from_millis(1)) {
    ///     Err(ReplyRecvError::Timeout(pending)) => pending,
    ///     other => panic!("{other:?}"),
    /// };
    /// service.recv()?.reply(2)?;
    /// assert_eq!(pending.wait()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Result<R, ReplyRecvError<R>> {
        // A time beyond the end of the clock is no limit.
        let deadline = Instant::now().checked_add(timeout);
        self.wait_until(deadline)
    }

    /// Waits for the answer, at most until this instant.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let _double = bus.serve("double", |n| 2 * **n)?;
    /// let _square = bus.serve("square", |n| **n * **n)?;
    /// let (double, square) = (bus.request("double", 4)?, bus.request("square", 4)?);
    /// let deadline = Instant::now() + Duration::from_secs(5); // for both
    /// assert_eq!(double.wait_deadline(deadline)?, 8);
    /// assert_eq!(square.wait_deadline(deadline)?, 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_deadline(self, deadline: Instant) -> Result<R, ReplyRecvError<R>> {
        self.wait_until(Some(deadline))
    }

    /// Takes the answer if it is there: `None` while it is on its way, and after it was taken. A wait after that finds
    /// [`Unanswered`](ReplyRecvError::Unanswered).
    ///
    /// # Errors
    ///
    /// Inside the `Some`: as [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    ///
    /// let bus = Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let pending = bus.request("double", 4)?;
    /// assert!(pending.try_take().is_none());
    /// let request = service.recv()?;
    /// request.reply(*request * 2)?;
    /// assert_eq!(pending.try_take().unwrap()?, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_take(&self) -> Option<Result<R, ReplyRecvError<R>>> {
        if self.done.load(Ordering::Relaxed) {
            return None;
        }
        match self.answers.try_recv() {
            Ok(answer) => Some(self.finish(answer)),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) if self.lifecycle.phase() == Phase::Closed => {
                // That was the one end that this reply has: an answer that still comes is refused.
                self.cancel();
                Some(Err(ReplyRecvError::Closed))
            }
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Calls `callback` with the answer, once, when it comes: on the thread that answers, or at once on this one if the
    /// answer is there already.
    ///
    /// The callback also hears of failure, of no answer, and of the end of the bus. It runs under no lock; a panic in it
    /// is caught and counted in [`BusStats::callback_panics`](crate::BusStats::callback_panics). After this the request
    /// can no longer be cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    ///
    /// let bus = Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let (sender, answer) = std::sync::mpsc::channel();
    /// bus.request("double", 4)?.on_reply(move |reply| sender.send(reply.unwrap()).unwrap());
    /// let request = service.recv()?;
    /// request.reply(*request * 2)?;
    /// assert_eq!(answer.recv()?, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_reply<F>(self, callback: F)
    where
        F: FnOnce(Result<R, ReplyRecvError<R>>) + Send + 'static,
        R: Send + 'static,
    {
        self.done.store(true, Ordering::Relaxed);
        let callback: Callback<R> = Box::new(callback);
        let entry: Weak<dyn EndsWithBus> = self.slot.clone();
        let result = match (self.slot.upgrade(), Registration::new(&self.lifecycle, entry)) {
            (Some(slot), Some(registration)) => {
                let mut state = slot.state.lock();
                match *state {
                    SlotState::Channel(_) => {
                        let channel = std::mem::replace(&mut *state, SlotState::Callback(callback, registration));
                        drop(state);
                        drop(channel);
                        return;
                    }
                    // Answered: the answer is in the channel, or its sender is about to put it there.
                    SlotState::Answered | SlotState::Callback(..) => {
                        drop(state);
                        receive(&self.answers, &self.lifecycle, None)
                    }
                    // The bus closed since the registration.
                    SlotState::Cancelled => Received::Closed,
                }
            }
            // The slot is gone, or the bus is closed: whatever will come is in the channel or about to be.
            _ => receive(&self.answers, &self.lifecycle, None),
        };
        let result = match result {
            Received::Answer(answer) => answer.into_result(),
            Received::Closed => Err(ReplyRecvError::Closed),
            Received::Ended | Received::Timeout => Err(ReplyRecvError::Unanswered),
        };
        call(&self.lifecycle, callback, result);
    }

    /// Nobody waits any more.
    fn cancel(&self) {
        if !self.done.swap(true, Ordering::Relaxed) {
            if let Some(slot) = self.slot.upgrade() {
                drop(slot.end(SlotState::Cancelled));
            }
        }
    }

    fn finish(&self, answer: Answer<R>) -> Result<R, ReplyRecvError<R>> {
        self.done.store(true, Ordering::Relaxed);
        answer.into_result()
    }

    fn wait_until(self, deadline: Option<Instant>) -> Result<R, ReplyRecvError<R>> {
        match receive(&self.answers, &self.lifecycle, deadline) {
            Received::Answer(answer) => self.finish(answer),
            Received::Ended => Err(ReplyRecvError::Unanswered),
            Received::Closed => Err(ReplyRecvError::Closed),
            Received::Timeout => Err(ReplyRecvError::Timeout(self)),
        }
    }
}

impl<R> Drop for PendingReply<R> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<R> fmt::Debug for PendingReply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingReply").field("answered", &!self.answers.is_empty()).finish_non_exhaustive()
    }
}

enum Received<R> {
    Answer(Answer<R>),
    /// Nobody can answer any more.
    Ended,
    Closed,
    Timeout,
}

/// Waits for the next answer, the end of the bus, or the deadline. An answer that is there comes first.
fn receive<R>(answers: &Receiver<Answer<R>>, lifecycle: &Lifecycle, deadline: Option<Instant>) -> Received<R> {
    let backoff = Backoff::new();
    loop {
        let closed = lifecycle.phase() == Phase::Closed;
        match answers.try_recv() {
            Ok(answer) => return Received::Answer(answer),
            Err(TryRecvError::Disconnected) => return Received::Ended,
            Err(TryRecvError::Empty) if closed => return Received::Closed,
            Err(TryRecvError::Empty) => {}
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Received::Timeout;
        }
        if !backoff.is_completed() {
            backoff.snooze();
            continue;
        }
        // Whatever ends this wait, the top of the loop says what it was.
        match deadline {
            None => select! {
                recv(answers) -> answer => if let Ok(answer) = answer { return Received::Answer(answer) },
                recv(lifecycle.closed()) -> _ => {},
            },
            Some(deadline) => select! {
                recv(answers) -> answer => if let Ok(answer) = answer { return Received::Answer(answer) },
                recv(lifecycle.closed()) -> _ => {},
                default(deadline.saturating_duration_since(Instant::now())) => {},
            },
        }
    }
}

/// The replies to one gathered request, as they come.
///
/// Made by [`Bus::gather`](crate::Bus::gather) and [`Publisher::gather`](crate::Publisher::gather). Each mailbox that
/// took the request gives one outcome: a reply, a failure, or the news that it is gone without an answer. When all have
/// given theirs, the replies end. When the bus closes, they end after those that have come.
///
/// Dropping it cancels what has not been answered.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::Bus;
///
/// let bus = Bus::<&str, u32>::builder().build();
/// let _one = bus.serve("bid", |_| 40)?;
/// let _two = bus.serve("bid", |_| 42)?;
/// let bids = bus.gather("bid", "a chair")?.collect_within(Duration::from_secs(5));
/// assert_eq!(bids.iter().max(), Some(&42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the replies cancels the request"]
pub struct Replies<R> {
    answers: Receiver<Answer<R>>,
    lifecycle: Arc<Lifecycle>,
    /// Alive as long as somebody collects, see `ReplySlot::collector`; given up at the end of the bus.
    collector: Mutex<Option<Arc<()>>>,
}

impl<R> Replies<R> {
    /// Waits for the next outcome, at most this long.
    ///
    /// # Errors
    ///
    /// [`Failed`](GatherError::Failed) and [`Unanswered`](GatherError::Unanswered) are the outcome of one responder, more
    /// may come; [`Timeout`](GatherError::Timeout) if there was none in time; [`Closed`](GatherError::Closed) when every
    /// responder has given its outcome, or the bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, GatherError};
    ///
    /// let bus = Bus::<&str, u32>::builder().build();
    /// let bidder = bus.subscribe("bid")?;
    /// let bids = bus.gather("bid", "a chair")?;
    /// bidder.recv()?.reply(40)?;
    /// assert_eq!(bids.next_timeout(Duration::from_secs(5)), Ok(40));
    /// assert_eq!(bids.next_timeout(Duration::from_secs(5)), Err(GatherError::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(&self, timeout: Duration) -> Result<R, GatherError> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// Collects replies until every responder has given its outcome, but at most this long. Failures are left out.
    ///
    /// Takes what is there by then; what comes later can still be taken with another call.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Bus;
    ///
    /// let bus = Bus::<&str, u32>::builder().build();
    /// let silent = bus.subscribe("bid")?;
    /// let _server = bus.serve("bid", |_| 42)?;
    /// let bids = bus.gather("bid", "a chair")?;
    /// assert_eq!(bids.collect_within(Duration::from_millis(50)), [42]);
    /// # drop(silent);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn collect_within(&self, within: Duration) -> Vec<R> {
        let deadline = Instant::now().checked_add(within);
        let mut replies = Vec::new();
        loop {
            match self.next_until(deadline) {
                Ok(reply) => replies.push(reply),
                Err(GatherError::Failed(_) | GatherError::Unanswered) => {}
                Err(GatherError::Timeout | GatherError::Closed) => return replies,
            }
        }
    }

    fn next_until(&self, deadline: Option<Instant>) -> Result<R, GatherError> {
        if self.collector.lock().is_none() {
            return Err(GatherError::Closed);
        }
        match receive(&self.answers, &self.lifecycle, deadline) {
            Received::Answer(Answer::Reply(reply)) => Ok(reply),
            Received::Answer(Answer::Failed(text)) => Err(GatherError::Failed(text)),
            Received::Answer(Answer::Gone) => Err(GatherError::Unanswered),
            Received::Ended => Err(GatherError::Closed),
            Received::Closed => {
                // The end is final: an answer that still comes is refused.
                self.collector.lock().take();
                Err(GatherError::Closed)
            }
            Received::Timeout => Err(GatherError::Timeout),
        }
    }
}

impl<R> fmt::Debug for Replies<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("waiting", &self.answers.len()).finish_non_exhaustive()
    }
}

/// The right to answer one request, apart from its message: answer later, from any thread.
///
/// Made by [`Message::responder`](crate::Message::responder). The caller hears `Unanswered` when the message and every
/// responder of it are dropped without an answer. After the bus is closed nobody waits any more: replies come back as
/// [`ReplyError::Cancelled`], or are taken by nobody.
///
/// # Examples
///
/// ```
/// use tramline::Bus;
///
/// let bus = Bus::<u32>::new();
/// let service = bus.subscribe("double")?;
/// let pending = bus.request("double", 21)?;
/// let request = service.recv()?;
/// let responder = request.responder().expect("it is a request");
/// let n = request.into_payload();
/// std::thread::spawn(move || responder.reply(2 * n));
/// assert_eq!(pending.wait()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Responder<R> {
    slot: Arc<ReplySlot<R>>,
}

impl<R> Responder<R> {
    pub(crate) fn new(slot: Arc<ReplySlot<R>>) -> Self {
        Self { slot }
    }

    /// Answers the request. Never waits.
    ///
    /// # Errors
    ///
    /// Hands the reply back: [`AlreadyAnswered`](ReplyError::AlreadyAnswered) if another responder was first,
    /// [`Cancelled`](ReplyError::Cancelled) if the caller has gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// let responder = service.recv()?.responder().expect("it is a request");
    /// drop(pending);
    /// let error = responder.reply(42).unwrap_err();
    /// assert!(error.is_cancelled());
    /// assert_eq!(error.into_inner(), 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reply(&self, reply: R) -> Result<(), ReplyError<R>> {
        self.slot.reply(reply)
    }

    /// Tells the caller that there will be no reply, and why. Does nothing if the request was answered or cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, ReplyRecvError};
    ///
    /// let bus = Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// service.recv()?.responder().expect("it is a request").fail("out of numbers");
    /// assert!(matches!(pending.wait(), Err(ReplyRecvError::Failed(why)) if why == "out of numbers"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail(&self, why: impl Into<String>) {
        self.slot.fail(why.into());
    }

    /// Whether the caller has gone, so that an answer is no longer worth the work.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// let responder = service.recv()?.responder().expect("it is a request");
    /// assert!(!responder.is_cancelled());
    /// drop(pending);
    /// assert!(responder.is_cancelled());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.slot.is_cancelled()
    }
}

impl<R> fmt::Debug for Responder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// A request has no reply, or none yet, see [`PendingReply`].
///
/// # Examples
///
/// ```
/// use tramline::{Bus, ReplyRecvError};
///
/// let bus = Bus::<u32>::new();
/// let _server = bus.serve("halve", |n| {
///     assert!(**n % 2 == 0, "odd");
///     **n / 2
/// })?;
/// assert_eq!(bus.request("halve", 4)?.wait()?, 2);
/// match bus.request("halve", 3)?.wait() {
///     Err(ReplyRecvError::Failed(why)) => assert_eq!(why, "its handler panicked: odd"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Error)]
#[non_exhaustive]
pub enum ReplyRecvError<R> {
    /// The time was over; the pending reply can be waited on again.
    #[error("no reply came in time")]
    Timeout(PendingReply<R>),
    /// Every copy of the request is gone, and none was answered.
    #[error("the request was dropped without an answer")]
    Unanswered,
    /// The responder gave up, or its handler panicked; the text says why.
    #[error("the request failed: {0}")]
    Failed(String),
    /// The bus was closed first.
    #[error("the bus was closed before a reply came")]
    Closed,
}

impl<R> ReplyRecvError<R> {
    /// The pending reply of a timeout, to be waited on again; `None` otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// let timeout = pending.wait_timeout(std::time::Duration::ZERO).unwrap_err();
    /// let pending = timeout.into_inner().expect("it is a timeout");
    /// service.recv()?.reply(42)?;
    /// assert_eq!(pending.wait()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> Option<PendingReply<R>> {
        match self {
            Self::Timeout(pending) => Some(pending),
            Self::Unanswered | Self::Failed(_) | Self::Closed => None,
        }
    }

    /// Whether the time was over.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _silent = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// assert!(pending.wait_timeout(std::time::Duration::ZERO).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Whether every copy of the request is gone without an answer.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// drop(service); // and the request in its mailbox
    /// assert!(pending.wait().unwrap_err().is_unanswered());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Unanswered)
    }

    /// Whether the responder failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _handler = bus.on("double", |_| Err::<(), _>("cannot"))?;
    /// assert!(bus.request("double", 21)?.wait().unwrap_err().is_failed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Whether the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _silent = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// bus.close();
    /// assert!(pending.wait().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl<R> fmt::Debug for ReplyRecvError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(_) => f.write_str("Timeout(..)"),
            Self::Unanswered => f.write_str("Unanswered"),
            Self::Failed(text) => f.debug_tuple("Failed").field(text).finish(),
            Self::Closed => f.write_str("Closed"),
        }
    }
}

/// There is no reply from the next responder, see [`Replies::next_timeout`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::{Bus, GatherError};
///
/// let bus = Bus::<u32>::new();
/// let (one, two) = (bus.subscribe("bid")?, bus.subscribe("bid")?);
/// let bids = bus.gather("bid", 1)?;
/// one.recv()?.fail("no money");
/// assert_eq!(bids.next_timeout(Duration::ZERO), Err(GatherError::Failed("no money".to_owned())));
/// assert_eq!(bids.next_timeout(Duration::ZERO), Err(GatherError::Timeout));
/// drop(two.recv()?);
/// assert_eq!(bids.next_timeout(Duration::ZERO), Err(GatherError::Unanswered));
/// assert_eq!(bids.next_timeout(Duration::ZERO), Err(GatherError::Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GatherError {
    /// No responder gave its outcome in time; some have not yet.
    #[error("no reply came in time")]
    Timeout,
    /// One responder is gone without an answer; more outcomes may come.
    #[error("a responder dropped the request without an answer")]
    Unanswered,
    /// One responder gave up, or its handler panicked; more outcomes may come.
    #[error("a responder failed: {0}")]
    Failed(String),
    /// Every responder has given its outcome, or the bus is closed.
    #[error("no more replies will come")]
    Closed,
}

impl GatherError {
    /// Whether the time was over.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _silent = bus.subscribe("bid")?;
    /// let bids = bus.gather("bid", 1)?;
    /// assert!(bids.next_timeout(std::time::Duration::ZERO).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Whether this was the outcome of one responder, so that more may come.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let (poor, rich) = (bus.subscribe("bid")?, bus.subscribe("bid")?);
    /// let bids = bus.gather("bid", 1)?;
    /// poor.recv()?.fail("no money");
    /// rich.recv()?.reply(42)?;
    /// assert!(bids.next_timeout(std::time::Duration::ZERO).unwrap_err().is_outcome());
    /// assert_eq!(bids.next_timeout(std::time::Duration::ZERO)?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_outcome(&self) -> bool {
        matches!(self, Self::Unanswered | Self::Failed(_))
    }

    /// Whether there is no more to come.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _silent = bus.subscribe("bid")?;
    /// let bids = bus.gather("bid", 1)?;
    /// bus.close();
    /// assert!(bids.next_timeout(std::time::Duration::MAX).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// A reply was not taken. Holds the reply.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, ReplyError};
///
/// let bus = Bus::<u32, String>::builder().build();
/// let (fast, slow) = (bus.subscribe("double")?, bus.subscribe("double")?);
/// let _pending = bus.request("double", 21)?;
/// fast.recv()?.reply("42".to_owned())?;
/// match slow.recv()?.reply("forty-two".to_owned()) {
///     Err(ReplyError::AlreadyAnswered(reply)) => assert_eq!(reply, "forty-two"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplyError<R> {
    /// The message was published, not requested: nobody waits for a reply.
    #[error("the message is not a request")]
    NotARequest(R),
    /// Another responder was first.
    #[error("the request was already answered")]
    AlreadyAnswered(R),
    /// The caller has gone.
    #[error("the request was cancelled")]
    Cancelled(R),
}

impl<R> ReplyError<R> {
    /// The reply that was not taken.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// let _ = bus.publish("orders.new", "tea".to_owned())?;
    /// let error = orders.recv()?.reply("thanks".to_owned()).unwrap_err();
    /// assert_eq!(error.into_inner(), "thanks");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> R {
        match self {
            Self::NotARequest(reply) | Self::AlreadyAnswered(reply) | Self::Cancelled(reply) => reply,
        }
    }

    /// Whether the message was no request.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let _ = bus.publish("double", 21)?;
    /// assert!(service.recv()?.reply(42).unwrap_err().is_not_a_request());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_not_a_request(&self) -> bool {
        matches!(self, Self::NotARequest(_))
    }

    /// Whether another responder was first.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let _pending = bus.request("double", 21)?;
    /// let request = service.recv()?;
    /// request.fail("cannot"); // an answer too
    /// assert!(request.reply(42).unwrap_err().is_already_answered());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_already_answered(&self) -> bool {
        matches!(self, Self::AlreadyAnswered(_))
    }

    /// Whether the caller has gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// drop(bus.request("double", 21)?); // cancels
    /// assert!(service.recv()?.reply(42).unwrap_err().is_cancelled());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled(_))
    }
}

impl<R> fmt::Debug for ReplyError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotARequest(_) => "NotARequest(..)",
            Self::AlreadyAnswered(_) => "AlreadyAnswered(..)",
            Self::Cancelled(_) => "Cancelled(..)",
        })
    }
}
