//! The trie of tokens: which subscriptions match a topic, and which topics in use match a pattern.

use std::collections::HashMap;
use std::sync::Arc;

use super::topic_map::TopicEntry;
use crate::mailbox::MailboxSender;
use crate::topic::Token;

/// A node of the trie; the way to it from the root spells a pattern or a topic.
pub(super) struct Node<T, R> {
    children: HashMap<Box<str>, Node<T, R>>,
    any: Option<Box<Node<T, R>>>,
    /// Subscriptions to the pattern that ends here.
    pub(super) here: Vec<Arc<MailboxSender<T, R>>>,
    /// Subscriptions to this pattern with a `>` behind it.
    pub(super) rest: Vec<Arc<MailboxSender<T, R>>>,
    /// The topic that ends here, if it is in use.
    pub(super) entry: Option<Arc<TopicEntry<T, R>>>,
}

impl<T, R> Default for Node<T, R> {
    fn default() -> Self {
        Self { children: HashMap::new(), any: None, here: Vec::new(), rest: Vec::new(), entry: None }
    }
}

impl<T, R> Node<T, R> {
    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.any.is_none()
            && self.here.is_empty()
            && self.rest.is_empty()
            && self.entry.is_none()
    }

    /// The node of these tokens, made if need be. A `Rest` token ends the way at the node before it.
    pub(super) fn reach<'a>(&mut self, tokens: impl Iterator<Item = Token<'a>>) -> &mut Self {
        let mut node = self;
        for token in tokens {
            node = match token {
                Token::Rest => return node,
                Token::Any => node.any.get_or_insert_default(),
                Token::Literal(token) => {
                    // Looked up twice, because `entry` would want an owned key even for a node that is there.
                    if !node.children.contains_key(token) {
                        node.children.insert(token.into(), Node::default());
                    }
                    match node.children.get_mut(token) {
                        Some(child) => child,
                        None => unreachable!("the child was inserted"),
                    }
                }
            };
        }
        node
    }

    /// Lets `change` act on the node of these tokens, and takes out nodes that have become empty on the way back.
    pub(super) fn prune<'a>(&mut self, mut tokens: impl Iterator<Item = Token<'a>>, change: impl FnOnce(&mut Self)) {
        match tokens.next() {
            None | Some(Token::Rest) => change(self),
            Some(Token::Any) => {
                if let Some(any) = &mut self.any {
                    any.prune(tokens, change);
                    if any.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(Token::Literal(token)) => {
                if let Some(child) = self.children.get_mut(token) {
                    child.prune(tokens, change);
                    if child.is_empty() {
                        self.children.remove(token);
                        shrink(&mut self.children);
                    }
                }
            }
        }
    }

    /// The mailboxes that a message on the topic of these tokens goes to; one may come several times.
    pub(super) fn collect<'a>(
        &self,
        mut tokens: impl Iterator<Item = &'a str> + Clone,
        mailboxes: &mut Vec<Arc<MailboxSender<T, R>>>,
    ) {
        let Some(token) = tokens.next() else {
            mailboxes.extend_from_slice(&self.here);
            return;
        };
        mailboxes.extend_from_slice(&self.rest);
        if let Some(any) = &self.any {
            any.collect(tokens.clone(), mailboxes);
        }
        if let Some(child) = self.children.get(token) {
            child.collect(tokens, mailboxes);
        }
    }

    /// Visits every topic in use that matches the pattern of these tokens.
    pub(super) fn visit<'a>(
        &self,
        mut tokens: impl Iterator<Item = Token<'a>> + Clone,
        found: &mut impl FnMut(&Arc<TopicEntry<T, R>>),
    ) {
        match tokens.next() {
            None => self.entry.iter().for_each(found),
            Some(Token::Literal(token)) => {
                if let Some(child) = self.children.get(token) {
                    child.visit(tokens, found);
                }
            }
            Some(Token::Any) => self.children.values().for_each(|child| child.visit(tokens.clone(), found)),
            Some(Token::Rest) => self.children.values().for_each(|child| child.visit_all(found)),
        }
    }

    fn visit_all(&self, found: &mut impl FnMut(&Arc<TopicEntry<T, R>>)) {
        self.entry.iter().for_each(&mut *found);
        self.children.values().for_each(|child| child.visit_all(found));
    }
}

/// Gives memory back after a flood of topics, with enough slack that it is rare.
pub(super) fn shrink<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 64 && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}
