//! Replies: the slot that the two ends of a request share, and the right to fill it.
//!
//! Every copy of a request holds a [`Responder`] of one [`ReplySlot`]. The first answer waits in the slot for the caller,
//! or goes to a callback; when the last responder is dropped without an answer, the slot says so. For a gathered request
//! every copy has a slot of its own, and the answers go to one channel.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
#[cfg(feature = "async")]
use std::task::Waker;

use super::{RespondError, Responder};
use crate::lifecycle::{CloseListener, Lifecycle, Phase, Registration};
use crate::metadata::Properties;
use crate::panic::catch;
use crate::spans::Requesting;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::channel::Sender;
#[cfg(feature = "async")]
use crate::sync::wait_list;

/// The outcome of one request at one responder, or at all of them.
pub(crate) enum Answer<R> {
    Reply(R),
    Failed(String),
    Gone,
    /// The bus was closed first. No responder reports it: the close does, or the caller sees it.
    Closed,
    /// It was taken before.
    Taken,
}

impl<R> Answer<R> {
    /// What the request's span says of it.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Reply(_) => "replied",
            Self::Failed(_) => "failed",
            Self::Gone | Self::Taken => "unanswered",
            Self::Closed => "closed",
        }
    }
}

pub(crate) type Callback<R> = Box<dyn FnOnce(Answer<R>) + Send>;

/// Where the answer goes. It ends once.
// Invariant 6.
///
/// | state       | answer             | last copy dropped  | caller dropped | either after the bus closed |
/// |-------------|--------------------|--------------------|----------------|-----------------------------|
/// | `Waiting`   | kept, `Here`       | `Gone` kept        | `Cancelled`    | `Cancelled`                 |
/// | `Channel`   | sent, `Answered`   | `Gone` sent        | `Cancelled`    | `Cancelled`                 |
/// | `Callback`  | called, `Answered` | called with `Gone` | -              | called with `Closed` before |
/// | `Here`      | `AlreadyAnswered`  | -                  | `Answered`     | -                           |
/// | `Answered`  | `AlreadyAnswered`  | -                  | -              | -                           |
/// | `Cancelled` | `Cancelled`        | -                  | -              | -                           |
///
/// `Gone` becomes `Failed` if a handler has given up, see `Responder::give_up`.
enum SlotState<R> {
    /// Of a caller that may sleep.
    Waiting(Option<Sleeper>),
    /// For `gather`; the second is alive as long as somebody collects the replies.
    Channel(Sender<Answer<R>>, Weak<Collector>),
    Callback(Callback<R>, #[expect(dead_code, reason = "dropped with the state")] Registration),
    Here(Answer<R>),
    Answered,
    Cancelled,
}

impl<R> SlotState<R> {
    /// Lets go of a state that has ended, and wakes who sleeps in it; after the lock is released.
    fn end(self) {
        if let Self::Waiting(Some(sleeper)) = self {
            sleeper.wake();
        }
    }
}

/// How to wake a caller.
pub(crate) enum Sleeper {
    /// Wakes when this is dropped. It watches the end of the bus itself.
    Thread(#[expect(dead_code, reason = "dropped to wake")] Sender<Infallible>),
    /// The slot is notified of the end of the bus.
    #[cfg(feature = "async")]
    Task(Waker),
}

impl Sleeper {
    fn wake(self) {
        match self {
            Self::Thread(_) => {}
            #[cfg(feature = "async")]
            Self::Task(waker) => wait_list::wake(waker),
        }
    }
}

/// The collector of the answers to a gathered request. Alive as long as it collects.
#[derive(Default)]
pub(crate) struct Collector {
    /// A thread waits at the channel.
    #[cfg(feature = "async")]
    task: Mutex<Option<Waker>>,
}

#[cfg(feature = "async")]
impl Collector {
    /// Has the task woken when there is another answer, or the bus is closed.
    pub(crate) fn wait(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.task.lock().replace(waker);
        drop(before);
    }

    fn task(&self) -> Option<Waker> {
        self.task.lock().take()
    }
}

#[cfg(feature = "async")]
impl CloseListener for Collector {
    fn bus_closed(&self) {
        self.task().into_iter().for_each(wait_list::wake);
    }
}

pub(crate) struct ReplySlot<R> {
    state: Mutex<SlotState<R>>,
    /// Set when the state becomes one of the last three, so that a caller can look without the lock.
    ended: AtomicBool,
    /// It is the slot of one copy of a gathered request. Its state alone shows that nobody collects the replies any more.
    is_gathered: bool,
    pub(super) responders: AtomicUsize,
    /// Why a handler that did not promise an answer failed; reported if nobody answers.
    pub(super) failure: Mutex<Option<String>>,
    lifecycle: Arc<Lifecycle>,
    /// What the request has beside its payload.
    pub(super) properties: Option<Arc<Properties>>,
    pub(crate) requesting: Requesting,
}

impl<R> ReplySlot<R> {
    /// A slot in which the answer waits.
    pub(crate) fn new(
        lifecycle: &Arc<Lifecycle>,
        properties: Option<Arc<Properties>>,
        requesting: Requesting,
    ) -> (Arc<Self>, Responder<R>) {
        let slot = Self::with(SlotState::Waiting(None), false, lifecycle, properties, requesting);
        (Arc::clone(&slot), Responder::new(slot))
    }

    /// A slot that sends the answer on, as long as `collector` is alive.
    pub(crate) fn for_channel(
        answers: Sender<Answer<R>>,
        collector: Weak<Collector>,
        lifecycle: &Arc<Lifecycle>,
        properties: Option<Arc<Properties>>,
        requesting: Requesting,
    ) -> Responder<R> {
        Responder::new(Self::with(SlotState::Channel(answers, collector), true, lifecycle, properties, requesting))
    }

    fn with(
        state: SlotState<R>,
        is_gathered: bool,
        lifecycle: &Arc<Lifecycle>,
        properties: Option<Arc<Properties>>,
        requesting: Requesting,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            ended: AtomicBool::new(false),
            is_gathered,
            responders: AtomicUsize::new(1),
            failure: Mutex::new(None),
            lifecycle: Arc::clone(lifecycle),
            properties,
            requesting,
        })
    }

    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Whether there is an answer, or will be none.
    pub(crate) fn has_ended(&self) -> bool {
        // Only a hint to look: the lock of the state orders what is found then.
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn is_here(&self) -> bool {
        matches!(*self.state.lock(), SlotState::Here(_))
    }

    /// Takes the answer, or finds that there will be none; `None` if there may still be one.
    pub(crate) fn take(&self) -> Option<Answer<R>> {
        self.take_or_sleep(None)
    }

    /// As `take`; if there may still be an answer, the sleeper is woken when there is something to take.
    pub(crate) fn take_or_sleep(&self, sleeper: Option<Sleeper>) -> Option<Answer<R>> {
        let answer = self.take_silently(sleeper)?;
        self.requesting.end(answer.outcome());
        Some(answer)
    }

    fn take_silently(&self, mut sleeper: Option<Sleeper>) -> Option<Answer<R>> {
        // The phase is read before the state: what was answered before the bus closed stays answered.
        let closed = self.lifecycle.phase() == Phase::Closed;
        let mut state = self.state.lock();
        // The usual case of a caller that goes to sleep, without moving the state out and back.
        if let (SlotState::Waiting(place), false, Some(_)) = (&mut *state, closed, &sleeper) {
            std::mem::swap(place, &mut sleeper);
            drop(state);
            // The sleeper before this one, which is user code.
            drop(sleeper);
            return None;
        }
        match std::mem::replace(&mut *state, SlotState::Answered) {
            SlotState::Here(answer) => Some(answer),
            SlotState::Answered => Some(Answer::Taken),
            // A responder has found the bus closed.
            SlotState::Cancelled => {
                *state = SlotState::Cancelled;
                Some(Answer::Closed)
            }
            before if closed => {
                *state = SlotState::Cancelled;
                self.ended.store(true, Ordering::Relaxed);
                drop(state);
                drop(before);
                Some(Answer::Closed)
            }
            before => {
                *state = before;
                None
            }
        }
    }

    /// Nobody waits for an answer any more.
    pub(crate) fn cancel(&self) {
        let mut state = self.state.lock();
        let end = match *state {
            SlotState::Here(_) | SlotState::Answered => SlotState::Answered,
            _ => SlotState::Cancelled,
        };
        let before = std::mem::replace(&mut *state, end);
        self.ended.store(true, Ordering::Relaxed);
        drop(state);
        drop(before);
        self.requesting.end("cancelled");
    }

    /// Answers, if that is still wanted: the end of the bus was the end of what was pending.
    fn answer(&self, answer: Answer<R>) -> Result<(), RespondError<Answer<R>>> {
        if self.lifecycle.phase() == Phase::Closed {
            self.notice_the_end();
        }
        let mut state = self.state.lock();
        self.ended.store(true, Ordering::Relaxed);
        match std::mem::replace(&mut *state, SlotState::Answered) {
            waiting @ SlotState::Waiting(_) => {
                *state = SlotState::Here(answer);
                drop(state);
                waiting.end();
                Ok(())
            }
            SlotState::Channel(answers, collector) if collector.strong_count() == 0 => {
                *state = SlotState::Cancelled;
                drop(state);
                drop(answers);
                Err(RespondError::Cancelled(answer))
            }
            SlotState::Channel(answers, collector) => {
                drop(state);
                let sent = answers.try_send(answer).map_err(|error| RespondError::Cancelled(error.into_inner()));
                // Who is woken must find the end of the channel, if this was the last.
                drop(answers);
                wake(&collector);
                sent
            }
            SlotState::Callback(callback, _) => {
                drop(state);
                self.requesting.end(answer.outcome());
                self.requesting.run_callback(|| call(&self.lifecycle, callback, answer));
                Ok(())
            }
            SlotState::Cancelled => {
                *state = SlotState::Cancelled;
                Err(RespondError::Cancelled(answer))
            }
            before => {
                *state = before;
                Err(RespondError::AlreadyAnswered(answer))
            }
        }
    }

    pub(super) fn reply(&self, reply: R) -> Result<(), RespondError<R>> {
        returned(self.answer(Answer::Reply(reply)), |answer| match answer {
            Answer::Reply(reply) => Some(reply),
            _ => None,
        })
    }

    pub(super) fn fail(&self, why: String) -> Result<(), RespondError<String>> {
        returned(self.answer(Answer::Failed(why)), |answer| match answer {
            Answer::Failed(why) => Some(why),
            _ => None,
        })
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.notice_the_end();
        matches!(*self.state.lock(), SlotState::Cancelled)
    }

    /// Whether an answer would be in vain, for a worker that is about to serve the request. While a caller waits for its one
    /// reply, this takes no lock.
    #[inline]
    pub(super) fn is_abandoned(&self) -> bool {
        (self.has_ended() || self.is_gathered || self.lifecycle.phase() == Phase::Closed) && self.is_cancelled()
    }

    /// The end of the bus is the end of what is pending, and so is that nobody collects any more. What was answered
    /// before stays answered, and a callback still has to be called.
    fn notice_the_end(&self) {
        let closed = self.lifecycle.phase() == Phase::Closed;
        let mut state = self.state.lock();
        let over = match &*state {
            SlotState::Waiting(_) => closed,
            SlotState::Channel(_, collector) => closed || collector.strong_count() == 0,
            _ => false,
        };
        if over {
            let before = std::mem::replace(&mut *state, SlotState::Cancelled);
            self.ended.store(true, Ordering::Relaxed);
            drop(state);
            before.end();
        }
    }

    /// The last copy of the request is gone.
    pub(super) fn responders_gone(&self) {
        if self.has_ended() {
            return;
        }
        let answer = self.failure.lock().take().map_or(Answer::Gone, Answer::Failed);
        // Nobody else is left who could have answered: refused means that the caller has gone.
        drop(self.answer(answer));
    }
}

impl<R: Send + 'static> ReplySlot<R> {
    /// Has the answer given to `callback`. Hands it back if there is an answer already, or the bus is closed.
    pub(crate) fn call_back(self: &Arc<Self>, callback: Callback<R>) -> Option<Callback<R>> {
        let entry: Weak<dyn CloseListener> = Arc::<Self>::downgrade(self);
        let Some(registration) = Registration::new(&self.lifecycle, entry) else { return Some(callback) };
        // From here on the end of the bus ends this slot, whether the callback is in it yet or not.
        let mut state = self.state.lock();
        if !matches!(*state, SlotState::Waiting(_)) {
            return Some(callback);
        }
        let before = std::mem::replace(&mut *state, SlotState::Callback(callback, registration));
        drop(state);
        drop(before);
        None
    }
}

/// Unwraps the value of an answer that was refused. `answer` returns what it was given, so `value` always finds it.
fn returned<R, A>(
    answered: Result<(), RespondError<Answer<R>>>,
    value: impl FnOnce(Answer<R>) -> Option<A>,
) -> Result<(), RespondError<A>> {
    answered.or_else(|error| error.try_map(value).map_or(Ok(()), Err))
}

/// Runs a callback on a thread that is not its owner's, so a panic must not go on from here.
pub(crate) fn call<R>(lifecycle: &Lifecycle, callback: Callback<R>, answer: Answer<R>) {
    if catch(|| callback(answer)).is_err() {
        lifecycle.callback_panics.fetch_add(1, Ordering::Relaxed);
    }
}

impl<R: Send> CloseListener for ReplySlot<R> {
    fn bus_closed(&self) {
        let mut state = self.state.lock();
        // `Waiting`: a task, or its callback has been registered and is about to be set, see `call_back`.
        if !matches!(*state, SlotState::Waiting(_) | SlotState::Callback(..)) {
            return;
        }
        let before = std::mem::replace(&mut *state, SlotState::Cancelled);
        self.ended.store(true, Ordering::Relaxed);
        drop(state);
        match before {
            SlotState::Callback(callback, _) => {
                self.requesting.end(Answer::<R>::Closed.outcome());
                self.requesting.run_callback(|| call(&self.lifecycle, callback, Answer::Closed));
            }
            waiting => waiting.end(),
        }
    }
}

/// There is an answer, or there will be none.
#[cfg(feature = "async")]
fn wake(collector: &Weak<Collector>) {
    // Not kept alive while the waker runs, which may drop the replies: the other responders must see that.
    let task = collector.upgrade().and_then(|collector| collector.task());
    task.into_iter().for_each(wait_list::wake);
}

#[cfg(not(feature = "async"))]
fn wake(_: &Weak<Collector>) {}
