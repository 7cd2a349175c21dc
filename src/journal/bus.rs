//! The methods of a bus that open journals and find them.

use std::any::Any;
use std::sync::Arc;

use super::{Journal, JournalBuilder, Shared};
use crate::bus::Bus;
use crate::topic::{Pattern, TopicError};

impl<T> Journal<T>
where
    T: Send + Sync + 'static,
{
    /// The journal of a handle that the topic map keeps.
    pub(super) fn of_handle(handle: Arc<dyn Any + Send + Sync>) -> Option<Self> {
        handle.downcast::<Shared<T>>().ok().map(|shared| Self { shared })
    }
}

impl<T, R> Bus<T, R>
where
    T: Clone + Send + Sync + 'static,
    R: Send + 'static,
{
    /// Begins a journal of all messages on the topics that match this pattern;
    /// [`open`](JournalBuilder::open) opens it.
    ///
    /// Payloads of a journal are read by many threads at once, so they are `Sync`. Nothing else of the bus asks for that.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").capacity(100).open()?;
    /// for tick in 0..1000 {
    ///     bus.publish("tick", tick)?;
    /// }
    /// let mut last = journal.reader(Start::Last(3))?;
    /// assert_eq!(last.try_iter().map(|tick| *tick).collect::<Vec<_>>(), [997, 998, 999]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn journal(&self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> JournalBuilder<T, R> {
        JournalBuilder::new(Arc::clone(self.inner()), pattern)
    }

    /// Returns the journals that are open, in the order in which they were opened.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _tick = bus.journal("tick").open()?;
    /// let names: Vec<String> = bus.journals().iter().map(|journal| journal.name().to_owned()).collect();
    /// assert_eq!(names, ["tick"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn journals(&self) -> Vec<Journal<T>> {
        self.inner().journal_handles().into_iter().filter_map(Journal::of_handle).collect()
    }

    /// Returns the journal of this name, if it is open.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let tick = bus.journal("tick").open()?;
    /// assert_eq!(bus.find_journal("tick").map(|journal| journal.capacity()), Some(tick.capacity()));
    /// drop(tick); // the last handle
    /// assert!(bus.find_journal("tick").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find_journal(&self, name: &str) -> Option<Journal<T>> {
        self.inner().journal_handle(name).and_then(Journal::of_handle)
    }
}
