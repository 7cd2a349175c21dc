//! Dead letters: what could not be delivered or handled, for whoever wants to know.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::counters::Loss;
use crate::lifecycle::{BusId, Lifecycle};
use crate::topic::Topic;

mod losses;
mod quiet;
mod reader;
#[cfg(feature = "async")]
mod tasks;
#[cfg(feature = "testkit")]
mod watch;

pub(crate) use losses::Losses;
pub(crate) use quiet::{LetterPolicy, PublishScope};
pub use reader::{DeadLetterIter, DeadLetterTryIter, DeadLetters};
#[cfg(feature = "testkit")]
pub(crate) use watch::Watching;

/// Why a message became a dead letter.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, DeadLetterReason, Overflow};
///
/// let bus = Bus::<u32>::new();
/// let dead_letters = bus.dead_letters();
/// let _price = bus.subscription("price").capacity(1).overflow(Overflow::DropOldest).open()?;
/// let _log = bus.subscription("log").capacity(1).overflow(Overflow::DropNewest).open()?;
/// for topic in ["price", "price", "log", "log", "elsewhere"] {
///     bus.fire(topic, 1);
/// }
/// let reasons: Vec<_> = dead_letters.try_iter().map(|letter| letter.reason().clone()).collect();
/// assert_eq!(reasons, [DeadLetterReason::Evicted, DeadLetterReason::Full, DeadLetterReason::Unheard]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// No subscription wanted it.
    Unheard,
    /// A mailbox was full, and its policy or the publisher chose not to wait.
    Full,
    /// It was the oldest in a full mailbox with [`Overflow::DropOldest`](crate::Overflow::DropOldest).
    Evicted,
    /// It was one too many for a mailbox with [`Overflow::Disconnect`](crate::Overflow::Disconnect).
    Overflowed,
    /// A handler published it into the full mailbox that only the handler itself can drain.
    SelfDeadlock,
    /// The future that published it was dropped before the mailbox had room.
    Cancelled,
    /// A handler returned this error, and its retries were used up.
    Failed(String),
    /// A handler panicked with this message.
    Panicked(String),
}

impl DeadLetterReason {
    /// What a message that was dropped for this reason counts as; `None` if it was not dropped: then something else
    /// counts it.
    #[inline]
    pub(crate) fn loss(&self) -> Option<Loss> {
        match self {
            Self::Full => Some(Loss::Full),
            Self::Evicted => Some(Loss::Evicted),
            Self::Overflowed => Some(Loss::Overflowed),
            Self::SelfDeadlock => Some(Loss::SelfDeadlock),
            Self::Cancelled => Some(Loss::Cancelled),
            Self::Unheard | Self::Failed(_) | Self::Panicked(_) => None,
        }
    }

    /// What the span of a handler says of a message that it gave up on.
    pub(crate) fn outcome(&self) -> &'static str {
        if matches!(self, Self::Panicked(_)) { "panicked" } else { "failed" }
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unheard => f.write_str("no subscription wanted it"),
            Self::Full => f.write_str("a mailbox was full"),
            Self::Evicted => f.write_str("it was the oldest in a full mailbox"),
            Self::Overflowed => f.write_str("a mailbox ran over and was disconnected"),
            Self::SelfDeadlock => f.write_str("a handler published it into its own full mailbox"),
            Self::Cancelled => f.write_str("its publish was cancelled before there was room"),
            Self::Failed(error) => write!(f, "its handler failed: {error}"),
            Self::Panicked(panic) => write!(f, "its handler panicked: {panic}"),
        }
    }
}

/// A message that was not delivered, or not handled, and why.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, DeadLetterReason};
///
/// let bus = Bus::<&str>::new();
/// let dead_letters = bus.dead_letters();
/// let _printer = bus.on("print", |_| Err::<(), _>("no paper"))?;
/// bus.publish("print", "a page")?;
///
/// let letter = dead_letters.recv()?;
/// assert_eq!(letter.reason(), &DeadLetterReason::Failed("no paper".to_owned()));
/// assert_eq!(letter.reason().to_string(), "its handler failed: no paper");
/// assert_eq!((*letter.payload(), bus.stats().handler_failures), ("a page", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DeadLetter<T> {
    topic: Topic,
    payload: T,
    reason: DeadLetterReason,
    attempts: u32,
    /// `None` in the queue of a reader.
    origin: Option<Origin<T>>,
}

/// The bus of a letter. Keeps it neither open nor alive.
pub(crate) struct Origin<T> {
    bus: BusId,
    lifecycle: Weak<Lifecycle>,
    republish: Weak<dyn Republish<T>>,
}

/// A bus that publishes a letter again.
pub(crate) trait Republish<T>: Send + Sync {
    /// Publishes as `Bus::publish` does. Returns how many mailboxes took the message and how many messages were lost; or
    /// the payload, if the bus is closed.
    fn republish(&self, topic: &Topic, payload: T) -> Result<(usize, usize), T>;
}

impl<T> Origin<T> {
    pub(crate) fn new(lifecycle: &Arc<Lifecycle>, republish: Weak<dyn Republish<T>>) -> Self {
        Self { bus: lifecycle.id(), lifecycle: Arc::downgrade(lifecycle), republish }
    }
}

impl<T> Clone for Origin<T> {
    fn clone(&self) -> Self {
        Self { bus: self.bus, lifecycle: Weak::clone(&self.lifecycle), republish: Weak::clone(&self.republish) }
    }
}

impl<T> DeadLetter<T> {
    /// The topic on which the message was published.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.fire("orders.nwe", 7);
    /// assert_eq!(dead_letters.recv()?.topic(), &"orders.nwe"); // a slip of the pen
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The payload of the message.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.fire("nobody.listens", "tea".to_owned());
    /// let letter = dead_letters.recv()?;
    /// assert_eq!(format!("{}: {}", letter.topic(), letter.payload()), "nobody.listens: tea");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// Takes the payload out, to publish it again or for any other use.
    ///
    /// The first publish or request of this thread on the bus of the letter after this call makes no dead letters; it may
    /// come at any time, and to any topic, and uses that up also if it is delivered. To publish the message again to its own
    /// topic, [`republish`](Self::republish) does the same and leaves nothing behind: prefer it where there is a choice, and
    /// use [`payload`](Self::payload) to only look.
    ///
    /// This does not add up: after several calls one publish makes no letters, and of a `publish_all` the first payload. A
    /// `recv_async` that has to wait ends it.
    ///
    /// A publish of a task counts from the call of `publish_async`, not from its first poll. If the task awaits anything
    /// else between `into_payload` and that call, another task of the same thread may publish first.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.fire("orders.new", "tea".to_owned()); // too early
    /// let orders = bus.subscribe("orders.new")?;
    /// let letter = dead_letters.recv()?;
    /// bus.publish(letter.topic().clone(), letter.into_payload())?;
    /// assert_eq!(orders.recv()?.as_str(), "tea");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_payload(self) -> T {
        self.mark_next_publish();
        self.payload
    }

    fn mark_next_publish(&self) {
        if let Some(lifecycle) = self.origin.as_ref().and_then(|origin| origin.lifecycle.upgrade()) {
            quiet::mark_next_publish(&lifecycle);
        }
    }

    /// Publishes the payload to the topic again, without a letter; the payload comes back if the bus is closed or gone.
    pub(crate) fn republish_to(self) -> Result<(usize, usize), T> {
        match self.origin.as_ref().and_then(|origin| origin.republish.upgrade()) {
            Some(bus) => {
                self.mark_next_publish();
                bus.republish(&self.topic, self.payload)
            }
            None => Err(self.payload),
        }
    }

    /// Why the message ended here.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, DeadLetterReason};
    ///
    /// let bus = Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let _work = bus.subscription("work").capacity(1).open()?;
    /// bus.fire("work", 1);
    /// bus.fire("work", 2);
    /// assert_eq!(dead_letters.recv()?.reason(), &DeadLetterReason::Full);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reason(&self) -> &DeadLetterReason {
        &self.reason
    }

    /// How often a handler tried; 0 if none ever saw the message.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Retry};
    ///
    /// let bus = Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let printer = bus.subscription("print").retry(Retry::fixed(2, Duration::ZERO));
    /// let _printer = printer.handle(|_| Err::<(), _>("no paper"))?;
    /// bus.publish("print", 1)?;
    /// assert_eq!(dead_letters.recv()?.attempts(), 3); // the first, and two more
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl<T> fmt::Debug for DeadLetter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("topic", &self.topic)
            .field("reason", &self.reason)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
