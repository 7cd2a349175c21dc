//! The part of a bus that all its handles share, and the operations that several handles offer.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Weak};

use super::name::BusName;
use super::{Drain, DrainScope, PausedThread, PublishError, Unfinished, Unsent};
use crate::counters::Loss;
use crate::dead_letter::{DeadLetter, DeadLetterReason, LetterPolicy, Losses, PublishScope};
use crate::delivery::{Delivered, Delivery, Stopped, Undelivered, Wait, deliver, deliver_at_once, deliver_rest};
use crate::lifecycle::{BusId, DrainGroup, Lifecycle, Phase};
use crate::log::{Record, Refused, SyncLog};
use crate::mailbox::{Filter, Mailbox, MailboxOptions, MailboxSender, NewQueue, Overflow, SeenWorkers};
use crate::message::Outgoing;
use crate::metadata::Properties;
use crate::request::{
    EachReply, Metadata, MetadataSource, NoMetadata, PendingReply, Replies, RequestError, SharedMetadata,
};
use crate::routing::{
    Collected, DeferredDrops, JournalHandle, NewMember, Route, RouteGuard, SubscribeError, TopicEntry, TopicMap, Unmade,
};
use crate::spans::{Carried, Publishing, Requesting};
use crate::sync::atomic::Ordering;
use crate::sync::{Guard, RwLock};
use crate::topic::{Pattern, Topic};

/// A mailbox, and the retained values of its topics before the first message that it got.
#[cfg(feature = "gateway")]
pub(crate) type Renewed<M, T> = (M, Vec<(Topic, Arc<crate::message::Retained<T>>)>);

/// Kept alive by `Bus` and `Publisher` handles alone: when the last is dropped, nobody is left to publish.
pub(crate) struct BusInner<T, R> {
    pub(crate) name: BusName,
    /// Never held while user code runs: no payload, closure or callback is called or dropped under it.
    pub(crate) map: RwLock<TopicMap<T, R>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) losses: Arc<Losses<T>>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    #[cfg(feature = "metrics")]
    pub(crate) recordings: crate::sync::Mutex<crate::counters::Recordings>,
    /// Set if each message carries the span of its publisher.
    #[cfg(feature = "tracing")]
    pub(super) trace_messages: bool,
}

impl<T, R> BusInner<T, R> {
    pub(crate) fn new(name: Arc<str>, capacity: usize, overflow: Overflow, drain_group: DrainGroup) -> Self {
        let id = BusId::new();
        let losses = Arc::new(Losses::new(id));
        let lifecycle = Arc::new(Lifecycle::new(id, drain_group));
        Self {
            name: BusName::new(name),
            map: RwLock::new(TopicMap::new(Arc::clone(&losses), Arc::clone(&lifecycle))),
            lifecycle,
            losses,
            capacity,
            overflow,
            #[cfg(feature = "metrics")]
            recordings: crate::sync::Mutex::default(),
            #[cfg(feature = "tracing")]
            trace_messages: false,
        }
    }

    #[cfg(feature = "tracing")]
    pub(super) fn with_traces(mut self, trace_messages: bool) -> Self {
        self.trace_messages = trace_messages;
        self
    }

    pub(crate) fn add_publisher(&self, topic: &Topic) -> Arc<TopicEntry<T, R>> {
        self.map.write().add_publisher(topic)
    }

    pub(crate) fn drop_publisher(&self, entry: &TopicEntry<T, R>) {
        if entry.publishers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.change(|map, deferred| map.release(&entry.topic, deferred));
        }
    }

    pub(crate) fn subscribe(
        &self,
        options: MailboxOptions,
        readers: usize,
        filter: Option<Filter<T>>,
    ) -> Result<Arc<Mailbox<T, R>>, SubscribeError> {
        let mut values = Vec::new();
        let beginning = options.retained.then(|| {
            let mut collected = self.collect(&options.patterns);
            values.extend(collected.values.iter().map(|(_, value)| Arc::clone(value)));
            (NewQueue::new(&options, std::mem::take(&mut collected.values)), collected)
        });
        let mut new = NewMember { readers, filter, beginning, joining_only: self.lifecycle.phase() != Phase::Open };
        let mailbox = self.change(|map, deferred| map.subscribe(options, &mut new, deferred))?;
        if new.beginning.is_none() {
            mailbox.count_replaced(&values);
        }
        Ok(mailbox)
    }

    /// The retained values of all topics that match, in steps that hold nobody up for long: what is kept meanwhile is for
    /// the step that takes the subscription into the map.
    fn collect(&self, patterns: &[Pattern]) -> Collected<T> {
        let mut collected = Collected::default();
        while !self.map.read().collect(patterns, &mut collected) {}
        collected
    }

    /// Changes the map under its lock. What that leaves over is dropped when the lock is released.
    pub(crate) fn change<A>(&self, change: impl FnOnce(&mut TopicMap<T, R>, &mut DeferredDrops<T, R>) -> A) -> A {
        let mut map = self.map.write();
        let mut deferred = map.deferred_drops();
        let result = change(&mut map, &mut deferred);
        drop(map);
        drop(deferred);
        result
    }

    /// The route of a publisher's topic, if one look says that the bus is open, and that the route is right.
    // Always: the look that nearly every message takes.
    #[inline(always)]
    pub(super) fn route_at_once(&self, entry: &TopicEntry<T, R>) -> Option<RouteGuard<T, R>> {
        let route = entry.route.load();
        self.is_right(&route).then_some(route)
    }

    /// The route of a publisher's topic; `None` if the bus takes no message of this thread.
    pub(crate) fn route_of(&self, entry: &Arc<TopicEntry<T, R>>) -> Option<RouteGuard<T, R>> {
        if !self.lifecycle.accepts() {
            return None;
        }
        let route = entry.route.load();
        if self.lifecycle.is_in(route.generation()) {
            return Some(route);
        }
        drop(route);
        Some(Guard::from_inner(self.found(|map, others| map.route_of(entry, others))))
    }

    /// The route of a topic; `None` if the bus takes no message of this thread.
    pub(crate) fn route(&self, topic: &Topic) -> Option<RouteGuard<T, R>> {
        self.lifecycle.accepts().then(|| self.find_route(topic))
    }

    #[inline]
    fn find_route(&self, topic: &Topic) -> RouteGuard<T, R> {
        let map = self.map.read();
        Guard::from_inner(match map.known_route(topic) {
            Some((route, true)) => route,
            stale => self.find_another_route(map, topic, stale),
        })
    }

    /// The route of a topic that is not in use, or whose route is this one, which is not right any more.
    #[inline(never)]
    fn find_another_route(
        &self,
        map: impl Deref<Target = TopicMap<T, R>>,
        topic: &Topic,
        stale: Option<(Arc<Route<T, R>>, bool)>,
    ) -> Arc<Route<T, R>> {
        let mut others = Vec::new();
        let found = map.route(topic, &mut others);
        // Before the routes that nobody else may have.
        drop(map);
        drop((stale, others));
        found.unwrap_or_else(|unmade| {
            unmade.iter().for_each(|source| source.make());
            self.found(|map, others| map.route(topic, others))
        })
    }

    /// Finds a route in the map. If queues have to be made first, that is done outside the lock.
    #[cold]
    #[inline(never)]
    fn found(
        &self,
        find: impl Fn(&TopicMap<T, R>, &mut Vec<Arc<Route<T, R>>>) -> Result<Arc<Route<T, R>>, Unmade<T, R>>,
    ) -> Arc<Route<T, R>> {
        loop {
            // Dropped after the lock is released.
            let mut others = Vec::new();
            let found = find(&self.map.read(), &mut others);
            match found {
                Ok(route) => return route,
                Err(unmade) => unmade.iter().for_each(|source| source.make()),
            }
        }
    }

    /// Whether the bus is open, and the route has all mailboxes that it should have.
    #[inline(always)]
    pub(super) fn is_right(&self, route: &Route<T, R>) -> bool {
        self.lifecycle.is_open_in(route.generation())
    }

    /// A new mailbox in the place of this one, with the same options, and the retained values as of that step. What was
    /// published before it is in the old mailbox, which ends; what is published after it, in the new one.
    #[cfg(feature = "gateway")]
    pub(crate) fn renew(&self, old: &Mailbox<T, R>) -> Result<Renewed<Arc<Mailbox<T, R>>, T>, SubscribeError> {
        let options = MailboxOptions { group: None, retained: false, ..old.options.clone() };
        let mut collected = self.collect(&options.patterns);
        let joining_only = self.lifecycle.phase() != Phase::Open;
        let mut new = NewMember { readers: 1, filter: None, beginning: None, joining_only };
        let (new, began) = self.change(|map, deferred| {
            let began = map.collect_rest(&options.patterns, &mut collected);
            let new = map.subscribe(options, &mut new, deferred)?;
            map.unroute(old, deferred);
            Ok::<_, SubscribeError>((new, began))
        })?;
        collected.values.retain(|(_, value)| value.was_kept_at(began));
        Ok((new, collected.values))
    }

    /// The number of topics in use, and every mailbox that has a reader and that statistics show.
    pub(crate) fn in_use(&self) -> (usize, Vec<Arc<Mailbox<T, R>>>) {
        let map = self.map.read();
        (map.len(), map.mailboxes().filter(|mailbox| mailbox.options.role.is_listed()).cloned().collect())
    }

    /// Adds a journal, or returns the handle of the one that has its name.
    pub(crate) fn open_journal(
        &self,
        sink: &Arc<dyn SyncLog<T>>,
        handle: &JournalHandle,
    ) -> Result<Option<JournalHandle>, SubscribeError> {
        let handle = Arc::downgrade(handle);
        let opened = self.change(|map, _| map.open_journal(sink, handle));
        // A handle that comes with an error is dropped here, outside the lock.
        opened.map_err(|(error, _)| error)
    }

    pub(crate) fn close_journal(&self, id: u64) {
        self.change(|map, deferred| map.close_journal(id, deferred));
    }

    pub(crate) fn journal_handle(&self, name: &str) -> Option<JournalHandle> {
        self.map.read().journal(name)
    }

    pub(crate) fn journal_handles(&self) -> Vec<JournalHandle> {
        self.map.read().journals()
    }

    pub(super) fn logs(&self) -> Vec<Arc<dyn SyncLog<T>>> {
        self.map.read().logs().cloned().collect()
    }

    pub(crate) fn close(&self) {
        // First the phase, so that who finds an empty route below knows why.
        self.lifecycle.advance(Phase::Closed);
        let mut map = self.map.write();
        let mut deferred = map.deferred_drops();
        map.close(&mut deferred);
        let mailboxes: Vec<_> = map.mailboxes().cloned().collect();
        let logs: Vec<_> = map.logs().cloned().collect();
        drop(map);
        for log in &logs {
            log.close();
        }
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
        route: Option<RouteGuard<T, R>>,
        payload: T,
        wait: Wait,
    ) -> Result<Delivery, PublishError<T>> {
        if self.traces() {
            return self.publish_outgoing(topic, route, Outgoing { payload, metadata: None }, wait);
        }
        let span = Publishing::enter(topic);
        let Some(route) = route else { return self.refuse(payload, span) };
        let Some(mailboxes) = route.simple() else { return self.publish_closer(topic, route, payload, wait, span) };
        match self.publish_at_once(topic, mailboxes, payload, &span) {
            Ok(delivery) => Ok(delivery),
            // The span by value: one that is empty takes no register.
            Err(undelivered) => self.publish_rest(topic, route, undelivered, wait, span),
        }
    }

    /// Publishes to a topic that has a journal, a filter or an observer.
    #[inline(never)]
    pub(super) fn publish_closer(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        mut payload: T,
        wait: Wait,
        span: Publishing,
    ) -> Result<Delivery, PublishError<T>> {
        if let Some(log) = route.only_log() {
            match log.append(topic, Record { payload, properties: None }) {
                Ok(()) => {
                    self.losses.messages.published(1);
                    span.end(1, 0, "delivered");
                    return Ok(Delivery::new(1, 0));
                }
                Err((Refused::Overrun, Record { payload, .. })) => {
                    log.count_loss(topic, &payload, None, DeadLetterReason::Evicted);
                    let rest = Some(Outgoing { payload, metadata: None });
                    let delivered = Delivered { rest, ..Delivered::complete(Delivery::new(0, 1)) };
                    return self.published(topic, delivered, span);
                }
                // The passes say what to do with it.
                Err((_, record)) => payload = record.payload,
            }
        }
        let original = Outgoing { payload, metadata: None };
        self.publish_rest(topic, route, Undelivered::new(original), wait, span)
    }

    /// The bus takes no message of this thread.
    #[cold]
    pub(super) fn refuse(&self, payload: T, span: Publishing) -> Result<Delivery, PublishError<T>> {
        span.end(0, 0, "closed");
        Err(PublishError::Closed(payload.into()))
    }

    /// Publishes to the topic of a publisher.
    // Always: the call and what it saves of registers are 2 ns of 25. All but the short way is calls.
    #[inline(always)]
    pub(super) fn publish_to(
        &self,
        entry: &Arc<TopicEntry<T, R>>,
        payload: T,
        wait: Wait,
    ) -> Result<Delivery, PublishError<T>> {
        match self.route_at_once(entry) {
            Some(route) => self.publish(&entry.topic, Some(route), payload, wait),
            None => self.publish_after_a_look(entry, payload, wait),
        }
    }

    /// Publishes to a topic that has to be found in the map.
    pub(super) fn publish_by_name(&self, topic: &Topic, payload: T, wait: Wait) -> Result<Delivery, PublishError<T>> {
        if self.lifecycle.is_simply_open() {
            return self.publish(topic, Some(self.find_route(topic)), payload, wait);
        }
        let _letters = self.begin_publish();
        self.publish(topic, self.route(topic), payload, wait)
    }

    /// Publishes when the bus is not simply open, or the route has to be found.
    #[cold]
    #[inline(never)]
    fn publish_after_a_look(
        &self,
        entry: &Arc<TopicEntry<T, R>>,
        payload: T,
        wait: Wait,
    ) -> Result<Delivery, PublishError<T>> {
        let _letters = self.begin_publish();
        self.publish(&entry.topic, self.route_of(entry), payload, wait)
    }

    /// Begins a publish of this thread that makes no dead letters, if this one is to be.
    #[inline(always)]
    pub(super) fn begin_publish(&self) -> Option<PublishScope<'_>> {
        if self.lifecycle.is_simply_open() { None } else { LetterPolicy::begin_publish(&self.lifecycle) }
    }

    /// Publishes, as long as no mailbox needs a closer look.
    #[inline(always)]
    pub(super) fn publish_at_once(
        &self,
        topic: &Topic,
        mailboxes: &[Arc<MailboxSender<T, R>>],
        payload: T,
        span: &Publishing,
    ) -> Result<Delivery, Undelivered<T, R>> {
        let delivery = deliver_at_once(mailboxes, topic, payload, (), &NoMetadata)?;
        self.losses.messages.published(delivery.delivered());
        span.end(delivery.delivered(), delivery.dropped(), "delivered");
        Ok(delivery)
    }

    /// Returns `true` if each message carries the span of its publisher.
    #[cfg(feature = "tracing")]
    #[inline(always)]
    pub(super) fn traces(&self) -> bool {
        self.trace_messages
    }

    #[cfg(not(feature = "tracing"))]
    #[inline(always)]
    pub(super) fn traces(&self) -> bool {
        false
    }

    /// Adds the span in which the message is published, if messages carry theirs.
    pub(super) fn traced(&self, outgoing: Outgoing<T, R>) -> Outgoing<T, R> {
        if self.traces() { outgoing.with_span(Carried::current()) } else { outgoing }
    }

    /// Publishes a message that may have metadata.
    pub(super) fn publish_outgoing(
        &self,
        topic: &Topic,
        route: Option<RouteGuard<T, R>>,
        outgoing: Outgoing<T, R>,
        wait: Wait,
    ) -> Result<Delivery, PublishError<T>> {
        let outgoing = self.traced(outgoing);
        let span = Publishing::enter(topic);
        let Some(route) = route else { return self.refuse(outgoing.payload, span) };
        let delivered = deliver(route, topic, outgoing, &SharedMetadata, wait, |mailbox| self.unroute(mailbox));
        self.published(topic, delivered, span)
    }

    /// Publishes what a first look left.
    #[inline(never)]
    pub(super) fn publish_rest(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        undelivered: Undelivered<T, R>,
        wait: Wait,
        span: Publishing,
    ) -> Result<Delivery, PublishError<T>> {
        let delivered = deliver_rest(route, topic, undelivered, &NoMetadata, wait, |mailbox| self.unroute(mailbox));
        self.published(topic, delivered, span)
    }

    /// Turns a delivery into its result.
    pub(super) fn published(
        &self,
        topic: &Topic,
        mut delivered: Delivered<T, R>,
        span: Publishing,
    ) -> Result<Delivery, PublishError<T>> {
        delivered.settle_observers(topic);
        let Delivered { delivery, stopped, rest, .. } = delivered;
        self.losses.messages.published(delivery.delivered());
        let result = match rest {
            None => Ok(delivery),
            Some(rest) => self.make_of_the_rest(topic, rest, delivery, stopped),
        };
        span.end(delivery.delivered(), delivery.dropped(), outcome(&result));
        result
    }

    #[inline]
    pub(crate) fn make_of_the_rest(
        &self,
        topic: &Topic,
        rest: Outgoing<T, R>,
        delivery: Delivery,
        stopped: Option<Stopped>,
    ) -> Result<Delivery, PublishError<T>> {
        let Outgoing { payload, metadata } = rest;
        match stopped {
            Some(Stopped::Closed) => return Err(PublishError::Closed(Unsent::new(payload, delivery))),
            Some(Stopped::Timeout) => return Err(PublishError::Timeout(Unsent::new(payload, delivery))),
            None => {}
        }
        if delivery.is_unheard() {
            // The bus may have closed, and emptied the route, since the look at its phase above.
            if delivery.dropped() == 0 && self.lifecycle.phase() == Phase::Closed {
                return Err(PublishError::Closed(payload.into()));
            }
            self.unheard(topic, payload, metadata, delivery);
        }
        Ok(delivery)
    }

    /// Counts a loss if the outcome of a fire-and-forget is a closed bus, or an invalid topic or header.
    pub(crate) fn fire(&self, outcome: Result<Delivery, PublishError<T>>) {
        if let Err(error) = outcome {
            self.losses.dropped.add(match error {
                PublishError::Topic(..) => Loss::InvalidTopic,
                PublishError::Header(..) => Loss::InvalidHeader,
                PublishError::Closed(_) | PublishError::Timeout(_) => Loss::Closed,
            });
        }
    }

    fn unheard(&self, topic: &Topic, payload: T, metadata: Option<Metadata<R>>, delivery: Delivery) {
        self.losses.unheard.add(1);
        // What a full mailbox dropped has its letter already.
        if delivery.dropped() == 0 && self.losses.is_listening() {
            let properties = metadata.as_ref().and_then(Metadata::properties).cloned();
            self.losses.post(DeadLetter::new(topic.clone(), payload, DeadLetterReason::Unheard, properties));
        }
    }

    fn request(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        payload: T,
        properties: Option<Arc<Properties>>,
        wait: Wait,
    ) -> Result<PendingReply<R>, RequestError<T>> {
        let requesting = Requesting::one(topic);
        let (metadata, pending) = PendingReply::new(&self.lifecycle, properties, requesting);
        let outgoing = Outgoing { payload, metadata: Some(metadata) };
        let asked = pending.requesting().within(|| self.ask(topic, route, outgoing, &SharedMetadata, wait));
        if let Err(error) = asked {
            pending.requesting().end(refusal(&error));
            return Err(error);
        }
        Ok(pending)
    }

    /// Sends a request to the topic of a publisher.
    #[inline]
    pub(super) fn request_to(
        &self,
        entry: &Arc<TopicEntry<T, R>>,
        payload: T,
    ) -> Result<PendingReply<R>, RequestError<T>> {
        match self.route_at_once(entry) {
            Some(route) => self.request(&entry.topic, route, payload, None, Wait::Forever),
            None => self.request_after_a_look(&entry.topic, payload, None, Wait::Forever, || self.route_of(entry)),
        }
    }

    /// Sends a request when the bus is not simply open, or the route has to be found.
    #[inline(never)]
    pub(super) fn request_after_a_look(
        &self,
        topic: &Topic,
        payload: T,
        properties: Option<Arc<Properties>>,
        wait: Wait,
        route: impl FnOnce() -> Option<RouteGuard<T, R>>,
    ) -> Result<PendingReply<R>, RequestError<T>> {
        let _letters = self.begin_publish();
        match route() {
            Some(route) => self.request(topic, route, payload, properties, wait),
            None => {
                Requesting::one(topic).end("closed");
                Err(RequestError::Closed(payload))
            }
        }
    }

    pub(crate) fn gather(
        &self,
        topic: &Topic,
        route: Option<RouteGuard<T, R>>,
        payload: T,
        properties: Option<Arc<Properties>>,
        wait: Wait,
    ) -> Result<Replies<R>, RequestError<T>> {
        let most = route.as_ref().map_or(0, |route| route.len());
        let (each, replies) = EachReply::new(&self.lifecycle, most, properties, Requesting::many(topic));
        let outgoing = Outgoing { payload, metadata: Some(each.metadata()) };
        let asked = match route {
            Some(route) => each.requesting.within(|| self.ask(topic, route, outgoing, &each, wait)),
            None => Err(may_not_ask(outgoing, &each)),
        };
        each.requesting.end(asked.as_ref().map_or_else(refusal, |()| "asked"));
        asked.map(|()| replies)
    }

    fn ask<S: MetadataSource<R>>(
        &self,
        topic: &Topic,
        route: RouteGuard<T, R>,
        outgoing: Outgoing<T, R>,
        source: &S,
        wait: Wait,
    ) -> Result<(), RequestError<T>> {
        let delivered = deliver(route, topic, outgoing, source, wait, |mailbox| self.unroute(mailbox));
        self.asked(topic, delivered, source)
    }

    /// Turns the delivery of a request into its result.
    pub(crate) fn asked<S: MetadataSource<R>>(
        &self,
        topic: &Topic,
        mut delivered: Delivered<T, R>,
        source: &S,
    ) -> Result<(), RequestError<T>> {
        self.losses.messages.published(delivered.delivery.delivered());
        if delivered.rest.is_none() {
            return Ok(());
        }
        // Those that have the request may answer it, or have.
        delivered.settle_observers(topic);
        delivered.settle_for_some(topic);
        let Delivered { delivery, stopped, rest, .. } = delivered;
        let Some(Outgoing { payload, metadata }) = rest else { return Ok(()) };
        source.unused(metadata);
        match stopped {
            Some(Stopped::Closed) => return Err(RequestError::Closed(payload)),
            Some(Stopped::Timeout) => return Err(RequestError::Timeout(payload)),
            None => {}
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
        self.change(|map, deferred| map.unroute(overflowed, deferred));
    }
}

/// The bus takes no request of this thread.
pub(crate) fn may_not_ask<T, R>(outgoing: Outgoing<T, R>, source: &impl MetadataSource<R>) -> RequestError<T> {
    source.unused(outgoing.metadata);
    RequestError::Closed(outgoing.payload)
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
    match error {
        RequestError::NoResponders(_) => "no_responders",
        RequestError::Timeout(_) => "timeout",
        _ => "closed",
    }
}

impl<T: Send + 'static, R: Send + 'static> Drain for BusInner<T, R> {
    fn refuse(&self) {
        self.lifecycle.advance(Phase::Draining);
    }

    fn pause_this_thread(&self) -> Vec<PausedThread> {
        let Some((serving, draining)) = self.lifecycle.start_draining() else { return Vec::new() };
        let mut paused: Vec<PausedThread> = vec![Box::new(draining)];
        let own = self.map.read().mailbox(serving.mailbox).cloned();
        if let Some(own) = own {
            paused.extend(own.pause_worker(serving.handler).map(|worker| Box::new(worker) as PausedThread));
            paused.push(Box::new(own.pause_reader()));
        }
        let of_log = |log: &Arc<dyn SyncLog<T>>| log.pause_worker(serving.mailbox, serving.handler);
        paused.extend(self.logs().iter().filter_map(of_log).map(|worker| Box::new(worker) as PausedThread));
        paused
    }

    fn is_at_rest(&self, scope: DrainScope, seen: &mut SeenWorkers) -> bool {
        let map = self.map.read();
        // A queue that no reader can take from will not get any shorter.
        map.mailboxes().all(|mailbox| mailbox.len() == 0 || mailbox.is_stuck() || !is_within(scope, mailbox))
            && map.mailboxes().all(|mailbox| mailbox.is_idle(seen))
            && map.logs().all(|log| log.is_at_rest(scope == DrainScope::Handlers, seen))
    }

    fn is_awake(&self) -> bool {
        let map = self.map.read();
        map.mailboxes().any(|mailbox| mailbox.is_awake()) || map.logs().any(|log| log.is_awake())
    }

    fn close(&self) {
        BusInner::close(self);
    }

    fn workers(&self) -> usize {
        self.lifecycle.workers().saturating_sub(self.lifecycle.draining_workers())
    }

    fn unfinished(&self, scope: DrainScope, is_settled: &mut bool) -> Vec<Unfinished> {
        let (_, mailboxes) = self.in_use();
        let name = self.name.get();
        let mailboxes = mailboxes.iter().filter(|mailbox| is_within(scope, mailbox));
        let mut unfinished: Vec<_> =
            mailboxes.filter_map(|mailbox| Unfinished::new(&name, mailbox, is_settled)).collect();
        for log in self.logs() {
            let left = log.left(scope == DrainScope::Handlers);
            let of_log = |left| Unfinished::of_reader(&name, &log.options, left, is_settled);
            unfinished.extend(left.into_iter().filter_map(of_log));
        }
        unfinished
    }
}

fn is_within<T, R>(scope: DrainScope, mailbox: &Mailbox<T, R>) -> bool {
    match scope {
        DrainScope::Everything => true,
        DrainScope::Handlers => mailbox.is_handled(),
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
        Some(inner) => inner.change(|map, deferred| map.leave(mailbox, readers, deferred)),
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
