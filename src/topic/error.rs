//! Why a string is not a valid topic or pattern.

use std::fmt;

use thiserror::Error;

/// A text is no topic or no pattern.
///
/// # Examples
///
/// ```
/// use tramline::{InvalidToken, Topic, TopicError};
///
/// assert_eq!(Topic::new(""), Err(TopicError::Empty));
/// assert!(matches!(Topic::new("x".repeat(5000)), Err(TopicError::TooLong { length: 5000, .. })));
/// match Topic::new("orders.n ew") {
///     Err(TopicError::Token { token, position, reason, .. }) => {
///         assert_eq!((token, position, reason), (2, 7, InvalidToken::Character(' ')));
///     }
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The text is empty.
    #[error("a topic needs at least one token, the text is empty")]
    Empty,
    /// The text is longer than a topic may be.
    #[error("the topic has {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// The length of the text in bytes.
        length: usize,
        /// The most bytes a topic may have.
        limit: usize,
    },
    /// The text has more tokens than a topic may have.
    #[error("the topic has {tokens} tokens, at most {limit} are allowed")]
    TooManyTokens {
        /// The number of tokens in the text.
        tokens: usize,
        /// The most tokens a topic may have.
        limit: usize,
    },
    /// One token is wrong.
    #[error("token {token} of `{}`, at byte {position}, {reason}", text.escape_debug())]
    Token {
        /// The whole text.
        text: String,
        /// Which token is wrong; the first is 1.
        token: usize,
        /// Where that token begins: a byte offset into the text; the first byte is 0.
        position: usize,
        /// What is wrong with it.
        reason: InvalidToken,
    },
}

impl TopicError {
    /// Whether the text was empty.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(tramline::Topic::new("").unwrap_err().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the text was too long, in bytes or in tokens.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(tramline::Topic::new("a.".repeat(300) + "a").unwrap_err().is_too_long());
    /// ```
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::TooManyTokens { .. })
    }

    /// Whether one token was wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(tramline::Topic::new("orders..new").unwrap_err().is_invalid_token());
    /// ```
    pub fn is_invalid_token(&self) -> bool {
        matches!(self, Self::Token { .. })
    }
}

/// What is wrong with one token of a topic or pattern, see [`TopicError::Token`].
///
/// # Examples
///
/// ```
/// use tramline::{InvalidToken, Pattern, Topic, TopicError};
///
/// let wrong = |error| match error {
///     TopicError::Token { reason, .. } => reason,
///     other => panic!("{other}"),
/// };
/// assert_eq!(wrong(Topic::new("orders..new").unwrap_err()), InvalidToken::Empty);
/// assert_eq!(wrong(Topic::new("orders.*").unwrap_err()), InvalidToken::Wildcard);
/// assert_eq!(wrong(Pattern::new("orders.>.new").unwrap_err()), InvalidToken::RestNotLast);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidToken {
    /// It has no characters.
    Empty,
    /// It holds this white space or control character.
    Character(char),
    /// It is `*` or `>` where a topic is wanted: only patterns have wildcards.
    Wildcard,
    /// It is `>` with more tokens behind it.
    RestNotLast,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Character(character) => {
                write!(f, "holds {character:?}: white space and control characters are not allowed")
            }
            Self::Wildcard => f.write_str("is a wildcard, which only a pattern may have"),
            Self::RestNotLast => f.write_str("is `>`, which may only stand last"),
        }
    }
}
