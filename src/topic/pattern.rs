//! Patterns: topics with wildcards, and which topics they match.

use super::inline_string::InlineString;
use super::{ANY, REST, Topic, TopicError, Wildcards, check};

/// A topic in which `*` stands for exactly one token and a last `>` for one or more tokens.
///
/// A pattern without either is literal: it matches the one topic of the same text. The rules for tokens are those of
/// [`Topic`].
///
/// # Examples
///
/// ```
/// use tramline::{Pattern, Topic};
///
/// let pattern = Pattern::new("flight.*.LAX.>")?;
/// assert!(pattern.matches(&Topic::new("flight.JFK.LAX.AA.departed")?));
/// assert!(!pattern.matches(&Topic::new("flight.JFK.LAX")?));
/// # Ok::<(), tramline::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(pub(super) InlineString);

/// One token of a pattern, as the matcher and the trie see it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Literal(&'a str),
    Any,
    Rest,
}

impl<'a> Token<'a> {
    fn new(token: &'a str) -> Self {
        match token {
            ANY => Self::Any,
            REST => Self::Rest,
            literal => Self::Literal(literal),
        }
    }
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// [`TopicError`] if the text is empty or too long, or names the token that is empty, contains whitespace, a
    /// zero-width space or a control character, or is a `>` that is not the last.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = tramline::Pattern::new("orders.>.new").unwrap_err();
    /// assert_eq!(error.to_string(), "token 2 of `orders.>.new`, at byte 7, is `>`, which is only valid as the last token");
    /// ```
    pub fn new(pattern: impl AsRef<str>) -> Result<Self, TopicError> {
        let text = pattern.as_ref();
        check(text, Wildcards::Allowed)?;
        Ok(Self(InlineString::from(text)))
    }

    /// The pattern as text.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(tramline::Pattern::new("orders.*")?.as_str(), "orders.*");
    /// # Ok::<(), tramline::TopicError>(())
    /// ```
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns `true` if the pattern has no wildcard, so that it matches one topic only.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Pattern;
    /// assert!(Pattern::new("orders.new*")?.is_literal());
    /// assert!(!Pattern::new("orders.*")?.is_literal());
    /// # Ok::<(), tramline::TopicError>(())
    /// ```
    pub fn is_literal(&self) -> bool {
        self.tokens().all(|token| matches!(token, Token::Literal(_)))
    }

    /// Returns `true` if a message on `topic` reaches a subscription to this pattern.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Pattern, Topic};
    /// assert!(Pattern::new("orders.>")?.matches(&Topic::new("orders.eu.new")?));
    /// assert!(!Pattern::new("orders.>")?.matches(&Topic::new("orders")?));
    /// # Ok::<(), tramline::TopicError>(())
    /// ```
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut rest = topic.tokens();
        for token in self.tokens() {
            match (token, rest.next()) {
                (_, None) => return false,
                (Token::Rest, Some(_)) => return true,
                (Token::Any, Some(_)) => {}
                (Token::Literal(literal), Some(found)) => {
                    if literal != found {
                        return false;
                    }
                }
            }
        }
        rest.next().is_none()
    }

    /// Returns `true` if every topic that matches this pattern matches `other` too.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Pattern;
    /// assert!(Pattern::new("orders.*")?.is_subset_of(&Pattern::new("orders.>")?));
    /// assert!(!Pattern::new("orders.>")?.is_subset_of(&Pattern::new("orders.*")?));
    /// # Ok::<(), tramline::TopicError>(())
    /// ```
    pub fn is_subset_of(&self, other: &Pattern) -> bool {
        let (mut ours, mut theirs) = (self.tokens(), other.tokens());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(_), Some(Token::Rest)) => return true,
                (Some(Token::Literal(_) | Token::Any), Some(Token::Any)) => {}
                (Some(Token::Literal(ours)), Some(Token::Literal(theirs))) if ours == theirs => {}
                _ => return false,
            }
        }
    }

    /// Returns `true` if some topic matches both patterns.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Pattern;
    /// assert!(Pattern::new("orders.*")?.overlaps(&Pattern::new("*.new")?));
    /// assert!(!Pattern::new("orders.*")?.overlaps(&Pattern::new("orders.*.new")?));
    /// # Ok::<(), tramline::TopicError>(())
    /// ```
    pub fn overlaps(&self, other: &Pattern) -> bool {
        let (mut ours, mut theirs) = (self.tokens(), other.tokens());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(Token::Rest), Some(_)) | (Some(_), Some(Token::Rest)) => return true,
                (Some(Token::Any), Some(_)) | (Some(_), Some(Token::Any)) => {}
                (Some(ours), Some(theirs)) if ours == theirs => {}
                _ => return false,
            }
        }
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = Token<'_>> + Clone {
        self.as_str().split('.').map(Token::new)
    }
}
