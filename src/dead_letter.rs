//! Dead letters: what could not be delivered or handled, for whoever wants to know.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::loss::{Dropped, Loss};
use crate::panic::drop_each;
use crate::sync::channel::{self, Receiver, Sender, TrySendError, bounded};
use crate::sync::counters::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Instant, Mutex, thread_local};
use crate::tally::Tally;
use crate::topic::Topic;
use crate::traffic::Traffic;

#[cfg(feature = "testkit")]
mod watch;

#[cfg(feature = "testkit")]
pub(crate) use watch::Watching;

/// The letters that a listener can have waiting; when one more comes, the oldest goes.
pub(crate) const CAPACITY: usize = 1024;

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
            Self::Cancelled => f.write_str("its publisher did not wait for room"),
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
/// let _ = bus.publish("print", "a page")?;
///
/// let letter = dead_letters.recv()?;
/// assert_eq!(letter.reason(), &DeadLetterReason::Failed("no paper".to_owned()));
/// assert_eq!(letter.reason().to_string(), "its handler failed: no paper");
/// assert_eq!((letter.into_payload(), bus.stats().handler_failures), ("a page", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DeadLetter<T> {
    topic: Topic,
    payload: T,
    reason: DeadLetterReason,
    attempts: u32,
}

impl<T> DeadLetter<T> {
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

    /// Takes the payload out.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.fire("orders.new", "tea".to_owned()); // too early
    /// let orders = bus.subscribe("orders.new")?;
    /// let letter = dead_letters.recv()?;
    /// let _ = bus.publish(letter.topic().clone(), letter.into_payload())?;
    /// assert_eq!(orders.recv()?.as_str(), "tea");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_payload(self) -> T {
        self.payload
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

    /// How often a handler tried; 0 if none ever saw the message.
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
    /// let _ = bus.publish("print", 1)?;
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
            .finish_non_exhaustive()
    }
}

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

enum Listener<T> {
    Reader(ReaderQueue<T>),
    #[cfg(feature = "testkit")]
    Watch(Arc<watch::Watch<T>>),
}

impl<T> Clone for Listener<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Reader(ReaderQueue { sender, letters }) => {
                Self::Reader(ReaderQueue { sender: sender.clone(), letters: Weak::clone(letters) })
            }
            #[cfg(feature = "testkit")]
            Self::Watch(watch) => Self::Watch(Arc::clone(watch)),
        }
    }
}

impl<T> Listener<T> {
    fn deliver(&self, letter: DeadLetter<T>) {
        match self {
            Self::Reader(queue) => queue.deliver(letter),
            #[cfg(feature = "testkit")]
            Self::Watch(watch) => watch(letter),
        }
    }

    fn is_of(&self, letters: &Arc<Letters<T>>) -> bool {
        match self {
            Self::Reader(queue) => queue.letters.as_ptr() == Arc::as_ptr(letters),
            #[cfg(feature = "testkit")]
            Self::Watch(_) => false,
        }
    }
}

struct ReaderQueue<T> {
    sender: Sender<DeadLetter<T>>,
    letters: Weak<Letters<T>>,
}

impl<T> ReaderQueue<T> {
    /// Puts the letter in, for which the oldest may have to go. Never waits.
    fn deliver(&self, mut letter: DeadLetter<T>) {
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

/// Where the losses of a bus are counted and turned into dead letters.
pub(crate) struct Losses<T> {
    /// `None` once the bus is closed and its handlers have ended.
    listeners: Mutex<Option<Vec<Listener<T>>>>,
    /// The length of `listeners`, to be read without the lock on the path of a message.
    listening: AtomicUsize,
    pub(crate) dropped: Dropped,
    pub(crate) abandoned: AtomicU64,
    pub(crate) unheard: Tally,
    /// What was not lost.
    pub(crate) traffic: Traffic,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) filter_panics: AtomicU64,
    pub(crate) handler_failures: AtomicU64,
    pub(crate) handler_panics: AtomicU64,
}

impl<T> Losses<T> {
    pub(crate) fn new() -> Self {
        Self {
            listeners: Mutex::new(Some(Vec::new())),
            listening: AtomicUsize::new(0),
            dropped: Dropped::default(),
            abandoned: AtomicU64::new(0),
            unheard: Tally::default(),
            traffic: Traffic::default(),
            dead_letters: AtomicU64::new(0),
            filter_panics: AtomicU64::new(0),
            handler_failures: AtomicU64::new(0),
            handler_panics: AtomicU64::new(0),
        }
    }

    /// Whether a dead letter would be read by anybody, so that it is worth a clone of the payload.
    pub(crate) fn is_listening(&self) -> bool {
        // Relaxed: the lock in `post` decides; a listener that comes right now may miss this letter.
        self.listening.load(Ordering::Relaxed) > 0 && !is_republishing(self.id())
    }

    pub(crate) fn listen(self: &Arc<Self>) -> DeadLetters<T> {
        let (sender, queue) = bounded(CAPACITY);
        let letters = Arc::new(Letters { queue, dropped: AtomicU64::new(0) });
        self.add(Listener::Reader(ReaderQueue { sender, letters: Arc::downgrade(&letters) }));
        DeadLetters { letters, losses: Arc::downgrade(self), alive: Arc::new(()) }
    }

    fn add(&self, listener: Listener<T>) {
        let mut listeners = self.listeners.lock();
        // After the end the listener is dropped, and a reader sees the end at once.
        let Some(listeners) = listeners.as_mut() else { return };
        listeners.push(listener);
        self.listening.store(listeners.len(), Ordering::Relaxed);
    }

    /// A bus is told apart by the address of its losses.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn remove(&self, is_it: impl Fn(&Listener<T>) -> bool) {
        let mut listeners = self.listeners.lock();
        let mut removed = None;
        if let Some(listeners) = listeners.as_mut() {
            if let Some(index) = listeners.iter().position(is_it) {
                removed = Some(listeners.swap_remove(index));
            }
            self.listening.store(listeners.len(), Ordering::Relaxed);
        }
        drop(listeners);
        drop(removed);
    }

    /// No letter will be posted any more: listeners read what they have, then find the end.
    pub(crate) fn close(&self) {
        let listeners = self.listeners.lock().take();
        self.listening.store(0, Ordering::Relaxed);
        drop(listeners);
    }
}

impl<T: Clone> Losses<T> {
    /// Gives the letter to every listener. Callers make sure first that somebody [listens](Self::is_listening).
    pub(crate) fn post(&self, topic: &Topic, payload: T, reason: DeadLetterReason, attempts: u32) {
        if is_republishing(self.id()) {
            return;
        }
        // A copy of the list, because payloads are cloned and dropped below.
        let Some(mut listeners) = self.listeners.lock().clone() else { return };
        let Some(last) = listeners.pop() else { return };
        self.dead_letters.fetch_add(1, Ordering::Relaxed);
        let letter = DeadLetter { topic: topic.clone(), payload, reason, attempts };
        for listener in listeners {
            listener.deliver(letter.clone());
        }
        last.deliver(letter);
    }
}

/// This thread took a dead letter and has not asked for the next one: what it publishes on that bus makes no dead
/// letters, so that a reader who publishes a letter again, to nowhere, is not handed it again.
struct Republishing {
    /// The address of the bus's `Losses`; the reader keeps it from being used again.
    losses: usize,
    reader: Weak<()>,
}

thread_local! {
    static REPUBLISHING: RefCell<Vec<Republishing>> = const { RefCell::new(Vec::new()) };
}

/// Changes this thread's list; does nothing when the thread is past its end.
fn with_republishing<A: Default>(change: impl FnOnce(&mut Vec<Republishing>) -> A) -> A {
    REPUBLISHING.try_with(|list| change(&mut list.borrow_mut())).unwrap_or_default()
}

fn is_republishing(losses: usize) -> bool {
    with_republishing(|list| {
        // A reader that was dropped elsewhere counts no more.
        list.retain(|entry| entry.reader.strong_count() > 0);
        list.iter().any(|entry| entry.losses == losses)
    })
}

/// A reader of dead letters, made by [`Bus::dead_letters`](crate::Bus::dead_letters).
///
/// It gets what is lost from its making on, and each reader gets every letter. It can have 1,024 letters waiting; when
/// one more comes, the oldest is dropped and [counted](Self::dropped). It never delays the bus.
///
/// Dead letters do not feed back: what a thread publishes after it took a letter, and before it asks for the next one
/// or drops the reader, makes no dead letters itself. The counters of [`BusStats`](crate::BusStats) go on. So a thread
/// that has taken a letter keeps its reader, or drops it: if it gives the reader away, what it loses from then on makes
/// no letters.
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
/// let _ = bus.publish("nobody.listens", "hello")?;
///
/// let letter = dead_letters.recv()?;
/// assert_eq!(letter.topic(), &"nobody.listens");
/// assert_eq!(letter.reason(), &DeadLetterReason::Unheard);
/// assert_eq!(letter.into_payload(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the reader ends the listening"]
pub struct DeadLetters<T> {
    letters: Arc<Letters<T>>,
    losses: Weak<Losses<T>>,
    /// See [`Republishing`].
    alive: Arc<()>,
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
    /// assert_eq!(dead_letters.recv()?.into_payload(), 7);
    /// assert!(dead_letters.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&self) -> Result<DeadLetter<T>, RecvError> {
        self.asks();
        self.taken(self.letters.queue.recv().map_err(|_| RecvError::Closed))
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
    /// assert_eq!(dead_letters.try_recv()?.into_payload(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv(&self) -> Result<DeadLetter<T>, TryRecvError> {
        self.asks();
        self.taken(self.letters.queue.try_recv().map_err(|error| match error {
            channel::TryRecvError::Empty => TryRecvError::Empty,
            channel::TryRecvError::Disconnected => TryRecvError::Closed,
        }))
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
    /// let _ = bus.publish("print", 7)?;
    /// let letter = dead_letters.recv_timeout(Duration::from_secs(5))?;
    /// assert_eq!(letter.reason().to_string(), "its handler panicked: no paper");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<DeadLetter<T>, RecvTimeoutError> {
        let Some(deadline) = Instant::now().checked_add(timeout) else { return Ok(self.recv()?) };
        self.asks();
        self.taken(self.letters.queue.recv_deadline(deadline).map_err(|error| match error {
            channel::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
            channel::RecvTimeoutError::Disconnected => RecvTimeoutError::Closed,
        }))
    }

    /// Waits for one letter after the other, until the bus is closed and all letters were read.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let reader = std::thread::spawn(move || dead_letters.iter().map(|letter| letter.into_payload()).sum::<u32>());
    /// for n in 1..=3 {
    ///     bus.fire("nobody.listens", n);
    /// }
    /// bus.close();
    /// assert_eq!(reader.join().unwrap(), 6);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = DeadLetter<T>> + '_ {
        std::iter::from_fn(|| self.recv().ok())
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
    pub fn try_iter(&self) -> impl Iterator<Item = DeadLetter<T>> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
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

    /// Whether no letter is waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let _orders = bus.subscribe("orders.new")?;
    /// let _ = bus.publish("orders.new", 1)?;
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
    /// assert_eq!(dead_letters.recv()?.into_payload(), 1); // the oldest is gone
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dropped(&self) -> u64 {
        self.letters.dropped.load(Ordering::Relaxed)
    }

    fn taken<E>(&self, letter: Result<DeadLetter<T>, E>) -> Result<DeadLetter<T>, E> {
        if letter.is_ok() {
            let (losses, reader) = (self.losses.as_ptr().addr(), Arc::downgrade(&self.alive));
            with_republishing(|list| list.push(Republishing { losses, reader }));
        }
        letter
    }

    /// This thread asks for a letter, so it is done with the one before.
    fn asks(&self) {
        with_republishing(|list| list.retain(|entry| entry.reader.as_ptr() != Arc::as_ptr(&self.alive)));
    }
}

impl<T> Drop for DeadLetters<T> {
    fn drop(&mut self) {
        self.asks();
        if let Some(losses) = self.losses.upgrade() {
            losses.remove(|listener| listener.is_of(&self.letters));
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
