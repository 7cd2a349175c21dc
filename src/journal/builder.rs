//! The builder of journals.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Weak};

use super::{BusOfJournal, Journal, Shared};
use crate::bus::BusInner;
use crate::log::{Log, LogFilter, LogOptions, SyncLog};
use crate::mailbox::{MAX_CAPACITY, Overflow};
use crate::routing::SubscribeError;
use crate::topic::{Pattern, TopicError};

/// How many messages a journal keeps, unless it is told.
const CAPACITY: usize = 65_536;

/// Opens a journal, with options. Made by [`Bus::journal`](crate::Bus::journal).
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Overflow};
///
/// let bus = Bus::<u32>::new();
/// let trades = bus
///     .journal("trade.*")
///     .also("quote.*")
///     .capacity(1024)
///     .overflow(Overflow::DropOldest)
///     .filter(|amount| *amount > 0)
///     .name("trades")
///     .open()?;
/// assert_eq!((trades.name(), trades.capacity()), ("trades", 1024));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a journal begins with open"]
pub struct JournalBuilder<T, R = T> {
    inner: Arc<BusInner<T, R>>,
    patterns: Result<Vec<Pattern>, TopicError>,
    name: Option<String>,
    capacity: usize,
    overflow: Overflow,
    filter: Option<LogFilter<T>>,
    is_observer: bool,
}

impl<T, R> JournalBuilder<T, R>
where
    T: Clone + Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) fn new(inner: Arc<BusInner<T, R>>, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Self {
        Self {
            inner,
            patterns: pattern.try_into().map(|pattern| vec![pattern]).map_err(Into::into),
            name: None,
            capacity: CAPACITY,
            overflow: Overflow::Block,
            filter: None,
            is_observer: false,
        }
    }

    /// Also keeps the messages of the topics that match this pattern. A message that matches several patterns is kept once.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let journal = bus.journal("trade.*").also("trade.EU").open()?;
    /// assert_eq!(bus.publish("trade.EU", 1)?.delivered(), 1);
    /// assert_eq!(journal.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn also(mut self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Self {
        // The first error is the one to tell.
        if let Ok(patterns) = &mut self.patterns {
            match pattern.try_into() {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.patterns = Err(error.into()),
            }
        }
        self
    }

    /// Keeps the last `messages`, from 1 to 16,777,216. The default is 65,536, whatever the default of the bus is.
    ///
    /// The memory is taken in chunks as messages come.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.journal("tick").capacity(0).open().unwrap_err().is_invalid_capacity());
    /// assert_eq!(bus.journal("tick").capacity(8).open()?.capacity(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = messages;
        self
    }

    /// Says what happens when the journal is full of entries that a reader has not passed, see [`Journal`]. The default is
    /// [`Overflow::Block`], whatever that of the bus is.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").capacity(1).overflow(Overflow::Disconnect).open()?;
    /// let mut slow = journal.reader(Start::Oldest)?;
    /// bus.publish("tick", 1)?;
    /// bus.publish("tick", 2)?; // one too many for it
    /// assert_eq!(*slow.recv()?, 1);
    /// assert!(slow.recv().unwrap_err().is_overflowed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Keeps only the messages that the closure accepts. It runs on the publisher's thread, before the message is put
    /// anywhere; a panic in it rejects the message and is counted.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let even = bus.journal("number").filter(|number| number % 2 == 0).open()?;
    /// for number in 0..10 {
    ///     bus.publish("number", number)?;
    /// }
    /// assert_eq!(even.len(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter(mut self, f: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Box::new(f));
        self
    }

    /// Names the journal, for [`Bus::find_journal`](crate::Bus::find_journal), for those who open it again, and for drain reports,
    /// which call its bare readers by it. The default is the patterns, sorted and joined by a comma.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _ticks = bus.journal("tick.>").name("ticks").open()?;
    /// assert!(bus.find_journal("ticks").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Does not count the journal: [`Delivery::delivered`](crate::Delivery::delivered),
    /// [`is_unheard`](crate::Delivery::is_unheard) and the dead letter
    /// [`Unheard`](crate::DeadLetterReason::Unheard) are as if it were not there. For an audit of everything, on `>`.
    ///
    /// It still blocks: an audit that must never slow a publisher down is opened with
    /// [`Overflow::DropOldest`], and a capacity for the longest burst. A publisher whose time is over while it waits for
    /// journals that do not count has delivered its message: the loss is theirs.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let audit = bus.journal(">").observer().open()?;
    /// assert!(bus.publish("orders.nwe", 7)?.is_unheard()); // a slip of the pen
    /// assert_eq!(audit.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observer(mut self) -> Self {
        self.is_observer = true;
        self
    }

    /// Opens the journal, or returns a handle of the one that has this name.
    ///
    /// What was published before is not in it: it begins empty.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::Topic`] if a pattern is invalid; [`SubscribeError::Capacity`] if the capacity is out of range;
    /// [`SubscribeError::JournalOverflow`] for [`Overflow::DropNewest`]; [`SubscribeError::Journal`] if there is a journal of
    /// this name with other patterns or options, or with a filter, which cannot be compared ([`Bus::find_journal`](crate::Bus::find_journal)
    /// returns it); [`SubscribeError::Closed`] if the
    /// bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let one = bus.journal("tick").open()?;
    /// let two = bus.journal("tick").open()?; // the same
    /// bus.publish("tick", 1)?;
    /// assert_eq!((one.len(), two.len()), (1, 1));
    /// let other = bus.journal("tick").capacity(8).open().unwrap_err();
    /// assert_eq!(other.to_string(), "cannot open journal `tick`: its capacity is 65536, not 8");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self) -> Result<Journal<T>, SubscribeError> {
        if !(1..=MAX_CAPACITY).contains(&self.capacity) {
            return Err(SubscribeError::Capacity { capacity: self.capacity, limit: MAX_CAPACITY });
        }
        if self.overflow == Overflow::DropNewest {
            return Err(SubscribeError::JournalOverflow(self.overflow));
        }
        let mut patterns = self.patterns?;
        patterns.sort_unstable();
        patterns.dedup();
        let name = self.name.unwrap_or_else(|| patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(","));
        let options = LogOptions {
            patterns,
            name,
            capacity: self.capacity,
            overflow: self.overflow,
            is_observer: self.is_observer,
        };
        let inner = self.inner;
        let log = Arc::new(Log::new(options, self.filter, &inner.losses, &inner.lifecycle));
        let sink: Arc<dyn SyncLog<T>> = Arc::<Log<T>>::clone(&log);
        let shared = Arc::new(Shared { log, bus: Box::new(Arc::downgrade(&inner)) });
        let handle: Arc<dyn Any + Send + Sync> = Arc::<Shared<T>>::clone(&shared);
        match inner.open_journal(&sink, &handle)? {
            None => Ok(Journal { shared }),
            // It was opened by a bus of this type.
            Some(existing) => Ok(Journal::of_handle(existing).unwrap_or(Journal { shared })),
        }
    }
}

impl<T: Clone + Send + 'static, R: Send + 'static> BusOfJournal for Weak<BusInner<T, R>> {
    fn name(&self) -> Arc<str> {
        self.upgrade().map_or_else(|| Arc::from(""), |inner| inner.name.get())
    }

    fn close_journal(&self, id: u64) {
        if let Some(inner) = self.upgrade() {
            inner.close_journal(id);
        }
    }
}

impl<T, R> fmt::Debug for JournalBuilder<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalBuilder")
            .field("patterns", &self.patterns)
            .field("name", &self.name)
            .field("capacity", &self.capacity)
            .field("overflow", &self.overflow)
            .field("filter", &self.filter.is_some())
            .field("observer", &self.is_observer)
            .finish_non_exhaustive()
    }
}
