//! What a reader of a journal gets.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::log::EntryParts;
use crate::metadata::{Headers, Properties};
use crate::topic::Topic;

/// An entry of a [`Journal`](crate::Journal), borrowed from its reader: no clone is made of the payload.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Start};
///
/// let bus = Bus::<String>::new();
/// let journal = bus.journal("order.*").open()?;
/// bus.message("order.new", "tea".to_owned()).header("tenant", "acme").publish()?;
///
/// let mut reader = journal.reader(Start::Oldest)?;
/// let entry = reader.recv()?;
/// assert_eq!(entry.len(), 3); // a method of the payload
/// assert_eq!((entry.offset(), entry.topic().as_str()), (0, "order.new"));
/// assert_eq!(entry.headers().get("tenant"), Some("acme"));
/// let mine: String = entry.cloned();
/// # assert_eq!(mine, "tea");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Entry<'a, T> {
    offset: u64,
    topic: &'a Topic,
    payload: &'a T,
    properties: Option<&'a Arc<Properties>>,
    lost_before: u64,
}

impl<'a, T> Entry<'a, T> {
    #[inline(always)]
    pub(super) fn new(parts: EntryParts<'a, T>, lost_before: u64) -> Self {
        let EntryParts { offset, topic, payload, properties } = parts;
        Self { offset, topic, payload, properties, lost_before }
    }

    pub(super) fn properties(&self) -> Option<&Arc<Properties>> {
        self.properties
    }

    /// Returns its offset: the first entry of the journal has 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 7)?;
    /// assert_eq!(journal.reader(Start::Oldest)?.recv()?.offset(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the topic on which the message was published.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick.*").open()?;
    /// bus.publish("tick.slow", 7)?;
    /// assert_eq!(journal.reader(Start::Oldest)?.recv()?.topic(), &"tick.slow");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn topic(&self) -> &'a Topic {
        self.topic
    }

    /// Returns the headers of the message; a bare message has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 7)?;
    /// assert!(journal.reader(Start::Oldest)?.recv()?.headers().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn headers(&self) -> &'a Headers {
        Properties::headers(self.properties)
    }

    /// Returns the number of entries that this reader has missed since the one before: they were overwritten before it came to
    /// them, under [`Overflow::DropOldest`](crate::Overflow::DropOldest), or were not kept any more when it
    /// [began](crate::Start::At).
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").capacity(2).overflow(Overflow::DropOldest).open()?;
    /// let mut reader = journal.reader(Start::Oldest)?;
    /// for tick in 0..5 {
    ///     bus.publish("tick", tick)?;
    /// }
    /// let entry = reader.recv()?;
    /// assert_eq!((*entry, entry.lost_before()), (3, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lost_before(&self) -> u64 {
        self.lost_before
    }

    /// Returns the payload, which dereferencing the entry returns too.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 7)?;
    /// assert_eq!(journal.reader(Start::Oldest)?.recv()?.payload(), &7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn payload(&self) -> &'a T {
        self.payload
    }
}

impl<T: Clone> Entry<'_, T> {
    /// Returns a clone of the payload.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<String>::new();
    /// let journal = bus.journal("order").open()?;
    /// bus.publish("order", "tea".to_owned())?;
    /// let order: String = journal.reader(Start::Oldest)?.recv()?.cloned();
    /// assert_eq!(order, "tea");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cloned(&self) -> T {
        self.payload.clone()
    }

    pub(super) fn to_owned_entry(&self) -> OwnedEntry<T> {
        let Self { offset, topic, lost_before, .. } = *self;
        OwnedEntry {
            offset,
            topic: topic.clone(),
            payload: self.cloned(),
            properties: self.properties.cloned(),
            lost_before,
        }
    }
}

impl<T> Deref for Entry<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.payload
    }
}

impl<T> fmt::Debug for Entry<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("offset", &self.offset)
            .field("topic", &self.topic)
            .field("lost_before", &self.lost_before)
            .finish_non_exhaustive()
    }
}

/// A clone of an entry, which does not borrow from its reader: what [`JournalReader::iter`](crate::JournalReader::iter)
/// yields.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, OwnedEntry, Start};
///
/// let bus = Bus::<u32>::new();
/// let journal = bus.journal("tick.*").open()?;
/// for tick in 0..3 {
///     bus.publish("tick.slow", tick)?;
/// }
/// bus.close();
/// let entries: Vec<OwnedEntry<u32>> = journal.reader(Start::Oldest)?.iter().collect();
/// assert_eq!(entries.iter().map(|entry| **entry).collect::<Vec<_>>(), [0, 1, 2]);
/// assert_eq!((entries[2].offset(), entries[2].topic().as_str()), (2, "tick.slow"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OwnedEntry<T> {
    offset: u64,
    topic: Topic,
    payload: T,
    properties: Option<Arc<Properties>>,
    lost_before: u64,
}

impl<T> OwnedEntry<T> {
    /// Returns its offset, see [`Entry::offset`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 7)?;
    /// assert_eq!(journal.reader(Start::Oldest)?.try_iter().map(|entry| entry.offset()).collect::<Vec<_>>(), [0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the topic on which the message was published.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 7)?;
    /// assert!(journal.reader(Start::Oldest)?.try_iter().all(|entry| entry.topic() == &"tick"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Returns the headers of the message; a bare message has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.message("tick", 7).header("tenant", "acme").publish()?;
    /// assert!(journal.reader(Start::Oldest)?.try_iter().all(|entry| entry.headers().get("tenant") == Some("acme")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn headers(&self) -> &Headers {
        Properties::headers(self.properties.as_ref())
    }

    /// Returns the number of entries that the reader has missed before this one, see [`Entry::lost_before`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 7)?;
    /// assert!(journal.reader(Start::Oldest)?.try_iter().all(|entry| entry.lost_before() == 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lost_before(&self) -> u64 {
        self.lost_before
    }

    /// Returns the payload, which dereferencing the entry returns too.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 7)?;
    /// assert!(journal.reader(Start::Oldest)?.try_iter().all(|entry| entry.payload() == &7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// Takes the payload out.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, OwnedEntry, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 7)?;
    /// let ticks: Vec<u32> = journal.reader(Start::Oldest)?.try_iter().map(OwnedEntry::into_payload).collect();
    /// assert_eq!(ticks, [7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_payload(self) -> T {
        self.payload
    }
}

impl<T> Deref for OwnedEntry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.payload
    }
}

impl<T> fmt::Debug for OwnedEntry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedEntry")
            .field("offset", &self.offset)
            .field("topic", &self.topic)
            .field("lost_before", &self.lost_before)
            .finish_non_exhaustive()
    }
}

/// A dead letter that was sent back to a handler is an entry again.
pub(super) struct ReturnedEntry<T> {
    pub(super) offset: u64,
    pub(super) topic: Topic,
    pub(super) payload: T,
    pub(super) properties: Option<Arc<Properties>>,
}

impl<T> ReturnedEntry<T> {
    pub(super) fn entry(&self) -> Entry<'_, T> {
        let Self { offset, topic, payload, properties } = self;
        Entry { offset: *offset, topic, payload, properties: properties.as_ref(), lost_before: 0 }
    }
}
