//! The topics that have a retained value.

use std::sync::Arc;

use super::TopicEntry;
use super::trie::{Node, Value};
use crate::message::Retained;
use crate::topic::{Pattern, Token, Topic};

/// The topics that have a retained value, so that whoever wants those of a pattern does not look at all topics in use.
pub(super) struct KeptTopics<T, R> {
    root: Node<Kept<T, R>>,
}

/// The topic that ends here, if it has a value.
struct Kept<T, R>(Option<Arc<TopicEntry<T, R>>>);

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
        Self { root: Node::default() }
    }
}

impl<T, R> KeptTopics<T, R> {
    pub(super) fn add(&mut self, entry: &Arc<TopicEntry<T, R>>) {
        self.root.reach(entry.topic.tokens().map(Token::Literal)).value = Kept(Some(Arc::clone(entry)));
    }

    /// The topic is in use, so this is not the last that is left of it.
    pub(super) fn remove(&mut self, topic: &Topic) {
        self.root.prune(topic.tokens().map(Token::Literal), |kept| kept.0 = None);
    }

    /// The values of all topics that match, each once, in the order in which they were kept.
    pub(super) fn values(&self, patterns: &[Pattern]) -> Vec<(Topic, Arc<Retained<T>>)> {
        let mut values = Vec::new();
        for pattern in patterns {
            self.root.visit_topics(pattern.tokens(), &mut |kept| {
                let value = kept.0.as_ref().and_then(|entry| Some((entry.topic.clone(), entry.retained()?)));
                values.extend(value);
            });
        }
        values.sort_by_key(|(_, value)| value.sequence);
        values.dedup_by_key(|(_, value)| value.sequence);
        values
    }
}
