//! Journals: the messages of some topics, kept in one order for all who read them.

use std::fmt;
use std::sync::Arc;

use crate::handler::{Handler, Outcome};
use crate::log::{Cursor, Log, Start, StartError};
use crate::topic::Pattern;

mod builder;
mod bus;
mod entry;
mod handler;
mod reader;
mod worker;

pub use builder::JournalBuilder;
pub use entry::{Entry, OwnedEntry};
pub use handler::JournalHandlerBuilder;
pub use reader::{JournalIter, JournalReader, JournalTryIter};

/// The messages of some topics, kept in one order for all who read them.
///
/// Made by [`Bus::journal`](crate::Bus::journal). A message that is published to a topic of the journal is appended to it
/// once, however many readers there are, and gets an *offset*: 0, 1, 2, and so on, without a hole. Every
/// [reader](Self::reader) begins [where it likes](Start) and sees every entry from there on, in this order, without a gap
/// between history and what is new.
///
/// An offset belongs to this journal while it is open: one that is opened again, or after a restart of the program, is empty and
/// begins at 0.
///
/// **Memory.** The journal keeps its last [`capacity`](JournalBuilder::capacity) messages, 65,536 by default. Messages are
/// dropped in *chunks* of up to 512, so it may have as many more. A reader takes some hundred bytes; one that was overrun also
/// keeps the chunk in which it stands, until it reads again or is dropped.
///
/// **When it is full.** Under [`Overflow::Block`](crate::Overflow::Block), the default, a message is overwritten only when
/// every reader has taken it, which means that `recv` has returned it. A reader that stops therefore stops all publishers of the
/// journal's topics, except those that do not [wait](crate::Bus::try_publish), or not for [long](crate::MessageBuilder::timeout).
/// It keeps no message from mailboxes and other journals: they have it while its publisher waits, and may have it although the
/// journal does not get it. A *handler* that publishes into a full journal which it reads itself does not wait: that message is
/// lost to the journal, as at a mailbox
/// ([`SelfDeadlock`](crate::DeadLetterReason::SelfDeadlock)). But a thread that publishes into a full journal for which
/// it holds a bare [`JournalReader`] waits for itself, for good. Without readers nobody waits. Under
/// [`DropOldest`](crate::Overflow::DropOldest) publishers never wait, and a reader that was overrun goes on at the oldest entry,
/// which [says](Entry::lost_before) how many it has missed; nothing else counts that, because other readers may have them. Under
/// [`Disconnect`](crate::Overflow::Disconnect) such a reader ends, and a handler with it. The policy is the journal's: for strict
/// and for lossy readers of one topic, open two journals.
///
/// **What it keeps.** Every kind of message: requests too, without the right to answer, so a request that only journals get has
/// no responder; retained values, as they are published; not replies. A message that has
/// [expired](crate::MessageBuilder::expires_after) keeps its offset, and readers skip it without a word.
///
/// **Order.** A message has its place in every journal of its topic before anybody can read it in one of them, and before any
/// mailbox is offered it. So whatever is published because of it comes later in each of these journals: cause comes before
/// effect.
///
/// **When it is dropped.** `Journal` is a handle; clones share the journal. It stays open as long as it has a handle, a
/// reader or a handler; then it leaves its topics and frees its memory. It does not keep the bus open. **When the bus
/// closes** the journal takes no more messages. What it keeps can still be read, also by new readers, which then find
/// [`RecvError::Closed`](crate::RecvError::Closed).
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Start};
///
/// let bus = Bus::<u32>::new();
/// let trades = bus.journal("trade.*").also("quote.*").capacity(1024).open()?;
/// bus.publish("trade.EU", 100)?;
/// bus.publish("quote.EU", 101)?;
///
/// let mut reader = trades.reader(Start::Oldest)?; // it comes late, and has the history
/// let first = reader.recv()?;
/// assert_eq!((first.offset(), first.topic().as_str(), *first), (0, "trade.EU", 100));
/// assert_eq!(*reader.recv()?, 101);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a journal without a handle, a reader or a handler is gone: keep it in a variable"]
pub struct Journal<T> {
    shared: Arc<Shared<T>>,
}

/// What the handles, readers and handlers of a journal share. When the last goes, the journal leaves its topics.
pub(crate) struct Shared<T> {
    log: Arc<Log<T>>,
    bus: Box<dyn BusOfJournal>,
}

/// The bus of a journal, which does not keep it open.
trait BusOfJournal: Send + Sync {
    fn name(&self) -> Arc<str>;
    /// The journal with this number has no handle any more.
    fn close_journal(&self, id: u64);
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.bus.close_journal(self.log.id);
    }
}

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Journal<T>
where
    T: Clone + Send + Sync + 'static,
{
    /// Returns a new reader that begins there.
    ///
    /// It also works when the bus is closed, for what is kept. Under [`Overflow::Block`](crate::Overflow::Block) publishers wait
    /// for it from now on, when the journal is full of what it has not passed.
    ///
    /// # Errors
    ///
    /// [`StartError::Ahead`] if the offset of [`Start::At`] is beyond the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 1)?;
    /// bus.close();
    /// let mut reader = journal.reader(Start::Oldest)?;
    /// assert_eq!(*reader.recv()?, 1);
    /// assert!(reader.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader(&self, start: Start) -> Result<JournalReader<T>, StartError> {
        Ok(JournalReader::new(Cursor::new(&self.shared.log, start, None)?, &self.shared))
    }

    /// Calls the closure for each entry from there on, on a thread of its own. Short for
    /// [`handler(start)`](Self::handler)`.handle(f)`.
    ///
    /// # Errors
    ///
    /// As [`reader`](Self::reader), and [`StartError::Thread`] if the thread cannot be spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 1)?;
    /// let (seen, all) = std::sync::mpsc::channel();
    /// let handler = journal.on(Start::Oldest, move |tick| _ = seen.send((tick.offset(), **tick)))?;
    /// bus.publish("tick", 2)?;
    /// assert!(handler.stop(Duration::from_secs(5)).is_complete());
    /// assert_eq!(all.iter().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on<F, O>(&self, start: Start, f: F) -> Result<Handler, StartError>
    where
        F: FnMut(&Entry<'_, T>) -> O + Send + 'static,
        O: Outcome,
    {
        self.handler(start).handle(f)
    }

    /// Begins a handler with options, at this entry; [`handle`](JournalHandlerBuilder::handle) starts it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Retry, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let trades = bus.journal("trade.>").open()?;
    /// let patient = trades.handler(Start::Next).only("trade.EU.*").retry(Retry::fixed(2, Duration::from_millis(1)));
    /// let handler = patient.name("eu").handle(|trade| if **trade > 0 { Ok(()) } else { Err("no amount") })?;
    /// bus.publish("trade.EU.shares", 5)?;
    /// assert!(handler.stop(Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handler(&self, start: Start) -> JournalHandlerBuilder<T> {
        JournalHandlerBuilder::new(self.clone(), start)
    }
}

impl<T> Journal<T> {
    /// Returns the number of entries that are kept: as many as a reader finds that begins at the oldest.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let journal = bus.journal("tick").capacity(2).open()?;
    /// for tick in 0..3 {
    ///     bus.publish("tick", tick)?;
    /// }
    /// assert_eq!(journal.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        let next = self.next_offset();
        usize::try_from(next.min(self.shared.log.capacity())).unwrap_or(usize::MAX)
    }

    /// Returns `true` if nothing was appended yet.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// assert!(journal.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of entries that it keeps when it has as many.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert_eq!(bus.journal("tick").open()?.capacity(), 65_536);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(&self) -> usize {
        self.shared.log.options.capacity
    }

    /// Returns the offset of the oldest entry that is kept; of the next if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let journal = bus.journal("tick").capacity(2).open()?;
    /// for tick in 0..5 {
    ///     bus.publish("tick", tick)?;
    /// }
    /// assert_eq!((journal.oldest_offset(), journal.next_offset()), (3, 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn oldest_offset(&self) -> u64 {
        self.shared.log.oldest_offset()
    }

    /// Returns the offset of the next entry: as many messages were appended until now.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let journal = bus.journal("tick").open()?;
    /// bus.publish("tick", 1)?;
    /// assert_eq!(journal.next_offset(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_offset(&self) -> u64 {
        self.shared.log.next_offset()
    }

    /// Returns the number of readers, those of handlers counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let journal = Bus::<u32>::new().journal("tick").open()?;
    /// let one = journal.reader(Start::Oldest)?;
    /// let two = one.clone();
    /// assert_eq!(journal.readers(), 2);
    /// drop((one, two));
    /// assert_eq!(journal.readers(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn readers(&self) -> usize {
        self.shared.log.readers()
    }

    /// Returns its name.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert_eq!(bus.journal("trade.*").also("quote.*").open()?.name(), "quote.*,trade.*");
    /// assert_eq!(bus.journal("tick").name("ticks").open()?.name(), "ticks");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.shared.log.options.name
    }

    /// Returns its patterns, sorted.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let journal = bus.journal("trade.*").also("quote.*").open()?;
    /// assert_eq!(journal.patterns(), ["quote.*", "trade.*"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn patterns(&self) -> &[Pattern] {
        &self.shared.log.options.patterns
    }
}

impl<T> fmt::Debug for Journal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("name", &self.name())
            .field("oldest_offset", &self.oldest_offset())
            .field("next_offset", &self.next_offset())
            .field("readers", &self.readers())
            .finish_non_exhaustive()
    }
}
