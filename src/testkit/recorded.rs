//! What a recorder has seen.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dead_letter::DeadLetterReason;
use crate::metadata::Headers;
use crate::topic::Topic;

/// One thing that a [`Recorder`](super::Recorder) has seen: what happened, where and when.
///
/// It displays as a line, as in the failure of an assertion.
///
/// # Examples
///
/// ```
/// use tramline::Bus;
/// use tramline::testkit::{TestKit, RecordedKind};
///
/// let bus = Bus::<u32>::new();
/// let recorder = TestKit::new(&bus).record("orders.*")?;
/// bus.publish("orders.new", 7)?;
///
/// let recorded = recorder.recorded();
/// assert_eq!(recorded[0].topic, "orders.new");
/// assert_eq!(recorded[0].kind, RecordedKind::Published(7));
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
    /// The kind of the event.
    pub kind: RecordedKind<T>,
    /// `None` if there are none.
    pub(super) headers: Option<Arc<Headers>>,
}

/// The kind of an event that a [`Recorder`](super::Recorder) has recorded.
///
/// # Examples
///
/// ```
/// use tramline::testkit::{TestKit, RecordedKind};
/// use tramline::{Bus, DeadLetterReason};
///
/// let bus = Bus::<u32>::new();
/// let recorder = TestKit::new(&bus).record(">")?;
/// bus.fire("nobody.listens", 7);
/// let recorded = recorder.recorded();
/// assert_eq!(recorded[0].kind, RecordedKind::Published(7));
/// let unheard = DeadLetterReason::Unheard;
/// assert!(matches!(&recorded[1].kind, RecordedKind::DeadLetter { payload: 7, reason, .. } if *reason == unheard));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordedKind<T> {
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
    #[non_exhaustive]
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
    /// Returns the payload of a message or request; `None` for other records.
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
        match &self.kind {
            RecordedKind::Published(payload) | RecordedKind::Requested(payload) => Some(payload),
            _ => None,
        }
    }

    /// Returns the headers of the message, request or dead letter. Replies, failures and ignored requests have none.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let recorder = TestKit::new(&bus).record("order.*")?;
    /// bus.message("order.placed", 7).header("tenant", "acme").publish()?;
    ///
    /// let recorded = recorder.recorded();
    /// assert_eq!(recorded[0].headers().get("tenant"), Some("acme"));
    /// assert!(recorded[0].to_string().ends_with(r#"  7  {"tenant": "acme"}"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn headers(&self) -> &Headers {
        self.headers.as_deref().unwrap_or(Headers::none())
    }

    pub(super) fn is_message(&self) -> bool {
        self.message().is_some()
    }

    pub(super) fn is_dead_letter(&self) -> bool {
        matches!(self.kind, RecordedKind::DeadLetter { .. })
    }
}

impl<T: fmt::Debug> fmt::Display for Recorded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, topic, kind, headers } = self;
        let word = match kind {
            RecordedKind::Published(_) => "published",
            RecordedKind::Requested(_) => "requested",
            RecordedKind::Replied(_) => "replied",
            RecordedKind::Refused(_) => "refused",
            RecordedKind::Ignored => "ignored",
            RecordedKind::DeadLetter { .. } => "dead letter",
        };
        write!(f, "{:8.1} ms  {word:<11}  {topic}", at.as_secs_f64() * 1000.0)?;
        match kind {
            RecordedKind::Published(payload) | RecordedKind::Requested(payload) => write!(f, "  {payload:?}")?,
            RecordedKind::Replied(text) | RecordedKind::Refused(text) => write!(f, "  {text}")?,
            RecordedKind::Ignored => {}
            RecordedKind::DeadLetter { payload, reason, attempts: 0 | 1 } => write!(f, "  {payload:?}: {reason}")?,
            RecordedKind::DeadLetter { payload, reason, attempts } => {
                write!(f, "  {payload:?}: {reason}, {attempts} attempts")?;
            }
        }
        match headers {
            Some(headers) => write!(f, "  {headers:?}"),
            None => Ok(()),
        }
    }
}
