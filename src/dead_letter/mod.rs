//! Dead letters: what could not be delivered or handled, for whoever wants to know.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::counters::Loss;
use crate::lifecycle::{BusId, Lifecycle};
use crate::metadata::{Headers, Properties};
use crate::topic::{Pattern, Topic};

mod error;
mod losses;
mod quiet;
mod reader;
#[cfg(feature = "async")]
mod tasks;
#[cfg(feature = "testkit")]
mod watch;

pub use error::RetryError;
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
    /// Its time was over before a subscriber or handler took it out of the mailbox, see
    /// [`expires_after`](crate::MessageBuilder::expires_after).
    Expired,
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
            Self::Expired => Some(Loss::Expired),
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
            Self::Expired => f.write_str("it expired before it was taken out of a mailbox"),
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
    properties: Option<Arc<Properties>>,
    /// `None` if nobody wanted it.
    recipient: Option<Recipient>,
    /// `None` in the queue of a reader.
    origin: Option<Origin<T>>,
}

/// The handler or subscriber that a message was for.
#[derive(Clone)]
pub(crate) struct Recipient {
    /// The number of its mailbox.
    pub(crate) mailbox: u64,
    /// Its name, if it is a handler.
    pub(crate) handler: Option<String>,
    /// Its pattern that matches the topic.
    pub(crate) pattern: Option<Pattern>,
    /// Its offset in the journal that the handler reads.
    pub(crate) offset: Option<u64>,
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
    fn republish(&self, topic: &Topic, outgoing: Again<T>) -> Result<(usize, usize), T>;

    /// Puts the message into this mailbox, and waits for room if that blocks and the caller may wait.
    fn retry(&self, mailbox: u64, topic: &Topic, outgoing: Again<T>, may_wait: bool) -> Result<(), NotRetried<T>>;
}

/// A message that is published again.
pub(crate) struct Again<T> {
    pub(crate) payload: T,
    pub(crate) properties: Option<Arc<Properties>>,
    /// Its offset, if it goes back to the handler of a journal.
    pub(crate) offset: Option<u64>,
}

/// Why a mailbox has not got a letter again, with the payload.
pub(crate) enum NotRetried<T> {
    Gone(T),
    Full(T),
    Closed(T),
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
    pub(crate) fn new(topic: Topic, payload: T, reason: DeadLetterReason, properties: Option<Arc<Properties>>) -> Self {
        let attempts = properties.as_ref().map_or(0, |properties| properties.attempts);
        Self { topic, payload, reason, attempts, properties, recipient: None, origin: None }
    }

    /// It was for this one.
    pub(crate) fn to(self, recipient: Recipient) -> Self {
        Self { recipient: Some(recipient), ..self }
    }

    /// A handler has tried this often, since the message was last put into its mailbox.
    pub(crate) fn after(self, attempts: u32) -> Self {
        Self { attempts: self.attempts.saturating_add(attempts), ..self }
    }

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
                let properties = self.properties.and_then(|properties| properties.to_publish_again());
                bus.republish(&self.topic, Again { payload: self.payload, properties, offset: None })
            }
            None => Err(self.payload),
        }
    }

    /// Delivers the message once more, to the handler or subscriber whose letter this is and to no other, as if it came from
    /// its mailbox.
    ///
    /// It is put at the end of that mailbox. If the mailbox is full and [blocks](crate::Overflow::Block), the call waits for
    /// room, and blocks its thread. A task, or a thread that must not wait, uses [`try_retry`](Self::try_retry). Letters that
    /// come meanwhile are kept up to the capacity of the [reader](DeadLetters).
    ///
    /// A mailbox that does not block does what its policy says: [`DropOldest`](crate::Overflow::DropOldest) evicts a newer
    /// message, without a letter for that one, and [`Disconnect`](crate::Overflow::Disconnect) ends the subscription.
    ///
    /// In a group any member may take the message. A filter is not asked again. Neither this call nor its failure makes a dead
    /// letter. A handler that fails on the message makes one, as it does for every message, and
    /// [`attempts`](Self::attempts) goes on counting: it includes the attempts of the handler's own
    /// [`Retry`](crate::Retry) policy. So a loop that retries can end:
    ///
    /// ```
    /// use tramline::Bus;
    ///
    /// let bus = Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let _printer = bus.subscription("print").name("printer").handle(|_| Err::<(), _>("no paper"))?;
    /// bus.publish("print", 7)?;
    /// let given_up = loop {
    ///     let letter = dead_letters.recv()?;
    ///     if letter.attempts() >= 3 {
    ///         break letter;
    ///     }
    ///     letter.retry()?;
    /// };
    /// assert_eq!(given_up.handler(), Some("printer"));
    /// assert_eq!(given_up.into_payload(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The message keeps its headers, and does not expire. What was a request is a message without a caller: the handler runs
    /// again, and its reply goes nowhere. Do not retry the letters of handlers that serve, unless that is what you want. A letter
    /// does not keep its bus open, except during the wait.
    ///
    /// # Errors
    ///
    /// With the letter: [`RetryError::Gone`] if the handler was stopped or the subscriber dropped, also during the wait, or if
    /// nobody wanted the message ([`Unheard`](DeadLetterReason::Unheard)). [`RetryError::Full`] if the mailbox is full and drops
    /// the message, or if the handler that reads the mailbox calls this, which would deadlock.
    /// [`RetryError::Closed`] if the bus is closed or gone, or is being drained and the caller is not one of its handlers.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    ///
    /// let bus = Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let mut paper = false;
    /// let _printer = bus.on("print", move |_| if std::mem::replace(&mut paper, true) { Ok(()) } else { Err("no paper") })?;
    /// let log = bus.subscribe("print")?;
    /// bus.publish("print", 7)?;
    ///
    /// dead_letters.recv()?.retry()?; // to the printer alone
    /// bus.publish("print", 8)?;
    /// assert_eq!(log.iter().take(2).map(|page| *page).collect::<Vec<_>>(), [7, 8]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry(self) -> Result<(), RetryError<T>> {
        self.deliver_again(true)
    }

    /// Delivers the message once more as [`retry`](Self::retry) does, but never waits.
    ///
    /// # Errors
    ///
    /// As [`retry`](Self::retry), and [`RetryError::Full`] whenever the mailbox is full.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let work = bus.subscription("work").capacity(1).open()?;
    /// bus.publish("work", 1)?;
    /// bus.fire("work", 2); // it is full
    ///
    /// let letter = dead_letters.recv()?.try_retry().unwrap_err(); // it still is
    /// assert!(letter.is_full());
    /// assert_eq!(*work.recv()?, 1);
    /// letter.into_inner().try_retry()?;
    /// assert_eq!(*work.recv()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_retry(self) -> Result<(), RetryError<T>> {
        self.deliver_again(false)
    }

    fn deliver_again(self, may_wait: bool) -> Result<(), RetryError<T>> {
        let Some(recipient) = &self.recipient else { return Err(RetryError::Gone(Box::new(self))) };
        let Some(bus) = self.origin.as_ref().and_then(|origin| origin.republish.upgrade()) else {
            return Err(RetryError::Closed(Box::new(self)));
        };
        self.mark_next_publish();
        let headers = Properties::headers(self.properties.as_ref()).clone();
        let properties = Some(Arc::new(Properties { headers, attempts: self.attempts, ..Properties::default() }));
        let (mailbox, offset) = (recipient.mailbox, recipient.offset);
        let Self { topic, payload, reason, attempts, properties: before, recipient, origin } = self;
        let again = Again { payload, properties, offset };
        let delivered = bus.retry(mailbox, &topic, again, may_wait);
        let letter =
            |payload| Box::new(Self { topic, payload, reason, attempts, properties: before, recipient, origin });
        delivered.map_err(|error| match error {
            NotRetried::Gone(payload) => RetryError::Gone(letter(payload)),
            NotRetried::Full(payload) => RetryError::Full(letter(payload)),
            NotRetried::Closed(payload) => RetryError::Closed(letter(payload)),
        })
    }

    /// Returns the headers of the message; a bare message has none.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.message("orders.nwe", 7).header("tenant", "acme").publish()?;
    /// assert_eq!(dead_letters.recv()?.headers().get("tenant"), Some("acme"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn headers(&self) -> &Headers {
        Properties::headers(self.properties.as_ref())
    }

    /// Returns the [name](crate::SubscriptionBuilder::name) of the handler that gave up on the message, or at whose mailbox it
    /// was lost. A handler without a name is called by its first pattern, so give handlers names of their own if letters are
    /// kept apart by handler. `None` for a subscriber, also if it has a name, and if nobody wanted the message.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let _printer = bus.subscription("print").name("printer").handle(|_| Err::<(), _>("no paper"))?;
    /// bus.publish("print", 7)?;
    /// bus.publish("copy", 7)?;
    /// let mut handlers: Vec<_> = dead_letters.iter().take(2).map(|letter| letter.handler().map(str::to_owned)).collect();
    /// handlers.sort();
    /// assert_eq!(handlers, [None, Some("printer".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handler(&self) -> Option<&str> {
        self.recipient.as_ref()?.handler.as_deref()
    }

    /// Returns the pattern of the subscription that the message was for, which matches its topic; `None` if nobody wanted it.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let _printer = bus.on("print.*", |_| Err::<(), _>("no paper"))?;
    /// bus.publish("print.page", 7)?;
    /// assert_eq!(dead_letters.recv()?.pattern().map(|pattern| pattern.as_str()), Some("print.*"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pattern(&self) -> Option<&Pattern> {
        self.recipient.as_ref()?.pattern.as_ref()
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

    /// How often a handler tried, [retries](Self::retry) of earlier letters of the message among them; 0 if none ever saw the
    /// message.
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
            .field("handler", &self.handler())
            .finish_non_exhaustive()
    }
}
