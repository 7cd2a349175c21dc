//! What all handles of one bus share, and the operations that more than one of them offers.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::Guard;
use parking_lot::RwLock;

use crate::dead_letter::{DeadLetterReason, Losses};
use crate::error::{PublishError, RequestError, SubscribeError};
use crate::gather::{EachReply, Replies};
use crate::lifecycle::{Lifecycle, Phase};
use crate::mailbox::{Filter, Mailbox, MailboxOptions, Overflow};
use crate::message::Parcel;
use crate::reply::{NoReply, ReplySource};
use crate::request::{OneReply, PendingReply};
use crate::route::{Delivered, Delivery, HeldRoute, Route, Stopped, Wait, deliver};
use crate::stats::{BusStats, SubscriptionStats};
use crate::topic::Topic;
use crate::topic_map::{Leftovers, TopicEntry, TopicMap};

/// Kept alive by `Bus` and `Publisher` handles alone: when the last is dropped, nobody is left to publish.
pub(crate) struct Core<T, R> {
    /// Never held while user code runs: no payload, closure or callback is called or dropped under it.
    pub(crate) map: RwLock<TopicMap<T, R>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) losses: Arc<Losses<T>>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
}

impl<T, R> Core<T, R> {
    pub(crate) fn new(capacity: usize, overflow: Overflow) -> Self {
        let losses = Arc::new(Losses::new());
        Self {
            map: RwLock::new(TopicMap::new(Arc::clone(&losses))),
            lifecycle: Arc::new(Lifecycle::new()),
            losses,
            capacity,
            overflow,
        }
    }

    pub(crate) fn add_publisher(&self, topic: &Topic) -> Arc<TopicEntry<T, R>> {
        self.map.write().add_publisher(topic)
    }

    pub(crate) fn drop_publisher(&self, entry: &TopicEntry<T, R>) {
        if entry.publishers.fetch_sub(1, Ordering::Relaxed) == 1 {
            let leftovers = self.map.write().release(&entry.topic);
            drop(leftovers);
        }
    }

    pub(crate) fn subscribe(
        &self,
        options: MailboxOptions,
        mut filter: Option<Filter<T>>,
    ) -> Result<Arc<Mailbox<T, R>>, SubscribeError> {
        let joining_only = self.lifecycle.phase() != Phase::Open;
        let mut leftovers = Leftovers::default();
        // The lock is released at the end of this statement; leftovers and an unused filter are dropped after it.
        self.map.write().subscribe(options, &mut filter, joining_only, &mut leftovers)
    }

    pub(crate) fn stats(&self) -> BusStats {
        let map = self.map.read();
        let topics = map.len();
        let mailboxes: Vec<_> = map.subscriptions().cloned().collect();
        drop(map);
        let losses = &*self.losses;
        BusStats {
            topics,
            subscriptions: mailboxes
                .iter()
                .map(|mailbox| SubscriptionStats::new(mailbox))
                .filter(|subscription| subscription.members > 0)
                .collect(),
            unheard: losses.unheard.get(),
            dropped: losses.dropped.get(),
            abandoned: losses.abandoned.load(Ordering::Relaxed),
            dead_letters: losses.dead_letters.load(Ordering::Relaxed),
            handler_failures: losses.handler_failures.load(Ordering::Relaxed),
            handler_panics: losses.handler_panics.load(Ordering::Relaxed),
            filter_panics: losses.filter_panics.load(Ordering::Relaxed),
            callback_panics: self.lifecycle.callback_panics.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn close(&self) {
        // First the phase, so that who finds an empty route below knows why.
        self.lifecycle.advance(Phase::Closed);
        let mut map = self.map.write();
        let leftovers = map.close();
        let mailboxes: Vec<_> = map.subscriptions().cloned().collect();
        drop(map);
        for mailbox in &mailboxes {
            mailbox.close();
        }
        if self.lifecycle.workers() == 0 {
            self.losses.close();
        }
        // What is left over may hold payloads, whose `Drop` may panic; but the callbacks have to be told.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(leftovers)));
        self.lifecycle.tell_waiting();
        if let Err(panic) = dropped {
            resume_unwind(panic);
        }
    }

    /// Refuses new work, waits until the queues are empty and the handlers idle, and closes the bus.
    ///
    /// It looks rather than being told: being told would cost every message something, and a drain happens once.
    pub(crate) fn drain(&self, within: Duration) -> DrainReport {
        let started = Instant::now();
        let deadline = started.checked_add(within);
        // A handler that drains its own bus cannot wait for itself, nor for another that does the same.
        let draining = self.lifecycle.drains();
        let own = draining.as_ref().and_then(|(id, _)| self.map.read().subscription(*id).cloned());
        let _unable = own.as_ref().map(|own| own.is_not_read());
        self.lifecycle.advance(Phase::Draining);
        let mut pause = Pause::new(deadline);
        // Handlers may still publish for one another while they finish, also into queues that were just looked at. So
        // two looks in a row have to find every queue empty and every worker idle, and no worker may have become busy
        // from before the first until after the second: then nobody published during the second.
        loop {
            let activity = self.lifecycle.activity();
            let at_rest = self.is_at_rest() && self.is_at_rest() && self.lifecycle.activity() == activity;
            if at_rest || !pause.wait() {
                break;
            }
        }
        let mailboxes: Vec<_> = self.map.read().subscriptions().cloned().collect();
        self.close();
        // What came from publishers that were on their way is handled too: the threads end when their queues are empty.
        while self.lifecycle.workers() > self.lifecycle.draining_workers() {
            if !pause.wait() {
                break;
            }
        }
        let left = mailboxes.iter().map(|mailbox| mailbox.len()).sum();
        let busy = self.lifecycle.workers().saturating_sub(self.lifecycle.draining_workers());
        DrainReport { left, busy, waited: started.elapsed() }
    }

    fn is_at_rest(&self) -> bool {
        // The queues first: a worker is busy before it takes a message out. A queue that no reader can take from will
        // not get any shorter.
        self.map.read().subscriptions().all(|mailbox| mailbox.len() == 0 || mailbox.is_stuck())
            && self.lifecycle.busy_workers() <= self.lifecycle.draining_workers()
    }
}

impl<T: Clone, R> Core<T, R> {
    #[inline]
    pub(crate) fn publish(
        &self,
        topic: &Topic,
        held: &mut HeldRoute<T, R>,
        payload: T,
        wait: Wait,
    ) -> Result<Delivery, PublishError<T>> {
        if !self.lifecycle.accepts() {
            return Err(PublishError::Closed(payload));
        }
        let parcel = Parcel { payload, reply: None };
        let Delivered { delivery, stopped, rest } =
            deliver(held, topic, parcel, &NoReply, wait, |mailbox| self.unroute(mailbox));
        match rest {
            None => Ok(delivery),
            Some(rest) => {
                *held = None;
                self.not_taken(topic, rest.payload, delivery, stopped)
            }
        }
    }

    /// No mailbox has taken the original.
    #[inline(never)]
    fn not_taken(
        &self,
        topic: &Topic,
        payload: T,
        delivery: Delivery,
        stopped: Option<Stopped>,
    ) -> Result<Delivery, PublishError<T>> {
        match stopped {
            Some(Stopped::Closed) => return Err(PublishError::Closed(payload)),
            Some(Stopped::Timeout) => return Err(PublishError::Timeout(payload)),
            None => {}
        }
        if delivery.is_unheard() {
            // The bus may have closed, and emptied the route, since the look at its phase above.
            if delivery.dropped() == 0 && self.lifecycle.phase() == Phase::Closed {
                return Err(PublishError::Closed(payload));
            }
            self.unheard(topic, payload, delivery);
        }
        Ok(delivery)
    }

    /// What fire-and-forget makes of the outcome: a closed bus is one more loss.
    pub(crate) fn fire(&self, outcome: Result<Delivery, PublishError<T>>) {
        if outcome.is_err() {
            self.losses.dropped.add(1);
        }
    }

    fn unheard(&self, topic: &Topic, payload: T, delivery: Delivery) {
        self.losses.unheard.add(1);
        // What a full mailbox dropped has its letter already.
        if delivery.dropped() == 0 && self.losses.is_listening() {
            self.losses.post(topic, payload, DeadLetterReason::Unheard, 0);
        }
    }

    pub(crate) fn request(
        &self,
        topic: &Topic,
        route: Guard<Arc<Route<T, R>>>,
        payload: T,
    ) -> Result<PendingReply<R>, RequestError<T>> {
        let (responder, pending) = OneReply::pending(&self.lifecycle);
        self.ask(topic, route, Parcel { payload, reply: Some(responder) }, &OneReply)?;
        Ok(pending)
    }

    pub(crate) fn gather(
        &self,
        topic: &Topic,
        route: Guard<Arc<Route<T, R>>>,
        payload: T,
    ) -> Result<Replies<R>, RequestError<T>> {
        let (each, replies) = EachReply::new(&self.lifecycle, route.len());
        self.ask(topic, route, Parcel { payload, reply: Some(each.responder()) }, &each)?;
        Ok(replies)
    }

    fn ask<S: ReplySource<R>>(
        &self,
        topic: &Topic,
        route: Guard<Arc<Route<T, R>>>,
        parcel: Parcel<T, R>,
        replies: &S,
    ) -> Result<(), RequestError<T>> {
        if !self.lifecycle.accepts() {
            replies.unused(parcel.reply);
            return Err(RequestError::Closed(parcel.payload));
        }
        let Delivered { delivery, stopped, rest } =
            deliver(&mut Some(route), topic, parcel, replies, Wait::Forever, |mailbox| self.unroute(mailbox));
        let Some(Parcel { payload, reply }) = rest else { return Ok(()) };
        replies.unused(reply);
        if stopped.is_some() {
            return Err(RequestError::Closed(payload));
        }
        if delivery.is_unheard() {
            if delivery.dropped() == 0 && self.lifecycle.phase() == Phase::Closed {
                return Err(RequestError::Closed(payload));
            }
            self.losses.unheard.add(1);
            return Err(RequestError::NoResponders(payload));
        }
        Ok(())
    }

    /// A mailbox has run over: its subscriber sees the end when no route holds a sender any more.
    fn unroute(&self, overflowed: &Mailbox<T, R>) {
        let leftovers = self.map.write().unroute(overflowed);
        drop(leftovers);
    }
}

impl<T, R> Drop for Core<T, R> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes a member off its mailbox, also after the bus is gone. `true` if it was the last.
pub(crate) fn leave<T, R>(core: &Weak<Core<T, R>>, mailbox: &Mailbox<T, R>, readers: usize) -> bool {
    match core.upgrade() {
        Some(core) => {
            let (last, leftovers) = core.map.write().leave(mailbox, readers);
            drop(leftovers);
            last
        }
        // Nobody can join any more, so the count is all there is to keep.
        None => mailbox.leave(readers),
    }
}

/// A handler's thread has ended.
pub(crate) fn reader_left<T, R>(core: &Weak<Core<T, R>>, mailbox: &Mailbox<T, R>) {
    match core.upgrade() {
        Some(core) => core.map.write().reader_left(mailbox),
        None => mailbox.readers_left(1),
    }
}

/// Waits between looks: first very short, then longer, never past the deadline.
struct Pause {
    next: Duration,
    deadline: Option<Instant>,
}

impl Pause {
    fn new(deadline: Option<Instant>) -> Self {
        Self { next: Duration::from_micros(20), deadline }
    }

    /// `false` when the time is over.
    fn wait(&mut self) -> bool {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return false;
        }
        std::thread::sleep(left.map_or(self.next, |left| left.min(self.next)));
        self.next = (self.next * 2).min(Duration::from_millis(5));
        true
    }
}

/// What [`Bus::drain`](crate::Bus::drain) left.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let bus = tramline::Bus::<u32>::new();
/// let orders = bus.subscribe("orders.new")?;
/// let _ = bus.publish("orders.new", 7)?;
/// let report = bus.drain(Duration::ZERO);
/// assert!(!report.is_complete());
/// assert_eq!((report.left(), report.busy()), (1, 0));
/// assert_eq!(*orders.recv()?, 7); // what is left can still be taken
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a drain that ran out of time leaves messages behind"]
pub struct DrainReport {
    left: usize,
    busy: usize,
    waited: Duration,
}

impl DrainReport {
    /// The messages that were still waiting in mailboxes when the bus was closed. Subscribers and handlers can go on to
    /// take them.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let (_audit, _mail) = (bus.subscribe("orders.>")?, bus.subscribe("orders.new")?);
    /// let _ = bus.publish("orders.new", 7)?;
    /// assert_eq!(bus.drain(std::time::Duration::ZERO).left(), 2); // one message, in two mailboxes
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left(&self) -> usize {
        self.left
    }

    /// The handler threads that had not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let _handler = bus.on("work", move |_| { let _ = gate.recv(); })?;
    /// let _ = bus.publish("work", 1)?;
    /// assert_eq!(bus.drain(std::time::Duration::from_millis(1)).busy(), 1);
    /// # drop(go);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Whether every queue was empty and every handler had finished in time. What a subscriber has taken out is its
    /// own.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// let _ = bus.publish("orders.new", 7)?;
    /// let _ = orders.recv()?;
    /// assert!(bus.drain(std::time::Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_complete(&self) -> bool {
        self.left == 0 && self.busy == 0
    }

    /// How long it took.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let within = std::time::Duration::from_secs(5);
    /// assert!(bus.drain(within).waited() < within); // there was nothing to wait for
    /// ```
    pub fn waited(&self) -> Duration {
        self.waited
    }
}
