//! The retained values of a bus, and collecting those of a pattern.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TopicEntry;
use super::trie::{Node, Value};
use crate::message::Retained;
use crate::metadata::Properties;
use crate::topic::{Pattern, Token, Topic};

/// The most nodes or values that are looked at while others may have to wait.
const STEP: usize = 2_000;

/// The topics that have a retained value. Values are numbered in the order in which they are kept.
pub(super) struct KeptTopics<T, R> {
    next: u64,
    root: Node<Kept<T, R>>,
    /// The same by the numbers of their values.
    by_number: BTreeMap<u64, Arc<TopicEntry<T, R>>>,
}

/// The topic that ends here, if it has a value.
struct Kept<T, R>(Option<Arc<TopicEntry<T, R>>>);

/// Retained values, in the order in which they were kept. Some may have been replaced since.
pub(crate) struct Collected<T> {
    pub(crate) values: Vec<(Topic, Arc<Retained<T>>)>,
    /// The number of the first that was not looked at.
    next: u64,
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self { values: Vec::new(), next: 0 }
    }
}

impl<T, R> Default for Kept<T, R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T, R> Value for Kept<T, R> {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<T, R> Default for KeptTopics<T, R> {
    fn default() -> Self {
        Self { next: 0, root: Node::default(), by_number: BTreeMap::new() }
    }
}

impl<T, R> KeptTopics<T, R> {
    /// The number of what is kept next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Keeps a value, and returns the one before.
    pub(super) fn keep(
        &mut self,
        entry: &Arc<TopicEntry<T, R>>,
        value: T,
        properties: Option<Arc<Properties>>,
    ) -> Option<Arc<Retained<T>>> {
        let number = self.next;
        self.next += 1;
        let before = entry.retained.lock().replace(Retained::new(value, properties, number));
        match &before {
            Some(before) => {
                before.replaced_at(number);
                self.by_number.remove(&before.sequence);
            }
            None => self.root.reach(entry.topic.tokens().map(Token::Literal)).value = Kept(Some(Arc::clone(entry))),
        }
        self.by_number.insert(number, Arc::clone(entry));
        before
    }

    /// Removes the value of a topic, which is in use. A subscription that is just being made may still begin with it, as if
    /// it had been faster.
    pub(super) fn remove(&mut self, entry: &TopicEntry<T, R>) -> Option<Arc<Retained<T>>> {
        let value = entry.retained.lock().take()?;
        self.by_number.remove(&value.sequence);
        self.root.prune(entry.topic.tokens().map(Token::Literal), |kept| kept.0 = None);
        Some(value)
    }

    /// Goes on with the values of all topics that match, for no longer than others may wait. Returns `false` if there are
    /// more, which a later step finds.
    pub(super) fn collect(&self, patterns: &[Pattern], collected: &mut Collected<T>) -> bool {
        if collected.next == 0 && self.collect_few(patterns, &mut collected.values) {
            collected.next = self.next;
            return true;
        }
        let mut later = self.by_number.range(collected.next..);
        for (number, entry) in later.by_ref().take(STEP) {
            if patterns.iter().any(|pattern| pattern.matches(&entry.topic)) {
                collected.values.extend(entry.kept_as(*number).map(|value| (entry.topic.clone(), value)));
            }
        }
        let next = later.next().map(|(number, _)| *number);
        collected.next = next.unwrap_or(self.next);
        next.is_none()
    }

    /// Collects all values at once, if they are few and easy to find.
    fn collect_few(&self, patterns: &[Pattern], values: &mut Vec<(Topic, Arc<Retained<T>>)>) -> bool {
        let mut most = STEP;
        let found_all = patterns.iter().all(|pattern| {
            self.root.visit_topics(pattern.tokens(), &mut most, &mut |kept| {
                let value = kept.0.as_ref().and_then(|entry| Some((entry.topic.clone(), entry.retained()?)));
                values.extend(value);
            })
        });
        if !found_all {
            values.clear();
            return false;
        }
        values.sort_by_key(|(_, value)| value.sequence);
        values.dedup_by_key(|(_, value)| value.sequence);
        true
    }
}
