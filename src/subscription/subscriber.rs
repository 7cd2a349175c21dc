//! The receiving handle.

use std::fmt;
use std::sync::{Arc, Weak};
#[cfg(feature = "async")]
use std::task::{Context, Poll};
use std::time::Duration;

use crate::bus::{BusInner, leave};
use crate::mailbox::Mailbox;
use crate::message::{Message, RecvError, RecvTimeoutError, TryRecvError};
use crate::sync::Instant;
use crate::sync::channel::{Select, SelectedOperation};
#[cfg(feature = "async")]
use crate::sync::wait_list::WaitEntry;
use crate::topic::Pattern;

/// Receives the messages of one subscription.
///
/// Made by [`Bus::subscribe`](crate::Bus::subscribe) and
/// [`SubscriptionBuilder::open`](crate::SubscriptionBuilder::open). It gets every message published after it was made
/// to a topic that matches, in a mailbox of its own, or of its group. Several threads may take from one subscriber;
/// each message goes to one of them.
///
/// **Dropping it** unsubscribes: what is queued is dropped (requests in it go unanswered), publishers that wait for
/// room wake up. A member of a group leaves the queue to the others. **When the bus closes** it gets what is queued,
/// then [`Closed`](RecvError::Closed). **When its mailbox is full**, its [`Overflow`](crate::Overflow) policy says what
/// happens.
///
/// It does not keep the bus open.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let orders = bus.subscribe("orders.>")?;
/// bus.publish("orders.eu.new", 7)?;
/// let message = orders.recv()?;
/// assert_eq!((message.topic().as_str(), *message), ("orders.eu.new", 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a subscriber unsubscribes it: keep it in a variable such as `_orders`; `let _ =` drops it at once"]
pub struct Subscriber<T, R = T> {
    mailbox: Arc<Mailbox<T, R>>,
    inner: Weak<BusInner<T, R>>,
    /// The subscription was ended by `unsubscribe`; `Drop` has nothing to do.
    ended: bool,
    /// Of the task that reads it as a stream.
    #[cfg(feature = "async")]
    place: WaitEntry,
}

impl<T, R> Subscriber<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the bus is closed and the mailbox drained; [`RecvError::Overflowed`] when the mailbox
    /// ran over under [`Overflow::Disconnect`](crate::Overflow::Disconnect) and is drained.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// let publisher = bus.publisher("orders.new")?;
    /// std::thread::spawn(move || publisher.fire(7));
    /// assert_eq!(*orders.recv()?, 7);
    /// bus.close();
    /// assert!(orders.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&self) -> Result<Message<T, R>, RecvError> {
        self.mailbox.recv()
    }

    /// Takes the next message if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if there is none now; otherwise as [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// assert!(orders.try_recv().unwrap_err().is_empty());
    /// bus.close();
    /// assert!(orders.try_recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv(&self) -> Result<Message<T, R>, TryRecvError> {
        self.mailbox.try_recv()
    }

    /// Waits for the next message, at most this long.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came in time; otherwise as [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// assert!(orders.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// bus.publish("orders.new", 7)?;
    /// assert_eq!(*orders.recv_timeout(Duration::ZERO)?, 7); // what is there is taken
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Message<T, R>, RecvTimeoutError> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.mailbox.recv_deadline(deadline),
            // A time beyond the end of the clock is no limit.
            None => Ok(self.mailbox.recv()?),
        }
    }

    /// Waits for the next message, at most until this instant.
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
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", 7)?;
    /// let deadline = Instant::now() + Duration::from_millis(1); // for all that come
    /// let mut seen = Vec::new();
    /// while let Ok(order) = orders.recv_deadline(deadline) {
    ///     seen.push(*order);
    /// }
    /// assert_eq!(seen, [7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Message<T, R>, RecvTimeoutError> {
        self.mailbox.recv_deadline(deadline)
    }

    /// Waits for a message, then takes the waiting messages, up to `limit` in all. Appends them to `messages` and
    /// returns their number.
    ///
    /// With a limit of 0 it returns at once.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), if there is not one message.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// for order in 0..5 {
    ///     bus.publish("orders.new", order)?;
    /// }
    /// let mut batch = Vec::new();
    /// assert_eq!(orders.recv_many(&mut batch, 3)?, 3);
    /// assert_eq!(orders.recv_many(&mut batch, 3)?, 2);
    /// assert_eq!(batch.len(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_many(&self, messages: &mut Vec<Message<T, R>>, limit: usize) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let first = self.recv()?;
        Ok(self.take_more(first, messages, limit))
    }

    /// Appends a message, and the messages that need no waiting; returns their number.
    pub(crate) fn take_more(&self, first: Message<T, R>, messages: &mut Vec<Message<T, R>>, limit: usize) -> usize {
        let before = messages.len();
        messages.push(first);
        messages.extend(self.try_iter().take(limit - 1));
        messages.len() - before
    }

    /// Waits for one message after the other, until there will be none.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", 1)?;
    /// bus.publish("orders.new", 2)?;
    /// bus.close();
    /// assert_eq!(orders.iter().map(|order| *order).sum::<u32>(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T, R> {
        Iter { subscriber: self }
    }

    /// Takes the messages that are there, without waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// (1..=3).for_each(|order| bus.fire("orders.new", order));
    /// assert_eq!(orders.try_iter().map(|order| *order).collect::<Vec<_>>(), [1, 2, 3]);
    /// assert_eq!(orders.try_iter().count(), 0); // the bus is open, and it does not wait
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T, R> {
        TryIter { subscriber: self }
    }

    /// Adds this subscriber to a crossbeam `Select`, to wait for several things at once. Returns the index of the
    /// operation; when it is chosen, [`complete`](Self::complete) it.
    ///
    /// # Examples
    ///
    /// ```
    /// use crossbeam_channel::Select;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let (orders, returns) = (bus.subscribe("orders.new")?, bus.subscribe("orders.returned")?);
    /// bus.publish("orders.returned", 7)?;
    ///
    /// let mut select = Select::new();
    /// let new = orders.register(&mut select);
    /// let returned = returns.register(&mut select);
    /// let operation = select.select();
    /// let message = match operation.index() {
    ///     index if index == new => orders.complete(operation)?,
    ///     index if index == returned => returns.complete(operation)?,
    ///     _ => unreachable!(),
    /// };
    /// assert_eq!(*message, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        self.mailbox.register(select)
    }

    /// Takes the message that a `Select` has chosen.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv): the end of a subscription makes it ready too.
    ///
    /// If what was chosen is a message that has expired, or a retained value that a filter rejects, it waits for the next message.
    ///
    /// # Panics
    ///
    /// If the operation is not the one of this subscriber.
    ///
    /// # Examples
    ///
    /// ```
    /// use crossbeam_channel::Select;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.close();
    /// let mut select = Select::new();
    /// orders.register(&mut select);
    /// let operation = select.select(); // ready, because the subscription has ended
    /// assert!(orders.complete(operation).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn complete(&self, operation: SelectedOperation<'_>) -> Result<Message<T, R>, RecvError> {
        self.mailbox.complete(operation)
    }
}

#[cfg(feature = "async")]
impl<T, R> Subscriber<T, R> {
    pub(crate) fn mailbox(&self) -> &Mailbox<T, R> {
        &self.mailbox
    }

    pub(crate) fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Message<T, R>, RecvError>>
    where
        T: Clone,
    {
        self.mailbox.poll_recv(&mut self.place, context)
    }
}

impl<T, R> Subscriber<T, R> {
    pub(crate) fn new(mailbox: Arc<Mailbox<T, R>>, inner: Weak<BusInner<T, R>>) -> Self {
        Self {
            mailbox,
            inner,
            ended: false,
            #[cfg(feature = "async")]
            place: WaitEntry::default(),
        }
    }

    /// The number of messages waiting in the mailbox.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let one = bus.subscription("jobs").group("workers").open()?;
    /// let two = bus.subscription("jobs").group("workers").open()?;
    /// (1..=3).for_each(|job| bus.fire("jobs", job));
    /// let _ = one.recv()?;
    /// assert_eq!((one.len(), two.len()), (2, 2)); // they share the mailbox
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        self.mailbox.len()
    }

    /// Returns `true` if no message is waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.publish("orders.new", 1)?;
    /// let orders = bus.subscribe("orders.new")?;
    /// assert!(orders.is_empty()); // the message came before it
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most messages that can wait. Retained values that were there at the subscription come on top; a mailbox that
    /// blocks keeps the room that was made for them.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert_eq!(bus.subscribe("orders.new")?.capacity(), 256);
    /// let small = bus.subscription("orders.new").capacity(4).open()?;
    /// (0..10).for_each(|order| bus.fire("orders.new", order));
    /// assert_eq!((small.capacity(), small.len()), (4, 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(&self) -> usize {
        self.mailbox.options.capacity
    }

    /// How many messages the mailbox has lost: those it had no room for, and those that were evicted.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::new();
    /// let log = bus.subscription("log").capacity(2).overflow(Overflow::DropNewest).open()?;
    /// (1..=5).for_each(|line| bus.fire("log", line));
    /// assert_eq!(log.dropped(), 3);
    /// assert_eq!(log.try_iter().map(|line| *line).collect::<Vec<_>>(), [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dropped(&self) -> u64 {
        self.mailbox.dropped()
    }

    /// The patterns subscribed to, sorted, each once.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let both = bus.subscription("returns.*").also("orders.*").also("orders.*").open()?;
    /// assert_eq!(both.patterns(), ["orders.*", "returns.*"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn patterns(&self) -> &[Pattern] {
        &self.mailbox.options.patterns
    }

    /// See [`BusInner::renew`]. This one comes to its end.
    #[cfg(feature = "gateway")]
    pub(crate) fn renew(&self) -> Result<crate::bus::Renewed<Self, T>, crate::routing::SubscribeError> {
        let inner = self.inner.upgrade().ok_or(crate::routing::SubscribeError::Closed)?;
        let (mailbox, values) = inner.renew(&self.mailbox)?;
        Ok((Self::new(mailbox, Weak::clone(&self.inner)), values))
    }

    /// Ends the subscription and returns the number of unread messages. They are dropped, as by dropping the
    /// subscriber; a member of a group leaves them to the others, and the answer is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", 1)?;
    /// assert_eq!(orders.unsubscribe(), 1);
    /// assert!(bus.publish("orders.new", 2)?.is_unheard());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unsubscribe(mut self) -> usize {
        self.end()
    }

    fn end(&mut self) -> usize {
        #[cfg(feature = "async")]
        self.mailbox.leave_message_wait(&mut self.place);
        let first = !std::mem::replace(&mut self.ended, true);
        if first && leave(&self.inner, &self.mailbox, 1) { self.mailbox.abandon() } else { 0 }
    }
}

impl<T, R> Drop for Subscriber<T, R> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T, R> fmt::Debug for Subscriber<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("patterns", &self.patterns())
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Waits for messages, see [`Subscriber::iter`].
///
/// It ends when the bus is closed, or the mailbox has run over, and all messages were taken.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let orders = bus.subscribe("orders.new")?;
/// (1..=2).for_each(|order| bus.fire("orders.new", order));
/// drop(bus);
/// let mut sum = 0;
/// for order in &orders {
///     sum += *order;
/// }
/// assert_eq!(sum, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Iter<'a, T, R = T> {
    subscriber: &'a Subscriber<T, R>,
}

impl<T: Clone + Send + 'static, R: Send + 'static> Iterator for Iter<'_, T, R> {
    type Item = Message<T, R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.subscriber.recv().ok()
    }
}

/// Takes the messages that are there, see [`Subscriber::try_iter`].
///
/// It ends when the mailbox is empty, and may go on when more has come.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let orders = bus.subscribe("orders.new")?;
/// let mut waiting = orders.try_iter();
/// assert!(waiting.next().is_none());
/// bus.publish("orders.new", 7)?;
/// assert!(waiting.next().is_some_and(|order| *order == 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TryIter<'a, T, R = T> {
    subscriber: &'a Subscriber<T, R>,
}

impl<T: Clone + Send + 'static, R: Send + 'static> Iterator for TryIter<'_, T, R> {
    type Item = Message<T, R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.subscriber.try_recv().ok()
    }
}

impl<'a, T: Clone + Send + 'static, R: Send + 'static> IntoIterator for &'a Subscriber<T, R> {
    type Item = Message<T, R>;
    type IntoIter = Iter<'a, T, R>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
