//! Readers of dead letters, and their queues.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::losses::{Listener, Losses};
#[cfg(feature = "async")]
use super::tasks::{WaitingTasks, WakesWhenDropped};
use super::{DeadLetter, Origin, quiet};
use crate::message::{RecvError, RecvTimeoutError, TryRecvError};
use crate::panic::drop_each;
use crate::sync::Instant;
use crate::sync::channel::{self, Receiver, Sender, TrySendError, bounded};
use crate::sync::counters::{AtomicU64, Ordering};
#[cfg(feature = "async")]
use crate::sync::wait_list::WaitEntry;

/// The letters that a listener can have waiting; when one more comes, the oldest goes.
const CAPACITY: usize = 1024;

/// The queue of one listener.
struct Letters<T> {
    queue: Receiver<DeadLetter<T>>,
    dropped: AtomicU64,
}

impl<T> Drop for Letters<T> {
    fn drop(&mut self) {
        // One by one: the channel would leak the rest when the payload of one panics.
        drop_each(std::iter::from_fn(|| self.queue.try_recv().ok()), |_| {});
    }
}

pub(super) struct ReaderQueue<T> {
    sender: Sender<DeadLetter<T>>,
    letters: Weak<Letters<T>>,
    /// Declared and so dropped after `sender`: a task that it wakes finds the end.
    #[cfg(feature = "async")]
    tasks: WakesWhenDropped,
}

impl<T> Clone for ReaderQueue<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            letters: Weak::clone(&self.letters),
            #[cfg(feature = "async")]
            tasks: self.tasks.clone(),
        }
    }
}

impl<T> ReaderQueue<T> {
    /// Puts the letter in, for which the oldest may have to go. Never waits.
    pub(super) fn deliver(&self, mut letter: DeadLetter<T>) {
        let mut evicted = VecDeque::new();
        // Each round another letter leaves, so nobody spins for long; whoever loses every round gives up and is
        // counted.
        for _ in 0..16 {
            match self.sender.try_send(letter) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => letter = back,
            }
            let Some(letters) = self.letters.upgrade() else { return };
            if let Ok(oldest) = letters.queue.try_recv() {
                letters.dropped.fetch_add(1, Ordering::Relaxed);
                evicted.push_back(oldest);
            }
        }
        if let Some(letters) = self.letters.upgrade() {
            letters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<T> Losses<T> {
    /// A new reader, which gets every letter from now on.
    pub(crate) fn listen(self: &Arc<Self>, origin: Origin<T>) -> DeadLetters<T> {
        let (sender, queue) = bounded(CAPACITY);
        let letters = Arc::new(Letters { queue, dropped: AtomicU64::new(0) });
        #[cfg(feature = "async")]
        let tasks = Arc::<WaitingTasks>::default();
        self.add(Listener::Reader(ReaderQueue {
            sender,
            letters: Arc::downgrade(&letters),
            #[cfg(feature = "async")]
            tasks: WakesWhenDropped(Arc::clone(&tasks)),
        }));
        DeadLetters {
            letters,
            losses: Arc::downgrade(self),
            origin,
            #[cfg(feature = "async")]
            tasks,
            #[cfg(feature = "async")]
            place: WaitEntry::default(),
        }
    }
}

/// A reader of dead letters, made by [`Bus::dead_letters`](crate::Bus::dead_letters).
///
/// It gets what is lost from its making on, and each reader gets every letter. It can have 1,024 letters waiting; when
/// one more comes, the oldest is dropped and [counted](Self::dropped). It never delays the bus.
///
/// # Trying again
///
/// [`DeadLetter::retry`] delivers the message to the handler of the letter alone. A handler that fails on it again makes a new
/// letter, whose [`attempts`](DeadLetter::attempts) go on counting: a loop that retries ends with a look at them.
///
/// [`DeadLetter::republish`] publishes the message to all subscriptions of its topic. It, and the first publish of the same
/// thread on the same bus after [`DeadLetter::into_payload`], make no dead letters, so letters for a topic without subscribers
/// do not come again. Every other loss makes a letter, whatever letters a thread or task has in hand. A handler that fails on a
/// message that was republished makes a letter whose attempts start at 1, so limit such a loop by a
/// [header](crate::MessageBuilder::header) or a field of the payload.
///
/// # The end
///
/// When the bus is closed and its handlers have finished, the reader gets what is waiting, then `Closed`. Dropping it
/// ends the listening.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, DeadLetterReason};
///
/// let bus = Bus::<&str>::new();
/// let dead_letters = bus.dead_letters();
/// bus.publish("nobody.listens", "hello")?;
///
/// let letter = dead_letters.recv()?;
/// assert_eq!(letter.topic(), &"nobody.listens");
/// assert_eq!(letter.reason(), &DeadLetterReason::Unheard);
/// assert_eq!(*letter.payload(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the reader ends the listening: keep it in a variable such as `_letters`; `let _ =` drops it at once"]
pub struct DeadLetters<T> {
    letters: Arc<Letters<T>>,
    losses: Weak<Losses<T>>,
    /// The bus, for each letter that is taken.
    pub(super) origin: Origin<T>,
    #[cfg(feature = "async")]
    pub(super) tasks: Arc<WaitingTasks>,
    /// Of the task that polls the stream.
    #[cfg(feature = "async")]
    pub(super) place: WaitEntry,
}

impl<T> DeadLetters<T> {
    /// Waits for the next letter.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the bus is closed, its handlers have finished and all letters were read.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.fire("nobody.listens", 7);
    /// bus.close();
    /// assert_eq!(*dead_letters.recv()?.payload(), 7);
    /// assert!(dead_letters.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&self) -> Result<DeadLetter<T>, RecvError> {
        let received = quiet::while_waiting(self.origin.bus, || self.letters.queue.recv());
        received.map(|letter| self.taken(letter)).map_err(|_| RecvError::Closed)
    }

    /// Takes the next letter if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if there is none, [`TryRecvError::Closed`] if none will come.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// assert!(dead_letters.try_recv().unwrap_err().is_empty());
    /// bus.fire("nobody.listens", 7);
    /// assert_eq!(*dead_letters.try_recv()?.payload(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv(&self) -> Result<DeadLetter<T>, TryRecvError> {
        self.take()
    }

    /// Waits for the next letter, at most this long.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came in time, [`RecvTimeoutError::Closed`] if none will come.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let _printer = bus.on("print", |pages| assert!(**pages < 5, "no paper"))?;
    /// assert!(dead_letters.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// bus.publish("print", 7)?;
    /// let letter = dead_letters.recv_timeout(Duration::from_secs(5))?;
    /// assert_eq!(letter.reason().to_string(), "its handler panicked: no paper");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<DeadLetter<T>, RecvTimeoutError> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.recv_deadline(deadline),
            // A time beyond the end of the clock is no limit.
            None => Ok(self.recv()?),
        }
    }

    /// Waits for the next letter until this instant.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// (1..=2).for_each(|n| bus.fire("nobody.listens", n));
    /// let deadline = Instant::now() + Duration::from_millis(1); // for all letters together
    /// let mut seen = Vec::new();
    /// while let Ok(letter) = dead_letters.recv_deadline(deadline) {
    ///     seen.push(*letter.payload());
    /// }
    /// assert_eq!(seen, [1, 2]);
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<DeadLetter<T>, RecvTimeoutError> {
        let received = quiet::while_waiting(self.origin.bus, || self.letters.queue.recv_deadline(deadline));
        received.map(|letter| self.taken(letter)).map_err(|error| match error {
            channel::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
            channel::RecvTimeoutError::Disconnected => RecvTimeoutError::Closed,
        })
    }

    /// Waits for one letter after the other, until the bus is closed and all letters were read.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let reader = std::thread::spawn(move || dead_letters.iter().map(|letter| *letter.payload()).sum::<u32>());
    /// for n in 1..=3 {
    ///     bus.fire("nobody.listens", n);
    /// }
    /// bus.close();
    /// assert_eq!(reader.join().unwrap(), 6);
    /// ```
    pub fn iter(&self) -> DeadLetterIter<'_, T> {
        DeadLetterIter { reader: self }
    }

    /// Takes the letters that are there.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.fire("one", 1);
    /// bus.fire("two", 2);
    /// let topics: Vec<_> = dead_letters.try_iter().map(|letter| letter.topic().to_string()).collect();
    /// assert_eq!(topics, ["one", "two"]);
    /// ```
    pub fn try_iter(&self) -> DeadLetterTryIter<'_, T> {
        DeadLetterTryIter { reader: self }
    }

    /// The number of letters waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.fire("nobody.listens", 1); // before the reader was made
    /// let dead_letters = bus.dead_letters();
    /// bus.fire("nobody.listens", 2);
    /// assert_eq!(dead_letters.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.letters.queue.len()
    }

    /// Returns `true` if no letter is waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let _orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", 1)?;
    /// assert!(dead_letters.is_empty()); // nothing was lost
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.letters.queue.is_empty()
    }

    /// How many letters this reader lost because it had 1,024 waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// for n in 0..1025 {
    ///     bus.fire("nobody.listens", n);
    /// }
    /// assert_eq!((dead_letters.len(), dead_letters.dropped()), (1024, 1));
    /// assert_eq!(*dead_letters.recv()?.payload(), 1); // the oldest is gone
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dropped(&self) -> u64 {
        self.letters.dropped.load(Ordering::Relaxed)
    }

    /// Takes a letter out, for threads and tasks.
    pub(super) fn take(&self) -> Result<DeadLetter<T>, TryRecvError> {
        self.letters.queue.try_recv().map(|letter| self.taken(letter)).map_err(|error| match error {
            channel::TryRecvError::Empty => TryRecvError::Empty,
            channel::TryRecvError::Disconnected => TryRecvError::Closed,
        })
    }

    /// Only a letter that was taken leads back to its bus: those in the queue have one handle together, that of the reader.
    fn taken(&self, letter: DeadLetter<T>) -> DeadLetter<T> {
        DeadLetter { origin: Some(self.origin.clone()), ..letter }
    }
}

impl<T> Drop for DeadLetters<T> {
    fn drop(&mut self) {
        #[cfg(feature = "async")]
        self.tasks.leave(&mut self.place);
        if let Some(losses) = self.losses.upgrade() {
            losses.remove(|listener| match listener {
                Listener::Reader(queue) => queue.letters.as_ptr() == Arc::as_ptr(&self.letters),
                #[cfg(feature = "testkit")]
                Listener::Watch(_) => false,
            });
        }
    }
}

impl<T> fmt::Debug for DeadLetters<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("len", &self.len())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// Waits for dead letters, see [`DeadLetters::iter`].
///
/// It ends when the bus is closed, its handlers have finished and all letters were read.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let dead_letters = bus.dead_letters();
/// (1..=3).for_each(|n| bus.fire("nobody.listens", n));
/// bus.close();
/// let mut sum = 0;
/// for letter in &dead_letters {
///     sum += *letter.payload();
/// }
/// assert_eq!(sum, 6);
/// ```
#[derive(Debug)]
pub struct DeadLetterIter<'a, T> {
    reader: &'a DeadLetters<T>,
}

impl<T> Iterator for DeadLetterIter<'_, T> {
    type Item = DeadLetter<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.recv().ok()
    }
}

/// Takes the dead letters that are there, see [`DeadLetters::try_iter`].
///
/// It ends when no letter is waiting, and may go on when more have come.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let dead_letters = bus.dead_letters();
/// let mut waiting = dead_letters.try_iter();
/// assert!(waiting.next().is_none());
/// bus.fire("nobody.listens", 7);
/// assert!(waiting.next().is_some_and(|letter| *letter.payload() == 7));
/// ```
#[derive(Debug)]
pub struct DeadLetterTryIter<'a, T> {
    reader: &'a DeadLetters<T>,
}

impl<T> Iterator for DeadLetterTryIter<'_, T> {
    type Item = DeadLetter<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.try_recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a DeadLetters<T> {
    type Item = DeadLetter<T>;
    type IntoIter = DeadLetterIter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
