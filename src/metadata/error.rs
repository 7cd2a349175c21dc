//! Why a header is invalid.

use thiserror::Error;

#[cfg(doc)]
use super::Headers;

/// The reason why a header is invalid.
///
/// It comes in the error of the call that ends the [`MessageBuilder`](crate::MessageBuilder), which returns the payload too.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, HeaderError, PublishError};
///
/// let bus = Bus::<&str>::new();
/// let error = bus.message("orders.new", "tea").header("", "acme").publish().unwrap_err();
/// assert_eq!(error.to_string(), "cannot publish: the name of a header is empty");
/// assert!(matches!(error, PublishError::Header(HeaderError::EmptyName, "tea")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is empty.
    #[error("the name of a header is empty")]
    EmptyName,
    /// The name has more bytes than [`Headers::MAX_BYTES`].
    #[error("the name of a header has {bytes} bytes, but {limit} is the limit")]
    #[non_exhaustive]
    NameTooLong {
        /// The length of the name, in bytes.
        bytes: usize,
        /// The longest that is valid.
        limit: usize,
    },
    /// The value has more bytes than [`Headers::MAX_BYTES`].
    #[error("the value of the header `{name}` has {bytes} bytes, but {limit} is the limit")]
    #[non_exhaustive]
    ValueTooLong {
        /// The name of the header.
        name: String,
        /// The length of its value, in bytes.
        bytes: usize,
        /// The longest that is valid.
        limit: usize,
    },
    /// The message has more headers than [`Headers::MAX_LEN`].
    #[error("the message has more than {limit} headers")]
    #[non_exhaustive]
    TooMany {
        /// The most that a message can have.
        limit: usize,
    },
}

impl HeaderError {
    /// Returns `true` if the name is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let error = bus.message("orders.new", 7).header("", "acme").publish().unwrap_err();
    /// assert!(matches!(error, tramline::PublishError::Header(error, 7) if error.is_empty_name()));
    /// ```
    pub fn is_empty_name(&self) -> bool {
        matches!(self, Self::EmptyName)
    }

    /// Returns `true` if the name or the value has too many bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let error = bus.message("orders.new", 7).header("tenant", "a".repeat(257)).publish().unwrap_err();
    /// assert!(matches!(error, tramline::PublishError::Header(error, 7) if error.is_too_long()));
    /// ```
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::NameTooLong { .. } | Self::ValueTooLong { .. })
    }

    /// Returns `true` if the message has too many headers.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let message = (0..17).fold(bus.message("orders.new", 7), |message, n| message.header(format!("h{n}"), "x"));
    /// let error = message.publish().unwrap_err();
    /// assert!(matches!(error, tramline::PublishError::Header(error, 7) if error.is_too_many()));
    /// ```
    pub fn is_too_many(&self) -> bool {
        matches!(self, Self::TooMany { .. })
    }
}
