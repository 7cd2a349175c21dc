//! What a handler does with a message on which it failed.

use std::time::Duration;

/// How often a handler tries a message again after an error, and how long it waits before each time.
///
/// A panic is not tried again. While a worker waits for its next try it takes no other message. A handler that is
/// dropped, or that [`stop`](crate::Handler::stop) gives no more time, does not try again: the message becomes a dead
/// letter.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::Retry;
///
/// let three_retries = Retry::fixed(3, Duration::from_millis(100));
/// let ever_slower = Retry::exponential(5, Duration::from_millis(100)).max(Duration::from_secs(1));
/// # let _ = (three_retries, ever_slower);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    times: u32,
    first: Duration,
    factor: u32,
    max: Duration,
}

impl Retry {
    /// Gives up at the first error. The default.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Retry;
    ///
    /// assert_eq!(Retry::none(), Retry::default());
    /// assert_eq!(Retry::none(), Retry::fixed(0, Duration::ZERO));
    /// ```
    pub fn none() -> Self {
        Self::fixed(0, Duration::ZERO)
    }

    /// Tries up to `times` times more, after the same pause each time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Retry};
    ///
    /// let bus = Bus::<u32>::new();
    /// let mut tries = 0;
    /// let patient = bus.subscription("work").retry(Retry::fixed(2, Duration::from_millis(1)));
    /// let handler = patient.handle(move |_| {
    ///     tries += 1;
    ///     if tries < 3 { Err("not yet") } else { Ok(()) }
    /// })?;
    /// bus.publish("work", 1)?;
    /// assert!(handler.stop(Duration::from_secs(5)).is_complete());
    /// assert_eq!(bus.stats().handler_failures, 0); // the third attempt was good
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fixed(times: u32, pause: Duration) -> Self {
        Self { times, first: pause, factor: 1, max: Duration::MAX }
    }

    /// Tries up to `times` times more, after a pause that doubles each time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use tramline::{Bus, Retry};
    ///
    /// let bus = Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let started = Instant::now();
    /// let slower = bus.subscription("work").retry(Retry::exponential(3, Duration::from_millis(1)));
    /// let _handler = slower.handle(|_| Err::<(), _>("never"))?;
    /// bus.publish("work", 1)?;
    /// assert_eq!(dead_letters.recv()?.attempts(), 4);
    /// assert!(started.elapsed() >= Duration::from_millis(1 + 2 + 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exponential(times: u32, first: Duration) -> Self {
        Self { times, first, factor: 2, max: Duration::MAX }
    }

    /// Lets no pause be longer than this.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, Retry};
    ///
    /// let bus = Bus::<u32>::new();
    /// let dead_letters = bus.dead_letters();
    /// let an_hour = Duration::from_secs(3600);
    /// let capped = bus.subscription("work").retry(Retry::exponential(3, an_hour).max(Duration::from_millis(1)));
    /// let _handler = capped.handle(|_| Err::<(), _>("never"))?;
    /// bus.publish("work", 1)?;
    /// assert_eq!(dead_letters.recv_timeout(Duration::from_secs(5))?.attempts(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max(mut self, longest: Duration) -> Self {
        self.max = longest;
        self
    }

    /// Returns the pause before the next attempt, after `attempts` that failed; `None` to give up.
    pub(crate) fn pause_after(&self, attempts: u32) -> Option<Duration> {
        if attempts > self.times {
            return None;
        }
        let factor = self.factor.saturating_pow(attempts.saturating_sub(1));
        Some(self.first.saturating_mul(factor).min(self.max))
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::none()
    }
}
