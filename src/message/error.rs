//! Why there is no message to receive.

use thiserror::Error;

/// No message will come any more, see [`Subscriber::recv`](crate::Subscriber::recv).
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Overflow, RecvError};
///
/// let bus = Bus::<u32>::new();
/// let patient = bus.subscribe("tick")?;
/// let strict = bus.subscription("tick").capacity(1).overflow(Overflow::Disconnect).open()?;
/// bus.publish("tick", 1)?;
/// bus.publish("tick", 2)?; // one too many for `strict`
/// drop(bus);
/// assert!(matches!(patient.iter().last(), Some(tick) if *tick == 2));
/// assert!(matches!(patient.recv(), Err(RecvError::Closed)));
/// assert!(matches!(strict.iter().last(), Some(tick) if *tick == 1));
/// assert!(matches!(strict.recv(), Err(RecvError::Overflowed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The bus is closed, and everything is read.
    #[error("the bus is closed and everything is read")]
    Closed,
    /// The mailbox ran over under [`Overflow::Disconnect`](crate::Overflow::Disconnect), and is drained.
    #[error("the reader fell behind and was disconnected")]
    Overflowed,
}

impl RecvError {
    /// Returns `true` if the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// drop(bus); // the last handle
    /// assert!(orders.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Returns `true` if the mailbox overflowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::builder().capacity(1).overflow(Overflow::Disconnect).build();
    /// let ticks = bus.subscribe("tick")?;
    /// (1..=3).for_each(|tick| bus.fire("tick", tick));
    /// assert_eq!(*ticks.recv()?, 1);
    /// assert!(ticks.recv().unwrap_err().is_overflowed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_overflowed(&self) -> bool {
        matches!(self, Self::Overflowed)
    }
}

/// There is no message now, see [`Subscriber::try_recv`](crate::Subscriber::try_recv).
///
/// # Examples
///
/// ```
/// use tramline::{Bus, RecvError, TryRecvError};
///
/// let bus = Bus::<u32>::new();
/// let orders = bus.subscribe("orders.new")?;
/// assert!(matches!(orders.try_recv(), Err(TryRecvError::Empty)));
/// bus.close();
/// assert!(matches!(orders.try_recv(), Err(TryRecvError::Closed)));
/// assert_eq!(TryRecvError::from(RecvError::Closed), TryRecvError::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The mailbox is empty.
    #[error("there is no message")]
    Empty,
    /// The bus is closed, and everything is read.
    #[error("the bus is closed and everything is read")]
    Closed,
    /// The mailbox ran over under [`Overflow::Disconnect`](crate::Overflow::Disconnect), and is drained.
    #[error("the reader fell behind and was disconnected")]
    Overflowed,
}

impl TryRecvError {
    /// Returns `true` if the mailbox was empty; a message may come later.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// assert!(orders.try_recv().unwrap_err().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Returns `true` if the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// bus.close();
    /// assert!(bus.dead_letters().try_recv().unwrap_err().is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Returns `true` if the mailbox overflowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::builder().capacity(1).overflow(Overflow::Disconnect).build();
    /// let ticks = bus.subscribe("tick")?;
    /// (1..=2).for_each(|tick| bus.fire("tick", tick));
    /// assert_eq!(*ticks.try_recv()?, 1);
    /// assert!(ticks.try_recv().unwrap_err().is_overflowed()); // and not `is_empty`
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_overflowed(&self) -> bool {
        matches!(self, Self::Overflowed)
    }
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Overflowed => Self::Overflowed,
        }
    }
}

/// No message came in time, see [`Subscriber::recv_timeout`](crate::Subscriber::recv_timeout).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::{Bus, RecvTimeoutError};
///
/// let bus = Bus::<u32>::new();
/// let orders = bus.subscribe("orders.new")?;
/// let soon = Duration::from_millis(1);
/// assert!(matches!(orders.recv_timeout(soon), Err(RecvTimeoutError::Timeout)));
/// bus.close();
/// assert!(matches!(orders.recv_timeout(soon), Err(RecvTimeoutError::Closed))); // at once
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// The wait timed out; a message may come later.
    #[error("no message came in time")]
    Timeout,
    /// The bus is closed, and everything is read.
    #[error("the bus is closed and everything is read")]
    Closed,
    /// The mailbox ran over under [`Overflow::Disconnect`](crate::Overflow::Disconnect), and is drained.
    #[error("the reader fell behind and was disconnected")]
    Overflowed,
}

impl RecvTimeoutError {
    /// Returns `true` if the wait timed out; a message may come later.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// assert!(orders.recv_timeout(std::time::Duration::ZERO).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Returns `true` if the bus was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.close();
    /// assert!(orders.recv_timeout(std::time::Duration::MAX).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Returns `true` if the mailbox overflowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::builder().capacity(1).overflow(Overflow::Disconnect).build();
    /// let ticks = bus.subscribe("tick")?;
    /// (1..=2).for_each(|tick| bus.fire("tick", tick));
    /// assert_eq!(*ticks.recv_timeout(Duration::from_secs(5))?, 1);
    /// assert!(ticks.recv_timeout(Duration::from_secs(5)).unwrap_err().is_overflowed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_overflowed(&self) -> bool {
        matches!(self, Self::Overflowed)
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Overflowed => Self::Overflowed,
        }
    }
}
