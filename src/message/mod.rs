//! Messages: as a subscriber sees them, and on their way.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

mod boxed;
mod envelope;
mod error;
mod retained;

pub(crate) use boxed::{BoxedMessage, InHand, is_large};
pub(crate) use envelope::{Envelope, Extras, Outgoing};
pub use error::{RecvError, RecvTimeoutError, TryRecvError};
pub(crate) use retained::Retained;

use crate::metadata::{Headers, Properties};
use crate::request::{RespondError, Responder};
use crate::spans::{Carried, Requesting};
use crate::topic::Topic;

/// One message, taken out of a mailbox. Derefs to its payload.
///
/// A handler gets a `&Message`, so a `Copy` payload is `**message` there, and `*message` of a message that a subscriber
/// received.
///
/// A message that is a request is answered with [`reply`](Self::reply) or [`fail`](Self::fail), or later through a
/// [`Responder`]. If it is dropped unanswered and no other copy is left, the caller gets
/// [`Unanswered`](crate::ReplyError::Unanswered).
///
/// # Examples
///
/// ```
/// use tramline::Bus;
///
/// let bus = Bus::<String>::new();
/// let orders = bus.subscribe("orders.*")?;
/// bus.publish("orders.new", "tea".to_owned())?;
///
/// let message = orders.recv()?;
/// assert_eq!(message.topic(), &"orders.new");
/// assert_eq!(message.len(), 3); // a method of the payload
/// assert_eq!(message.into_payload(), "tea");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a request that is dropped goes unanswered"]
// The order matters. Every caller moves the message out of a `Result`, in pieces of 16 bytes, and a piece that was not
// written in one piece makes the load wait for the stores before it: 5 to 9 ns, half of all that `recv` does. So the
// topic comes first, two pointers that are mostly null make a piece, and the `Result` has no tag in front of it that would
// shift them, thanks to `Inline::length`.
#[repr(C)]
pub struct Message<T, R = T> {
    topic: Topic,
    extras: Option<Box<Extras<T, R>>>,
    payload: T,
}

impl<T, R> Message<T, R> {
    /// A message without anything that few messages have.
    #[inline]
    pub(crate) fn plain(topic: Topic, payload: T) -> Self {
        Self { topic, extras: None, payload }
    }

    /// Adds `lost` to the messages that were lost before this one.
    pub(crate) fn add_lost(&mut self, lost: u64) {
        let new = || Box::new(Extras::of_taken_payload());
        self.extras.get_or_insert_with(new).lost_before += lost;
    }

    /// The span of the request that it is.
    pub(crate) fn requesting(&self) -> Option<&Requesting> {
        self.request().map(Responder::requesting)
    }

    /// Whether it is a request whose caller has gone.
    #[inline]
    pub(crate) fn is_abandoned_request(&self) -> bool {
        self.request().is_some_and(Responder::is_abandoned)
    }

    #[inline]
    fn request(&self) -> Option<&Responder<R>> {
        self.extras.as_ref()?.metadata.as_ref()?.responder()
    }

    /// Returns a reference to the payload.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", "tea".to_owned())?;
    /// let message = orders.recv()?;
    /// let copy: String = message.payload().clone(); // the message itself cannot be cloned
    /// assert_eq!(copy, *message);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// Takes the payload out. A single subscriber gets the very value that was published: no clone was made.
    ///
    /// A request that was not answered goes unanswered by this; take a [`responder`](Self::responder) first to answer
    /// it later.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// let bus = tramline::Bus::<Arc<str>>::new();
    /// let only = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", "tea".into())?;
    /// let payload = only.recv()?.into_payload();
    /// assert_eq!(Arc::strong_count(&payload), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_payload(self) -> T {
        self.payload
    }

    /// Returns the topic of the message.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let flights = bus.subscribe("flight.*.LAX")?;
    /// bus.publish("flight.JFK.LAX", 1)?;
    /// let message = flights.recv()?;
    /// assert_eq!(message.topic().tokens().nth(1), Some("JFK")); // what the `*` stood for
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Returns the number of messages that this mailbox lost between the one before and this one.
    ///
    /// Always 0 for [`Overflow::Block`](crate::Overflow::Block), unless publishers chose not to wait, or a handler
    /// published into the full mailbox that only it drains. While something is published the number may appear a message
    /// earlier than the gap, with several publishers or readers also later; the sum is exact.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::new();
    /// let latest = bus.subscription("price").capacity(1).overflow(Overflow::DropOldest).open()?;
    /// for price in 1..=4 {
    ///     bus.publish("price", price)?;
    /// }
    /// let message = latest.recv()?;
    /// assert_eq!((*message, message.lost_before()), (4, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lost_before(&self) -> u64 {
        self.extras.as_ref().map_or(0, |extras| extras.lost_before)
    }

    /// What it has beside its payload and the right to answer it.
    pub(crate) fn properties(&self) -> Option<&Arc<Properties>> {
        self.extras.as_ref()?.properties()
    }

    /// The span in which it was published, if it carries that.
    pub(crate) fn published_in(&self) -> Option<&Carried> {
        self.properties()?.published_in.as_ref()
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.properties().is_some_and(|properties| properties.is_expired())
    }

    /// Returns the headers of the message, which a [`MessageBuilder`](crate::MessageBuilder) has set; a bare message has none.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.message("orders.new", 7).header("tenant", "acme").publish()?;
    /// bus.publish("orders.new", 8)?;
    /// assert_eq!(orders.recv()?.headers().get("tenant"), Some("acme"));
    /// assert!(orders.recv()?.headers().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn headers(&self) -> &Headers {
        Properties::headers(self.properties())
    }

    /// Returns `true` if the message is a request.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// bus.publish("double", 21)?;
    /// let _pending = bus.request("double", 21)?;
    /// assert!(!service.recv()?.is_request());
    /// assert!(service.recv()?.is_request());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_request(&self) -> bool {
        self.request().is_some()
    }

    /// Answers the request. Never waits.
    ///
    /// # Errors
    ///
    /// Hands the reply back: [`NotARequest`](RespondError::NotARequest) if the message was published, not requested;
    /// [`AlreadyAnswered`](RespondError::AlreadyAnswered) if another responder was first;
    /// [`Cancelled`](RespondError::Cancelled) if the caller has gone.
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
    /// request.reply(2 * *request)?;
    /// assert!(request.reply(0).unwrap_err().is_already_answered());
    /// assert_eq!(pending.wait()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reply(&self, reply: R) -> Result<(), RespondError<R>> {
        match self.request() {
            Some(responder) => responder.reply(reply),
            None => Err(RespondError::NotARequest(reply)),
        }
    }

    /// Answers the request with a failure: the caller gets [`ReplyError::Failed`](crate::ReplyError::Failed) with this
    /// string. Never waits.
    ///
    /// # Errors
    ///
    /// Returns the string: [`NotARequest`](RespondError::NotARequest) if the message was published, not requested;
    /// [`AlreadyAnswered`](RespondError::AlreadyAnswered) if another responder was first;
    /// [`Cancelled`](RespondError::Cancelled) if the caller has gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("divide")?;
    /// let pending = bus.request("divide", 0)?;
    /// service.recv()?.fail("by zero")?;
    /// assert_eq!(pending.wait().unwrap_err().to_string(), "the request failed: by zero");
    ///
    /// bus.publish("divide", 0)?;
    /// assert!(service.recv()?.fail("by zero").unwrap_err().is_not_a_request());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail(&self, why: impl Into<String>) -> Result<(), RespondError<String>> {
        match self.request() {
            Some(responder) => responder.fail(why),
            None => Err(RespondError::NotARequest(why.into())),
        }
    }

    /// A handler that did not promise an answer failed: tells the caller, if nobody else answers.
    pub(crate) fn give_up(&self, why: String) {
        if let Some(responder) = self.request() {
            responder.give_up(why);
        }
    }

    /// Returns the right to answer this request, to be used later and from any thread; `None` if it is not a request.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let pending = bus.request("double", 21)?;
    /// let responder = service.recv()?.responder().expect("it is a request");
    /// assert!(pending.try_take().is_none()); // the message is gone, the request is not
    /// responder.reply(42)?;
    /// assert_eq!(pending.wait()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn responder(&self) -> Option<Responder<R>> {
        self.request().map(Responder::another)
    }
}

impl<T, R> Deref for Message<T, R> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.payload
    }
}

impl<T, R> fmt::Debug for Message<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("lost_before", &self.lost_before())
            .field("request", &self.is_request())
            .finish_non_exhaustive()
    }
}
