//! The errors of publishing.

use std::fmt;
use std::ops::Deref;

use thiserror::Error;

use crate::delivery::Delivery;
use crate::metadata::HeaderError;
use crate::topic::TopicError;

/// A message was not published, or not to every mailbox. Holds the payload, and how many mailboxes have the message.
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
    /// The bus is closed, or was closed while the message waited for room. Then the mailboxes that had room have the
    /// message, see [`delivery`](Self::delivery).
    #[error("cannot publish: the bus is closed{}", Holders(.0.delivery))]
    Closed(Unsent<T>),
    /// The wait timed out: a mailbox stayed full. The mailboxes that had room have the message, see
    /// [`delivery`](Self::delivery).
    #[error("a full mailbox did not take the message in time{}", Holders(.0.delivery))]
    Timeout(Unsent<T>),
    /// A header of the message is invalid; nothing was delivered.
    #[error("cannot publish: {0}")]
    Header(HeaderError, T),
}

impl<T> PublishError<T> {
    /// Returns the outcome at the mailboxes that were served before the publish stopped.
    ///
    /// `delivered` counts the mailboxes that have the message: publishing it again duplicates it there. If it is 0, no
    /// mailbox has the message. For an invalid topic nothing was delivered.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let _full = bus.subscription("work").capacity(1).open()?;
    /// let audit = bus.subscribe("work")?;
    /// bus.publish("work", 1)?;
    /// let error = bus.publish_timeout("work", 2, Duration::ZERO).unwrap_err();
    /// assert_eq!(error.delivery().delivered(), 1); // `audit` has it
    /// assert_eq!(error.to_string(), "a full mailbox did not take the message in time; 1 mailbox has it");
    /// assert_eq!(audit.try_iter().map(|n| *n).collect::<Vec<_>>(), [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Topic(..) | Self::Header(..) => Delivery::NONE,
            Self::Closed(unsent) | Self::Timeout(unsent) => unsent.delivery,
        }
    }

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
            Self::Topic(_, payload) | Self::Header(_, payload) => payload,
            Self::Closed(unsent) | Self::Timeout(unsent) => unsent.payload,
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

    /// Returns `true` if a header was invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// assert!(bus.message("orders.new", 7).header("", "acme").publish().unwrap_err().is_invalid_header());
    /// ```
    pub fn is_invalid_header(&self) -> bool {
        matches!(self, Self::Header(..))
    }
}

impl<T> fmt::Debug for PublishError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(error, _) => f.debug_tuple("Topic").field(error).finish_non_exhaustive(),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Timeout(_) => f.write_str("Timeout(..)"),
            Self::Header(error, _) => f.debug_tuple("Header").field(error).finish_non_exhaustive(),
        }
    }
}

/// The payload of a message that not every mailbox took, and the outcome at those that were served. Derefs to the payload.
///
/// The variants `Closed` and `Timeout` of [`PublishError`] hold it. It equals a bare payload if the payloads are equal, and
/// another `Unsent` only if the deliveries are equal too.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, PublishError};
///
/// let bus = Bus::<String>::new();
/// bus.close();
/// let Err(PublishError::Closed(unsent)) = bus.publish("orders.new", "tea".to_owned()) else { unreachable!() };
/// assert_eq!(unsent.len(), 3); // a method of the payload
/// assert_eq!(unsent.delivery().delivered(), 0); // no mailbox has it
/// assert_eq!(unsent.into_payload(), "tea");
///
/// let expected = PublishError::Closed("tea".to_owned().into());
/// assert_eq!(bus.publish("orders.new", "tea".to_owned()), Err(expected));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unsent<T> {
    payload: T,
    delivery: Delivery,
}

impl<T> Unsent<T> {
    pub(crate) fn new(payload: T, delivery: Delivery) -> Self {
        Self { payload, delivery }
    }

    /// Returns the outcome at the mailboxes that were served, as [`PublishError::delivery`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, PublishError};
    ///
    /// let bus = Bus::<u32>::new();
    /// let _full = bus.subscription("work").capacity(1).open()?;
    /// bus.publish("work", 1)?;
    /// match bus.publish_timeout("work", 2, Duration::ZERO) {
    ///     Err(PublishError::Timeout(unsent)) if unsent.delivery().is_unheard() => {
    ///         bus.fire("work.later", unsent.into_payload()); // no mailbox has it yet
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Returns the payload.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Unsent;
    ///
    /// assert_eq!(Unsent::from("tea").into_payload(), "tea");
    /// ```
    pub fn into_payload(self) -> T {
        self.payload
    }
}

/// A payload that no mailbox has.
impl<T> From<T> for Unsent<T> {
    fn from(payload: T) -> Self {
        Self::new(payload, Delivery::NONE)
    }
}

impl<T> Deref for Unsent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.payload
    }
}

impl<T: PartialEq> PartialEq<T> for Unsent<T> {
    fn eq(&self, payload: &T) -> bool {
        self.payload == *payload
    }
}

impl<T> fmt::Debug for Unsent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

/// Displays how many mailboxes have the message, behind the text of an error; nothing if none has.
struct Holders(Delivery);

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.delivered() {
            0 => Ok(()),
            1 => f.write_str("; 1 mailbox has it"),
            mailboxes => write!(f, "; {mailboxes} mailboxes have it"),
        }
    }
}
