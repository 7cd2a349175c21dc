//! Topics and patterns: parsing, matching, subset and overlap. Pure: nothing here knows of a bus.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

mod error;
mod inline_string;
mod pattern;

pub use error::{InvalidToken, TopicError};
pub use pattern::Pattern;
pub(crate) use pattern::Token;

use inline_string::InlineString;

/// The longest topic or pattern, in bytes.
pub(crate) const MAX_LENGTH: usize = 4096;
/// The most tokens in a topic or pattern. It bounds the depth of the token trie, and with it every recursion over it.
pub(crate) const MAX_TOKENS: usize = 256;

/// The token that stands for exactly one token of a topic.
const ANY: &str = "*";
/// The last token that stands for one or more tokens of a topic.
const REST: &str = ">";

/// A literal subject: tokens joined by `.`, for example `flight.JFK.LAX.AA.departed`.
///
/// A token is one or more characters that are neither `.` nor whitespace nor control characters. The zero-width spaces
/// U+200B and U+FEFF count as whitespace: a topic with one looks like the topic without it. The zero-width joiners U+200C
/// and U+200D are allowed, because several scripts need them. The tokens `*` and `>` are kept for patterns; inside a
/// longer token both are ordinary characters. A topic has at most 256 tokens and 4,096 bytes. Topics of up to 31 bytes are
/// stored in place: cloning one allocates nothing and touches no shared counter.
///
/// # Examples
///
/// ```
/// use tramline::Topic;
///
/// let topic = Topic::new("flight.JFK.LAX")?;
/// assert_eq!(topic.tokens().collect::<Vec<_>>(), ["flight", "JFK", "LAX"]);
/// assert!(Topic::new("flight..LAX").is_err());
/// assert!(Topic::new("flight.*").is_err());
/// # Ok::<(), tramline::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(InlineString);

impl Topic {
    /// Whether a copy costs neither an allocation nor a shared counter.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.0.is_short()
    }

    /// Parses a topic.
    ///
    /// # Errors
    ///
    /// [`TopicError`] if the text is empty or too long, or names the token that is empty, a wildcard, or contains
    /// whitespace, a zero-width space or a control character.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = tramline::Topic::new("orders..new").unwrap_err();
    /// assert_eq!(error.to_string(), "token 2 of `orders..new`, at byte 7, is empty");
    /// ```
    pub fn new(topic: impl AsRef<str>) -> Result<Self, TopicError> {
        let text = topic.as_ref();
        check(text, Wildcards::Refused)?;
        Ok(Self(InlineString::from(text)))
    }

    /// The topic as text.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(tramline::Topic::new("orders.new")?.as_str(), "orders.new");
    /// # Ok::<(), tramline::TopicError>(())
    /// ```
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The tokens of the topic, first to last.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(tramline::Topic::new("orders.new")?.tokens().last(), Some("new"));
    /// # Ok::<(), tramline::TopicError>(())
    /// ```
    pub fn tokens(&self) -> impl Iterator<Item = &str> + Clone {
        self.as_str().split('.')
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wildcards {
    Allowed,
    Refused,
}

fn check(text: &str, wildcards: Wildcards) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_LENGTH {
        return Err(TopicError::TooLong { length: text.len(), limit: MAX_LENGTH });
    }
    let mut position = 0;
    let mut tokens = text.split('.').enumerate().peekable();
    while let Some((index, token)) = tokens.next() {
        if index == MAX_TOKENS {
            return Err(TopicError::TooManyTokens { tokens: text.split('.').count(), limit: MAX_TOKENS });
        }
        let wrong = |reason| TopicError::Token { text: text.to_owned(), token: index + 1, position, reason };
        match token {
            "" => return Err(wrong(InvalidToken::Empty)),
            ANY | REST if wildcards == Wildcards::Refused => return Err(wrong(InvalidToken::Wildcard)),
            REST if tokens.peek().is_some() => return Err(wrong(InvalidToken::RestNotLast)),
            _ => {}
        }
        if let Some(character) = token.chars().find(|character| is_refused(*character)) {
            return Err(wrong(InvalidToken::Character(character)));
        }
        position += token.len() + 1;
    }
    Ok(())
}

/// Returns `true` for whitespace, zero-width spaces and control characters.
///
/// U+200B and U+FEFF come into a string with a copied web page or as the byte order mark of a file. Unicode does not count
/// them as whitespace, so they are named here: nobody sees why a topic with one reaches no subscriber of the topic without
/// it. The zero-width joiners U+200C and U+200D stay: Persian and several scripts of India need them.
fn is_refused(character: char) -> bool {
    character.is_whitespace() || character.is_control() || matches!(character, '\u{200b}' | '\u{feff}')
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl TryFrom<&str> for $name {
            type Error = TopicError;
            fn try_from(text: &str) -> Result<Self, TopicError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = TopicError;
            fn try_from(text: String) -> Result<Self, TopicError> {
                Self::new(text)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = TopicError;
            fn try_from(text: &String) -> Result<Self, TopicError> {
                Self::new(text)
            }
        }

        impl FromStr for $name {
            type Err = TopicError;
            fn from_str(text: &str) -> Result<Self, TopicError> {
                Self::new(text)
            }
        }

        impl From<&$name> for $name {
            fn from(same: &$name) -> Self {
                same.clone()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    )*};
}

text_conversions!(Topic, Pattern);

/// Every topic is a pattern that matches itself alone.
impl From<Topic> for Pattern {
    fn from(topic: Topic) -> Self {
        Self(topic.0)
    }
}

/// Every topic is a pattern that matches itself alone.
impl From<&Topic> for Pattern {
    fn from(topic: &Topic) -> Self {
        topic.clone().into()
    }
}

/// Fails for a pattern with wildcards: it names many topics.
impl TryFrom<Pattern> for Topic {
    type Error = TopicError;
    fn try_from(pattern: Pattern) -> Result<Self, TopicError> {
        check(pattern.as_str(), Wildcards::Refused)?;
        Ok(Self(pattern.0))
    }
}

/// Fails for a pattern with wildcards: it names many topics.
impl TryFrom<&Pattern> for Topic {
    type Error = TopicError;
    fn try_from(pattern: &Pattern) -> Result<Self, TopicError> {
        pattern.clone().try_into()
    }
}

/// Lets a ready-made [`Topic`] or [`Pattern`] stand where a text could have been wrong.
impl From<Infallible> for TopicError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
