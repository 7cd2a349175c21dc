//! Replies: the slot that travels with a request, and the right to fill it.
//!
//! Every copy of a request shares one [`ReplySlot`]. The first answer goes to the caller through a one-shot channel, or
//! to a callback; when the last copy is dropped without an answer, the slot itself says so. For a gathered request
//! every copy has a slot of its own.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError, select};
use crossbeam_utils::Backoff;
use parking_lot::Mutex;
use thiserror::Error;

use crate::lifecycle::{EndsWithBus, Lifecycle, Phase, Registration};
use crate::panic::catch;

/// What became of one request at one responder, or at all of them.
pub(crate) enum Answer<R> {
    Reply(R),
    Failed(String),
    Gone,
    /// The bus was closed first. Only callbacks are told so; who waits sees it himself.
    Closed,
}

pub(crate) type Callback<R> = Box<dyn FnOnce(Answer<R>) + Send>;

/// Where the answer goes.
///
/// | state       | answer             | last copy dropped  | caller dropped | answer after the bus closed |
/// |-------------|--------------------|--------------------|----------------|-----------------------------|
/// | `Channel`   | sent, `Answered`   | `Gone` sent        | `Cancelled`    | `Cancelled`                 |
/// | `Callback`  | called, `Answered` | called with `Gone` | -              | called with `Closed` before |
/// | `Answered`  | `AlreadyAnswered`  | -                  | -              | -                           |
/// | `Cancelled` | `Cancelled`        | -                  | -              | -                           |
///
/// `Gone` becomes `Failed` if a handler has [given up](ReplySlot::give_up).
enum SlotState<R> {
    Channel(Sender<Answer<R>>),
    Callback(Callback<R>, #[expect(dead_code, reason = "dropped with the state")] Registration),
    Answered,
    Cancelled,
}

pub(crate) struct ReplySlot<R> {
    state: Mutex<SlotState<R>>,
    /// Why a handler that did not promise an answer failed; told if nobody answers.
    failure: Mutex<Option<String>>,
    /// For `gather`: alive as long as somebody collects the replies.
    collector: Option<Weak<()>>,
    lifecycle: Arc<Lifecycle>,
}

impl<R> ReplySlot<R> {
    pub(crate) fn new(
        answers: Sender<Answer<R>>,
        collector: Option<Weak<()>>,
        lifecycle: &Arc<Lifecycle>,
    ) -> Arc<Self> {
        let state = Mutex::new(SlotState::Channel(answers));
        Arc::new(Self { state, failure: Mutex::new(None), collector, lifecycle: Arc::clone(lifecycle) })
    }

    /// Nobody waits for an answer any more.
    pub(crate) fn cancel(&self) {
        drop(self.end(SlotState::Cancelled));
    }

    /// The slot belongs to no message: that it is dropped means nothing.
    pub(crate) fn disarm(&self) {
        drop(self.end(SlotState::Answered));
    }

    /// The state as it was, if this ends it.
    fn end(&self, end: SlotState<R>) -> SlotState<R> {
        let mut state = self.state.lock();
        match *state {
            SlotState::Channel(_) | SlotState::Callback(..) => std::mem::replace(&mut *state, end),
            SlotState::Answered => SlotState::Answered,
            SlotState::Cancelled => SlotState::Cancelled,
        }
    }

    pub(crate) fn reply(&self, reply: R) -> Result<(), ReplyError<R>> {
        // The end of the bus is the end of what is pending. What was answered before stays answered.
        if self.is_collector_gone() || self.lifecycle.phase() == Phase::Closed {
            self.cancel_channel();
        }
        match self.end(SlotState::Answered) {
            SlotState::Channel(answers) => match answers.try_send(Answer::Reply(reply)) {
                Ok(()) => Ok(()),
                Err(error) => match error.into_inner() {
                    Answer::Reply(reply) => Err(ReplyError::Cancelled(reply)),
                    Answer::Failed(_) | Answer::Gone | Answer::Closed => Ok(()),
                },
            },
            SlotState::Callback(callback, _) => {
                call(&self.lifecycle, callback, Answer::Reply(reply));
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
            SlotState::Callback(callback, _) => call(&self.lifecycle, callback, Answer::Failed(text)),
            SlotState::Answered | SlotState::Cancelled => {}
        }
    }

    /// One of those who have the request failed, another may still answer.
    pub(crate) fn give_up(&self, text: String) {
        self.failure.lock().get_or_insert(text);
    }

    fn is_cancelled(&self) -> bool {
        if self.is_collector_gone() || self.lifecycle.phase() == Phase::Closed {
            self.cancel_channel();
        }
        matches!(*self.state.lock(), SlotState::Cancelled)
    }

    /// Nobody waits at the channel any more. A callback still has to be called.
    fn cancel_channel(&self) {
        let mut state = self.state.lock();
        if matches!(*state, SlotState::Channel(_)) {
            let channel = std::mem::replace(&mut *state, SlotState::Cancelled);
            drop(state);
            drop(channel);
        }
    }

    fn is_collector_gone(&self) -> bool {
        self.collector.as_ref().is_some_and(|collector| collector.strong_count() == 0)
    }
}

impl<R: Send + 'static> ReplySlot<R> {
    /// Has the answer given to `callback`. Hands it back if there is an answer already, or the bus is closed.
    pub(crate) fn call_back(self: Arc<Self>, callback: Callback<R>) -> Option<Callback<R>> {
        let entry: Weak<dyn EndsWithBus> = Arc::<Self>::downgrade(&self);
        let Some(registration) = Registration::new(&self.lifecycle, entry) else { return Some(callback) };
        let mut state = self.state.lock();
        if !matches!(*state, SlotState::Channel(_)) {
            return Some(callback);
        }
        let channel = std::mem::replace(&mut *state, SlotState::Callback(callback, registration));
        drop(state);
        drop(channel);
        None
    }
}

/// Runs a callback on a thread that is not its owner's, so a panic must not go on from here.
pub(crate) fn call<R>(lifecycle: &Lifecycle, callback: Callback<R>, answer: Answer<R>) {
    if catch(|| callback(answer)).is_err() {
        lifecycle.callback_panics.fetch_add(1, Ordering::Relaxed);
    }
}

impl<R: Send> EndsWithBus for ReplySlot<R> {
    fn bus_closed(&self) {
        if let SlotState::Callback(callback, _) = self.end(SlotState::Cancelled) {
            call(&self.lifecycle, callback, Answer::Closed);
        }
    }
}

impl<R> Drop for ReplySlot<R> {
    fn drop(&mut self) {
        let answer = self.failure.get_mut().take().map_or(Answer::Gone, Answer::Failed);
        match self.end(SlotState::Answered) {
            SlotState::Channel(answers) => drop(answers.try_send(answer)),
            SlotState::Callback(callback, _) => call(&self.lifecycle, callback, answer),
            SlotState::Answered | SlotState::Cancelled => {}
        }
    }
}

/// Where the copies of one message get their reply slots from.
pub(crate) trait ReplySource<R> {
    /// The slot of one more copy, when the original has this one.
    fn another(&self, original: Option<&Arc<ReplySlot<R>>>) -> Option<Arc<ReplySlot<R>>>;
    /// A copy was made and not needed; its slot must not count as a responder that went without answering.
    fn unused(&self, slot: Option<Arc<ReplySlot<R>>>);
}

/// A plain message wants no reply.
pub(crate) struct NoReply;

impl<R> ReplySource<R> for NoReply {
    fn another(&self, _: Option<&Arc<ReplySlot<R>>>) -> Option<Arc<ReplySlot<R>>> {
        None
    }

    fn unused(&self, _: Option<Arc<ReplySlot<R>>>) {}
}

pub(crate) enum Received<R> {
    Answer(Answer<R>),
    /// Nobody can answer any more.
    Ended,
    Closed,
    Timeout,
}

/// The answer that is there, or the end; `None` if there may still be an answer.
pub(crate) fn try_receive<R>(answers: &Receiver<Answer<R>>, lifecycle: &Lifecycle) -> Option<Received<R>> {
    // The phase is read before the channel: what was answered before the bus closed stays answered.
    let closed = lifecycle.phase() == Phase::Closed;
    match answers.try_recv() {
        Ok(answer) => Some(Received::Answer(answer)),
        Err(_) if closed => Some(Received::Closed),
        // A responder that finds the bus closed lets go of the channel.
        Err(TryRecvError::Disconnected) if lifecycle.phase() == Phase::Closed => Some(Received::Closed),
        Err(TryRecvError::Disconnected) => Some(Received::Ended),
        Err(TryRecvError::Empty) => None,
    }
}

/// Waits for the next answer, the end of the bus, or the deadline. An answer that is there comes first.
pub(crate) fn receive<R>(
    answers: &Receiver<Answer<R>>,
    lifecycle: &Lifecycle,
    deadline: Option<Instant>,
) -> Received<R> {
    let backoff = Backoff::new();
    loop {
        if let Some(received) = try_receive(answers, lifecycle) {
            return received;
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
