//! The builder of handlers that read a journal.

use std::fmt;
use std::sync::Arc;

use super::worker::{JournalWorker, Reading};
use super::{Entry, Journal};
use crate::handler::{Attached, Handler, Outcome, Retry, StartingWorkers, Stopwatch};
use crate::log::{Cursor, Handled, Start, StartError};
use crate::topic::{Pattern, TopicError};

/// Begins a handler that reads a journal, with options. Made by [`Journal::handler`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::{Bus, Retry, Start};
///
/// let bus = Bus::<u32>::new();
/// let trades = bus.journal("trade.>").open()?;
/// let handler = trades
///     .handler(Start::Oldest)
///     .only("trade.EU.*")
///     .retry(Retry::fixed(2, Duration::from_millis(10)))
///     .name("eu")
///     .handle(|trade| if **trade > 0 { Ok(()) } else { Err("no amount") })?;
/// # assert!(handler.stop(Duration::from_secs(5)).is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a handler begins with handle"]
pub struct JournalHandlerBuilder<T> {
    journal: Journal<T>,
    start: Start,
    only: Option<Result<Pattern, TopicError>>,
    retry: Retry,
    name: Option<String>,
}

impl<T> JournalHandlerBuilder<T>
where
    T: Clone + Send + Sync + 'static,
{
    pub(super) fn new(journal: Journal<T>, start: Start) -> Self {
        Self { journal, start, only: None, retry: Retry::none(), name: None }
    }

    /// Handles only the entries whose topic matches this pattern, and skips the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let trades = bus.journal("trade.*").open()?;
    /// bus.publish("trade.US", 1)?;
    /// bus.publish("trade.EU", 2)?;
    /// let (seen, all) = std::sync::mpsc::channel();
    /// let eu = trades.handler(Start::Oldest).only("trade.EU").handle(move |trade| _ = seen.send(**trade))?;
    /// assert!(eu.stop(Duration::from_secs(5)).is_complete());
    /// assert_eq!(all.iter().collect::<Vec<_>>(), [2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn only(mut self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Self {
        self.only = Some(pattern.try_into().map_err(Into::into));
        self
    }

    /// Tries an entry again when the closure returns an error. The default is [`Retry::none`]. While it waits for its next
    /// try the handler reads no other entry. Each try sees the same entry, with the same [`lost_before`](Entry::lost_before).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Retry, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let journal = bus.journal("work").open()?;
    /// bus.publish("work", 1)?;
    /// let patient = journal.handler(Start::Oldest).retry(Retry::fixed(2, Duration::from_millis(1)));
    /// let _handler = patient.handle(|_| Err::<(), _>("never"))?;
    /// assert_eq!(dead_letters.recv()?.attempts(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Names the handler, for its thread, dead letters and drain reports. The default is the name of the journal.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let journal = bus.journal("work").open()?;
    /// let _handler = journal.handler(Start::Next).name("printer").handle(|_| Err::<(), _>("no paper"))?;
    /// bus.publish("work", 1)?;
    /// assert_eq!(dead_letters.recv()?.handler(), Some("printer"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Starts the handler, on a thread of its own: the closure is called for each entry, in order.
    ///
    /// What it returns is a [result or nothing](Outcome). An entry on which it has failed, or panicked, becomes a dead letter;
    /// [`DeadLetter::retry`](crate::DeadLetter::retry) sends that back to this handler alone, where it has its old offset, and
    /// may come behind later ones. [`Handler::stop`] handles the
    /// entries up to the journal's next offset at that moment. **Dropping the handler** ends the thread after the entry in its
    /// hand; the entries stay in the journal. **When the bus closes** the thread handles what is kept and ends by itself. A
    /// handler keeps its journal, and does not keep the bus open.
    ///
    /// # Errors
    ///
    /// [`StartError::Ahead`] if the offset of [`Start::At`] is beyond the next; [`StartError::Topic`] if the pattern of
    /// [`only`](Self::only) is invalid; [`StartError::Thread`] if the thread cannot be spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Start};
    ///
    /// let bus = Bus::<u32>::new();
    /// let journal = bus.journal("order.*").open()?;
    /// let handler = journal.handler(Start::Next).handle(|order| println!("{} {}", order.offset(), **order))?;
    /// bus.publish("order.new", 7)?;
    /// assert!(handler.stop(Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle<F, O>(self, mut f: F) -> Result<Handler, StartError>
    where
        F: FnMut(&Entry<'_, T>) -> O + Send + 'static,
        O: Outcome,
    {
        let Self { journal: Journal { shared }, start, only, retry, name } = self;
        let only = only.transpose().map_err(StartError::Topic)?;
        let log = &shared.log;
        let name = name.unwrap_or_else(|| log.options.name.clone());
        let workers = StartingWorkers::new(&log.lifecycle, &log.losses, 1);
        let control = Arc::clone(&workers.control);
        let mut cursor = Cursor::new(log, start, Some(Handled::new(name.clone(), Arc::clone(&control.workers))))?;
        if let Some(only) = only {
            cursor.read_only(only);
        }
        let reading = Arc::new(Reading::new(&cursor));
        let stopwatch = Stopwatch::new(|| shared.bus.name(), &name);
        let worker = JournalWorker {
            cursor,
            shared,
            control,
            reading: Arc::clone(&reading),
            retry,
            stopwatch,
            name: name.clone(),
        };
        let attached: Arc<dyn Attached> = reading;
        workers
            .into_handler(attached, name, move || worker.run(move |entry| f(entry).into_result()))
            .map_err(StartError::Thread)
    }
}

impl<T> fmt::Debug for JournalHandlerBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalHandlerBuilder")
            .field("journal", &self.journal)
            .field("start", &self.start)
            .field("only", &self.only)
            .field("retry", &self.retry)
            .field("name", &self.name)
            .finish()
    }
}
