//! The errors of the bus, one enum per operation.
//!
//! An operation that was given a value hands it back when it fails. The errors of requests live in `request`, `reply`
//! and `gather`, beside the handles that they are about.

use std::fmt;

use thiserror::Error;

/// A text is no topic or no pattern.
///
/// # Examples
///
/// ```
/// use tramline::{InvalidToken, Topic, TopicError};
///
/// assert_eq!(Topic::new(""), Err(TopicError::Empty));
/// assert!(matches!(Topic::new("x".repeat(5000)), Err(TopicError::TooLong { length: 5000, .. })));
/// match Topic::new("orders.n ew") {
///     Err(TopicError::Token { token, position, reason, .. }) => {
///         assert_eq!((token, position, reason), (2, 7, InvalidToken::Character(' ')));
///     }
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The text is empty.
    #[error("a topic needs at least one token, the text is empty")]
    Empty,
    /// The text is longer than a topic may be.
    #[error("the topic has {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// The length of the text in bytes.
        length: usize,
        /// The most bytes a topic may have.
        limit: usize,
    },
    /// The text has more tokens than a topic may have.
    #[error("the topic has {tokens} tokens, at most {limit} are allowed")]
    TooManyTokens {
        /// The number of tokens in the text.
        tokens: usize,
        /// The most tokens a topic may have.
        limit: usize,
    },
    /// One token is wrong.
    #[error("token {token} of `{}`, at byte {position}, {reason}", text.escape_debug())]
    Token {
        /// The whole text.
        text: String,
        /// Which token is wrong; the first is 1.
        token: usize,
        /// Where that token begins: a byte offset into the text; the first byte is 0.
        position: usize,
        /// What is wrong with it.
        reason: InvalidToken,
    },
}

impl TopicError {
    /// Whether the text was empty.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(tramline::Topic::new("").unwrap_err().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the text was too long, in bytes or in tokens.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(tramline::Topic::new("a.".repeat(300) + "a").unwrap_err().is_too_long());
    /// ```
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::TooManyTokens { .. })
    }

    /// Whether one token was wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(tramline::Topic::new("orders..new").unwrap_err().is_invalid_token());
    /// ```
    pub fn is_invalid_token(&self) -> bool {
        matches!(self, Self::Token { .. })
    }
}

/// What is wrong with one token of a topic or pattern, see [`TopicError::Token`].
///
/// # Examples
///
/// ```
/// use tramline::{InvalidToken, Pattern, Topic, TopicError};
///
/// let wrong = |error| match error {
///     TopicError::Token { reason, .. } => reason,
///     other => panic!("{other}"),
/// };
/// assert_eq!(wrong(Topic::new("orders..new").unwrap_err()), InvalidToken::Empty);
/// assert_eq!(wrong(Topic::new("orders.*").unwrap_err()), InvalidToken::Wildcard);
/// assert_eq!(wrong(Pattern::new("orders.>.new").unwrap_err()), InvalidToken::RestNotLast);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidToken {
    /// It has no characters.
    Empty,
    /// It holds this white space or control character.
    Character(char),
    /// It is `*` or `>` where a topic is wanted: only patterns have wildcards.
    Wildcard,
    /// It is `>` with more tokens behind it.
    RestNotLast,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Character(character) => {
                write!(f, "holds {character:?}: white space and control characters are not allowed")
            }
            Self::Wildcard => f.write_str("is a wildcard, which only a pattern may have"),
            Self::RestNotLast => f.write_str("is `>`, which may only stand last"),
        }
    }
}

/// A subscription could not be made.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, SubscribeError};
///
/// let bus = Bus::<u32>::new();
/// let no_room = bus.subscription("orders").capacity(0).open();
/// assert!(matches!(no_room, Err(SubscribeError::Capacity { capacity: 0, .. })));
///
/// let _one = bus.subscription("jobs").group("workers").open()?;
/// let differs = bus.subscription("jobs").group("workers").with_retained().open();
/// assert!(matches!(differs, Err(SubscribeError::Group { option: "retained", .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The text is no pattern.
    #[error("cannot subscribe: {0}")]
    Topic(TopicError),
    /// The bus is closed.
    #[error("cannot subscribe: the bus is closed")]
    Closed,
    /// The capacity is zero or beyond the largest mailbox.
    #[error("cannot subscribe with a capacity of {capacity}: it must be from 1 to {limit}")]
    Capacity {
        /// The capacity that was asked for, in messages.
        capacity: usize,
        /// The largest capacity of a mailbox, in messages.
        limit: usize,
    },
    /// The number of workers is zero or beyond what one handler may have.
    #[error("cannot run a handler on {workers} threads: it must be from 1 to {limit}")]
    Workers {
        /// The number of workers that was asked for.
        workers: usize,
        /// The most workers one handler may have.
        limit: usize,
    },
    /// The group exists and its mailbox has other options.
    #[error("cannot join group `{group}`: its {option} is {existing}, not {requested}")]
    Group {
        /// The name of the group.
        group: String,
        /// The option that differs.
        option: &'static str,
        /// What the group has.
        existing: String,
        /// What the new member asked for.
        requested: String,
    },
    /// The operating system did not give the handler a thread.
    #[error("cannot start a thread for the handler")]
    Thread(#[source] std::io::Error),
}

impl From<TopicError> for SubscribeError {
    fn from(error: TopicError) -> Self {
        Self::Topic(error)
    }
}

impl SubscribeError {
    /// Whether the capacity was out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.subscription("orders").capacity(0).open().unwrap_err().is_invalid_capacity());
    /// ```
    pub fn is_invalid_capacity(&self) -> bool {
        matches!(self, Self::Capacity { .. })
    }

    /// Whether the number of workers was out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.subscription("orders").workers(0).handle(|_| {}).unwrap_err().is_invalid_workers());
    /// ```
    pub fn is_invalid_workers(&self) -> bool {
        matches!(self, Self::Workers { .. })
    }

    /// Whether the group has other options.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _one = bus.subscription("jobs").group("g").open()?;
    /// assert!(bus.subscription("jobs").group("g").capacity(1).open().unwrap_err().is_group_mismatch());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_group_mismatch(&self) -> bool {
        matches!(self, Self::Group { .. })
    }

    /// Whether the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.close();
    /// assert!(bus.subscribe("orders.new").unwrap_err().is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether the pattern was invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.subscribe("orders.>.new").unwrap_err().is_invalid_topic());
    /// ```
    pub fn is_invalid_topic(&self) -> bool {
        matches!(self, Self::Topic(_))
    }
}

/// A message was not published, or not to every mailbox. Holds the payload.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::{Bus, PublishError};
///
/// let bus = Bus::<u32>::new();
/// let _slow = bus.subscription("work").capacity(1).open()?;
/// bus.publish("work", 1)?;
/// match bus.publish_timeout("work", 2, Duration::from_millis(1)) {
///     Err(PublishError::Timeout(payload)) => assert_eq!(payload, 2),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError<T> {
    /// The text is no topic; nothing was delivered.
    #[error("cannot publish: {0}")]
    Topic(TopicError, T),
    /// The bus is closed, or was closed while the message waited for room.
    #[error("cannot publish: the bus is closed")]
    Closed(T),
    /// Some mailbox stayed full until the time was over. The mailboxes that had room have the message.
    #[error("a full mailbox did not take the message in time")]
    Timeout(T),
}

impl<T> PublishError<T> {
    /// The payload that was to be published.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// bus.close();
    /// let error = bus.publish("orders.new", "tea".to_owned()).unwrap_err();
    /// assert!(error.is_closed());
    /// assert_eq!(error.into_inner(), "tea");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Self::Topic(_, payload) | Self::Closed(payload) | Self::Timeout(payload) => payload,
        }
    }

    /// Whether the topic was invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.publish("orders.*", 1).unwrap_err().is_invalid_topic()); // a wildcard is for subscriptions
    /// ```
    pub fn is_invalid_topic(&self) -> bool {
        matches!(self, Self::Topic(..))
    }

    /// Whether the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.publisher("orders.new")?;
    /// bus.close();
    /// assert!(orders.try_publish(1).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Whether the time was over.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _full = bus.subscription("work").capacity(1).open()?;
    /// bus.fire("work", 1);
    /// assert!(bus.publish_timeout("work", 2, std::time::Duration::ZERO).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

impl<T> fmt::Debug for PublishError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(error, _) => f.debug_tuple("Topic").field(error).finish_non_exhaustive(),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Timeout(_) => f.write_str("Timeout(..)"),
        }
    }
}

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
    /// The text is no topic.
    #[error("cannot request: {0}")]
    Topic(TopicError, T),
    /// No mailbox took the request, so nobody can answer it: nobody subscribes to the topic, or all who do were full
    /// and do not block.
    #[error("no mailbox took the request")]
    NoResponders(T),
    /// The bus is closed, or was closed while the request waited for room.
    #[error("cannot request: the bus is closed")]
    Closed(T),
}

impl<T> RequestError<T> {
    /// The payload that was to be sent.
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
            Self::Topic(_, payload) | Self::NoResponders(payload) | Self::Closed(payload) => payload,
        }
    }

    /// Whether the topic was invalid.
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

    /// Whether there was nobody to answer.
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

    /// Whether the bus was closed.
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
}

impl<T> fmt::Debug for RequestError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(error, _) => f.debug_tuple("Topic").field(error).finish_non_exhaustive(),
            Self::NoResponders(_) => f.write_str("NoResponders(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}

/// No message will come any more, see [`Subscriber::recv`](crate::Subscriber::recv).
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Overflow, RecvError};
///
/// let bus = Bus::<u32>::new();
/// let patient = bus.subscribe("tick")?;
/// let strict = bus.subscription("tick").capacity(1).overflow(Overflow::Disconnect).open()?;
/// bus.publish("tick", 1)?;
/// bus.publish("tick", 2)?; // one too many for `strict`
/// drop(bus);
/// assert!(matches!(patient.iter().last(), Some(tick) if *tick == 2));
/// assert!(matches!(patient.recv(), Err(RecvError::Closed)));
/// assert!(matches!(strict.iter().last(), Some(tick) if *tick == 1));
/// assert!(matches!(strict.recv(), Err(RecvError::Overflowed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The bus is closed and the mailbox is drained.
    #[error("the bus is closed and the mailbox is drained")]
    Closed,
    /// The mailbox ran over under [`Overflow::Disconnect`](crate::Overflow::Disconnect), and is drained.
    #[error("the mailbox ran over and was disconnected")]
    Overflowed,
}

impl RecvError {
    /// Whether the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// drop(bus); // the last handle
    /// assert!(orders.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether the mailbox ran over.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::builder().capacity(1).overflow(Overflow::Disconnect).build();
    /// let ticks = bus.subscribe("tick")?;
    /// (1..=3).for_each(|tick| bus.fire("tick", tick));
    /// assert_eq!(*ticks.recv()?, 1);
    /// assert!(ticks.recv().unwrap_err().is_overflowed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_overflowed(&self) -> bool {
        matches!(self, Self::Overflowed)
    }
}

/// There is no message now, see [`Subscriber::try_recv`](crate::Subscriber::try_recv).
///
/// # Examples
///
/// ```
/// use tramline::{Bus, RecvError, TryRecvError};
///
/// let bus = Bus::<u32>::new();
/// let orders = bus.subscribe("orders.new")?;
/// assert!(matches!(orders.try_recv(), Err(TryRecvError::Empty)));
/// bus.close();
/// assert!(matches!(orders.try_recv(), Err(TryRecvError::Closed)));
/// assert_eq!(TryRecvError::from(RecvError::Closed), TryRecvError::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The mailbox is empty.
    #[error("the mailbox is empty")]
    Empty,
    /// The bus is closed and the mailbox is drained.
    #[error("the bus is closed and the mailbox is drained")]
    Closed,
    /// The mailbox ran over under [`Overflow::Disconnect`](crate::Overflow::Disconnect), and is drained.
    #[error("the mailbox ran over and was disconnected")]
    Overflowed,
}

impl TryRecvError {
    /// Whether the mailbox was empty; a message may come later.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// assert!(orders.try_recv().unwrap_err().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.close();
    /// assert!(bus.dead_letters().try_recv().unwrap_err().is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether the mailbox ran over.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::builder().capacity(1).overflow(Overflow::Disconnect).build();
    /// let ticks = bus.subscribe("tick")?;
    /// (1..=2).for_each(|tick| bus.fire("tick", tick));
    /// assert_eq!(*ticks.try_recv()?, 1);
    /// assert!(ticks.try_recv().unwrap_err().is_overflowed()); // and not `is_empty`
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_overflowed(&self) -> bool {
        matches!(self, Self::Overflowed)
    }
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Overflowed => Self::Overflowed,
        }
    }
}

/// No message came in time, see [`Subscriber::recv_timeout`](crate::Subscriber::recv_timeout).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::{Bus, RecvTimeoutError};
///
/// let bus = Bus::<u32>::new();
/// let orders = bus.subscribe("orders.new")?;
/// let soon = Duration::from_millis(1);
/// assert!(matches!(orders.recv_timeout(soon), Err(RecvTimeoutError::Timeout)));
/// bus.close();
/// assert!(matches!(orders.recv_timeout(soon), Err(RecvTimeoutError::Closed))); // at once
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// The time was over; a message may come later.
    #[error("no message came in time")]
    Timeout,
    /// The bus is closed and the mailbox is drained.
    #[error("the bus is closed and the mailbox is drained")]
    Closed,
    /// The mailbox ran over under [`Overflow::Disconnect`](crate::Overflow::Disconnect), and is drained.
    #[error("the mailbox ran over and was disconnected")]
    Overflowed,
}

impl RecvTimeoutError {
    /// Whether the time was over; a message may come later.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// assert!(orders.recv_timeout(std::time::Duration::ZERO).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Whether the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.close();
    /// assert!(orders.recv_timeout(std::time::Duration::MAX).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether the mailbox ran over.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::builder().capacity(1).overflow(Overflow::Disconnect).build();
    /// let ticks = bus.subscribe("tick")?;
    /// (1..=2).for_each(|tick| bus.fire("tick", tick));
    /// assert_eq!(*ticks.recv_timeout(Duration::from_secs(5))?, 1);
    /// assert!(ticks.recv_timeout(Duration::from_secs(5)).unwrap_err().is_overflowed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_overflowed(&self) -> bool {
        matches!(self, Self::Overflowed)
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Overflowed => Self::Overflowed,
        }
    }
}
