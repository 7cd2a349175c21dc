//! Why a request was not sent, has no reply, or cannot be answered.

use std::fmt;

use thiserror::Error;

use crate::topic::TopicError;

/// A request was not sent. Holds the payload.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, RequestError};
///
/// let bus = Bus::<&str>::new();
/// match bus.request("price.tea", "100 g") {
///     Err(RequestError::NoResponders(payload)) => assert_eq!(payload, "100 g"),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError<T> {
    /// The text is no topic.
    #[error("cannot request: {0}")]
    Topic(TopicError, T),
    /// No mailbox took the request, so nobody can answer it: nobody subscribes to the topic, or all who do were full
    /// and do not block.
    #[error("no mailbox took the request")]
    NoResponders(T),
    /// The bus is closed, or was closed while the request waited for room.
    #[error("cannot request: the bus is closed")]
    Closed(T),
}

impl<T> RequestError<T> {
    /// The payload that was to be sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let error = bus.request("price.tea", "100 g".to_owned()).unwrap_err();
    /// assert!(error.is_no_responders());
    /// assert_eq!(error.into_inner(), "100 g");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Self::Topic(_, payload) | Self::NoResponders(payload) | Self::Closed(payload) => payload,
        }
    }

    /// Whether the topic was invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.gather("bids.>", 1).unwrap_err().is_invalid_topic());
    /// ```
    pub fn is_invalid_topic(&self) -> bool {
        matches!(self, Self::Topic(..))
    }

    /// Whether there was nobody to answer.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let server = bus.serve("double", |n| 2 * **n)?;
    /// drop(server);
    /// assert!(bus.request("double", 21).unwrap_err().is_no_responders());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_no_responders(&self) -> bool {
        matches!(self, Self::NoResponders(_))
    }

    /// Whether the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _server = bus.serve("double", |n| 2 * **n)?;
    /// bus.close();
    /// assert!(bus.request("double", 21).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> fmt::Debug for RequestError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(error, _) => f.debug_tuple("Topic").field(error).finish_non_exhaustive(),
            Self::NoResponders(_) => f.write_str("NoResponders(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}
