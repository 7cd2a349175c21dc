//! What one client may cost.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::builder::GatewayError;
use crate::mailbox::MAX_CAPACITY;

/// Room for a `connect` without a token.
const MIN_FRAME: usize = 64;
/// Room for `connected` and the first answers.
const MIN_WAITING_BYTES: usize = 1024;
/// The protocol counts in milliseconds.
const MIN_DURATION: Duration = Duration::from_millis(1);

/// The limits of a gateway, each with a default that is safe for unknown clients.
///
/// 0 never means "unlimited". [`GatewayBuilder::build`](super::GatewayBuilder::build) checks the range of each limit and
/// returns [`GatewayError::Limit`] for a value with which no client could work.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::gateway::Limits;
///
/// let limits = Limits::default().connections(50).ping_every(Duration::from_secs(10));
/// # let _ = limits;
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    pub(super) frame: usize,
    pub(super) topic: usize,
    pub(super) subscriptions: usize,
    pub(super) capacity: usize,
    pub(super) feeds: usize,
    pub(super) feeds_per_address: usize,
    pub(super) requests: usize,
    pub(super) commands_per_second: u32,
    pub(super) connections: usize,
    pub(super) connections_per_address: usize,
    pub(super) connect_within: Duration,
    pub(super) ping_every: Duration,
    pub(super) pong_within: Duration,
    pub(super) write_timeout: Duration,
    pub(super) waiting_bytes: usize,
    pub(super) publish_timeout: Duration,
    pub(super) request_timeout: Duration,
}

impl Limits {
    /// Sets the longest frame, and message of several frames, that a client may send, in bytes. The default is 65,536
    /// (64 KiB).
    ///
    /// A longer one ends the connection with close code 1009.
    ///
    /// The value must be at least 64.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().frame(16 * 1024);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn frame(mut self, bytes: usize) -> Self {
        self.frame = bytes;
        self
    }

    /// Sets the longest topic or pattern, in bytes. The default is 255.
    ///
    /// A longer one gets `bad_topic`.
    ///
    /// The value must be at least 1.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().topic(64);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn topic(mut self, bytes: usize) -> Self {
        self.topic = bytes;
        self
    }

    /// Sets the most subscriptions of one connection. The default is 128.
    ///
    /// One more gets `too_many_subscriptions`.
    ///
    /// 0 allows none.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().subscriptions(16);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn subscriptions(mut self, count: usize) -> Self {
        self.subscriptions = count;
        self
    }

    /// Sets the largest capacity that a subscription may ask for, in messages. The default is 256.
    ///
    /// A subscription that does not ask has this capacity, and its memory is reserved with its first message. One that asks for more gets
    /// `bad_option`.
    ///
    /// The value must be between 1 and 16,777,216.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().capacity(32);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = messages;
        self
    }

    /// Sets the most subscriptions to the bus that clients share, in all. The default is 1,000.
    ///
    /// There is one for each pattern and choice of options, and each is one more mailbox for the publishers of its
    /// topics. One more gets `too_many_subscriptions`.
    ///
    /// 0 allows none; subscriptions with a group do not count, only [`subscriptions`](Self::subscriptions) limits them.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().feeds(100);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn feeds(mut self, count: usize) -> Self {
        self.feeds = count;
        self
    }

    /// Sets the most of the [`feeds`](Self::feeds) that clients from one address take part in, where the address is known.
    /// The default is 250.
    ///
    /// A feed counts for an address as long as a client from that address is subscribed to it, whoever was the first. Several
    /// clients from one address count once. One more gets `too_many_subscriptions`. Addresses are counted as
    /// [`connections_per_address`](Self::connections_per_address) describes.
    ///
    /// 0 allows none; subscriptions with a group do not count.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().feeds_per_address(20);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn feeds_per_address(mut self, count: usize) -> Self {
        self.feeds_per_address = count;
        self
    }

    /// Sets the most open requests of one connection, in each direction. The default is 64.
    ///
    /// One more request of the client gets `too_many_requests`. One more request to the client replaces the oldest,
    /// which the client can then no longer answer.
    ///
    /// 0 allows none: requests to the client go unanswered.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().requests(8);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn requests(mut self, count: usize) -> Self {
        self.requests = count;
        self
    }

    /// Sets the most commands a second of one connection, and the most at once. The default is 200.
    ///
    /// More get `too_many_requests`.
    ///
    /// The value must be at least 1.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().commands_per_second(20);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn commands_per_second(mut self, count: u32) -> Self {
        self.commands_per_second = count;
        self
    }

    /// Sets the most connections in all. The default is 10,000.
    ///
    /// One more gets HTTP status 503.
    ///
    /// The value must be at least 1.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().connections(500);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// Sets the most connections from one address, where the address is known. The default is 100.
    ///
    /// One more gets HTTP status 429. All addresses in one IPv6 network of 64 bits count as one. With
    /// [`Gateway::serve`](super::Gateway::serve) a connection counts from its acceptance, though it has sent nothing yet. Behind a proxy all clients have the address of the proxy and share this limit: raise it there. A
    /// route knows addresses only as [`Gateway::route`](super::Gateway::route) describes.
    ///
    /// The value must be at least 1.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().connections_per_address(5);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn connections_per_address(mut self, count: usize) -> Self {
        self.connections_per_address = count;
        self
    }

    /// Sets the time within which a connection must send its `connect`. The default is 15 seconds.
    ///
    /// A connection that does not ends with close code 3502.
    ///
    /// The value must be at least 1 millisecond.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::gateway::Limits;
    ///
    /// let limits = Limits::default().connect_within(Duration::from_secs(5));
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn connect_within(mut self, time: Duration) -> Self {
        self.connect_within = time;
        self
    }

    /// Sets the time between two pings. The default is 25 seconds.
    ///
    /// The value must be at least 1 millisecond.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::gateway::Limits;
    ///
    /// let limits = Limits::default().ping_every(Duration::from_secs(10));
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn ping_every(mut self, time: Duration) -> Self {
        self.ping_every = time;
        self
    }

    /// Sets the time within which a client must show a sign of life after a ping. The default is 20 seconds.
    ///
    /// The connection of a client that does not ends with close code 3012.
    ///
    /// The value must be at least 1 millisecond.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::gateway::Limits;
    ///
    /// let limits = Limits::default().pong_within(Duration::from_secs(5));
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn pong_within(mut self, time: Duration) -> Self {
        self.pong_within = time;
        self
    }

    /// Sets the longest time that a write may take. The default is 10 seconds.
    ///
    /// A write that takes longer ends the connection with close code 3009.
    ///
    /// The value must be at least 1 millisecond.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::gateway::Limits;
    ///
    /// let limits = Limits::default().write_timeout(Duration::from_secs(2));
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        self.write_timeout = time;
        self
    }

    /// Sets the most bytes that may wait for one client. The default is 1,048,576 (1 MiB).
    ///
    /// A client with more is disconnected with close code 3008.
    ///
    /// The value must be at least 1,024.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = tramline::gateway::Limits::default().waiting_bytes(64 * 1024);
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn waiting_bytes(mut self, bytes: usize) -> Self {
        self.waiting_bytes = bytes;
        self
    }

    /// Sets the longest time that `pub` waits for room in a full mailbox that blocks. The default is 5 seconds.
    ///
    /// After that it gets `timeout`. The end of the client cancels it earlier. The mailboxes that had room have the message: a
    /// client that publishes it again may duplicate it.
    ///
    /// Zero means that `pub` does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::gateway::Limits;
    ///
    /// let limits = Limits::default().publish_timeout(Duration::from_secs(1));
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn publish_timeout(mut self, time: Duration) -> Self {
        self.publish_timeout = time;
        self
    }

    /// Sets the longest time that a request may wait for its reply. The default is 30 seconds.
    ///
    /// A request that does not ask for a shorter time waits this long.
    ///
    /// The value must be at least 1 millisecond.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::gateway::Limits;
    ///
    /// let limits = Limits::default().request_timeout(Duration::from_secs(10));
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = time;
        self
    }
}

impl Limits {
    /// # Errors
    ///
    /// The first limit that is out of its range.
    pub(super) fn check(&self) -> Result<(), GatewayError> {
        let range = format!("between 1 and {MAX_CAPACITY}");
        check("capacity", self.capacity, (1..=MAX_CAPACITY).contains(&self.capacity), &range)?;
        at_least("frame", self.frame, MIN_FRAME)?;
        at_least("topic", self.topic, 1)?;
        at_least("commands_per_second", self.commands_per_second, 1)?;
        at_least("connections", self.connections, 1)?;
        at_least("connections_per_address", self.connections_per_address, 1)?;
        at_least("waiting_bytes", self.waiting_bytes, MIN_WAITING_BYTES)?;
        long_enough("connect_within", self.connect_within)?;
        long_enough("ping_every", self.ping_every)?;
        long_enough("pong_within", self.pong_within)?;
        long_enough("write_timeout", self.write_timeout)?;
        long_enough("request_timeout", self.request_timeout)
    }
}

fn at_least<V: PartialOrd + fmt::Display>(limit: &'static str, value: V, least: V) -> Result<(), GatewayError> {
    let rule = format!("at least {least}");
    let is_valid = value >= least;
    check(limit, value, is_valid, &rule)
}

fn long_enough(limit: &'static str, value: Duration) -> Result<(), GatewayError> {
    check(limit, format!("{value:?}"), value >= MIN_DURATION, &format!("at least {MIN_DURATION:?}"))
}

fn check(limit: &'static str, value: impl fmt::Display, is_valid: bool, rule: &str) -> Result<(), GatewayError> {
    if is_valid {
        return Ok(());
    }
    Err(GatewayError::Limit { limit, value: value.to_string(), rule: rule.to_owned() })
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: 64 * 1024,
            topic: 255,
            subscriptions: 128,
            capacity: 256,
            feeds: 1000,
            feeds_per_address: 250,
            requests: 64,
            commands_per_second: 200,
            connections: 10_000,
            connections_per_address: 100,
            connect_within: Duration::from_secs(15),
            ping_every: Duration::from_secs(25),
            pong_within: Duration::from_secs(20),
            write_timeout: Duration::from_secs(10),
            waiting_bytes: 1024 * 1024,
            publish_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// So long from now; a time that no clock will show if there is none so late.
pub(super) fn after(duration: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now + NEVER)
}

/// So many a second, and as many at once.
pub(super) struct Rate {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, left: per_second, at: Instant::now() }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let now = Instant::now();
        let more = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + more).min(self.per_second);
        self.at = now;
        let has_one = self.left >= 1.0;
        if has_one {
            self.left -= 1.0;
        }
        has_one
    }
}
