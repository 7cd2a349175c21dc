//! The right to answer a request.

use std::fmt;
use std::sync::Arc;

use super::{ReplySlot, RespondError};
use crate::metadata::Properties;
use crate::spans::Requesting;
use crate::sync::atomic::Ordering;

/// The right to answer one request, apart from its message: answer later, from any thread.
///
/// Made by [`Message::responder`](crate::Message::responder). The caller hears `Unanswered` when the message and every
/// responder of it are dropped without an answer. After the bus is closed no caller waits: replies come back as
/// [`RespondError::Cancelled`], or are dropped.
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
    pub(super) fn new(slot: Arc<ReplySlot<R>>) -> Self {
        Self { slot }
    }

    pub(crate) fn requesting(&self) -> &Requesting {
        &self.slot.requesting
    }

    /// What the request has beside its payload.
    pub(super) fn properties(&self) -> Option<&Arc<Properties>> {
        self.slot.properties.as_ref()
    }

    /// One more for the same request.
    pub(crate) fn another(&self) -> Self {
        // Relaxed: this one keeps the count above zero.
        self.slot.responders.fetch_add(1, Ordering::Relaxed);
        Self { slot: Arc::clone(&self.slot) }
    }

    /// As [`is_cancelled`](Self::is_cancelled), without a lock while the caller waits for its one reply.
    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.slot.is_abandoned()
    }

    /// It was never used: that it is dropped means nothing.
    pub(crate) fn disarm(self) {
        self.slot.cancel();
    }

    /// One of those who have the request failed, another may still answer.
    pub(crate) fn give_up(&self, text: String) {
        self.slot.failure.lock().get_or_insert(text);
    }

    /// Answers the request. Never waits.
    ///
    /// # Errors
    ///
    /// Hands the reply back: [`AlreadyAnswered`](RespondError::AlreadyAnswered) if another responder was first,
    /// [`Cancelled`](RespondError::Cancelled) if the caller has gone.
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
    pub fn reply(&self, reply: R) -> Result<(), RespondError<R>> {
        self.slot.reply(reply)
    }

    /// Answers the request with a failure: the caller gets [`ReplyError::Failed`](crate::ReplyError::Failed) with this
    /// text. Never waits.
    ///
    /// # Errors
    ///
    /// Returns the text: [`AlreadyAnswered`](RespondError::AlreadyAnswered) if another responder was first,
    /// [`Cancelled`](RespondError::Cancelled) if the caller has gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, ReplyError};
    ///
    /// let bus = Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// let responder = service.recv()?.responder().expect("it is a request");
    /// responder.fail("out of numbers")?;
    /// assert!(responder.fail("again").unwrap_err().is_already_answered());
    /// assert!(matches!(pending.wait(), Err(ReplyError::Failed(why)) if why == "out of numbers"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail(&self, why: impl Into<String>) -> Result<(), RespondError<String>> {
        self.slot.fail(why.into())
    }

    /// Returns `true` if the caller has gone, so that an answer would be in vain.
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

impl<R> Drop for Responder<R> {
    fn drop(&mut self) {
        let responders = &self.slot.responders;
        // One that is alone needs no atomic subtraction: only a responder makes another. Acquire pairs with
        // AcqRel, and AcqRel with itself: the last one sees why the others have given up.
        if responders.load(Ordering::Acquire) == 1 || responders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.slot.responders_gone();
        }
    }
}

impl<R> fmt::Debug for Responder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
