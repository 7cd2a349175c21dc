//! Why a request was not sent, has no reply, or cannot be answered.

use std::fmt;

use thiserror::Error;

use super::PendingReply;
use crate::metadata::HeaderError;
use crate::topic::TopicError;

/// A request was not sent. Holds the payload.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, RequestError};
///
/// let bus = Bus::<&str>::new();
/// match bus.request("price.tea", "100 g") {
///     Err(RequestError::NoResponders(payload)) => assert_eq!(payload, "100 g"),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError<T> {
    /// The string is not a valid topic.
    #[error("cannot request: {0}")]
    Topic(TopicError, T),
    /// No mailbox took the request, so no responder can answer it: the topic has no subscription, or every mailbox was full
    /// and does not block.
    #[error("no mailbox took the request")]
    NoResponders(T),
    /// The bus is closed, or was closed while the request waited for room; the mailboxes that had room may have it.
    #[error("cannot request: the bus is closed")]
    Closed(T),
    /// A header of the message is invalid; nothing was sent.
    #[error("cannot request: {0}")]
    Header(HeaderError, T),
    /// The request has a [timeout](crate::MessageBuilder::timeout), and in that time no mailbox had room for it. A request that
    /// any mailbox took in time is a pending reply instead.
    #[error("no mailbox had room for the request in time")]
    Timeout(T),
}

impl<T> RequestError<T> {
    /// Returns the payload.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let error = bus.request("price.tea", "100 g".to_owned()).unwrap_err();
    /// assert!(error.is_no_responders());
    /// assert_eq!(error.into_inner(), "100 g");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Self::Topic(_, payload)
            | Self::NoResponders(payload)
            | Self::Closed(payload)
            | Self::Header(_, payload)
            | Self::Timeout(payload) => payload,
        }
    }

    /// Returns `true` if the topic was invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.gather("bids.>", 1).unwrap_err().is_invalid_topic());
    /// ```
    pub fn is_invalid_topic(&self) -> bool {
        matches!(self, Self::Topic(..))
    }

    /// Returns `true` if there was no responder.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let server = bus.serve("double", |n| 2 * **n)?;
    /// drop(server);
    /// assert!(bus.request("double", 21).unwrap_err().is_no_responders());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_no_responders(&self) -> bool {
        matches!(self, Self::NoResponders(_))
    }

    /// Returns `true` if the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _server = bus.serve("double", |n| 2 * **n)?;
    /// bus.close();
    /// assert!(bus.request("double", 21).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Returns `true` if a header was invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let error = bus.message("double", 21).header("", "acme").request().unwrap_err();
    /// assert!(error.is_invalid_header());
    /// assert_eq!(error.into_inner(), 21);
    /// ```
    pub fn is_invalid_header(&self) -> bool {
        matches!(self, Self::Header(..))
    }

    /// Returns `true` if no mailbox had room in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let _stuck = bus.subscription("double").capacity(1).open()?;
    /// let _first = bus.request("double", 21)?;
    /// let error = bus.message("double", 21).timeout(Duration::from_millis(1)).request().unwrap_err();
    /// assert!(error.is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

impl<T> fmt::Debug for RequestError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(error, _) => f.debug_tuple("Topic").field(error).finish_non_exhaustive(),
            Self::NoResponders(_) => f.write_str("NoResponders(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Header(error, _) => f.debug_tuple("Header").field(error).finish_non_exhaustive(),
            Self::Timeout(_) => f.write_str("Timeout(..)"),
        }
    }
}

/// A request has no reply, or none yet, see [`PendingReply`].
///
/// # Examples
///
/// ```
/// use tramline::{Bus, ReplyError};
///
/// let bus = Bus::<u32>::new();
/// let _server = bus.serve("halve", |n| {
///     assert!(**n % 2 == 0, "odd");
///     **n / 2
/// })?;
/// assert_eq!(bus.request("halve", 4)?.wait()?, 2);
/// match bus.request("halve", 3)?.wait() {
///     Err(ReplyError::Failed(why)) => assert_eq!(why, "its handler panicked: odd"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Error)]
#[non_exhaustive]
pub enum ReplyError<R> {
    /// The wait timed out; the pending reply can be waited on again. If the time of the request itself is over, see
    /// [`MessageBuilder::timeout`](crate::MessageBuilder::timeout), only a wait with a time of its own waits on.
    #[error("no reply came in time")]
    Timeout(PendingReply<R>),
    /// Every copy of the request is gone, and none was answered.
    #[error("the request was dropped without an answer")]
    Unanswered,
    /// The responder gave up, or its handler panicked; the string is the reason.
    #[error("the request failed: {0}")]
    Failed(String),
    /// The bus was closed first.
    #[error("the bus was closed before a reply came")]
    Closed,
}

impl<R> ReplyError<R> {
    /// Returns the pending reply of a timeout, to be waited on again; `None` otherwise.
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

    /// Returns `true` if the wait timed out.
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

    /// Returns `true` if every copy of the request is gone without an answer.
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

    /// Returns `true` if the responder failed.
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

    /// Returns `true` if the bus was closed.
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

impl<R> fmt::Debug for ReplyError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(_) => f.write_str("Timeout(..)"),
            Self::Unanswered => f.write_str("Unanswered"),
            Self::Failed(text) => f.debug_tuple("Failed").field(text).finish(),
            Self::Closed => f.write_str("Closed"),
        }
    }
}

/// A reply was not taken. Holds the reply.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, RespondError};
///
/// let bus = Bus::<u32, String>::builder().build();
/// let (fast, slow) = (bus.subscribe("double")?, bus.subscribe("double")?);
/// let _pending = bus.request("double", 21)?;
/// fast.recv()?.reply("42".to_owned())?;
/// match slow.recv()?.reply("forty-two".to_owned()) {
///     Err(RespondError::AlreadyAnswered(reply)) => assert_eq!(reply, "forty-two"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RespondError<R> {
    /// The message was published, not requested: no caller waits for a reply.
    #[error("the message is not a request")]
    NotARequest(R),
    /// Another responder was first.
    #[error("the request was already answered")]
    AlreadyAnswered(R),
    /// The caller has gone.
    #[error("the request was cancelled")]
    Cancelled(R),
}

impl<R> RespondError<R> {
    /// Returns the reply that was not taken.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", "tea".to_owned())?;
    /// let error = orders.recv()?.reply("thanks".to_owned()).unwrap_err();
    /// assert_eq!(error.into_inner(), "thanks");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> R {
        match self {
            Self::NotARequest(reply) | Self::AlreadyAnswered(reply) | Self::Cancelled(reply) => reply,
        }
    }

    /// Applies `f` to the value, and keeps why it was not taken.
    pub(super) fn try_map<A>(self, f: impl FnOnce(R) -> Option<A>) -> Option<RespondError<A>> {
        Some(match self {
            Self::NotARequest(value) => RespondError::NotARequest(f(value)?),
            Self::AlreadyAnswered(value) => RespondError::AlreadyAnswered(f(value)?),
            Self::Cancelled(value) => RespondError::Cancelled(f(value)?),
        })
    }

    /// Returns `true` if the message was not a request.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// bus.publish("double", 21)?;
    /// assert!(service.recv()?.reply(42).unwrap_err().is_not_a_request());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_not_a_request(&self) -> bool {
        matches!(self, Self::NotARequest(_))
    }

    /// Returns `true` if another responder was first.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let service = bus.subscribe("double")?;
    /// let _pending = bus.request("double", 21)?;
    /// let request = service.recv()?;
    /// request.fail("cannot")?; // an answer too
    /// assert!(request.reply(42).unwrap_err().is_already_answered());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_already_answered(&self) -> bool {
        matches!(self, Self::AlreadyAnswered(_))
    }

    /// Returns `true` if the caller has gone.
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

impl<R> fmt::Debug for RespondError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotARequest(_) => "NotARequest(..)",
            Self::AlreadyAnswered(_) => "AlreadyAnswered(..)",
            Self::Cancelled(_) => "Cancelled(..)",
        })
    }
}

/// There is no reply from the next responder, see [`Replies::next_timeout`](crate::Replies::next_timeout).
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
/// one.recv()?.fail("no money")?;
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
    /// Returns `true` if the wait timed out.
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

    /// Returns `true` if one responder dropped the request without an answer.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let silent = bus.subscribe("bid")?;
    /// let bids = bus.gather("bid", 1)?;
    /// drop(silent); // and the request in its mailbox
    /// assert!(bids.next_timeout(std::time::Duration::ZERO).unwrap_err().is_unanswered());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Unanswered)
    }

    /// Returns `true` if one responder failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let poor = bus.subscribe("bid")?;
    /// let bids = bus.gather("bid", 1)?;
    /// poor.recv()?.fail("no money")?;
    /// assert!(bids.next_timeout(std::time::Duration::ZERO).unwrap_err().is_failed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Returns `true` if this was the outcome of one responder, so that more may come.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let (poor, rich) = (bus.subscribe("bid")?, bus.subscribe("bid")?);
    /// let bids = bus.gather("bid", 1)?;
    /// poor.recv()?.fail("no money")?;
    /// rich.recv()?.reply(42)?;
    /// assert!(bids.next_timeout(std::time::Duration::ZERO).unwrap_err().is_outcome());
    /// assert_eq!(bids.next_timeout(std::time::Duration::ZERO)?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_outcome(&self) -> bool {
        matches!(self, Self::Unanswered | Self::Failed(_))
    }

    /// Returns `true` if no more outcomes come.
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
