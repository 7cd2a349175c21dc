//! Which logs get the messages of which topics.

use std::any::Any;
use std::sync::{Arc, Weak};

use super::SubscribeError;
use super::trie::{Match, Node, Value};
use crate::log::{LogOptions, SyncLog};
use crate::topic::{Pattern, Token, Topic};

type Sink<T> = Arc<dyn SyncLog<T>>;

/// What the handles of a journal share, whatever its type.
pub(crate) type JournalHandle = Arc<dyn Any + Send + Sync>;

/// The journals of a bus.
pub(super) struct Journals<T> {
    /// All that have a handle, a reader or a handler, in the order in which they were made.
    all: Vec<Member<T>>,
    root: Node<AtPattern<T>>,
    /// How often one came or went.
    changes: u64,
}

struct Member<T> {
    sink: Sink<T>,
    /// What its handles share.
    handle: Weak<dyn Any + Send + Sync>,
}

/// The logs at one pattern.
struct AtPattern<T> {
    here: Vec<Sink<T>>,
    /// At this pattern with a `>` behind it.
    rest: Vec<Sink<T>>,
}

impl<T> Default for AtPattern<T> {
    fn default() -> Self {
        Self { here: Vec::new(), rest: Vec::new() }
    }
}

impl<T> Value for AtPattern<T> {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.rest.is_empty()
    }
}

impl<T> AtPattern<T> {
    fn of_pattern(&mut self, pattern: &Pattern) -> &mut Vec<Sink<T>> {
        if pattern.tokens().any(|token| token == Token::Rest) { &mut self.rest } else { &mut self.here }
    }
}

impl<T> Default for Journals<T> {
    fn default() -> Self {
        Self { all: Vec::new(), root: Node::default(), changes: 0 }
    }
}

impl<T> Journals<T> {
    /// How often a journal came or went: a route that was found since then has the right ones.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn add(&mut self, sink: Sink<T>, handle: Weak<dyn Any + Send + Sync>) {
        self.changes += 1;
        for pattern in &sink.options.patterns {
            self.root.reach(pattern.tokens()).value.of_pattern(pattern).push(Arc::clone(&sink));
        }
        self.all.push(Member { sink, handle });
    }

    /// Returns the journal that has left, for the caller to drop.
    pub(super) fn remove(&mut self, id: u64) -> Option<Sink<T>> {
        let index = self.all.iter().position(|member| member.sink.id == id)?;
        self.changes += 1;
        let Member { sink, .. } = self.all.remove(index);
        for pattern in &sink.options.patterns {
            self.root.prune(pattern.tokens(), |at| at.of_pattern(pattern).retain(|other| other.id != id));
        }
        Some(sink)
    }

    /// No topic has any journal any more. Fills `left` with what the caller has to drop.
    pub(super) fn close(&mut self, left: &mut Vec<Sink<T>>) {
        self.changes += 1;
        left.extend(self.all.iter().map(|member| Arc::clone(&member.sink)));
        self.root = Node::default();
    }

    /// The handles of the journals that have any.
    pub(super) fn handles(&self) -> Vec<JournalHandle> {
        self.all.iter().filter_map(|member| member.handle.upgrade()).collect()
    }

    pub(super) fn sinks(&self) -> impl Iterator<Item = &Sink<T>> {
        self.all.iter().map(|member| &member.sink)
    }

    /// The handle of the journal of this name, with its options.
    pub(super) fn find(&self, name: &str) -> Option<(JournalHandle, &Sink<T>)> {
        let named = self.all.iter().filter(|member| member.sink.options.name == name);
        named.filter_map(|member| Some((member.handle.upgrade()?, &member.sink))).next()
    }

    /// The logs of a topic, each once, in the order in which they were made.
    pub(super) fn of_topic(&self, topic: &Topic) -> Vec<Sink<T>> {
        let mut sinks = Vec::new();
        self.root.visit_patterns(topic.tokens(), &mut |at, how: Match| {
            sinks.extend(if how.is_whole { &at.here } else { &at.rest }.iter().cloned());
        });
        sinks.sort_by_key(|sink| sink.id);
        sinks.dedup_by_key(|sink| sink.id);
        sinks
    }
}

/// Returns why a journal that exists is not the one that is asked for.
pub(super) fn difference<T>(sink: &Sink<T>, options: &LogOptions, has_filter: bool) -> Option<SubscribeError> {
    let existing = &sink.options;
    let differs = |option, existing: String, requested: String| {
        (existing != requested).then(|| SubscribeError::Journal {
            journal: options.name.clone(),
            option,
            existing,
            requested,
        })
    };
    let patterns = |options: &LogOptions| options.patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ");
    let filter = |has_filter| if has_filter { "present" } else { "absent" }.to_owned();
    differs("pattern", patterns(existing), patterns(options))
        .or_else(|| differs("capacity", existing.capacity.to_string(), options.capacity.to_string()))
        .or_else(|| differs("overflow", format!("{:?}", existing.overflow), format!("{:?}", options.overflow)))
        .or_else(|| differs("observer", existing.is_observer.to_string(), options.is_observer.to_string()))
        .or_else(|| match (sink.has_filter(), has_filter) {
            (true, true) => differs("filter", "a closure".to_owned(), "another, which cannot be compared".to_owned()),
            (existing, requested) => differs("filter", filter(existing), filter(requested)),
        })
}
