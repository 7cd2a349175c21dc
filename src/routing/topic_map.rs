//! The lock-protected map: topics in use, and subscriptions; from both the route of each topic.
//!
//! A topic is in the map as long as it has a publisher, a subscription to just this topic, or a retained value. A change
//! of subscriptions does not find any route anew. It makes those that it concerns stale: the route of one topic by
//! another in its place, all of them by a new generation. The next publish finds its route, and no more than that.
//!
//! What a change leaves over may hold payloads and closures, whose `Drop` is user code; it is handed to the caller as
//! [`DeferredDrops`], to be dropped after the lock is released.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use super::journals::{self, JournalHandle, Journals};
use super::kept::{Collected, KeptTopics};
use super::subscriptions::{Member, Subscriptions, Unmade, Version};
use super::trie::shrink;
use super::{Route, SubscribeError, TopicEntry};
use crate::dead_letter::Losses;
use crate::lifecycle::{Lifecycle, Phase};
use crate::log::SyncLog;
use crate::mailbox::{Filter, Mailbox, MailboxOptions, MailboxSource, NewQueue};
use crate::message::Retained;
use crate::metadata::Properties;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::topic::{Pattern, Topic};

/// Values taken out of the map, to be dropped after its lock is released.
// Invariant 1.
pub(crate) struct DeferredDrops<T, R> {
    /// In the place of the routes that are let go of below.
    stale: Arc<Route<T, R>>,
    routes: Vec<Arc<Route<T, R>>>,
    /// Topics that are not in use any more.
    entries: Vec<Arc<TopicEntry<T, R>>>,
    /// All of a bus that was closed.
    topics: HashMap<Topic, Arc<TopicEntry<T, R>>>,
    kept: KeptTopics<T, R>,
    /// Mailboxes that have left.
    members: Vec<Member<T, R>>,
    subscriptions: Subscriptions<T, R>,
    sources: Vec<Arc<MailboxSource<T, R>>>,
    values: Vec<Arc<Retained<T>>>,
    /// Journals that have left, and those of the topics of a bus that was closed.
    logs: Vec<Arc<dyn SyncLog<T>>>,
}

impl<T, R> Drop for DeferredDrops<T, R> {
    fn drop(&mut self) {
        // Publishers may keep the topics, but readers wait for the end: first all routes, and then what may panic.
        for entry in self.entries.drain(..).chain(self.topics.drain().map(|(_, entry)| entry)) {
            self.routes.push(entry.route.swap(Arc::clone(&self.stale)));
            self.values.extend(entry.retained.lock().take());
        }
        for member in self.members.drain(..) {
            member.leave_routes(&self.stale);
        }
    }
}

/// A member of a subscription that is about to be made. What is not needed stays here, to be dropped after the lock is
/// released.
pub(crate) struct NewMember<T, R> {
    /// How many of its threads may take messages out.
    pub(crate) readers: usize,
    pub(crate) filter: Option<Filter<T>>,
    /// The queue with the retained values so far, and how far that was.
    pub(crate) beginning: Option<(NewQueue<T, R>, Collected<T>)>,
    /// It does not get a mailbox of its own.
    pub(crate) joining_only: bool,
}

/// A group is its name and its patterns, in order.
type GroupKey = (String, Vec<Pattern>);

pub(crate) struct TopicMap<T, R> {
    /// For the mailboxes.
    losses: Arc<Losses<T>>,
    /// Has the generation of the subscriptions.
    lifecycle: Arc<Lifecycle>,
    topics: HashMap<Topic, Arc<TopicEntry<T, R>>>,
    subscriptions: Subscriptions<T, R>,
    journals: Journals<T>,
    groups: HashMap<GroupKey, Arc<MailboxSource<T, R>>>,
    /// Every mailbox that has a reader: a member, or a thread of a handler that is being stopped.
    mailboxes: BTreeMap<u64, Arc<Mailbox<T, R>>>,
    kept: Mutex<KeptTopics<T, R>>,
    /// Of a topic that is not in use, and that nobody subscribes to.
    no_route: Arc<Route<T, R>>,
    /// In the place of a route that has to be found anew.
    stale: Arc<Route<T, R>>,
    closed: bool,
}

impl<T, R> TopicMap<T, R> {
    pub(crate) fn new(losses: Arc<Losses<T>>, lifecycle: Arc<Lifecycle>) -> Self {
        Self {
            losses,
            lifecycle,
            topics: HashMap::new(),
            subscriptions: Subscriptions::default(),
            journals: Journals::default(),
            groups: HashMap::new(),
            mailboxes: BTreeMap::new(),
            kept: Mutex::default(),
            no_route: Arc::new(Route::new(Vec::new(), Vec::new(), Version::NONE, 0)),
            stale: Arc::new(Route::stale()),
            closed: false,
        }
    }

    pub(crate) fn deferred_drops(&self) -> DeferredDrops<T, R> {
        DeferredDrops {
            stale: Arc::clone(&self.stale),
            routes: Vec::new(),
            entries: Vec::new(),
            topics: HashMap::new(),
            kept: KeptTopics::default(),
            members: Vec::new(),
            subscriptions: Subscriptions::default(),
            sources: Vec::new(),
            values: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// The number of topics in use.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(crate) fn mailboxes(&self) -> impl Iterator<Item = &Arc<Mailbox<T, R>>> {
        self.mailboxes.values()
    }

    pub(crate) fn mailbox(&self, number: u64) -> Option<&Arc<Mailbox<T, R>>> {
        self.mailboxes.get(&number)
    }

    /// Where the sender of this mailbox is made; `None` if the mailbox is in no route any more.
    pub(crate) fn source(&self, mailbox: u64) -> Option<Arc<MailboxSource<T, R>>> {
        let pattern = self.mailboxes.get(&mailbox)?.options.patterns.first()?;
        self.subscriptions.source(pattern, mailbox).cloned()
    }

    /// The route of a topic in use, and whether it is right.
    pub(crate) fn known_route(&self, topic: &Topic) -> Option<(Arc<Route<T, R>>, bool)> {
        let route = self.topics.get(topic)?.route.load_full();
        let is_right = self.is_right(&route);
        Some((route, is_right))
    }

    /// Whether a route has all mailboxes that it should have.
    pub(crate) fn is_right(&self, route: &Route<T, R>) -> bool {
        // The generation changes only under the write lock.
        route.generation() == self.lifecycle.generation()
    }

    /// The route of a topic, whether it is in use or not. Others are for the caller to drop.
    pub(crate) fn route(
        &self,
        topic: &Topic,
        others: &mut Vec<Arc<Route<T, R>>>,
    ) -> Result<Arc<Route<T, R>>, Unmade<T, R>> {
        if let Some(entry) = self.topics.get(topic) {
            return self.route_of(entry, others);
        }
        let route = self.subscriptions.find(topic, None, &self.journals, self.lifecycle.generation())?;
        Ok(if route.is_empty() { Arc::clone(&self.no_route) } else { Arc::new(route) })
    }

    /// The route of a topic in use. Others are for the caller to drop: whoever takes a route off may leave the last hold of
    /// it here.
    // Invariant 2.
    pub(crate) fn route_of(
        &self,
        entry: &Arc<TopicEntry<T, R>>,
        others: &mut Vec<Arc<Route<T, R>>>,
    ) -> Result<Arc<Route<T, R>>, Unmade<T, R>> {
        let route = entry.route.load_full();
        if self.is_right(&route) {
            return Ok(route);
        }
        let generation = self.lifecycle.generation();
        if self.closed {
            others.push(route);
            return Ok(Arc::clone(&self.no_route));
        }
        if !Arc::ptr_eq(&route, &self.stale)
            && route.version() == self.subscriptions.version(&entry.topic, &self.journals)
        {
            route.is_right_in(generation);
            return Ok(route);
        }
        others.push(route);
        let found = Arc::new(self.subscriptions.find(&entry.topic, Some(entry), &self.journals, generation)?);
        others.push(entry.route.swap(Arc::clone(&found)));
        Ok(found)
    }

    /// The number of mailboxes that match a topic.
    pub(crate) fn subscriber_count(&self, topic: &Topic) -> usize {
        self.subscriptions.count(topic)
    }

    /// The entry of a topic, made if need be; the caller gives it a reason to stay.
    pub(super) fn entry(&mut self, topic: &Topic) -> Arc<TopicEntry<T, R>> {
        if let Some(entry) = self.topics.get(topic) {
            return Arc::clone(entry);
        }
        let entry = TopicEntry::new(topic, Arc::clone(&self.stale));
        self.topics.insert(topic.clone(), Arc::clone(&entry));
        entry
    }

    /// The entry of a topic with one more publisher. On a closed bus it is one that is in no map.
    pub(crate) fn add_publisher(&mut self, topic: &Topic) -> Arc<TopicEntry<T, R>> {
        let entry = if self.closed { TopicEntry::new(topic, Arc::clone(&self.stale)) } else { self.entry(topic) };
        entry.publishers.fetch_add(1, Ordering::Relaxed);
        entry
    }

    /// Takes the topic out if nothing keeps it in use.
    pub(crate) fn release(&mut self, topic: &Topic, deferred: &mut DeferredDrops<T, R>) {
        let Some(entry) = self.topics.get(topic) else { return };
        // Under the write lock nobody makes the first publisher of a topic, so zero stays zero.
        if entry.publishers.load(Ordering::Relaxed) == 0
            && entry.retained.lock().is_none()
            && !self.subscriptions.has_own(topic)
        {
            self.subscriptions.forget(entry);
            deferred.entries.extend(self.topics.remove(topic));
            shrink(&mut self.topics);
        }
    }

    /// Whether the bus still takes messages by its routes.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    // Invariant 9.
    /// Keeps `value` as the last one of a topic that is in use: who subscribes later gets the kept value, who subscribed
    /// before is in the route.
    /// Returns the value before, for the caller to drop.
    pub(crate) fn keep(
        &self,
        entry: &Arc<TopicEntry<T, R>>,
        value: T,
        properties: Option<Arc<Properties>>,
    ) -> Option<Arc<Retained<T>>> {
        self.kept.lock().keep(entry, value, properties)
    }

    pub(crate) fn retained(&self, topic: &Topic) -> Option<Arc<Retained<T>>> {
        self.topics.get(topic)?.retained()
    }

    pub(crate) fn clear_retained(
        &mut self,
        topic: &Topic,
        deferred: &mut DeferredDrops<T, R>,
    ) -> Option<Arc<Retained<T>>> {
        let value = self.topics.get(topic).and_then(|entry| self.kept.lock().remove(entry))?;
        self.release(topic, deferred);
        Some(value)
    }

    /// Adds a member: to its group's mailbox if there is one, otherwise to a new mailbox, which takes the filter and the
    /// queue.
    pub(crate) fn subscribe(
        &mut self,
        options: MailboxOptions,
        new: &mut NewMember<T, R>,
        deferred: &mut DeferredDrops<T, R>,
    ) -> Result<Arc<Mailbox<T, R>>, SubscribeError> {
        if self.closed {
            return Err(SubscribeError::Closed);
        }
        let group = options.group.clone().map(|group| (group, options.patterns.clone()));
        if let Some(source) = group.as_ref().and_then(|group| self.groups.get(group)) {
            if let Some(difference) = difference(&source.mailbox, &options, new.filter.as_ref()) {
                return Err(difference);
            }
            source.mailbox.join(new.readers);
            return Ok(Arc::clone(&source.mailbox));
        }
        if new.joining_only {
            return Err(SubscribeError::Closed);
        }
        let (queue, began) = match new.beginning.take() {
            Some((mut queue, mut collected)) => {
                let began = self.collect_rest(&options.patterns, &mut collected);
                queue.add(&options, collected.values);
                (queue, began)
            }
            None => (NewQueue::new(&options, Vec::new()), 0),
        };
        let source = MailboxSource::new(options, new.filter.take(), queue, began, &self.losses);
        let mailbox = Arc::clone(&source.mailbox);
        mailbox.join(new.readers);
        self.insert(&source, deferred);
        if let Some(group) = group {
            self.groups.insert(group, source);
        }
        self.mailboxes.insert(mailbox.id, Arc::clone(&mailbox));
        Ok(mailbox)
    }

    /// Adds the mailbox to the subscriptions, and makes the routes stale that it belongs to.
    // Invariant 2.
    fn insert(&mut self, source: &Arc<MailboxSource<T, R>>, deferred: &mut DeferredDrops<T, R>) {
        let mut has_wildcard = false;
        for pattern in &source.mailbox.options.patterns {
            self.subscriptions.add(pattern, source);
            match Topic::try_from(pattern) {
                // A topic with a subscription of its own is in use: publishing to it then finds the route at once.
                Ok(topic) => deferred.routes.push(self.entry(&topic).route.swap(Arc::clone(&self.stale))),
                Err(_) => has_wildcard = true,
            }
        }
        if has_wildcard {
            self.lifecycle.next_generation();
        }
    }

    /// Goes on with the retained values of all topics that match, for no longer than others may wait. Returns `false` if
    /// there are more.
    pub(crate) fn collect(&self, patterns: &[Pattern], collected: &mut Collected<T>) -> bool {
        self.kept.lock().collect(patterns, collected)
    }

    /// The rest of them, as of now, and the number of what is kept next.
    pub(crate) fn collect_rest(&self, patterns: &[Pattern], collected: &mut Collected<T>) -> u64 {
        let kept = self.kept.lock();
        while !kept.collect(patterns, collected) {}
        kept.next()
    }

    /// Removes a member. `true` if it was the last, so that the mailbox is gone from every route.
    pub(crate) fn leave(
        &mut self,
        mailbox: &Mailbox<T, R>,
        readers: usize,
        deferred: &mut DeferredDrops<T, R>,
    ) -> bool {
        let last = mailbox.leave(readers);
        if last {
            self.unroute(mailbox, deferred);
        }
        self.remove_if_deserted(mailbox);
        last
    }

    /// A thread will not take anything out of the mailbox any more.
    pub(crate) fn reader_left(&mut self, mailbox: &Mailbox<T, R>) {
        mailbox.readers_left(1);
        self.remove_if_deserted(mailbox);
    }

    /// Removes a mailbox without members and readers. A handler that is being stopped has left, but its threads still empty
    /// the mailbox: the end of the bus, and a drain, concern it until they are done.
    // Invariant 8.
    fn remove_if_deserted(&mut self, mailbox: &Mailbox<T, R>) {
        if mailbox.is_deserted() {
            self.mailboxes.remove(&mailbox.id);
        }
    }

    /// Takes a mailbox off every route: when the deferred drops are done, no message comes to it any more.
    pub(crate) fn unroute(&mut self, mailbox: &Mailbox<T, R>, deferred: &mut DeferredDrops<T, R>) {
        for pattern in &mailbox.options.patterns {
            deferred.members.extend(self.subscriptions.remove(pattern, mailbox.id));
            if let Ok(topic) = Topic::try_from(pattern) {
                if let Some(entry) = self.topics.get(&topic) {
                    deferred.routes.push(entry.route.swap(Arc::clone(&self.stale)));
                }
                self.release(&topic, deferred);
            }
        }
        if let Some(group) = &mailbox.options.group {
            let group = (group.clone(), mailbox.options.patterns.clone());
            if self.groups.get(&group).is_some_and(|source| source.mailbox.id == mailbox.id) {
                deferred.sources.extend(self.groups.remove(&group));
                shrink(&mut self.groups);
            }
        }
    }

    /// Adds a journal, unless there is one of this name: then that one's handle is returned, also with what differs. The handle
    /// is for the caller to drop: it may be the last.
    pub(crate) fn open_journal(
        &mut self,
        sink: &Arc<dyn SyncLog<T>>,
        handle: Weak<dyn Any + Send + Sync>,
    ) -> Result<Option<JournalHandle>, (SubscribeError, Option<JournalHandle>)> {
        if self.closed || self.lifecycle.phase() != Phase::Open {
            return Err((SubscribeError::Closed, None));
        }
        if let Some((handle, existing)) = self.journals.find(&sink.options.name) {
            return match journals::difference(existing, &sink.options, sink.has_filter()) {
                None => Ok(Some(handle)),
                Some(difference) => Err((difference, Some(handle))),
            };
        }
        self.journals.add(Arc::clone(sink), handle);
        // Invariant 2. Whatever its patterns are, all routes are looked at again: journals seldom come.
        self.lifecycle.next_generation();
        Ok(None)
    }

    /// The last handle, reader and handler of a journal have gone: it leaves all routes.
    pub(crate) fn close_journal(&mut self, id: u64, deferred: &mut DeferredDrops<T, R>) {
        let Some(sink) = self.journals.remove(id) else { return };
        // So that no idle topic keeps its memory.
        for entry in self.topics.values() {
            if sink.options.patterns.iter().any(|pattern| pattern.matches(&entry.topic)) {
                deferred.routes.push(entry.route.swap(Arc::clone(&self.stale)));
            }
        }
        deferred.logs.push(sink);
    }

    pub(crate) fn journal(&self, name: &str) -> Option<JournalHandle> {
        self.journals.find(name).map(|(handle, _)| handle)
    }

    pub(crate) fn journals(&self) -> Vec<JournalHandle> {
        self.journals.handles()
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = &Arc<dyn SyncLog<T>>> {
        self.journals.sinks()
    }

    /// Empties the map for good. The mailboxes and journals stay known until their readers leave.
    pub(crate) fn close(&mut self, deferred: &mut DeferredDrops<T, R>) {
        self.closed = true;
        self.journals.close(&mut deferred.logs);
        deferred.topics = std::mem::take(&mut self.topics);
        deferred.kept = std::mem::take(&mut *self.kept.lock());
        deferred.subscriptions = std::mem::take(&mut self.subscriptions);
        deferred.sources.extend(std::mem::take(&mut self.groups).into_values());
    }
}

/// Returns why a new member cannot join this group.
fn difference<T, R>(
    mailbox: &Mailbox<T, R>,
    options: &MailboxOptions,
    filter: Option<&Filter<T>>,
) -> Option<SubscribeError> {
    let differs = |option, existing: String, requested: String| {
        (existing != requested).then(|| SubscribeError::Group {
            group: options.group.clone().unwrap_or_default(),
            option,
            existing,
            requested,
        })
    };
    let observer = |options: &MailboxOptions| options.role.is_observer().to_string();
    differs("capacity", mailbox.options.capacity.to_string(), options.capacity.to_string())
        .or_else(|| differs("observer", observer(&mailbox.options), observer(options)))
        .or_else(|| differs("overflow", format!("{:?}", mailbox.options.overflow), format!("{:?}", options.overflow)))
        .or_else(|| differs("retained", mailbox.options.retained.to_string(), options.retained.to_string()))
        .or_else(|| {
            let present = |filter: Option<_>| if filter.is_some() { "present" } else { "absent" };
            let (existing, requested) = match (mailbox.filter.as_ref(), filter) {
                (existing, Some(filter)) if filter.id.is_none() => {
                    (present(existing), "one that captures values, which cannot be compared")
                }
                (Some(existing), Some(filter)) if existing.id != filter.id => ("a different closure", "this one"),
                (existing, filter) => (present(existing), present(filter)),
            };
            differs("filter", existing.to_owned(), requested.to_owned())
        })
}
