//! The errors of publishing.

use std::fmt;

use thiserror::Error;

use crate::topic::TopicError;

/// A message was not published, or not to every mailbox. Holds the payload.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::{Bus, PublishError};
///
/// let bus = Bus::<u32>::new();
/// let _slow = bus.subscription("work").capacity(1).open()?;
/// bus.publish("work", 1)?;
/// match bus.publish_timeout("work", 2, Duration::from_millis(1)) {
///     Err(PublishError::Timeout(payload)) => assert_eq!(payload, 2),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError<T> {
    /// The string is not a valid topic; nothing was delivered.
    #[error("cannot publish: {0}")]
    Topic(TopicError, T),
    /// The bus is closed, or was closed while the message waited for room.
    #[error("cannot publish: the bus is closed")]
    Closed(T),
    /// The wait timed out: a mailbox stayed full. The mailboxes that had room have the message.
    #[error("a full mailbox did not take the message in time")]
    Timeout(T),
}

impl<T> PublishError<T> {
    /// Returns the payload.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// bus.close();
    /// let error = bus.publish("orders.new", "tea".to_owned()).unwrap_err();
    /// assert!(error.is_closed());
    /// assert_eq!(error.into_inner(), "tea");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Self::Topic(_, payload) | Self::Closed(payload) | Self::Timeout(payload) => payload,
        }
    }

    /// Returns `true` if the topic was invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.publish("orders.*", 1).unwrap_err().is_invalid_topic()); // a wildcard is for subscriptions
    /// ```
    pub fn is_invalid_topic(&self) -> bool {
        matches!(self, Self::Topic(..))
    }

    /// Returns `true` if the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.publisher("orders.new")?;
    /// bus.close();
    /// assert!(orders.try_publish(1).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Returns `true` if the wait timed out.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _full = bus.subscription("work").capacity(1).open()?;
    /// bus.fire("work", 1);
    /// assert!(bus.publish_timeout("work", 2, std::time::Duration::ZERO).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

impl<T> fmt::Debug for PublishError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(error, _) => f.debug_tuple("Topic").field(error).finish_non_exhaustive(),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Timeout(_) => f.write_str("Timeout(..)"),
        }
    }
}
