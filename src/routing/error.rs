//! Why a subscription cannot begin.

use thiserror::Error;

use crate::mailbox::Overflow;
use crate::topic::TopicError;

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
    /// The string is not a valid pattern.
    #[error("cannot subscribe: {0}")]
    Topic(TopicError),
    /// The bus is closed.
    #[error("cannot subscribe: the bus is closed")]
    Closed,
    /// The capacity is zero or beyond the largest mailbox.
    #[error("capacity must be between 1 and {limit}, got {capacity}")]
    Capacity {
        /// The capacity that was asked for, in messages.
        capacity: usize,
        /// The largest capacity of a mailbox, in messages.
        limit: usize,
    },
    /// The number of workers is zero or beyond what one handler may have.
    #[error("workers must be between 1 and {limit}, got {workers}")]
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
    /// A journal of this name exists and has other options.
    #[error("cannot open journal `{journal}`: its {option} is {existing}, not {requested}")]
    Journal {
        /// The name of the journal.
        journal: String,
        /// The option that differs.
        option: &'static str,
        /// What the journal has.
        existing: String,
        /// What was asked for.
        requested: String,
    },
    /// A journal cannot have this policy: its readers share the entries, so the newest cannot be dropped for one of them.
    #[error("a journal cannot have the overflow policy {0:?}")]
    JournalOverflow(Overflow),
    /// A thread for the handler cannot be spawned.
    #[error("cannot spawn a thread for the handler")]
    Thread(#[source] std::io::Error),
    /// An [observer](crate::SubscriptionBuilder::observer) was to serve requests, which it cannot answer.
    #[error("an observer cannot serve requests")]
    Observer,
}

impl From<TopicError> for SubscribeError {
    fn from(error: TopicError) -> Self {
        Self::Topic(error)
    }
}

impl SubscribeError {
    /// Returns `true` if the capacity was out of range.
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

    /// Returns `true` if the number of workers was out of range.
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

    /// Returns `true` if the group has other options.
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

    /// Returns `true` if the journal has other options.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _ticks = bus.journal("tick").name("ticks").open()?;
    /// assert!(bus.journal("tock").name("ticks").open().unwrap_err().is_journal_mismatch());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_journal_mismatch(&self) -> bool {
        matches!(self, Self::Journal { .. })
    }

    /// Returns `true` if the overflow policy is none for a journal.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::new();
    /// assert!(bus.journal("tick").overflow(Overflow::DropNewest).open().unwrap_err().is_journal_overflow());
    /// ```
    pub fn is_journal_overflow(&self) -> bool {
        matches!(self, Self::JournalOverflow(_))
    }

    /// Returns `true` if the bus was closed.
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

    /// Returns `true` if the pattern was invalid.
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

    /// Returns `true` if a thread for the handler cannot be spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::SubscribeError;
    ///
    /// let error = SubscribeError::Thread(std::io::Error::other("too many threads"));
    /// assert!(error.is_thread_failure());
    /// ```
    pub fn is_thread_failure(&self) -> bool {
        matches!(self, Self::Thread(_))
    }

    /// Returns `true` if an observer was to serve requests.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.subscription("double").observer().serve(|n| 2 * **n).unwrap_err().is_observer());
    /// ```
    pub fn is_observer(&self) -> bool {
        matches!(self, Self::Observer)
    }
}
