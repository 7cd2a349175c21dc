//! What one client may cost.

use std::time::Duration;

use tokio::time::Instant;

/// The limits of a gateway, each with a default that is safe for clients whom nobody knows.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::gateway::Limits;
///
/// let limits = Limits { connections: 50, ping_every: Duration::from_secs(10), ..Limits::default() };
/// assert_eq!((limits.frame, limits.subscriptions), (64 * 1024, 128));
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest frame, and message of several frames, that a client may send, in bytes. 64 KiB. One that is longer ends
    /// the connection with close code 1009.
    pub frame: usize,
    /// The longest topic or pattern, in bytes. 255. Longer ones get `bad_topic`.
    pub topic: usize,
    /// Subscriptions of one connection. 128. One more gets `too_many_subscriptions`.
    pub subscriptions: usize,
    /// The largest capacity that a subscription may ask for, in messages, and what it has if it does not ask. 256; the memory
    /// for so many is taken at once. More gets `bad_option`.
    pub capacity: usize,
    /// Subscriptions to the bus that clients share, in all: one for each pattern and choice of options. 1,000. Each is one more
    /// mailbox for the publishers of its topics. One more gets `too_many_subscriptions`.
    pub feeds: usize,
    /// Requests of one connection that have no answer yet, and requests to it that it has not answered. 64. One more of its
    /// own gets `too_many_requests`; one more to it takes the place of the oldest, which the client cannot answer any more.
    pub requests: usize,
    /// Commands a second of one connection, and as many at once. 200. More get `too_many_requests`.
    pub commands_per_second: u32,
    /// Connections in all. 10,000. One more gets HTTP status 503.
    pub connections: usize,
    /// Connections from one address, where it is known. 100. One more gets HTTP status 429.
    pub connections_per_address: usize,
    /// A connection that has not sent its `connect` by then ends with close code 3502. 15 seconds.
    pub connect_within: Duration,
    /// How often a ping is sent. 25 seconds.
    pub ping_every: Duration,
    /// A client of whom nothing is heard for so long after a ping has died: close code 3012. 20 seconds.
    pub pong_within: Duration,
    /// A write that takes longer ends the connection with close code 3009. 10 seconds.
    pub write_timeout: Duration,
    /// Bytes that may wait for one client. 1 MiB. With more it is cut, with close code 3008.
    pub waiting_bytes: usize,
    /// How long `pub` waits for room in a full mailbox that blocks. 5 seconds. Then it gets `timeout`.
    pub publish_timeout: Duration,
    /// The longest time that a request may wait for its reply, and what it waits if it does not say. 30 seconds.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: 64 * 1024,
            topic: 255,
            subscriptions: 128,
            capacity: 256,
            feeds: 1000,
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
