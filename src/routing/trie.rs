//! The trie of tokens: what was put at the patterns that match a topic, and at the topics that match a pattern.

use std::collections::HashMap;
use std::hash::Hash;

use crate::topic::Token;

/// A node of the trie; the way to it from the root spells a pattern or a topic.
#[derive(Default)]
pub(super) struct Node<V> {
    children: HashMap<Box<str>, Self>,
    any: Option<Box<Self>>,
    pub(super) value: V,
}

/// What can be at a node.
pub(super) trait Value: Default {
    /// Whether a node is worth nothing with it, unless there are others below.
    fn is_empty(&self) -> bool;
}

/// How a topic matches the pattern of a node.
#[derive(Clone, Copy)]
pub(super) struct Match {
    /// To its last token; otherwise there are more, so that it matches with a `>` behind it.
    pub(super) is_whole: bool,
    /// There is a wildcard on the way.
    pub(super) by_wildcard: bool,
}

impl<V: Value> Node<V> {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.any.is_none() && self.value.is_empty()
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
                        node.children.insert(token.into(), Self::default());
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

    /// Lets `change` act on the value at these tokens, and takes out nodes that have become empty on the way back.
    pub(super) fn prune<'a>(&mut self, mut tokens: impl Iterator<Item = Token<'a>>, change: impl FnOnce(&mut V)) {
        match tokens.next() {
            None | Some(Token::Rest) => change(&mut self.value),
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

    /// Visits every node whose pattern matches the topic of these tokens, alone or with a `>` behind it.
    pub(super) fn visit_patterns<'a, 'n>(
        &'n self,
        tokens: impl Iterator<Item = &'a str> + Clone,
        visit: &mut impl FnMut(&'n V, Match),
    ) {
        self.visit_patterns_below(tokens, false, visit);
    }

    fn visit_patterns_below<'a, 'n>(
        &'n self,
        mut tokens: impl Iterator<Item = &'a str> + Clone,
        by_wildcard: bool,
        visit: &mut impl FnMut(&'n V, Match),
    ) {
        let token = tokens.next();
        visit(&self.value, Match { is_whole: token.is_none(), by_wildcard });
        let Some(token) = token else { return };
        if let Some(any) = &self.any {
            any.visit_patterns_below(tokens.clone(), true, visit);
        }
        if let Some(child) = self.children.get(token) {
            child.visit_patterns_below(tokens, by_wildcard, visit);
        }
    }

    /// Visits the nodes whose topic matches the pattern of these tokens; `false` if it has come past more nodes than `most`,
    /// of which each takes one.
    pub(super) fn visit_topics<'a, 'n>(
        &'n self,
        mut tokens: impl Iterator<Item = Token<'a>> + Clone,
        most: &mut usize,
        visit: &mut impl FnMut(&'n V),
    ) -> bool {
        let Some(left) = most.checked_sub(1) else { return false };
        *most = left;
        match tokens.next() {
            None => visit(&self.value),
            Some(Token::Literal(token)) => {
                return self.children.get(token).is_none_or(|child| child.visit_topics(tokens, most, visit));
            }
            Some(Token::Any) => {
                return self.children.values().all(|child| child.visit_topics(tokens.clone(), most, visit));
            }
            Some(Token::Rest) => return self.children.values().all(|child| child.visit_all(most, visit)),
        }
        true
    }

    fn visit_all<'n>(&'n self, most: &mut usize, visit: &mut impl FnMut(&'n V)) -> bool {
        let Some(left) = most.checked_sub(1) else { return false };
        *most = left;
        visit(&self.value);
        self.children.values().all(|child| child.visit_all(most, visit))
    }

    /// What is at a pattern.
    pub(super) fn at_pattern<'a>(&self, tokens: impl Iterator<Item = Token<'a>>) -> Option<&V> {
        let mut node = self;
        for token in tokens {
            node = match token {
                Token::Rest => break,
                Token::Any => node.any.as_ref()?,
                Token::Literal(token) => node.children.get(token)?,
            };
        }
        Some(&node.value)
    }

    /// What is at the topic of these tokens.
    pub(super) fn at<'a>(&self, mut tokens: impl Iterator<Item = &'a str>) -> Option<&V> {
        tokens.try_fold(self, |node, token| node.children.get(token)).map(|node| &node.value)
    }
}

/// Gives memory back after a flood of topics, with enough slack that it is rare.
pub(super) fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 64 && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}
