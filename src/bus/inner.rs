//! The part of a bus that all its handles share, and the operations that several handles offer.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Weak};

use super::{Drain, PausedThread, PublishError, QueueDepth};
use crate::counters::Loss;
use crate::dead_letter::{DeadLetterReason, LetterPolicy, Losses};
use crate::delivery::{Delivered, Delivery, Stopped, Undelivered, Wait, deliver, deliver_at_once, deliver_rest};
use crate::lifecycle::{BusId, DrainGroup, Lifecycle, Phase};
use crate::mailbox::{Filter, Mailbox, MailboxOptions, Overflow};
use crate::message::Outgoing;
use crate::request::{EachReply, NoReply, OneReply, PendingReply, Replies, ReplySource, RequestError};
use crate::routing::{DeferredDrops, Route, RouteGuard, SubscribeError, TopicEntry, TopicMap};
use crate::spans::{Publishing, Requesting};
use crate::sync::RwLock;
use crate::sync::atomic::Ordering;
use crate::topic::Topic;

/// A mailbox, and the retained values of its topics before the first message that it got.
#[cfg(feature = "gateway")]
pub(crate) type Renewed<M, T> = (M, Vec<(Topic, Arc<crate::message::Retained<T>>)>);

/// Kept alive by `Bus` and `Publisher` handles alone: when the last is dropped, nobody is left to publish.
pub(crate) struct BusInner<T, R> {
    pub(crate) name: Arc<str>,
    /// Never held while user code runs: no payload, closure or callback is called or dropped under it.
    pub(crate) map: RwLock<TopicMap<T, R>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) losses: Arc<Losses<T>>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    #[cfg(feature = "metrics")]
    pub(crate) recordings: crate::sync::Mutex<crate::counters::Recordings>,
}

impl<T, R> BusInner<T, R> {
    pub(crate) fn new(name: Arc<str>, capacity: usize, overflow: Overflow, drain_group: DrainGroup) -> Self {
        let id = BusId::new();
        let losses = Arc::new(Losses::new(id));
        Self {
            name,
            map: RwLock::new(TopicMap::new(Arc::clone(&losses))),
            lifecycle: Arc::new(Lifecycle::new(id, drain_group)),
            losses,
            capacity,
            overflow,
            #[cfg(feature = "metrics")]
            recordings: crate::sync::Mutex::default(),
        }
    }

    pub(crate) fn add_publisher(&self, topic: &Topic) -> Arc<TopicEntry<T, R>> {
        self.map.write().add_publisher(topic)
    }

    pub(crate) fn drop_publisher(&self, entry: &TopicEntry<T, R>) {
        if entry.publishers.fetch_sub(1, Ordering::Relaxed) == 1 {
            let deferred = self.map.write().release(&entry.topic);
            drop(deferred);
        }
    }

    pub(crate) fn subscribe(
        &self,
        options: MailboxOptions,
        readers: usize,
        mut filter: Option<Filter<T>>,
    ) -> Result<Arc<Mailbox<T, R>>, SubscribeError> {
        let joining_only = self.lifecycle.phase() != Phase::Open;
        let mut deferred = DeferredDrops::default();
        // The lock is released at the end of this statement; the deferred drops and an unused filter come after it.
        self.map.write().subscribe(options, readers, &mut filter, joining_only, &mut deferred)
    }

    /// A new mailbox in the place of this one, with the same options, and the retained values as of that step. What was
    /// published before it is in the old mailbox, which ends; what is published after it, in the new one.
    #[cfg(feature = "gateway")]
    pub(crate) fn renew(&self, old: &Mailbox<T, R>) -> Result<Renewed<Arc<Mailbox<T, R>>, T>, SubscribeError> {
        let options = MailboxOptions { group: None, retained: false, ..old.options.clone() };
        let joining_only = self.lifecycle.phase() != Phase::Open;
        // Dropped after the lock is released.
        let mut deferred = (DeferredDrops::default(), DeferredDrops::default());
        let mut map = self.map.write();
        let values = map.values(&old.options.patterns);
        let new = map.subscribe(options, 1, &mut None, joining_only, &mut deferred.0)?;
        deferred.1 = map.unroute(old);
        Ok((new, values))
    }

    /// The number of topics in use, and every mailbox that has a reader.
    pub(crate) fn in_use(&self) -> (usize, Vec<Arc<Mailbox<T, R>>>) {
        let map = self.map.read();
        (map.len(), map.subscriptions().cloned().collect())
    }

    pub(crate) fn close(&self) {
        // First the phase, so that who finds an empty route below knows why.
        self.lifecycle.advance(Phase::Closed);
        let mut map = self.map.write();
        let deferred = map.close();
        let mailboxes: Vec<_> = map.subscriptions().cloned().collect();
        drop(map);
        for mailbox in &mailboxes {
            mailbox.close();
        }
        if self.lifecycle.workers() == 0 {
            self.losses.close();
        }
        // The deferred drops may hold payloads, whose `Drop` may panic; but the callbacks must run.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(deferred)));
        self.lifecycle.notify_close_listeners();
        if let Err(panic) = dropped {
            resume_unwind(panic);
        }
    }
}

impl<T: Clone, R> BusInner<T, R> {
    #[inline]
    pub(crate) fn publish(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        payload: T,
        wait: Wait,
    ) -> Result<Delivery, PublishError<T>> {
        let span = Publishing::enter(topic);
        match self.publish_at_once(topic, &route, payload, &span) {
            Ok(delivery) => Ok(delivery),
            // The span by value: one that is empty takes no register.
            Err(rest) => self.publish_rest(topic, route, rest, wait, span),
        }
    }

    /// Publishes, as long as no mailbox needs a closer look.
    #[inline(always)]
    pub(super) fn publish_at_once(
        &self,
        topic: &Topic,
        route: &Route<T, R>,
        payload: T,
        span: &Publishing,
    ) -> Result<Delivery, Rest<T, R>> {
        if !self.lifecycle.accepts_all() {
            return Err(Rest::Selective(payload));
        }
        self.publish_accepted(topic, route, payload, span).map_err(Rest::Undelivered)
    }

    #[inline(always)]
    pub(super) fn publish_accepted(
        &self,
        topic: &Topic,
        route: &Route<T, R>,
        payload: T,
        span: &Publishing,
    ) -> Result<Delivery, Undelivered<T, R>> {
        let delivery = deliver_at_once(route, topic, Outgoing { payload, reply: None }, &NoReply)?;
        self.losses.messages.published(delivery.delivered());
        span.end(delivery.delivered(), delivery.dropped(), "delivered");
        Ok(delivery)
    }

    /// Publishes what a first look left.
    #[inline(never)]
    pub(super) fn publish_rest(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        rest: Rest<T, R>,
        wait: Wait,
        span: Publishing,
    ) -> Result<Delivery, PublishError<T>> {
        let undelivered = match rest {
            Rest::Undelivered(undelivered) => undelivered,
            Rest::Selective(payload) => return self.publish_selectively(topic, route, payload, wait, span),
        };
        let Delivered { delivery, stopped, rest } =
            deliver_rest(route, topic, undelivered, &NoReply, wait, |mailbox| self.unroute(mailbox));
        self.losses.messages.published(delivery.delivered());
        let result = match rest {
            None => Ok(delivery),
            Some(rest) => self.make_of_the_rest(topic, rest.payload, delivery, stopped),
        };
        span.end(delivery.delivered(), delivery.dropped(), outcome(&result));
        result
    }

    #[inline]
    pub(crate) fn make_of_the_rest(
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

    /// Counts a loss if the outcome of a fire-and-forget is a closed bus or an invalid topic.
    pub(crate) fn fire(&self, outcome: Result<Delivery, PublishError<T>>) {
        if let Err(error) = outcome {
            self.losses.dropped.add(if error.is_invalid_topic() { Loss::InvalidTopic } else { Loss::Closed });
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
        route: RouteGuard<T, R>,
        payload: T,
    ) -> Result<PendingReply<R>, RequestError<T>> {
        let (responder, pending) = OneReply::pending(&self.lifecycle, Requesting::one(topic));
        let outgoing = Outgoing { payload, reply: Some(responder) };
        let asked = pending.requesting().within(|| self.ask(topic, route, outgoing, &OneReply));
        if let Err(error) = asked {
            pending.requesting().end(refusal(&error));
            return Err(error);
        }
        Ok(pending)
    }

    pub(crate) fn gather(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        payload: T,
    ) -> Result<Replies<R>, RequestError<T>> {
        let (each, replies) = EachReply::new(&self.lifecycle, route.len(), Requesting::many(topic));
        let outgoing = Outgoing { payload, reply: Some(each.responder()) };
        let asked = each.requesting.within(|| self.ask(topic, route, outgoing, &each));
        each.requesting.end(asked.as_ref().map_or_else(refusal, |()| "asked"));
        asked.map(|()| replies)
    }

    fn ask<S: ReplySource<R>>(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        outgoing: Outgoing<T, R>,
        replies: &S,
    ) -> Result<(), RequestError<T>> {
        let mut _letters = None;
        // Not with `may_ask`: to move the message through it takes 11 instructions.
        if !self.lifecycle.accepts_all() {
            _letters = LetterPolicy::begin_publish(&self.lifecycle);
            if !self.lifecycle.accepts() {
                replies.unused(outgoing.reply);
                return Err(RequestError::Closed(outgoing.payload));
            }
        }
        let delivered = deliver(route, topic, outgoing, replies, Wait::Forever, |mailbox| self.unroute(mailbox));
        self.asked(delivered, replies)
    }

    #[cfg(feature = "async")]
    pub(crate) fn may_ask<S: ReplySource<R>>(
        &self,
        outgoing: Outgoing<T, R>,
        replies: &S,
    ) -> Result<Outgoing<T, R>, RequestError<T>> {
        if self.lifecycle.accepts() {
            return Ok(outgoing);
        }
        replies.unused(outgoing.reply);
        Err(RequestError::Closed(outgoing.payload))
    }

    /// Turns the delivery of a request into its result.
    pub(crate) fn asked<S: ReplySource<R>>(
        &self,
        delivered: Delivered<T, R>,
        replies: &S,
    ) -> Result<(), RequestError<T>> {
        let Delivered { delivery, stopped, rest } = delivered;
        self.losses.messages.published(delivery.delivered());
        let Some(Outgoing { payload, reply }) = rest else { return Ok(()) };
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
    pub(crate) fn unroute(&self, overflowed: &Mailbox<T, R>) {
        let deferred = self.map.write().unroute(overflowed);
        drop(deferred);
    }
}

/// A message that was not published at first sight.
pub(super) enum Rest<T, R> {
    Undelivered(Undelivered<T, R>),
    /// The bus does not accept all messages alike.
    Selective(T),
}

/// Names the outcome of a publish for its span.
pub(crate) fn outcome<T>(result: &Result<Delivery, PublishError<T>>) -> &'static str {
    match result {
        Ok(delivery) if !delivery.is_unheard() => "delivered",
        Ok(delivery) if delivery.dropped() > 0 => "dropped",
        Ok(_) => "unheard",
        Err(error) if error.is_timeout() => "timeout",
        Err(_) => "closed",
    }
}

/// Names why a request was not sent, for its span.
pub(crate) fn refusal<T>(error: &RequestError<T>) -> &'static str {
    if error.is_no_responders() { "no_responders" } else { "closed" }
}

impl<T: Send + 'static, R: Send + 'static> Drain for BusInner<T, R> {
    fn refuse(&self) {
        self.lifecycle.advance(Phase::Draining);
    }

    fn pause_this_thread(&self) -> Vec<PausedThread> {
        let Some((mailbox, draining)) = self.lifecycle.start_draining() else { return Vec::new() };
        let own = self.map.read().subscription(mailbox).cloned();
        let paused = own.map(|own| -> PausedThread { Box::new(own.pause_reader()) });
        [Box::new(draining) as PausedThread].into_iter().chain(paused).collect()
    }

    fn is_at_rest(&self) -> bool {
        // A queue that no reader can take from will not get any shorter.
        self.map.read().subscriptions().all(|mailbox| mailbox.len() == 0 || mailbox.is_stuck())
            && self.lifecycle.busy_workers() <= self.lifecycle.draining_workers()
    }

    fn activity(&self) -> u64 {
        self.lifecycle.activity()
    }

    fn queue_depths(&self) -> Vec<QueueDepth> {
        let queue = |mailbox: &Arc<Mailbox<T, R>>| -> QueueDepth {
            let mailbox = Arc::clone(mailbox);
            Box::new(move || mailbox.len())
        };
        self.map.read().subscriptions().map(queue).collect()
    }

    fn close(&self) {
        BusInner::close(self);
    }

    fn workers(&self) -> usize {
        self.lifecycle.workers().saturating_sub(self.lifecycle.draining_workers())
    }
}

impl<T, R> Drop for BusInner<T, R> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes a member off its mailbox, also after the bus is gone. `true` if it was the last.
pub(crate) fn leave<T, R>(inner: &Weak<BusInner<T, R>>, mailbox: &Mailbox<T, R>, readers: usize) -> bool {
    let last = match inner.upgrade() {
        Some(inner) => {
            let (last, deferred) = inner.map.write().leave(mailbox, readers);
            drop(deferred);
            last
        }
        // Nobody can join any more, so the count is all there is to keep.
        None => mailbox.leave(readers),
    };
    // Calls wakers, so not under the lock.
    mailbox.wake_if_stuck();
    last
}

/// A handler's thread has ended.
pub(crate) fn reader_left<T, R>(inner: &Weak<BusInner<T, R>>, mailbox: &Mailbox<T, R>) {
    match inner.upgrade() {
        Some(inner) => inner.map.write().reader_left(mailbox),
        None => mailbox.readers_left(1),
    }
    mailbox.wake_if_stuck();
}
