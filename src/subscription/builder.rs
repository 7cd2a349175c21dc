//! The builder of subscriptions.

use std::any::TypeId;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::sync::Arc;

use super::Subscriber;
use crate::bus::BusInner;
use crate::handler::{Handler, Outcome, Retry, Start, StartingWorkers};
use crate::mailbox::{Filter, MAX_CAPACITY, Mailbox, MailboxOptions, Overflow, Role};
use crate::message::Message;
#[cfg(feature = "testkit")]
use crate::metadata::{Headers, Properties};
use crate::routing::SubscribeError;
#[cfg(feature = "testkit")]
use crate::topic::Topic;
use crate::topic::{Pattern, TopicError};

/// A handler with one thread: its closure may change what it captures. See [`SubscriptionBuilder::handle`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::{Bus, OneWorker, SubscriptionBuilder};
///
/// let bus = Bus::<u32>::new();
/// let work: SubscriptionBuilder<u32, u32, OneWorker> = bus.subscription("work");
/// let mut sum = 0;
/// let handler = work.handle(move |n| sum += **n)?;
/// assert!(handler.stop(Duration::from_secs(5)).is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct OneWorker(());

/// A handler with several threads, which share its closure. See [`SubscriptionBuilder::workers`].
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::time::Duration;
/// use tramline::{Bus, ManyWorkers, SubscriptionBuilder};
///
/// let bus = Bus::<u32>::new();
/// let work: SubscriptionBuilder<u32, u32, ManyWorkers> = bus.subscription("work").workers(2);
/// let sum = AtomicU32::new(0); // a `u32` would have to be captured as `mut`
/// let handler = work.handle(move |n| { sum.fetch_add(**n, Ordering::Relaxed); })?;
/// assert!(handler.stop(Duration::from_secs(5)).is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ManyWorkers(());

/// A subscription with options of its own.
///
/// Made by [`Bus::subscription`](crate::Bus::subscription). It ends in [`open`](Self::open) for a [`Subscriber`], or in
/// `handle` or `serve` for a [`Handler`]. Nothing happens before that, and these methods report invalid options.
/// Until then it keeps the bus open, as a [`Bus`](crate::Bus) does; dropping it undoes nothing.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Overflow};
///
/// let bus = Bus::<u32>::new();
/// let large = bus
///     .subscription("orders.>")
///     .also("returns.>")
///     .capacity(1024)
///     .overflow(Overflow::DropOldest)
///     .filter(|amount| *amount > 100)
///     .open()?;
/// bus.publish("orders.new", 50)?;
/// bus.publish("returns.new", 500)?;
/// assert_eq!(*large.recv()?, 500);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a subscription begins with open, handle or serve"]
pub struct SubscriptionBuilder<T, R = T, W = OneWorker> {
    inner: Arc<BusInner<T, R>>,
    patterns: Result<Vec<Pattern>, TopicError>,
    group: Option<String>,
    name: Option<String>,
    capacity: usize,
    overflow: Overflow,
    retained: bool,
    role: Role,
    filter: Option<Filter<T>>,
    retry: Retry,
    workers: usize,
    stack_size: Option<usize>,
    serves: bool,
    _kind: PhantomData<W>,
}

impl<T, R> SubscriptionBuilder<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    pub(crate) fn new(inner: Arc<BusInner<T, R>>, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Self {
        Self {
            capacity: inner.capacity,
            overflow: inner.overflow,
            patterns: pattern.try_into().map(|pattern| vec![pattern]).map_err(Into::into),
            inner,
            group: None,
            name: None,
            retained: false,
            role: Role::Subscriber,
            filter: None,
            retry: Retry::none(),
            workers: 1,
            stack_size: None,
            serves: false,
            _kind: PhantomData,
        }
    }

    /// Opens the subscription. Everything published after this returns, to a topic that matches, is delivered.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`]: a pattern or the capacity is invalid, the group has other options, or the bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let error = bus.subscription("orders.new").capacity(0).open().unwrap_err();
    /// assert_eq!(error.to_string(), "capacity must be between 1 and 16777216, got 0");
    /// ```
    pub fn open(self) -> Result<Subscriber<T, R>, SubscribeError> {
        let inner = Arc::downgrade(&self.inner);
        let mailbox = self.attach()?;
        Ok(Subscriber::new(mailbox, inner))
    }

    /// Takes no message, but has `watch` look at each that is offered: its topic, its payload, whether it is a request, and
    /// its headers. It looks on the publishing thread, before any mailbox has the message.
    #[cfg(feature = "testkit")]
    pub(crate) fn watch(
        mut self,
        watch: impl Fn(&Topic, &T, bool, &Headers) + Send + Sync + 'static,
    ) -> Result<Subscriber<T, R>, SubscribeError> {
        // Invariant 13.
        let accepts = move |topic: &Topic, payload: &T, is_request: bool, properties: Option<&Arc<Properties>>| {
            watch(topic, payload, is_request, Properties::headers(properties));
            false
        };
        self.filter = Some(Filter { id: None, accepts: Box::new(accepts) });
        self.role = Role::Recorder;
        self.open()
    }

    /// A mailbox that nobody will ever read, until the result is dropped; no drain waits for it. Unlike all others it may
    /// have a capacity of 0: then it is full from the beginning.
    #[cfg(feature = "testkit")]
    pub(crate) fn open_unread(self) -> Result<impl Send + Sync + 'static, SubscribeError> {
        let inner = Arc::downgrade(&self.inner);
        let mailbox = self.attach_with_any_capacity()?;
        let unread = mailbox.pause_reader();
        Ok((Subscriber::new(mailbox, inner), unread))
    }

    /// Calls `f` with every message, on a thread of its own.
    ///
    /// The closure borrows the message. `()` and `Ok` are success; an `Err` runs the [retry](Self::retry) policy and
    /// then makes a dead letter; a panic is caught, counted and makes a dead letter. In each case the handler goes on
    /// with the next message, and if the message was a request that no other responder answers, its caller gets `Failed`.
    /// Messages are handled in the order in which they were put into the mailbox. [`stack_size`](Self::stack_size) says how
    /// large a payload the thread can take.
    ///
    /// A closure that captures a [`Bus`](crate::Bus) or [`Publisher`](crate::Publisher) keeps the bus open; capture a
    /// [`WeakBus`](crate::WeakBus) where the bus is meant to end by itself.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`SubscribeError::Thread`] if the thread cannot be spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Retry};
    ///
    /// let bus = Bus::<String>::new();
    /// let mut seen = 0;
    /// let handler = bus
    ///     .subscription("mail.*")
    ///     .name("mailer")
    ///     .retry(Retry::fixed(3, Duration::from_millis(10)))
    ///     .handle(move |mail| {
    ///         seen += 1;
    ///         if mail.is_empty() { Err("an empty mail") } else { Ok(()) }
    ///     })?;
    /// bus.publish("mail.new", "hello".to_owned())?;
    /// assert!(handler.stop(Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle<F, O>(self, mut f: F) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> O + Send + 'static,
        O: Outcome,
    {
        self.start(move |start| start.thread(0, move |message| f(message).into_result()))
    }

    /// Answers every request with what `f` returns, on a thread of its own.
    ///
    /// A panic in `f` reaches the caller as `Failed`, and the next request is served. A message that is not a request is
    /// handled too, and its reply dropped.
    ///
    /// A request whose caller has gone is skipped: `f` is not called, and
    /// [`BusStats::skipped_requests`](crate::BusStats) counts the request. A caller has gone when it has dropped its
    /// [`PendingReply`](crate::PendingReply) or [`Replies`](crate::Replies), which it also does when it gives up after a
    /// timeout, and when the bus has closed, because that ends every pending request. A request that another responder has
    /// answered is served all the same.
    ///
    /// To refuse a request, use [`serve_result`](Self::serve_result), whose closure may return an error.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32, String>::builder().build();
    /// let _server = bus.subscription("double").group("doublers").serve(|n| (2 * **n).to_string())?;
    /// assert_eq!(bus.request("double", 21)?.wait()?, "42");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve<F>(mut self, mut f: F) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> R + Send + 'static,
    {
        self.serves = true;
        self.handle(move |message| answer(message, f(message)))
    }

    /// Answers every request with what `f` returns, or with the text of its error, on a thread of its own.
    ///
    /// As [`serve`](Self::serve), but `f` may fail. An `Err` runs the [retry](Self::retry) policy. If no attempt is left, the
    /// caller gets [`ReplyError::Failed`](crate::ReplyError::Failed) with the text of the last error, and the message becomes
    /// a dead letter and counts in [`BusStats::handler_failures`](crate::BusStats), as with [`handle`](Self::handle). A
    /// request whose caller goes away between two attempts is not tried again. Its last error makes the dead letter.
    ///
    /// A panic, a message that is not a request and a request whose caller has gone are as with `serve`.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, ReplyError};
    ///
    /// let bus = Bus::<String, u32>::builder().build();
    /// let _server = bus.subscription("parse").group("parsers").serve_result(|text| text.parse::<u32>())?;
    /// assert_eq!(bus.request("parse", "7".to_owned())?.wait()?, 7);
    /// let error = bus.request("parse", "seven".to_owned())?.wait().unwrap_err();
    /// assert!(matches!(error, ReplyError::Failed(why) if why == "invalid digit found in string"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_result<F, E>(mut self, mut f: F) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Result<R, E> + Send + 'static,
        E: Display,
    {
        self.serves = true;
        self.handle(move |message| f(message).map(|reply| answer(message, reply)))
    }

    /// Runs the handler on this many threads, which share the mailbox and its closure: messages are handled side by
    /// side and in no order. The default is one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let sum = Arc::new(AtomicU32::new(0));
    /// let total = Arc::clone(&sum);
    /// let handler = bus.subscription("add").workers(4).handle(move |n| {
    ///     total.fetch_add(**n, Ordering::Relaxed);
    /// })?;
    /// for n in 1..=10 {
    ///     bus.publish("add", n)?;
    /// }
    /// assert!(handler.stop(Duration::from_secs(5)).is_complete());
    /// assert_eq!(sum.load(Ordering::Relaxed), 55);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn workers(self, workers: usize) -> SubscriptionBuilder<T, R, ManyWorkers> {
        SubscriptionBuilder {
            inner: self.inner,
            patterns: self.patterns,
            group: self.group,
            name: self.name,
            capacity: self.capacity,
            overflow: self.overflow,
            retained: self.retained,
            role: self.role,
            filter: self.filter,
            retry: self.retry,
            workers,
            stack_size: self.stack_size,
            serves: self.serves,
            _kind: PhantomData,
        }
    }
}

impl<T, R> SubscriptionBuilder<T, R, ManyWorkers>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Calls `f` with every message, on one of the handler's threads. Otherwise as with
    /// [one worker](SubscriptionBuilder::handle).
    ///
    /// # Errors
    ///
    /// As with one worker, and [`SubscribeError::Workers`] if the number of workers is zero or beyond 1,024.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Barrier;
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let both = Barrier::new(2);
    /// let handler = bus.subscription("work").workers(2).handle(move |_| {
    ///     both.wait(); // two messages are in hand at once
    /// })?;
    /// (1..=2).for_each(|n| bus.fire("work", n));
    /// assert!(handler.stop(Duration::from_secs(5)).is_complete());
    ///
    /// let none = bus.subscription("work").workers(0).handle(|_| {});
    /// assert_eq!(none.unwrap_err().to_string(), "workers must be between 1 and 1024, got 0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle<F, O>(self, f: F) -> Result<Handler, SubscribeError>
    where
        F: Fn(&Message<T, R>) -> O + Send + Sync + 'static,
        O: Outcome,
    {
        let f = Arc::new(f);
        let workers = self.workers;
        self.start(move |start| {
            (0..workers).try_for_each(|index| {
                let f = Arc::clone(&f);
                start.thread(index, move |message| f(message).into_result())
            })
        })
    }

    /// Answers every request with what `f` returns, on one of the handler's threads. Otherwise as with
    /// [one worker](SubscriptionBuilder::serve).
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _server = bus.subscription("double").workers(4).serve(|n| 2 * **n)?;
    /// let pending = (1..=3).map(|n| bus.request("double", n)).collect::<Result<Vec<_>, _>>()?;
    /// let replies = pending.into_iter().map(|reply| reply.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(replies, [2, 4, 6]); // each to its own request
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve<F>(mut self, f: F) -> Result<Handler, SubscribeError>
    where
        F: Fn(&Message<T, R>) -> R + Send + Sync + 'static,
    {
        self.serves = true;
        self.handle(move |message| answer(message, f(message)))
    }

    /// Answers every request with what `f` returns, or with the text of its error, on one of the handler's threads. Otherwise
    /// as with [one worker](SubscriptionBuilder::serve_result).
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let halves = bus.subscription("half").workers(4);
    /// let _server = halves.serve_result(|n| if **n % 2 == 0 { Ok(**n / 2) } else { Err(format!("{} is odd", **n)) })?;
    /// assert_eq!(bus.request("half", 4)?.wait()?, 2);
    /// assert_eq!(bus.request("half", 5)?.wait().unwrap_err().to_string(), "the request failed: 5 is odd");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_result<F, E>(mut self, f: F) -> Result<Handler, SubscribeError>
    where
        F: Fn(&Message<T, R>) -> Result<R, E> + Send + Sync + 'static,
        E: Display,
    {
        self.serves = true;
        self.handle(move |message| f(message).map(|reply| answer(message, reply)))
    }
}

/// The caller may have gone, or another responder been first: then the reply is dropped.
fn answer<T, R>(message: &Message<T, R>, reply: R) {
    drop(message.reply(reply));
}

impl<T, R, W> SubscriptionBuilder<T, R, W>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Subscribes to this pattern too. A message that matches several of the patterns comes once.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscription("orders.*").also("*.new").open()?;
    /// bus.publish("orders.new", 1)?; // matches both
    /// bus.publish("returns.new", 2)?;
    /// assert_eq!(orders.try_iter().map(|order| *order).collect::<Vec<_>>(), [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn also(mut self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Self {
        // The first error is the one to tell.
        if let Ok(patterns) = &mut self.patterns {
            match pattern.try_into() {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.patterns = Err(error.into()),
            }
        }
        self
    }

    /// Sets the most messages that can wait in the mailbox, from 1 to 16,777,216; the default is that of the bus, 256. The
    /// memory for all of them is reserved when the first message comes, or when a thread first waits for one: the capacity
    /// times the size of a message, or of a pointer if the payload has more than 4 KiB.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _work = bus.subscription("work").capacity(2).open()?;
    /// let taken: usize = (0..5).map(|n| bus.try_publish("work", n).unwrap().delivered()).sum();
    /// assert_eq!(taken, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Sets the policy at a full mailbox; the default is that of the bus, [`Overflow::Block`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::new();
    /// let strict = bus.subscription("tick").capacity(1).overflow(Overflow::Disconnect).open()?;
    /// bus.publish("tick", 1)?;
    /// assert_eq!(bus.publish("tick", 2)?.dropped(), 1); // does not wait: the subscription has ended
    /// assert_eq!(*strict.recv()?, 1);
    /// assert!(strict.recv().unwrap_err().is_overflowed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Shares one mailbox with all subscriptions of the same group name and the same patterns: each message goes to one
    /// of them. The same name with other patterns is another group.
    ///
    /// A member that leaves leaves the queued messages to the other members. When the last one leaves, the
    /// group is gone. All members must ask for the same capacity, overflow, retained and filter; a filter is the same
    /// if it is the same closure in the source and captures nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let one = bus.subscription("jobs").group("workers").open()?;
    /// let two = bus.subscription("jobs").group("workers").open()?;
    /// bus.publish("jobs", 1)?;
    /// assert_eq!(*one.recv()?, 1);
    /// assert!(two.try_recv().is_err());
    ///
    /// let error = bus.subscription("jobs").group("workers").capacity(8).open().unwrap_err();
    /// assert_eq!(error.to_string(), "cannot join group `workers`: its capacity is 256, not 8");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Takes only messages whose payload `f` accepts. What it rejects is not delivered and not lost. A panic in it rejects,
    /// and is counted. A second filter takes the place of the first.
    ///
    /// For a message it runs on the publishing thread, before the payload is cloned: all filters are asked before the first
    /// mailbox has the message. For a value that a subscription [begins with](Self::with_retained) it runs on the thread that
    /// takes the value. It may use the bus, and what it publishes comes before the message that it sees. It holds the
    /// publisher up, so it must not wait for another thread.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let large = bus.subscription("orders").capacity(1).filter(|amount| *amount > 100).open()?;
    /// for amount in [5, 500, 50] {
    ///     bus.publish("orders", amount)?; // does not wait: one message takes room
    /// }
    /// assert_eq!((*large.recv()?, large.dropped()), (500, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter<F>(mut self, f: F) -> Self
    where
        F: Fn(&T) -> bool + Send + Sync + 'static,
    {
        let id = (size_of::<F>() == 0).then(TypeId::of::<F>);
        self.filter = Some(Filter { id, accepts: Box::new(move |_, payload, _, _| f(payload)) });
        self
    }

    /// Begins with the last [retained](crate::Bus::publish_retained) value of every matching topic, in the order in
    /// which they were kept, then goes on with live messages: no gap, and no value twice. They have room beyond the
    /// capacity. A [filter](Self::filter) sees them when the subscriber takes them out, on its thread. In a group they
    /// come once, when the group begins.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.publish_retained("price.tea", 7)?;
    /// let prices = bus.subscription("price.*").with_retained().open()?;
    /// assert_eq!(*prices.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_retained(mut self) -> Self {
        self.retained = true;
        self
    }

    /// Makes the subscription an observer: an audit trail, a recorder, a live view. It watches, and is not one of those that a
    /// message is for.
    ///
    /// **Order.** An observer is offered each message before the subscriptions that are not observers. So it has a cause before
    /// its effect, also if it subscribed last: what a handler publishes about a message comes behind that message. This holds
    /// within one bus, and as long as the observer's mailbox has room. The buses of a [`Hub`](crate::Hub) have no common order,
    /// and neither have publishers that know nothing of each other.
    ///
    /// **A full mailbox.** A publisher that finds the observer full serves the others first, and then does what the
    /// [`overflow`](Self::overflow) policy says. With the default, [`Block`](Overflow::Block), it waits: an observer that hangs
    /// then holds up every publisher, like any subscriber. A request does not wait for observers: a full one loses it. What follows from the message may meanwhile come before it. If a
    /// [timeout](crate::MessageBuilder::timeout) ends while only observers have no room, the publish succeeds, and the observers
    /// lose the message. Give an observer room for bursts, or a policy that drops.
    ///
    /// **It does not count.** It is not in [`Delivery::delivered`](crate::Delivery::delivered), `dropped` and `is_unheard`, nor in
    /// [`Publisher::subscriber_count`](crate::Publisher::subscriber_count). What it loses counts in the statistics and in
    /// [`lost_before`](Message::lost_before), and makes dead letters. A message that [expires](crate::MessageBuilder::expires_after)
    /// before the observer takes it out is lost for it too, also if a handler had it in time.
    ///
    /// **It cannot answer.** A request comes to it as a message: [`is_request`](Message::is_request) is `false`, and a reply comes
    /// back as [`NotARequest`](crate::RespondError::NotARequest). A caller without responders gets `NoResponders` at once.
    ///
    /// The members of a [`group`](Self::group) are observers all, or none of them is. On a topic with an observer a publish takes
    /// about 45 ns more than with one more subscriber, and one more clone of the payload if nobody else is subscribed.
    ///
    /// # Errors
    ///
    /// `serve` returns [`SubscribeError::Observer`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let weak = bus.downgrade(); // a clone would keep the bus open
    /// let _shop = bus.on("order.placed", move |order| {
    ///     weak.upgrade().ok_or("the bus is gone")?.publish("order.paid", **order).map_err(|_| "the bus is closed")?;
    ///     Ok::<_, &str>(())
    /// })?;
    /// let audit = bus.subscription("order.>").observer().open()?; // it has come last
    ///
    /// assert_eq!(bus.publish("order.placed", 7)?.delivered(), 1); // the shop
    /// let seen: Vec<_> = audit.iter().take(2).map(|order| order.topic().to_string()).collect();
    /// assert_eq!(seen, ["order.placed", "order.paid"]);
    /// assert!(bus.request("order.status", 7).unwrap_err().is_no_responders());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observer(mut self) -> Self {
        self.role = Role::Observer;
        self
    }

    /// It is offered messages before those that are not.
    #[cfg(feature = "gateway")]
    pub(crate) fn feed(mut self) -> Self {
        self.role = Role::Feed;
        self
    }

    /// Sets the retry policy of a handler; by default it gives up at the first error. A subscriber ignores it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Retry};
    ///
    /// let bus = Bus::<u32>::new();
    /// let mut line = [Err("busy"), Ok(42)].into_iter();
    /// let call = bus.subscription("call").retry(Retry::fixed(1, Duration::ZERO));
    /// let handler = call.handle(move |request| {
    ///     let answer = line.next().unwrap_or(Err("dead"))?;
    ///     request.reply(answer).map_err(|_| "hung up")
    /// })?;
    /// assert_eq!(bus.request("call", 1)?.wait()?, 42); // a retry has the same message, and may answer it
    /// # drop(handler);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the size of the stack of each of a handler's threads, in bytes.
    ///
    /// The default is that of [`std::thread::Builder::stack_size`]: 2 MiB, or what the environment variable `RUST_MIN_STACK`
    /// says. A subscriber ignores it, and so does a handler that is a task: its closure runs on the stack of the runtime's
    /// thread.
    ///
    /// The size is what the standard library makes of it: it is rounded up to what the platform allows, so 0 is the
    /// smallest stack of the platform, on which little can run. A closure that needs more than its stack ends the process,
    /// as everywhere in Rust. A size that the platform cannot provide makes `handle` and `serve` return
    /// [`SubscribeError::Thread`].
    ///
    /// # Large payloads
    ///
    /// Send payloads of more than a few KiB in a `Box` or an `Arc`. By value, a publish has many copies of the payload on the
    /// stack of the publishing thread: on a thread of 2 MiB, 64 KiB overflow it in a debug build, which ends the process.
    ///
    /// A payload of more than 4 KiB waits in a box and is not copied between the queue and the closure. Measured on Linux,
    /// x86-64, for a payload by value such as `[u8; N]`: the default stack is enough for 1.5 MiB, in debug and release
    /// builds. It is enough for 320 KiB (debug) or 384 KiB (release) if the handler gets a retained value, which it clones;
    /// for 768 KiB in a release build if the closure returns an error; and for 64 KiB (debug) or 256 KiB (release) if that
    /// message becomes a dead letter that a reader waits for. The handler of a task holds the message by value. On a main
    /// thread of 8 MiB, [`Subscriber::recv`] returns payloads of up to 384 KiB (debug) or 768 KiB (release), and
    /// [`Publisher::publish`](crate::Publisher::publish) takes 64 KiB (debug) or 640 KiB (release). A payload in a `Box`
    /// or an `Arc` has none of these limits.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// fn depth(n: u32) -> u32 {
    ///     let frame = std::hint::black_box([n; 256]); // 1 KiB
    ///     if n == 0 { 0 } else { depth(n - 1) + frame[0] / n }
    /// }
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let deep = bus.subscription("depth").stack_size(32 * 1024 * 1024).serve(|n| depth(**n))?;
    /// assert_eq!(bus.request("depth", 5_000)?.wait()?, 5_000);
    /// assert!(deep.stop(Duration::from_secs(5)).is_complete());
    ///
    /// let absurd = bus.subscription("depth").stack_size(usize::MAX / 2).serve(|n| **n);
    /// assert!(absurd.unwrap_err().is_thread_failure());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Names the subscription in the statistics, and a handler's threads, with a number behind the name.
    ///
    /// A handler without a name names its threads after its first pattern. In the statistics a group has the name of its
    /// first member.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<(), Option<String>>::builder().build();
    /// let who = bus.subscription("who").name("mailer");
    /// let _server = who.serve(|_| std::thread::current().name().map(str::to_owned))?;
    /// assert_eq!(bus.request("who", ())?.wait()?.as_deref(), Some("mailer-0"));
    /// assert_eq!(bus.stats().subscriptions[0].name.as_deref(), Some("mailer"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    fn attach(self) -> Result<Arc<Mailbox<T, R>>, SubscribeError> {
        if !(1..=MAX_CAPACITY).contains(&self.capacity) {
            return Err(SubscribeError::Capacity { capacity: self.capacity, limit: MAX_CAPACITY });
        }
        self.attach_with_any_capacity()
    }

    fn attach_with_any_capacity(self) -> Result<Arc<Mailbox<T, R>>, SubscribeError> {
        let mut patterns = self.patterns?;
        patterns.sort_unstable();
        patterns.dedup();
        let options = MailboxOptions {
            patterns,
            group: self.group,
            name: self.name,
            capacity: self.capacity,
            overflow: self.overflow,
            retained: self.retained,
            role: self.role,
        };
        self.inner.subscribe(options, self.workers, self.filter)
    }

    /// Its failure is an answer.
    #[cfg(feature = "async")]
    pub(crate) fn serving(mut self) -> Self {
        self.serves = true;
        self
    }

    /// With every worker.
    #[cfg(feature = "async")]
    pub(crate) fn start_each(self, worker: impl Fn(&mut Start<T, R>)) -> Result<Handler, SubscribeError> {
        let workers = self.workers;
        self.start(|start| {
            (0..workers).for_each(|_| worker(start));
            Ok(())
        })
    }

    pub(crate) fn start(
        self,
        begin: impl FnOnce(&mut Start<T, R>) -> Result<(), SubscribeError>,
    ) -> Result<Handler, SubscribeError> {
        Handler::check(self.workers)?;
        if self.serves && self.role.is_observer() {
            return Err(SubscribeError::Observer);
        }
        let (inner, name) = (Arc::clone(&self.inner), self.name.clone());
        let (count, retry, serves, stack_size) = (self.workers, self.retry, self.serves, self.stack_size);
        let workers = StartingWorkers::new(&inner.lifecycle, &inner.losses, count);
        let mut start = Start::new(&inner, self.attach()?, workers, name, retry, serves).with_stack_size(stack_size);
        // Half of the workers are no handler: `start` is dropped, and with it those that have begun.
        begin(&mut start)?;
        Ok(start.into_handler())
    }
}

impl<T, R, W> fmt::Debug for SubscriptionBuilder<T, R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionBuilder")
            .field("patterns", &self.patterns)
            .field("group", &self.group)
            .field("name", &self.name)
            .field("capacity", &self.capacity)
            .field("overflow", &self.overflow)
            .field("retained", &self.retained)
            .field("role", &self.role)
            .field("filter", &self.filter.is_some())
            .field("retry", &self.retry)
            .field("workers", &self.workers)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}
