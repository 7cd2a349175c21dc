//! Reading a journal.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Entry, OwnedEntry, Shared};
use crate::log::{Cursor, Look, Start, StartError};
use crate::message::{RecvError, RecvTimeoutError, TryRecvError};
use crate::sync::Instant;
use crate::topic::{Pattern, TopicError};

/// Reads the entries of a [`Journal`](crate::Journal), in order. Made by [`Journal::reader`](crate::Journal::reader).
///
/// What `recv` returns is borrowed from the reader: nothing is cloned. `Clone` reads on from the same place, on its own.
///
/// **Dropping it** lets publishers go on that wait for it. **While it is kept and does not read**, it stops the publishers of
/// a journal that [blocks](crate::Overflow::Block) as soon as that is full; do not publish into such a journal from the thread
/// that is to read it. **When the bus closes**, it reads what is kept, and then finds [`RecvError::Closed`]. It does not keep
/// the bus open.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Start};
///
/// let bus = Bus::<u32>::new();
/// let journal = bus.journal("tick").open()?;
/// let mut reader = journal.reader(Start::Next)?;
/// let publisher = bus.publisher("tick")?;
/// drop(bus);
/// let ticks = std::thread::spawn(move || (1..=3).try_for_each(|tick| publisher.publish(tick).map(drop)));
/// let mut sum = 0;
/// while let Ok(tick) = reader.recv() {
///     sum += *tick;
/// }
/// assert_eq!(sum, 6);
/// # let _ = ticks.join();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a reader that is dropped reads nothing: keep it in a variable"]
pub struct JournalReader<T> {
    cursor: Cursor<T>,
    shared: Arc<Shared<T>>,
}

impl<T> JournalReader<T> {
    pub(super) fn new(cursor: Cursor<T>, shared: &Arc<Shared<T>>) -> Self {
        Self { cursor, shared: Arc::clone(shared) }
    }

    /// The entry that a look has shown.
    #[inline(always)]
    fn entry(&mut self, index: usize) -> Entry<'_, T> {
        let lost = self.cursor.take_lost();
        match self.cursor.entry(index) {
            Some(entry) => Entry::new(entry, lost),
            None => unreachable!("a look has shown it"),
        }
    }

    /// Waits for the next entry.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the bus is closed and all is read; [`RecvError::Overflowed`] when the reader was overrun under
    /// [`Overflow::Disconnect`](crate::Overflow::Disconnect), after what it could still read.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// let mut reader = journal.reader(Start::Oldest)?;
    /// bus.publish("tick", 7)?;
    /// bus.close();
    /// assert_eq!(*reader.recv()?, 7);
    /// assert!(reader.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn recv(&mut self) -> Result<Entry<'_, T>, RecvError> {
        loop {
            match self.cursor.look() {
                Look::At(index) => return Ok(self.entry(index)),
                Look::Nothing => _ = self.cursor.wait(None, None, || false),
                Look::Skipped => {}
                Look::Closed => return Err(RecvError::Closed),
                Look::Overflowed => return Err(RecvError::Overflowed),
            }
        }
    }

    /// Reads the next entry if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if there is none now; otherwise as [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let mut reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
    /// assert!(reader.try_recv().unwrap_err().is_empty());
    /// bus.publish("tick", 7)?;
    /// assert_eq!(*reader.try_recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_recv(&mut self) -> Result<Entry<'_, T>, TryRecvError> {
        let mut end = None;
        loop {
            match self.cursor.look() {
                Look::At(index) => return Ok(self.entry(index)),
                Look::Nothing => return Err(TryRecvError::Empty),
                // To what is there now, and no further.
                Look::Skipped if self.offset() < *end.get_or_insert(self.cursor.log().next_offset()) => {}
                Look::Skipped => return Err(TryRecvError::Empty),
                Look::Closed => return Err(TryRecvError::Closed),
                Look::Overflowed => return Err(TryRecvError::Overflowed),
            }
        }
    }

    /// Waits for the next entry, at most this long.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came in time; otherwise as [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let mut reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
    /// assert!(reader.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Entry<'_, T>, RecvTimeoutError> {
        // A time beyond the end of the clock is no limit.
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// Waits for the next entry, at most until this instant.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let mut reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
    /// bus.publish("tick", 7)?;
    /// let deadline = Instant::now() + Duration::from_millis(1); // for all that come
    /// let mut seen = Vec::new();
    /// while let Ok(tick) = reader.recv_deadline(deadline) {
    ///     seen.push(*tick);
    /// }
    /// assert_eq!(seen, [7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Entry<'_, T>, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<Entry<'_, T>, RecvTimeoutError> {
        let mut in_time = true;
        loop {
            match self.cursor.look() {
                Look::At(index) => return Ok(self.entry(index)),
                Look::Nothing if in_time => {
                    in_time = self.cursor.wait(None, deadline, || false)
                        && deadline.is_none_or(|deadline| Instant::now() < deadline);
                }
                Look::Skipped if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                Look::Nothing | Look::Skipped => return Err(RecvTimeoutError::Timeout),
                Look::Closed => return Err(RecvTimeoutError::Closed),
                Look::Overflowed => return Err(RecvTimeoutError::Overflowed),
            }
        }
    }

    /// Reads only the entries whose topic matches this pattern from now on, and skips the others.
    ///
    /// Offsets, [`lag`](Self::lag) and [`lost_before`](Entry::lost_before) count all entries, those that are skipped too. What it
    /// has not skipped yet fills the journal like anything else.
    ///
    /// # Errors
    ///
    /// [`TopicError`] if the pattern is invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("trade.>").open()?;
    /// bus.publish("trade.US.shares", 1)?;
    /// bus.publish("trade.EU.shares", 2)?;
    /// let mut eu = journal.reader(Start::Oldest)?.only("trade.EU.*")?;
    /// let entry = eu.recv()?;
    /// assert_eq!((entry.offset(), *entry), (1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn only(mut self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Result<Self, TopicError> {
        self.cursor.read_only(pattern.try_into().map_err(Into::into)?);
        Ok(self)
    }

    /// Returns the offset of the entry that it reads next.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let mut reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
    /// bus.publish("tick", 7)?;
    /// assert_eq!(reader.recv()?.offset(), 0);
    /// assert_eq!(reader.offset(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn offset(&self) -> u64 {
        self.cursor.offset()
    }

    /// Returns how many entries it is behind: those from its next up to the journal's last, also if some of them were
    /// overwritten or will be skipped.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
    /// bus.publish("tick", 7)?;
    /// assert_eq!(reader.lag(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lag(&self) -> u64 {
        self.cursor.log().next_offset().saturating_sub(self.cursor.offset())
    }

    /// Goes on from there: forward, or back to what is still kept.
    ///
    /// A reader that has ended, because it was overrun or the bus is closed, goes on too. Losses that it has not reported yet are
    /// forgotten. Publishers that wait for it may go on, or wait again.
    ///
    /// # Errors
    ///
    /// [`StartError::Ahead`] if the offset of [`Start::At`] is beyond the next: then it stays where it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let mut reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
    /// (0..3).try_for_each(|tick| bus.publish("tick", tick).map(drop))?;
    /// reader.seek(Start::Last(1))?;
    /// assert_eq!(*reader.recv()?, 2);
    /// reader.seek(Start::At(0))?; // once more from the beginning
    /// assert_eq!(*reader.recv()?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seek(&mut self, start: Start) -> Result<(), StartError> {
        self.cursor.seek(start)
    }
}

impl<T: Clone> JournalReader<T> {
    /// Returns an iterator over clones of the entries, which waits for each and ends when [`recv`](Self::recv) has an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let mut reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
    /// (0..3).try_for_each(|tick| bus.publish("tick", tick).map(drop))?;
    /// drop(bus);
    /// assert_eq!(reader.iter().map(|tick| *tick).sum::<u32>(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&mut self) -> JournalIter<'_, T> {
        JournalIter(self)
    }

    /// Returns an iterator over clones of the entries that are there, which does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let mut reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
    /// (0..3).try_for_each(|tick| bus.publish("tick", tick).map(drop))?;
    /// assert_eq!(reader.try_iter().count(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_iter(&mut self) -> JournalTryIter<'_, T> {
        JournalTryIter(self)
    }
}

impl<T> Clone for JournalReader<T> {
    fn clone(&self) -> Self {
        Self { cursor: self.cursor.another(), shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for JournalReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalReader")
            .field("journal", &self.cursor.log().options.name)
            .field("offset", &self.offset())
            .field("lag", &self.lag())
            .finish_non_exhaustive()
    }
}

/// An iterator that waits, see [`JournalReader::iter`].
///
/// # Examples
///
/// ```
/// use tramline::{Bus, JournalIter, Start};
///
/// let bus = Bus::<u32>::new();
/// let mut reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
/// bus.publish("tick", 7)?;
/// let mut ticks: JournalIter<'_, u32> = reader.iter();
/// assert_eq!(ticks.next().map(|tick| *tick), Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct JournalIter<'a, T>(&'a mut JournalReader<T>);

impl<T: Clone> Iterator for JournalIter<'_, T> {
    type Item = OwnedEntry<T>;

    fn next(&mut self) -> Option<OwnedEntry<T>> {
        self.0.recv().ok().map(|entry| entry.to_owned_entry())
    }
}

/// An iterator that does not wait, see [`JournalReader::try_iter`].
///
/// # Examples
///
/// ```
/// use tramline::{Bus, JournalTryIter, Start};
///
/// let bus = Bus::<u32>::new();
/// let mut reader = bus.journal("tick").open()?.reader(Start::Oldest)?;
/// let mut ticks: JournalTryIter<'_, u32> = reader.try_iter();
/// assert!(ticks.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct JournalTryIter<'a, T>(&'a mut JournalReader<T>);

impl<T: Clone> Iterator for JournalTryIter<'_, T> {
    type Item = OwnedEntry<T>;

    fn next(&mut self) -> Option<OwnedEntry<T>> {
        self.0.try_recv().ok().map(|entry| entry.to_owned_entry())
    }
}
