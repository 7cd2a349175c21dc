//! Which mailboxes are subscribed to what, and which topics were routed to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::journals::Journals;
use super::trie::{Match, Node, Value};
use super::{Route, TopicEntry};
use crate::lifecycle::Generation;
use crate::mailbox::MailboxSource;
use crate::sync::Mutex;
use crate::topic::{Pattern, Token, Topic};

/// The subscriptions of a bus by their patterns.
pub(super) struct Subscriptions<T, R> {
    root: Node<Members<T, R>>,
    /// How often one came or went.
    changes: u64,
}

/// The mailboxes that are subscribed to one pattern, by their numbers: in the order in which they were made.
struct Members<T, R> {
    here: BTreeMap<u64, Member<T, R>>,
    /// To this pattern with a `>` behind it.
    rest: BTreeMap<u64, Member<T, R>>,
    /// The number of the last change of these.
    changed: u64,
}

/// A mailbox at one of its patterns.
pub(super) struct Member<T, R> {
    source: Arc<MailboxSource<T, R>>,
    /// The topics whose routes hold its sender, if that is not to be seen from the pattern.
    topics: Mutex<RoutedTopics<T, R>>,
}

/// Topics in use, by where their entries are in memory.
type RoutedTopics<T, R> = BTreeMap<usize, Weak<TopicEntry<T, R>>>;

/// Mailboxes whose queues have to be made before there can be a route to them. That may take long, so it is not done under
/// the lock of the map.
pub(crate) type Unmade<T, R> = Vec<Arc<MailboxSource<T, R>>>;

/// Tells whether the subscriptions that match a topic are still the same.
///
/// A mailbox that comes makes `newest` greater, and so does one that goes, unless nothing else is left at its pattern: then
/// there are fewer `members`, and none can come to make up for it without a greater `newest`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    members: usize,
    newest: u64,
    /// Journals are few and seldom come or go: any of them makes a difference.
    journals: u64,
}

impl Version {
    pub(super) const NONE: Self = Self { members: 0, newest: 0, journals: 0 };

    fn of<T>(journals: &Journals<T>) -> Self {
        Self { journals: journals.changes(), ..Self::NONE }
    }

    fn add<T, R>(&mut self, members: &Members<T, R>, list: &BTreeMap<u64, Member<T, R>>) {
        self.members += list.len();
        self.newest = self.newest.max(members.changed);
    }
}

impl<T, R> Default for Members<T, R> {
    fn default() -> Self {
        Self { here: BTreeMap::new(), rest: BTreeMap::new(), changed: 0 }
    }
}

impl<T, R> Value for Members<T, R> {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.rest.is_empty()
    }
}

impl<T, R> Members<T, R> {
    fn that_match(&self, how: Match) -> &BTreeMap<u64, Member<T, R>> {
        if how.is_whole { &self.here } else { &self.rest }
    }

    fn of_pattern(&mut self, pattern: &Pattern) -> &mut BTreeMap<u64, Member<T, R>> {
        if pattern.tokens().any(|token| token == Token::Rest) { &mut self.rest } else { &mut self.here }
    }
}

impl<T, R> Default for Subscriptions<T, R> {
    fn default() -> Self {
        Self { root: Node::default(), changes: 0 }
    }
}

impl<T, R> Subscriptions<T, R> {
    pub(super) fn add(&mut self, pattern: &Pattern, source: &Arc<MailboxSource<T, R>>) {
        self.changes += 1;
        let members = &mut self.root.reach(pattern.tokens()).value;
        members.changed = self.changes;
        let topics = Mutex::default();
        members.of_pattern(pattern).insert(source.mailbox.id, Member { source: Arc::clone(source), topics });
    }

    pub(super) fn remove(&mut self, pattern: &Pattern, mailbox: u64) -> Option<Member<T, R>> {
        self.changes += 1;
        let mut removed = None;
        self.root.prune(pattern.tokens(), |members| {
            removed = members.of_pattern(pattern).remove(&mailbox);
            members.changed = self.changes;
        });
        removed
    }

    /// Where the sender of a mailbox is made that is subscribed to this pattern.
    pub(super) fn source(&self, pattern: &Pattern, mailbox: u64) -> Option<&Arc<MailboxSource<T, R>>> {
        let members = self.root.at_pattern(pattern.tokens())?;
        let member = members.here.get(&mailbox).or_else(|| members.rest.get(&mailbox))?;
        Some(&member.source)
    }

    /// Whether anybody is subscribed to just this topic.
    pub(super) fn has_own(&self, topic: &Topic) -> bool {
        self.root.at(topic.tokens()).is_some_and(|members| !members.here.is_empty())
    }

    pub(super) fn version(&self, topic: &Topic, journals: &Journals<T>) -> Version {
        let mut version = Version::of(journals);
        self.root.visit_patterns(topic.tokens(), &mut |members, how| version.add(members, members.that_match(how)));
        version
    }

    /// The number of mailboxes that match a topic.
    pub(super) fn count(&self, topic: &Topic) -> usize {
        let mut mailboxes = Vec::<u64>::new();
        self.root.visit_patterns(topic.tokens(), &mut |members, how| {
            let that_count =
                members.that_match(how).values().filter(|member| member.source.mailbox.options.role.counts());
            mailboxes.extend(that_count.map(|member| member.source.mailbox.id));
        });
        mailboxes.sort_unstable();
        mailboxes.dedup();
        mailboxes.len()
    }

    /// The route of a topic; if that is in use, its entry is remembered, for those who leave.
    pub(super) fn find(
        &self,
        topic: &Topic,
        entry: Option<&Arc<TopicEntry<T, R>>>,
        journals: &Journals<T>,
        generation: Generation,
    ) -> Result<Route<T, R>, Unmade<T, R>> {
        let (mut mailboxes, mut unmade, mut version) = (Vec::new(), Vec::new(), Version::of(journals));
        self.root.visit_patterns(topic.tokens(), &mut |members, how| {
            let list = members.that_match(how);
            version.add(members, list);
            for member in list.values() {
                match member.source.made() {
                    Some(sender) => mailboxes.push(Arc::clone(sender)),
                    None => unmade.push(Arc::clone(&member.source)),
                }
            }
        });
        if !unmade.is_empty() {
            return Err(unmade);
        }
        if let Some(entry) = entry {
            self.visit_remembering(topic, |topics| drop(topics.insert(address(entry), Arc::downgrade(entry))));
        }
        Ok(Route::new(mailboxes, journals.of_topic(topic), version, generation))
    }

    /// A topic is not in use any more.
    pub(super) fn forget(&self, entry: &Arc<TopicEntry<T, R>>) {
        self.visit_remembering(&entry.topic, |topics| drop(topics.remove(&address(entry))));
    }

    /// Visits what the mailboxes remember that match a topic by a wildcard.
    fn visit_remembering(&self, topic: &Topic, mut visit: impl FnMut(&mut RoutedTopics<T, R>)) {
        self.root.visit_patterns(topic.tokens(), &mut |members, how| {
            if how.by_wildcard || !how.is_whole {
                members.that_match(how).values().for_each(|member| visit(&mut member.topics.lock()));
            }
        });
    }
}

fn address<T, R>(entry: &Arc<TopicEntry<T, R>>) -> usize {
    Arc::as_ptr(entry).addr()
}

impl<T, R> Member<T, R> {
    /// Takes the mailbox, which has left, off the routes that hold it. They are found anew when somebody publishes.
    pub(super) fn leave_routes(self, stale: &Arc<Route<T, R>>) {
        let Self { source, topics } = self;
        let mailbox = source.mailbox.id;
        for entry in topics.into_inner().into_values().filter_map(|topic| topic.upgrade()) {
            // One by one, so that no more than one is kept beside those in use.
            if entry.route.load().contains(mailbox) {
                drop(entry.route.swap(Arc::clone(stale)));
            }
        }
    }
}
