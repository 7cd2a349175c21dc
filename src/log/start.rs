//! Where a reader begins.

use thiserror::Error;

use super::Log;
use crate::topic::TopicError;

/// The entry at which a reader of a [`Journal`](crate::Journal) begins.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Start};
///
/// let bus = Bus::<u32>::new();
/// let journal = bus.journal("tick").open()?;
/// for tick in 0..5 {
///     bus.publish("tick", tick)?;
/// }
/// let first = |start| Ok::<_, Box<dyn std::error::Error>>(journal.reader(start)?.try_recv().ok().map(|tick| *tick));
/// assert_eq!(first(Start::Oldest)?, Some(0));
/// assert_eq!(first(Start::Last(2))?, Some(3));
/// assert_eq!(first(Start::At(1))?, Some(1));
/// assert_eq!(first(Start::Next)?, None); // nothing was published since
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Start {
    /// The oldest entry that is kept.
    Oldest,
    /// The next entry that is appended.
    Next,
    /// The last so many entries, or all that are kept if those are fewer; `Last(0)` is `Next`.
    Last(usize),
    /// The entry of this offset, in this life of the journal. If that is not kept any more, the reader begins at the oldest that is, and its first entry
    /// reports how many are missing ([`Entry::lost_before`](crate::Entry::lost_before)).
    At(u64),
}

/// A reader or handler cannot begin.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Start, StartError};
///
/// let bus = Bus::<u32>::new();
/// let journal = bus.journal("tick").open()?;
/// let ahead = journal.reader(Start::At(7));
/// assert!(matches!(ahead, Err(StartError::Ahead { offset: 7, next: 0 })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no entry of this offset yet, and it is not the next.
    #[error("cannot begin at offset {offset}: the next entry has offset {next}")]
    Ahead {
        /// The offset that was asked for.
        offset: u64,
        /// The offset of the next entry.
        next: u64,
    },
    /// The string is not a valid pattern.
    #[error("cannot read only these topics: {0}")]
    Topic(TopicError),
    /// A thread for the handler cannot be spawned.
    #[error("cannot spawn a thread for the handler")]
    Thread(#[source] std::io::Error),
}

impl StartError {
    /// Returns `true` if the offset was beyond the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let journal = Bus::<u32>::new().journal("tick").open()?;
    /// assert!(journal.reader(Start::At(1)).unwrap_err().is_ahead());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_ahead(&self) -> bool {
        matches!(self, Self::Ahead { .. })
    }

    /// Returns `true` if the pattern was invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let journal = Bus::<u32>::new().journal("tick").open()?;
    /// let handler = journal.handler(Start::Next).only("tick..slow").handle(|_| {});
    /// assert!(handler.unwrap_err().is_invalid_topic());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_invalid_topic(&self) -> bool {
        matches!(self, Self::Topic(_))
    }

    /// Returns `true` if a thread for the handler cannot be spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::StartError;
    ///
    /// assert!(StartError::Thread(std::io::Error::other("too many threads")).is_thread_failure());
    /// ```
    pub fn is_thread_failure(&self) -> bool {
        matches!(self, Self::Thread(_))
    }
}

impl<T> Log<T> {
    /// The offset at which a reader begins when `next` is the next, and how many entries it misses by that.
    pub(super) fn resolve(&self, start: Start, next: u64) -> Result<(u64, u64), StartError> {
        let oldest = next.saturating_sub(self.capacity());
        let offset = match start {
            Start::Oldest => oldest,
            Start::Next => next,
            Start::Last(entries) => next.saturating_sub(u64::try_from(entries).unwrap_or(u64::MAX)).max(oldest),
            Start::At(offset) if offset > next => return Err(StartError::Ahead { offset, next }),
            Start::At(offset) => return Ok((offset.max(oldest), oldest.saturating_sub(offset))),
        };
        Ok((offset, 0))
    }
}
