//! What a recorder has seen.

use std::fmt;
use std::time::Duration;

use crate::dead_letter::DeadLetterReason;
use crate::topic::Topic;

/// One thing that a [`Recorder`](super::Recorder) has seen: what happened, where and when.
///
/// It displays as a line, as in the failure of an assertion.
///
/// # Examples
///
/// ```
/// use tramline::Bus;
/// use tramline::testkit::{TestKit, What};
///
/// let bus = Bus::<u32>::new();
/// let recorder = TestKit::new(&bus).record("orders.*")?;
/// bus.publish("orders.new", 7)?;
///
/// let recorded = recorder.recorded();
/// assert_eq!(recorded[0].topic, "orders.new");
/// assert_eq!(recorded[0].what, What::Published(7));
/// assert!(recorded[0].to_string().ends_with("ms  published    orders.new  7"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded<T> {
    /// When, since the test kit was made.
    pub at: Duration,
    /// On which topic.
    pub topic: Topic,
    /// What happened there.
    pub what: What<T>,
}

/// What happened on a topic.
///
/// # Examples
///
/// ```
/// use tramline::testkit::{TestKit, What};
/// use tramline::{Bus, DeadLetterReason};
///
/// let bus = Bus::<u32>::new();
/// let recorder = TestKit::new(&bus).record(">")?;
/// bus.fire("nobody.listens", 7);
/// let what: Vec<_> = recorder.recorded().into_iter().map(|recorded| recorded.what).collect();
/// let reason = DeadLetterReason::Unheard;
/// assert_eq!(what, [What::Published(7), What::DeadLetter { payload: 7, reason, attempts: 0 }]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What<T> {
    /// A message was published.
    Published(T),
    /// A request was sent.
    Requested(T),
    /// A [scripted responder](super::Script) answered, with the `Debug` text of its reply. Whether the caller still
    /// waited for it is not known.
    Replied(String),
    /// A scripted responder refused the answer, and said why.
    Refused(String),
    /// A scripted responder dropped the request without an answer.
    Ignored,
    /// A message was lost, or a handler gave up on it.
    DeadLetter {
        /// The payload of the message.
        payload: T,
        /// Why it ended here.
        reason: DeadLetterReason,
        /// How often a handler has tried it; 0 if none did.
        attempts: u32,
    },
}

impl<T> Recorded<T> {
    /// The payload of what was published or requested; `None` for everything else.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let recorder = TestKit::new(&bus).record(">")?;
    /// bus.fire("nobody.listens", 7);
    /// let recorded = recorder.recorded(); // the message, and its dead letter
    /// assert_eq!(recorded.iter().filter_map(|recorded| recorded.message()).collect::<Vec<_>>(), [&7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn message(&self) -> Option<&T> {
        match &self.what {
            What::Published(payload) | What::Requested(payload) => Some(payload),
            _ => None,
        }
    }

    pub(super) fn is_message(&self) -> bool {
        self.message().is_some()
    }

    pub(super) fn is_dead_letter(&self) -> bool {
        matches!(self.what, What::DeadLetter { .. })
    }
}

impl<T: fmt::Debug> fmt::Display for Recorded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, topic, what } = self;
        let word = match what {
            What::Published(_) => "published",
            What::Requested(_) => "requested",
            What::Replied(_) => "replied",
            What::Refused(_) => "refused",
            What::Ignored => "ignored",
            What::DeadLetter { .. } => "dead letter",
        };
        write!(f, "{:8.1} ms  {word:<11}  {topic}", at.as_secs_f64() * 1000.0)?;
        match what {
            What::Published(payload) | What::Requested(payload) => write!(f, "  {payload:?}"),
            What::Replied(text) | What::Refused(text) => write!(f, "  {text}"),
            What::Ignored => Ok(()),
            What::DeadLetter { payload, reason, attempts: 0 | 1 } => write!(f, "  {payload:?}: {reason}"),
            What::DeadLetter { payload, reason, attempts } => {
                write!(f, "  {payload:?}: {reason}, {attempts} attempts")
            }
        }
    }
}
