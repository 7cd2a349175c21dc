//! Why a dead letter was not delivered again.

use std::fmt;

use thiserror::Error;

use super::DeadLetter;

/// The error of [`DeadLetter::retry`] and [`DeadLetter::try_retry`]. It returns the letter, in a box, so that the error is
/// small.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::{Bus, RetryError};
///
/// let bus = Bus::<u32>::new();
/// let dead_letters = bus.dead_letters();
/// let printer = bus.on("print", |_| Err::<(), _>("no paper"))?;
/// bus.publish("print", 7)?;
/// let letter = dead_letters.recv()?;
/// assert!(printer.stop(Duration::from_secs(5)).is_complete());
///
/// let error = letter.retry().unwrap_err();
/// assert_eq!(error.to_string(), "cannot retry: the handler or subscriber of the letter is gone");
/// assert!(matches!(&error, RetryError::Gone(letter) if *letter.payload() == 7));
/// assert_eq!(error.into_inner().into_payload(), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Error)]
#[non_exhaustive]
pub enum RetryError<T> {
    /// The handler or subscriber has gone, or there never was one.
    #[error("cannot retry: the handler or subscriber of the letter is gone")]
    Gone(Box<DeadLetter<T>>),
    /// The mailbox is full, and this call may not wait for room.
    #[error("cannot retry: the mailbox of the letter is full")]
    Full(Box<DeadLetter<T>>),
    /// The bus is being drained, closed or gone.
    #[error("cannot retry: the bus is closed or being drained")]
    Closed(Box<DeadLetter<T>>),
}

impl<T> RetryError<T> {
    /// Returns the letter.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.publish("print", 7)?;
    /// let letter = dead_letters.recv()?.retry().unwrap_err().into_inner(); // nobody has wanted it
    /// assert_eq!(letter.into_payload(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> DeadLetter<T> {
        match self {
            Self::Gone(letter) | Self::Full(letter) | Self::Closed(letter) => *letter,
        }
    }

    /// Returns `true` for [`RetryError::Gone`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.publish("print", 7)?;
    /// assert!(dead_letters.recv()?.retry().unwrap_err().is_gone());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Returns `true` for [`RetryError::Full`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let _work = bus.subscription("work").capacity(1).overflow(Overflow::DropNewest).open()?;
    /// for n in 1..=2 {
    ///     bus.publish("work", n)?;
    /// }
    /// assert!(dead_letters.recv()?.retry().unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Returns `true` for [`RetryError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let _printer = bus.on("print", |_| Err::<(), _>("no paper"))?;
    /// bus.publish("print", 7)?;
    /// let letter = dead_letters.recv()?;
    /// bus.close();
    /// assert!(letter.retry().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> fmt::Debug for RetryError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, letter) = match self {
            Self::Gone(letter) => ("Gone", letter),
            Self::Full(letter) => ("Full", letter),
            Self::Closed(letter) => ("Closed", letter),
        };
        f.debug_tuple(name).field(letter).finish()
    }
}
