//! Requests: the reply that is on its way to the caller.

use std::fmt;
#[cfg(feature = "async")]
use std::future::Future;
#[cfg(feature = "async")]
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::sync::Weak;
#[cfg(feature = "async")]
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Answer, Callback, Metadata, ReplyError, ReplySlot, Sleeper, call};
#[cfg(feature = "async")]
use crate::lifecycle::CloseListener;
use crate::lifecycle::{Lifecycle, Phase};
use crate::metadata::Properties;
use crate::spans::Requesting;
#[cfg(feature = "async")]
use crate::sync::Delay;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::channel::bounded;
use crate::sync::{Backoff, Instant, recv_before};

/// The answer to a request, on its way.
///
/// Made by [`Bus::request`](crate::Bus::request) and [`Publisher::request`](crate::Publisher::request). Exactly one of
/// these happens to it: a reply; `Failed`, when a responder gave up or panicked; `Unanswered`, the moment that every
/// copy of the request is gone without an answer; `Closed`, when the bus closes first.
///
/// Dropping it cancels the request: responders can see it
/// ([`Responder::is_cancelled`](crate::Responder::is_cancelled)), and a reply that comes later is handed back to them
/// as [`RespondError::Cancelled`](crate::RespondError::Cancelled).
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
#[must_use = "dropping a pending reply cancels the request: keep it in a variable such as `_reply`; `let _ =` drops it at once"]
pub struct PendingReply<R> {
    slot: Arc<ReplySlot<R>>,
    /// The answer was taken: there is nothing left to cancel.
    done: AtomicBool,
    /// Its place among those who are told of the end of the bus, if a task has waited.
    #[cfg(feature = "async")]
    remembered: Option<usize>,
    /// Wakes a task at the deadline.
    #[cfg(feature = "async")]
    timer: Option<Delay>,
}

impl<R> PendingReply<R> {
    /// Creates the metadata of a request, and the reply to it.
    pub(crate) fn new(
        lifecycle: &Arc<Lifecycle>,
        properties: Option<Arc<Properties>>,
        requesting: Requesting,
    ) -> (Metadata<R>, Self) {
        let (slot, responder) = ReplySlot::new(lifecycle, properties, requesting);
        (Metadata::Request(responder), Self::of(slot))
    }

    fn of(slot: Arc<ReplySlot<R>>) -> Self {
        Self {
            slot,
            done: AtomicBool::new(false),
            #[cfg(feature = "async")]
            remembered: None,
            #[cfg(feature = "async")]
            timer: None,
        }
    }

    /// The end of the time that the request was given.
    fn deadline(&self) -> Option<Instant> {
        self.slot.properties.as_ref()?.reply_until
    }

    pub(crate) fn requesting(&self) -> &Requesting {
        &self.slot.requesting
    }

    /// Waits for the answer: as long as is left of the request's [`timeout`](crate::MessageBuilder::timeout), and without
    /// one however long it takes.
    ///
    /// A handler that waits here for an answer that only its own thread could give waits forever; use
    /// [`wait_timeout`](Self::wait_timeout) where that may happen.
    ///
    /// # Errors
    ///
    /// [`Failed`](ReplyError::Failed), [`Unanswered`](ReplyError::Unanswered) or
    /// [`Closed`](ReplyError::Closed). [`Timeout`](ReplyError::Timeout) only if the request has a timeout.
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
    pub fn wait(self) -> Result<R, ReplyError<R>> {
        let deadline = self.deadline();
        self.wait_until(deadline)
    }

    /// Waits for the answer, at most this long. What is left of the request's own
    /// [`timeout`](crate::MessageBuilder::timeout) does not matter here.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`Timeout`](ReplyError::Timeout) with the pending reply, which can be waited on
    /// again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, ReplyError};
    ///
    /// let bus = Bus::<u32>::new();
    /// let service = bus.subscribe("slow")?;
    /// let pending = match bus.request("slow", 1)?.wait_timeout(Duration::from_millis(1)) {
    ///     Err(ReplyError::Timeout(pending)) => pending,
    ///     other => panic!("{other:?}"),
    /// };
    /// service.recv()?.reply(2)?;
    /// assert_eq!(pending.wait()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Result<R, ReplyError<R>> {
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
    pub fn wait_deadline(self, deadline: Instant) -> Result<R, ReplyError<R>> {
        self.wait_until(Some(deadline))
    }

    /// Takes the answer if it is there: `None` while it is on its way, and after it was taken. A wait after that finds
    /// [`Unanswered`](ReplyError::Unanswered).
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
    pub fn try_take(&self) -> Option<Result<R, ReplyError<R>>> {
        if self.done.load(Ordering::Relaxed) {
            return None;
        }
        let answer = self.look()?;
        let done = self.done.swap(true, Ordering::Relaxed);
        match answer {
            // Several threads may look at once.
            Answer::Taken => None,
            Answer::Closed if done => None,
            answer => Some(into_result(answer)),
        }
    }

    /// Calls `callback` with the answer, once, when it comes: on the thread that answers, that drops the last copy
    /// unanswered, or that closes the bus; or at once on this one if the answer is there already.
    ///
    /// The callback also hears of failure, of no answer, and of the end of the bus. It runs under no lock; a panic in
    /// it is caught and counted in [`BusStats::callback_panics`](crate::BusStats::callback_panics). After this the
    /// request can no longer be cancelled, and its [`timeout`](crate::MessageBuilder::timeout) no longer limits it.
    ///
    /// With the feature `tracing` it runs within the span of the request, see the [guide](crate#spans).
    ///
    /// A callback is no place to wait for another thread: the one that it runs on may be a publisher in the middle of a
    /// message, and then the other subscribers of that topic do not see their end before it returns.
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
        F: FnOnce(Result<R, ReplyError<R>>) + Send + 'static,
        R: Send + 'static,
    {
        self.done.store(true, Ordering::Relaxed);
        let callback: Callback<R> = Box::new(move |answer| callback(into_result(answer)));
        if let Some(callback) = self.slot.call_back(callback) {
            // The answer is here, or the bus is closed.
            let answer = self.slot.take().unwrap_or(Answer::Closed);
            self.slot.requesting.end(answer.outcome());
            self.slot.requesting.run_callback(|| call(self.slot.lifecycle(), callback, answer));
        }
    }

    /// Takes the answer, or finds that there will be none.
    fn look(&self) -> Option<Answer<R>> {
        // Without the lock, which the responder is about to need, until there is something to take.
        if self.slot.has_ended() || self.slot.lifecycle().phase() == Phase::Closed { self.slot.take() } else { None }
    }

    fn wait_until(self, deadline: Option<Instant>) -> Result<R, ReplyError<R>> {
        let backoff = Backoff::new();
        let mut answer = None;
        loop {
            if let Some(answer) = answer.take().or_else(|| self.look()) {
                self.done.store(true, Ordering::Relaxed);
                return into_result(answer);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(ReplyError::Timeout(self));
            }
            if backoff.is_completed() {
                answer = self.sleep(deadline);
            } else {
                backoff.snooze();
            }
        }
    }

    /// Sleeps until there may be an answer, the bus is closed, or the time is over; unless there is an answer.
    fn sleep(&self, deadline: Option<Instant>) -> Option<Answer<R>> {
        let (sleeper, woken) = bounded(0);
        let answer = self.slot.take_or_sleep(Some(Sleeper::Thread(sleeper)));
        if answer.is_some() {
            return answer;
        }
        // Nothing is sent: whoever answers lets go of the sleeper.
        recv_before(&woken, self.slot.lifecycle().closed(), deadline).map(|never| match never {})
    }
}

#[cfg(feature = "async")]
impl<R: Send + 'static> PendingReply<R> {
    /// The result; otherwise the task is woken when there is one.
    pub(crate) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<R, ReplyError<R>>> {
        let mut answer = self.look();
        if answer.is_none() {
            if self.remembered.is_none() {
                let entry: Weak<dyn CloseListener> = Arc::<ReplySlot<R>>::downgrade(&self.slot);
                // None if the bus is closed, which is seen below.
                self.remembered = self.slot.lifecycle().add_close_listener(entry);
            }
            answer = self.slot.take_or_sleep(Some(Sleeper::Task(context.waker().clone())));
        }
        let Some(answer) = answer else { return self.poll_deadline(context).map(|()| Err(self.timed_out())) };
        self.done.store(true, Ordering::Relaxed);
        Poll::Ready(into_result(answer))
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline() else { return Poll::Pending };
        let left = || deadline.saturating_duration_since(Instant::now());
        let timer = self.timer.get_or_insert_with(|| Delay::new(left()));
        Pin::new(timer).poll(context)
    }

    /// Goes on as another, which can be waited on again.
    fn timed_out(&mut self) -> ReplyError<R> {
        self.done.store(true, Ordering::Relaxed);
        let mut pending = Self::of(Arc::clone(&self.slot));
        pending.remembered = self.remembered.take();
        ReplyError::Timeout(pending)
    }
}

impl<R> Drop for PendingReply<R> {
    fn drop(&mut self) {
        #[cfg(feature = "async")]
        if let Some(place) = self.remembered {
            self.slot.lifecycle().remove_close_listener(place);
        }
        if !self.done.load(Ordering::Relaxed) {
            self.slot.cancel();
        }
    }
}

impl<R> fmt::Debug for PendingReply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingReply").field("answered", &self.slot.is_here()).finish_non_exhaustive()
    }
}

fn into_result<R>(answer: Answer<R>) -> Result<R, ReplyError<R>> {
    match answer {
        Answer::Reply(reply) => Ok(reply),
        Answer::Failed(text) => Err(ReplyError::Failed(text)),
        Answer::Gone | Answer::Taken => Err(ReplyError::Unanswered),
        Answer::Closed => Err(ReplyError::Closed),
    }
}
