//! Why a string is not a valid topic or pattern.

use std::fmt;

use thiserror::Error;

/// The string is not a valid topic or pattern.
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
    /// The string is empty.
    #[error("a topic or pattern must have at least one token, got an empty string")]
    Empty,
    /// The string is longer than a topic or pattern may be.
    #[error("a topic or pattern must have at most {limit} bytes, got {length}")]
    TooLong {
        /// The length of the string in bytes.
        length: usize,
        /// The most bytes that a topic or pattern may have.
        limit: usize,
    },
    /// The string has more tokens than a topic or pattern may have.
    #[error("a topic or pattern must have at most {limit} tokens, got {tokens}")]
    TooManyTokens {
        /// The number of tokens in the string.
        tokens: usize,
        /// The most tokens that a topic or pattern may have.
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
        /// The rule that the token breaks.
        reason: InvalidToken,
    },
}

impl TopicError {
    /// Returns `true` if the string is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(tramline::Topic::new("").unwrap_err().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Returns `true` if the string has too many bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = tramline::Topic::new("x".repeat(5000)).unwrap_err();
    /// assert!(error.is_too_long());
    /// assert_eq!(error.to_string(), "a topic or pattern must have at most 4096 bytes, got 5000");
    /// ```
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::TooLong { .. })
    }

    /// Returns `true` if the string has too many tokens.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = tramline::Pattern::new("a.".repeat(300) + "a").unwrap_err();
    /// assert!(error.is_too_many_tokens());
    /// assert_eq!(error.to_string(), "a topic or pattern must have at most 256 tokens, got 301");
    /// ```
    pub fn is_too_many_tokens(&self) -> bool {
        matches!(self, Self::TooManyTokens { .. })
    }

    /// Returns `true` if one token is not valid. The [`InvalidToken`] in the error has the reason.
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

/// The rule that one token of a topic or pattern breaks, see [`TopicError::Token`].
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
    /// It contains this character: whitespace, a zero-width space or a control character.
    Character(char),
    /// It is `*` or `>` where a topic is wanted: only patterns have wildcards.
    Wildcard,
    /// It is `>` with more tokens behind it.
    RestNotLast,
}

impl InvalidToken {
    /// Returns `true` if the token has no characters.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Topic, TopicError};
    ///
    /// let error = Topic::new("orders..new").unwrap_err();
    /// assert!(matches!(error, TopicError::Token { reason, .. } if reason.is_empty()));
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Returns `true` if the token contains whitespace, a zero-width space or a control character.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Topic, TopicError};
    ///
    /// let error = Topic::new("orders.n ew").unwrap_err();
    /// assert!(matches!(error, TopicError::Token { reason, .. } if reason.is_invalid_character()));
    ///
    /// let error = Topic::new("orders.\u{200b}new").unwrap_err();
    /// assert!(error.to_string().contains(r"contains '\u{200b}': whitespace, zero-width spaces and control characters"));
    /// ```
    pub fn is_invalid_character(&self) -> bool {
        matches!(self, Self::Character(_))
    }

    /// Returns `true` if the token is a wildcard in a topic.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Topic, TopicError};
    ///
    /// let error = Topic::new("orders.*").unwrap_err();
    /// assert!(matches!(error, TopicError::Token { reason, .. } if reason.is_wildcard()));
    /// ```
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard)
    }

    /// Returns `true` if the token is a `>` that is not the last token.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Pattern, TopicError};
    ///
    /// let error = Pattern::new("orders.>.new").unwrap_err();
    /// assert!(matches!(error, TopicError::Token { reason, .. } if reason.is_rest_not_last()));
    /// ```
    pub fn is_rest_not_last(&self) -> bool {
        matches!(self, Self::RestNotLast)
    }
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Character(character) => {
                write!(
                    f,
                    "contains {character:?}: whitespace, zero-width spaces and control characters are not allowed"
                )
            }
            Self::Wildcard => f.write_str("is a wildcard, which only a pattern may contain"),
            Self::RestNotLast => f.write_str("is `>`, which is only valid as the last token"),
        }
    }
}
