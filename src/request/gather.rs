//! Gathered requests: the replies of all responders.

use std::fmt;
use std::sync::{Arc, Weak};
#[cfg(feature = "async")]
use std::task::{Poll, Waker};
use std::time::Duration;

use super::{Answer, Collector, GatherError, Metadata, MetadataSource, ReplySlot};
#[cfg(feature = "async")]
use crate::lifecycle::{CloseListener, Registration};
use crate::lifecycle::{Lifecycle, Phase};
use crate::metadata::Properties;
use crate::spans::Requesting;
use crate::sync::channel::{Receiver, Sender, TryRecvError, bounded};
use crate::sync::{Backoff, Instant, Mutex, recv_before};

/// A gathered request: each copy has a slot of its own.
pub(crate) struct EachReply<R> {
    sender: Sender<Answer<R>>,
    collector: Weak<Collector>,
    lifecycle: Arc<Lifecycle>,
    properties: Option<Arc<Properties>>,
    pub(crate) requesting: Requesting,
}

impl<R> EachReply<R> {
    /// `responders` is the most copies that can be made.
    pub(crate) fn new(
        lifecycle: &Arc<Lifecycle>,
        responders: usize,
        properties: Option<Arc<Properties>>,
        requesting: Requesting,
    ) -> (Self, Replies<R>) {
        let (sender, answers) = bounded(responders.max(1));
        let collector = Arc::<Collector>::default();
        let each = Self {
            sender,
            collector: Arc::downgrade(&collector),
            lifecycle: Arc::clone(lifecycle),
            properties,
            requesting,
        };
        let replies = Replies {
            answers,
            lifecycle: Arc::clone(lifecycle),
            collector: Mutex::new(Some(collector)),
            #[cfg(feature = "async")]
            end_of_bus: None,
        };
        (each, replies)
    }
}

impl<R> EachReply<R> {
    /// The metadata of one copy.
    pub(crate) fn metadata(&self) -> Metadata<R> {
        let (sender, collector) = (self.sender.clone(), self.collector.clone());
        let (properties, requesting) = (self.properties.clone(), self.requesting.part());
        Metadata::Request(ReplySlot::for_channel(sender, collector, &self.lifecycle, properties, requesting))
    }
}

impl<R> MetadataSource<R> for EachReply<R> {
    type Own = Option<Metadata<R>>;

    #[inline(always)]
    fn own(metadata: Option<Metadata<R>>) -> Self::Own {
        metadata
    }

    #[inline(always)]
    fn metadata(own: Self::Own) -> Option<Metadata<R>> {
        own
    }

    #[inline(always)]
    fn as_metadata(own: &Self::Own) -> Option<&Metadata<R>> {
        own.as_ref()
    }

    fn another(&self, _: Option<&Metadata<R>>) -> Option<Metadata<R>> {
        Some(self.metadata())
    }

    fn unused(&self, metadata: Option<Metadata<R>>) {
        if let Some(Metadata::Request(responder)) = metadata {
            responder.disarm();
        }
    }
}

enum Received<R> {
    Answer(Answer<R>),
    /// Nobody can answer any more.
    Ended,
    Closed,
    Timeout,
}

/// The replies to one gathered request, as they come.
///
/// Made by [`Bus::gather`](crate::Bus::gather) and [`Publisher::gather`](crate::Publisher::gather). Each mailbox that
/// took the request gives one outcome: a reply, a failure, or the news that it is gone without an answer. When all have
/// given theirs, the replies end. When the bus closes, they end after those that have come.
///
/// Dropping it cancels what has not been answered.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::Bus;
///
/// let bus = Bus::<&str, u32>::builder().build();
/// let _one = bus.serve("bid", |_| 40)?;
/// let _two = bus.serve("bid", |_| 42)?;
/// let bids = bus.gather("bid", "a chair")?.collect_within(Duration::from_secs(5));
/// assert_eq!(bids.iter().max(), Some(&42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the replies cancels the request: keep it in a variable such as `_replies`; `let _ =` drops it at once"]
pub struct Replies<R> {
    answers: Receiver<Answer<R>>,
    lifecycle: Arc<Lifecycle>,
    /// Alive as long as somebody collects: responders look at it. Given up at the end of the bus.
    collector: Mutex<Option<Arc<Collector>>>,
    /// Of a task that has waited.
    #[cfg(feature = "async")]
    end_of_bus: Option<Registration>,
}

// No reply is pinned: they are in the channel.
impl<R> Unpin for Replies<R> {}

impl<R> Replies<R> {
    /// Waits for the next outcome, at most this long.
    ///
    /// # Errors
    ///
    /// [`Failed`](GatherError::Failed) and [`Unanswered`](GatherError::Unanswered) are the outcome of one responder,
    /// more may come; [`Timeout`](GatherError::Timeout) if there was none in time; [`Closed`](GatherError::Closed) when
    /// every responder has given its outcome, or the bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Bus, GatherError};
    ///
    /// let bus = Bus::<&str, u32>::builder().build();
    /// let bidder = bus.subscribe("bid")?;
    /// let bids = bus.gather("bid", "a chair")?;
    /// bidder.recv()?.reply(40)?;
    /// assert_eq!(bids.next_timeout(Duration::from_secs(5)), Ok(40));
    /// assert_eq!(bids.next_timeout(Duration::from_secs(5)), Err(GatherError::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(&self, timeout: Duration) -> Result<R, GatherError> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// Collects replies until every responder has given its outcome, but at most this long. Failures are left out.
    ///
    /// Takes what is there by then; what comes later can still be taken with another call.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Bus;
    ///
    /// let bus = Bus::<&str, u32>::builder().build();
    /// let silent = bus.subscribe("bid")?;
    /// let _server = bus.serve("bid", |_| 42)?;
    /// let bids = bus.gather("bid", "a chair")?;
    /// assert_eq!(bids.collect_within(Duration::from_millis(50)), [42]);
    /// # drop(silent);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn collect_within(&self, within: Duration) -> Vec<R> {
        let deadline = Instant::now().checked_add(within);
        let mut replies = Vec::new();
        loop {
            match self.next_until(deadline) {
                Ok(reply) => replies.push(reply),
                Err(GatherError::Failed(_) | GatherError::Unanswered) => {}
                Err(GatherError::Timeout | GatherError::Closed) => return replies,
            }
        }
    }

    fn next_until(&self, deadline: Option<Instant>) -> Result<R, GatherError> {
        if self.collector.lock().is_none() {
            return Err(GatherError::Closed);
        }
        self.outcome(self.receive(deadline))
    }

    fn outcome(&self, received: Received<R>) -> Result<R, GatherError> {
        match received {
            Received::Answer(Answer::Reply(reply)) => Ok(reply),
            Received::Answer(Answer::Failed(text)) => Err(GatherError::Failed(text)),
            Received::Answer(Answer::Gone | Answer::Taken) => Err(GatherError::Unanswered),
            Received::Ended => Err(GatherError::Closed),
            Received::Closed | Received::Answer(Answer::Closed) => {
                // The end is final: an answer that still comes is refused.
                self.collector.lock().take();
                Err(GatherError::Closed)
            }
            Received::Timeout => Err(GatherError::Timeout),
        }
    }

    /// The answer that is there, or the end; `None` if there may still be an answer.
    fn try_receive(&self) -> Option<Received<R>> {
        // The phase is read before the channel: what was answered before the bus closed stays answered.
        let closed = self.lifecycle.phase() == Phase::Closed;
        match self.answers.try_recv() {
            Ok(answer) => Some(Received::Answer(answer)),
            Err(_) if closed => Some(Received::Closed),
            // A responder that finds the bus closed lets go of the channel.
            Err(TryRecvError::Disconnected) if self.lifecycle.phase() == Phase::Closed => Some(Received::Closed),
            Err(TryRecvError::Disconnected) => Some(Received::Ended),
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Waits for the next answer, the end of the bus, or the deadline. An answer that is there comes first.
    fn receive(&self, deadline: Option<Instant>) -> Received<R> {
        let backoff = Backoff::new();
        loop {
            if let Some(received) = self.try_receive() {
                return received;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Received::Timeout;
            }
            if !backoff.is_completed() {
                backoff.snooze();
                continue;
            }
            // Whatever else ends this wait, the top of the loop says what it was.
            if let Some(answer) = recv_before(&self.answers, self.lifecycle.closed(), deadline) {
                return Received::Answer(answer);
            }
        }
    }
}

#[cfg(feature = "async")]
impl<R: Send + 'static> Replies<R> {
    /// The next outcome; otherwise the task is woken when there is one.
    pub(crate) fn poll_reply(&mut self, waker: &Waker) -> Poll<Result<R, GatherError>> {
        let Some(collector) = self.collector.get_mut().clone() else { return Poll::Ready(Err(GatherError::Closed)) };
        let mut received = self.try_receive();
        if received.is_none() {
            collector.wait(waker);
            if self.end_of_bus.is_none() {
                let entry: Weak<dyn CloseListener> = Arc::<Collector>::downgrade(&collector);
                // None if it is closed now, which is seen below.
                self.end_of_bus = Registration::new(&self.lifecycle, entry);
            }
            received = self.try_receive();
        }
        received.map_or(Poll::Pending, |received| Poll::Ready(self.outcome(received)))
    }
}

impl<R> fmt::Debug for Replies<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("waiting", &self.answers.len()).finish_non_exhaustive()
    }
}
