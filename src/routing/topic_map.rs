//! The lock-protected map: topics in use and the token trie of subscriptions, and from both the route of each topic.
//!
//! A topic is in the map as long as it has a publisher, a subscription to just this topic, or a retained value. Its
//! route is renewed by every change of a subscription that matches it, so publishers only ever load it. What a change
//! leaves over may hold payloads and closures, whose `Drop` is user code; it is handed to the caller as [`DeferredDrops`],
//! to be dropped after the lock is released.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::trie::{Node, shrink};
use super::{Route, SubscribeError};
use crate::dead_letter::Losses;
use crate::mailbox::{Filter, Mailbox, MailboxOptions, MailboxSender};
use crate::message::Retained;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{ArcSwap, Mutex};
use crate::topic::{Pattern, Token, Topic};

/// One topic in use.
pub(crate) struct TopicEntry<T, R> {
    pub(crate) topic: Topic,
    pub(crate) route: ArcSwap<Route<T, R>>,
    /// `Publisher` handles. Made from nothing only under the lock of the map.
    pub(crate) publishers: AtomicUsize,
    retained: Mutex<Option<Arc<Retained<T>>>>,
}

impl<T, R> TopicEntry<T, R> {
    fn new(topic: &Topic, route: Arc<Route<T, R>>) -> Arc<Self> {
        Arc::new(Self {
            topic: topic.clone(),
            route: ArcSwap::new(route),
            publishers: AtomicUsize::new(0),
            retained: Mutex::new(None),
        })
    }

    pub(crate) fn retained(&self) -> Option<Arc<Retained<T>>> {
        self.retained.lock().clone()
    }
}

/// Values taken out of the map, to be dropped after its lock is released.
// Invariant 1.
pub(crate) struct DeferredDrops<T, R> {
    routes: Vec<Arc<Route<T, R>>>,
    entries: Vec<Arc<TopicEntry<T, R>>>,
    nodes: Vec<Node<T, R>>,
    senders: Vec<Arc<MailboxSender<T, R>>>,
    values: Vec<Arc<Retained<T>>>,
}

impl<T, R> Default for DeferredDrops<T, R> {
    fn default() -> Self {
        Self { routes: Vec::new(), entries: Vec::new(), nodes: Vec::new(), senders: Vec::new(), values: Vec::new() }
    }
}

/// A group is its name and its patterns, in order.
type GroupKey = (String, Vec<Pattern>);

pub(crate) struct TopicMap<T, R> {
    /// For the mailboxes.
    losses: Arc<Losses<T>>,
    topics: HashMap<Topic, Arc<TopicEntry<T, R>>>,
    root: Node<T, R>,
    groups: HashMap<GroupKey, Arc<MailboxSender<T, R>>>,
    /// Every mailbox that has a reader: a member, or a thread of a handler that is being stopped.
    subscriptions: BTreeMap<u64, Arc<Mailbox<T, R>>>,
    /// The route of every topic that nobody subscribes to.
    no_route: Arc<Route<T, R>>,
    next_value: AtomicU64,
    closed: bool,
}

impl<T, R> TopicMap<T, R> {
    pub(crate) fn new(losses: Arc<Losses<T>>) -> Self {
        Self {
            losses,
            topics: HashMap::new(),
            root: Node::default(),
            groups: HashMap::new(),
            subscriptions: BTreeMap::new(),
            no_route: Arc::new(Route::new(Vec::new())),
            next_value: AtomicU64::new(0),
            closed: false,
        }
    }

    /// The number of topics in use.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = &Arc<Mailbox<T, R>>> {
        self.subscriptions.values()
    }

    pub(crate) fn subscription(&self, mailbox: u64) -> Option<&Arc<Mailbox<T, R>>> {
        self.subscriptions.get(&mailbox)
    }

    /// The route of a topic, whether it is in use or not.
    pub(crate) fn route(&self, topic: &Topic) -> Arc<Route<T, R>> {
        match self.topics.get(topic) {
            Some(entry) => entry.route.load_full(),
            None => self.find_route(topic),
        }
    }

    fn find_route(&self, topic: &Topic) -> Arc<Route<T, R>> {
        let mut mailboxes = Vec::new();
        self.root.collect(topic.tokens(), &mut mailboxes);
        if mailboxes.is_empty() { Arc::clone(&self.no_route) } else { Arc::new(Route::new(mailboxes)) }
    }

    /// The entry of a topic, made if need be; the caller gives it a reason to stay.
    pub(super) fn entry(&mut self, topic: &Topic) -> Arc<TopicEntry<T, R>> {
        if let Some(entry) = self.topics.get(topic) {
            return Arc::clone(entry);
        }
        let entry = TopicEntry::new(topic, self.find_route(topic));
        self.topics.insert(topic.clone(), Arc::clone(&entry));
        self.root.reach(topic.tokens().map(Token::Literal)).entry = Some(Arc::clone(&entry));
        entry
    }

    /// An entry that is in no map and leads nowhere, for a bus that is closed.
    fn detached(&self, topic: &Topic) -> Arc<TopicEntry<T, R>> {
        TopicEntry::new(topic, Arc::clone(&self.no_route))
    }

    /// The entry of a topic with one more publisher. On a closed bus it is one that is in no map.
    pub(crate) fn add_publisher(&mut self, topic: &Topic) -> Arc<TopicEntry<T, R>> {
        let entry = if self.closed { self.detached(topic) } else { self.entry(topic) };
        entry.publishers.fetch_add(1, Ordering::Relaxed);
        entry
    }

    /// Takes the topic out if nothing keeps it in use.
    pub(crate) fn release(&mut self, topic: &Topic) -> DeferredDrops<T, R> {
        let mut deferred = DeferredDrops::default();
        let Some(entry) = self.topics.get(topic) else { return deferred };
        // Under the write lock nobody makes the first publisher of a topic, so zero stays zero.
        if entry.publishers.load(Ordering::Relaxed) > 0 || entry.retained.lock().is_some() {
            return deferred;
        }
        self.root.prune(topic.tokens().map(Token::Literal), |node| {
            if node.here.is_empty() {
                deferred.entries.extend(node.entry.take());
            }
        });
        if !deferred.entries.is_empty() {
            deferred.entries.extend(self.topics.remove(topic));
            shrink(&mut self.topics);
        }
        deferred
    }

    // Invariant 9.
    /// Keeps `value` as the last one of the topic of `entry`, which is in use. Tells the route that the message has to
    /// take, as of this moment: who subscribes later gets the kept value, who subscribed before gets the message.
    pub(crate) fn set_retained(&self, entry: &TopicEntry<T, R>, value: T) -> (Arc<Route<T, R>>, DeferredDrops<T, R>) {
        let mut deferred = DeferredDrops::default();
        let value = Retained::new(value, self.next_value.fetch_add(1, Ordering::Relaxed));
        if self.closed {
            deferred.values.push(value);
        } else {
            deferred.values.extend(entry.retained.lock().replace(value));
        }
        (entry.route.load_full(), deferred)
    }

    pub(crate) fn retained(&self, topic: &Topic) -> Option<Arc<Retained<T>>> {
        self.topics.get(topic)?.retained()
    }

    pub(crate) fn clear_retained(&mut self, topic: &Topic) -> (Option<Arc<Retained<T>>>, DeferredDrops<T, R>) {
        let value = self.topics.get(topic).and_then(|entry| entry.retained.lock().take());
        let deferred = if value.is_some() { self.release(topic) } else { DeferredDrops::default() };
        (value, deferred)
    }

    /// Adds a member: to its group's mailbox if there is one, otherwise to a new mailbox, which takes the filter.
    ///
    /// `readers` of its threads may take messages out. `joining_only` refuses to make a mailbox.
    pub(crate) fn subscribe(
        &mut self,
        options: MailboxOptions,
        readers: usize,
        filter: &mut Option<Filter<T>>,
        joining_only: bool,
        deferred: &mut DeferredDrops<T, R>,
    ) -> Result<Arc<Mailbox<T, R>>, SubscribeError> {
        if self.closed {
            return Err(SubscribeError::Closed);
        }
        let group = options.group.clone().map(|group| (group, options.patterns.clone()));
        if let Some(sender) = group.as_ref().and_then(|group| self.groups.get(group)) {
            if let Some(difference) = difference(sender, &options, filter.as_ref()) {
                return Err(difference);
            }
            sender.mailbox.join(readers);
            return Ok(Arc::clone(&sender.mailbox));
        }
        if joining_only {
            return Err(SubscribeError::Closed);
        }
        let values = if options.retained { self.values(&options.patterns) } else { Vec::new() };
        let sender = MailboxSender::new(options, filter.take(), values, &self.losses);
        let mailbox = Arc::clone(&sender.mailbox);
        mailbox.join(readers);
        for pattern in &mailbox.options.patterns {
            self.insert(pattern, &sender, deferred);
        }
        if let Some(group) = group {
            self.groups.insert(group, sender);
        }
        self.subscriptions.insert(mailbox.id, Arc::clone(&mailbox));
        Ok(mailbox)
    }

    /// Adds the mailbox to the trie, and to the route of every topic in use that matches.
    // Invariant 2.
    fn insert(&mut self, pattern: &Pattern, sender: &Arc<MailboxSender<T, R>>, deferred: &mut DeferredDrops<T, R>) {
        // A topic with a subscription of its own is in use: publishing to it then finds the route at once.
        if let Ok(topic) = Topic::try_from(pattern) {
            self.entry(&topic);
        }
        let node = self.root.reach(pattern.tokens());
        let place = if pattern.tokens().any(|token| token == Token::Rest) { &mut node.rest } else { &mut node.here };
        place.push(Arc::clone(sender));
        self.root.visit(pattern.tokens(), &mut |entry| {
            let route = entry.route.load();
            if !route.contains(sender.mailbox.id) {
                deferred.routes.push(entry.route.swap(Arc::new(route.with(sender))));
            }
        });
    }

    /// The last values of all topics that match, each once, in the order in which they were kept.
    pub(crate) fn values(&self, patterns: &[Pattern]) -> Vec<(Topic, Arc<Retained<T>>)> {
        let mut values = Vec::new();
        for pattern in patterns {
            self.root.visit(pattern.tokens(), &mut |entry| {
                values.extend(entry.retained().map(|value| (entry.topic.clone(), value)));
            });
        }
        values.sort_by_key(|(_, value)| value.sequence);
        values.dedup_by_key(|(_, value)| value.sequence);
        values
    }

    /// Removes a member. `true` if it was the last, so that the mailbox is gone from every route.
    pub(crate) fn leave(&mut self, mailbox: &Mailbox<T, R>, readers: usize) -> (bool, DeferredDrops<T, R>) {
        let last = mailbox.leave(readers);
        let deferred = if last { self.unroute(mailbox) } else { DeferredDrops::default() };
        self.remove_if_deserted(mailbox);
        (last, deferred)
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
            self.subscriptions.remove(&mailbox.id);
        }
    }

    /// Takes a mailbox off every route: no message comes to it any more.
    pub(crate) fn unroute(&mut self, mailbox: &Mailbox<T, R>) -> DeferredDrops<T, R> {
        let mut deferred = DeferredDrops::default();
        let id = mailbox.id;
        for pattern in &mailbox.options.patterns {
            self.root.prune(pattern.tokens(), |node| {
                for place in [&mut node.here, &mut node.rest] {
                    if let Some(index) = place.iter().position(|sender| sender.mailbox.id == id) {
                        deferred.senders.push(place.swap_remove(index));
                        place.shrink_to_fit();
                    }
                }
            });
            self.root.visit(pattern.tokens(), &mut |entry| {
                let route = entry.route.load();
                if route.contains(id) {
                    let rest = route.without(id);
                    let rest = if rest.is_empty() { Arc::clone(&self.no_route) } else { Arc::new(rest) };
                    deferred.routes.push(entry.route.swap(rest));
                }
            });
            if let Ok(topic) = Topic::try_from(pattern) {
                deferred.entries.append(&mut self.release(&topic).entries);
            }
        }
        if let Some(group) = &mailbox.options.group {
            let group = (group.clone(), mailbox.options.patterns.clone());
            if self.groups.get(&group).is_some_and(|sender| sender.mailbox.id == id) {
                deferred.senders.extend(self.groups.remove(&group));
                shrink(&mut self.groups);
            }
        }
        deferred
    }

    /// Empties the map for good. The subscriptions stay known until their readers leave.
    pub(crate) fn close(&mut self) -> DeferredDrops<T, R> {
        self.closed = true;
        let mut deferred = DeferredDrops::default();
        for (_, entry) in std::mem::take(&mut self.topics) {
            deferred.values.extend(entry.retained.lock().take());
            deferred.routes.push(entry.route.swap(Arc::clone(&self.no_route)));
            deferred.entries.push(entry);
        }
        deferred.nodes.push(std::mem::take(&mut self.root));
        deferred.senders.extend(std::mem::take(&mut self.groups).into_values());
        deferred
    }
}

/// Returns why a new member cannot join this group.
fn difference<T, R>(
    sender: &MailboxSender<T, R>,
    options: &MailboxOptions,
    filter: Option<&Filter<T>>,
) -> Option<SubscribeError> {
    let mailbox = &*sender.mailbox;
    let differs = |option, existing: String, requested: String| {
        (existing != requested).then(|| SubscribeError::Group {
            group: options.group.clone().unwrap_or_default(),
            option,
            existing,
            requested,
        })
    };
    differs("capacity", mailbox.options.capacity.to_string(), options.capacity.to_string())
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
