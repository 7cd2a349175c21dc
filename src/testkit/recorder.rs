//! Recording what happens on the topics of a pattern, and asserting it.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::recorded::{Recorded, RecordedKind};
use crate::bus::Bus;
use crate::dead_letter::Watching;
use crate::metadata::Headers;
use crate::routing::SubscribeError;
use crate::sync::{Condvar, Instant, Mutex};
use crate::topic::{Pattern, Topic, TopicError};

/// Where what happens on the topics of a pattern is written down. It has no bound.
///
/// No code of the user runs under its lock: the recorder takes off what there is, and clones payloads under a lock of
/// its own. So the `Clone` of a payload may publish what is recorded too.
pub(super) struct Tape<T> {
    pattern: Pattern,
    start: Instant,
    written: Mutex<Written<T>>,
    more: Condvar,
}

struct Written<T> {
    /// What was not taken off yet.
    new: Vec<Recorded<T>>,
    /// How much was written ever.
    total: usize,
}

impl<T> Tape<T> {
    fn write(&self, topic: &Topic, kind: RecordedKind<T>, headers: &Headers) {
        let topic = topic.clone();
        let headers = (!headers.is_empty()).then(|| Arc::new(headers.clone()));
        let mut written = self.written.lock();
        // Under the lock, so that times never go back.
        written.new.push(Recorded { at: self.start.elapsed(), topic, kind, headers });
        written.total += 1;
        drop(written);
        self.more.notify_all();
    }

    fn take(&self) -> Vec<Recorded<T>> {
        std::mem::take(&mut self.written.lock().new)
    }

    /// Waits until more than `total` was written, but not past the deadline. Whether another reader took it off already
    /// makes no difference.
    fn wait_for_more(&self, total: usize, deadline: Option<Instant>) {
        let mut written = self.written.lock();
        let nothing_new = |written: &mut Written<T>| written.total <= total;
        match deadline {
            Some(deadline) => drop(self.more.wait_while_until(&mut written, nothing_new, deadline)),
            None => self.more.wait_while(&mut written, nothing_new),
        }
    }
}

/// The tapes of one kit, for what only a scripted responder can tell.
pub(super) struct Tapes<T> {
    start: Instant,
    list: Mutex<Vec<Weak<Tape<T>>>>,
}

impl<T> Tapes<T> {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), list: Mutex::default() }
    }

    /// Writes to all tapes for this topic.
    pub(super) fn write(&self, topic: &Topic, kind: impl Fn() -> RecordedKind<T>) {
        let tapes: Vec<_> = self.list.lock().iter().filter_map(Weak::upgrade).collect();
        for tape in tapes.iter().filter(|tape| tape.pattern.matches(topic)) {
            tape.write(topic, kind(), Headers::none());
        }
    }

    fn tape(&self, pattern: Pattern) -> Arc<Tape<T>> {
        let written = Mutex::new(Written { new: Vec::new(), total: 0 });
        let tape = Arc::new(Tape { pattern, start: self.start, written, more: Condvar::new() });
        let mut list = self.list.lock();
        list.retain(|tape| tape.strong_count() > 0);
        list.push(Arc::downgrade(&tape));
        tape
    }
}

/// Records what happens on the topics of a pattern, in order, and asserts it. Made by
/// [`TestKit::record`](super::TestKit::record).
///
/// It writes down every message and request with its [headers](Recorded::headers) when it is offered to the mailboxes, on the
/// thread that publishes it; replies of the kit's [scripted responders](super::Script); and every
/// [dead letter](crate::DeadLetter), which is how the bus reports losses, and messages that handlers gave up on. A reply
/// goes to its caller alone, so those of the program's own responders are not there.
///
/// **What it changes:** as little as it can. It takes no message, so a message that no subscription takes is still
/// [unheard](crate::Delivery::is_unheard), and a request that no subscription takes has
/// [`NoResponders`](crate::RequestError::NoResponders). It delays no publisher and loses nothing: what it has recorded
/// stays in memory until it is dropped. What it costs the publisher is one more clone of the payload. It is not there in
/// [`Delivery`](crate::Delivery), [`subscriber_count`](crate::Publisher::subscriber_count),
/// [`Bus::stats`](crate::Bus::stats), metrics and drain reports. One number does change: it listens for dead letters, so
/// that `BusStats::dead_letters` counts those that nobody else reads.
///
/// **The order** is that in which things reached it. It has a message before any mailbox does, also if it was made last, so
/// it has what a message led to after that message. Messages that were published before it was made are not there. A
/// payload that was handed back by [`publish_timeout`](crate::Bus::publish_timeout) has been recorded: it was offered.
///
/// **Panics:** its assertions do, with what was expected and all that was recorded instead, a line each. **Dropping it**
/// ends the recording. **When the bus closes**, what was recorded stays. It needs neither the kit nor the bus any more
/// then. All threads may use one recorder.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::Bus;
/// use tramline::testkit::TestKit;
///
/// let bus = Bus::<u32>::new();
/// let recorder = TestKit::new(&bus).record("orders.*")?;
/// bus.publish("orders.new", 7)?;
/// recorder.wait_for(1, Duration::from_secs(5));
/// recorder.assert_published("orders.new", &7);
/// recorder.assert_nothing_more(Duration::ZERO);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the recorder ends the recording: keep it in a variable such as `_recorder`; `let _ =` drops it at once"]
pub struct Recorder<T> {
    tape: Arc<Tape<T>>,
    read: Mutex<Read<T>>,
    _dead_letters: Watching<T>,
    /// Whatever the type of the replies.
    _subscription: Box<dyn Send + Sync>,
}

/// What was taken off the tape.
struct Read<T> {
    recorded: Vec<Recorded<T>>,
    messages: usize,
    dead_letters: usize,
    /// The messages that were waited for: what comes behind them is more.
    awaited: usize,
}

impl<T> Read<T> {
    fn read_on(&mut self, tape: &Tape<T>) {
        for recorded in tape.take() {
            self.messages += usize::from(recorded.is_message());
            self.dead_letters += usize::from(recorded.is_dead_letter());
            self.recorded.push(recorded);
        }
    }
}

impl<T: Clone + Send + 'static> Recorder<T> {
    pub(super) fn start<R: Send + 'static>(
        bus: &Bus<T, R>,
        tapes: &Tapes<T>,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
    ) -> Result<Self, SubscribeError> {
        let pattern = pattern.try_into().map_err(|error| SubscribeError::Topic(error.into()))?;
        let tape = tapes.tape(pattern.clone());
        let letters = Arc::clone(&tape);
        let dead_letters = bus.inner().losses.watch(move |letter| {
            if letters.pattern.matches(letter.topic()) {
                let (topic, headers) = (letter.topic().clone(), letter.headers().clone());
                let (reason, attempts) = (letter.reason().clone(), letter.attempts());
                let kind = RecordedKind::DeadLetter { payload: letter.into_payload(), reason, attempts };
                letters.write(&topic, kind, &headers);
            }
        });
        let messages = Arc::clone(&tape);
        // It never holds a message, so it needs no room for any.
        let builder = bus.subscription(pattern).name("recorder").capacity(1);
        let subscription = builder.watch(move |topic, payload, is_request, headers| {
            let kind = if is_request { RecordedKind::Requested } else { RecordedKind::Published };
            messages.write(topic, kind(payload.clone()), headers);
        })?;
        Ok(Self {
            tape,
            read: Mutex::new(Read { recorded: Vec::new(), messages: 0, dead_letters: 0, awaited: 0 }),
            _dead_letters: dead_letters,
            _subscription: Box::new(subscription),
        })
    }

    /// All that was recorded until now, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let recorder = TestKit::new(&bus).record("number.*")?;
    /// let _even = bus.subscribe("number.even")?;
    /// for n in [2, 4, 6] {
    ///     bus.publish("number.even", n)?;
    /// }
    /// let sum: u32 = recorder.recorded().iter().filter_map(|recorded| recorded.message()).sum();
    /// assert_eq!(sum, 12);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded<T>> {
        let mut read = self.read.lock();
        read.read_on(&self.tape);
        read.recorded.clone()
    }

    /// Waits until there is `enough`, at most this long, and tells whether there is; and all that was recorded by then.
    fn wait_until(&self, within: Duration, enough: impl Fn(&Read<T>) -> bool) -> (bool, Vec<Recorded<T>>) {
        let deadline = Instant::now().checked_add(within);
        loop {
            // The last look comes after the time is over, so that none that was in time is missed.
            let over = deadline.is_some_and(|deadline| deadline <= Instant::now());
            let mut read = self.read.lock();
            read.read_on(&self.tape);
            let is_enough = enough(&read);
            if over || is_enough {
                return (is_enough, read.recorded.clone());
            }
            let total = read.recorded.len();
            drop(read);
            self.tape.wait_for_more(total, deadline);
        }
    }
}

impl<T: Clone + fmt::Debug + Send + 'static> Recorder<T> {
    /// Waits until `n` messages and requests have been recorded, counted from the beginning, and gives the first `n` back.
    ///
    /// `within` is a limit, not a pause: it returns as soon as they are there. Replies and dead letters are recorded beside
    /// them and do not count.
    ///
    /// # Panics
    ///
    /// If there are fewer after `within`; the text lists what was recorded.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let recorder = TestKit::new(&bus).record(">")?;
    /// let publisher = bus.publisher("doubled")?;
    /// let _doubling = bus.on("number", move |n| publisher.fire(2 * **n))?;
    /// bus.publish("number", 21)?;
    /// let recorded = recorder.wait_for(2, Duration::from_secs(5));
    /// assert_eq!((recorded[1].topic.as_str(), recorded[1].message()), ("doubled", Some(&42)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn wait_for(&self, n: usize, within: Duration) -> Vec<Recorded<T>> {
        let (is_enough, recorded) = self.wait_until(within, |read| read.messages >= n);
        if !is_enough {
            let found = recorded.iter().filter(|one| one.is_message()).count();
            self.fail(&format!("waited {within:?} for {}, got {found}", count(n, "message")), &recorded);
        }
        let mut read = self.read.lock();
        read.awaited = read.awaited.max(n);
        drop(read);
        recorded.into_iter().filter(Recorded::is_message).take(n).collect()
    }

    /// Waits until `n` dead letters have been recorded, counted from the beginning, and gives the first `n` back.
    ///
    /// # Panics
    ///
    /// If there are fewer after `within`; the text lists what was recorded.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<&str>::new();
    /// let recorder = TestKit::new(&bus).record("print")?;
    /// let _printer = bus.on("print", |_| Err::<(), _>("no paper"))?;
    /// bus.publish("print", "a page")?;
    /// let letters = recorder.wait_for_dead_letters(1, Duration::from_secs(5));
    /// assert!(letters[0].to_string().ends_with("its handler failed: no paper"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn wait_for_dead_letters(&self, n: usize, within: Duration) -> Vec<Recorded<T>> {
        let (is_enough, recorded) = self.wait_until(within, |read| read.dead_letters >= n);
        if !is_enough {
            let found = recorded.iter().filter(|one| one.is_dead_letter()).count();
            self.fail(&format!("waited {within:?} for {}, got {found}", count(n, "dead letter")), &recorded);
        }
        recorded.into_iter().filter(Recorded::is_dead_letter).take(n).collect()
    }

    /// Asserts that this payload has been published or requested, on a topic that matches `pattern`. It does not wait:
    /// [`wait_for`](Self::wait_for) comes first.
    ///
    /// # Panics
    ///
    /// If it has not; the text lists what was recorded. If `pattern` is invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let recorder = TestKit::new(&bus).record("orders.>")?;
    /// bus.publish("orders.de.new", 7)?;
    /// recorder.assert_published("orders.de.new", &7);
    /// recorder.assert_published("orders.*.new", &7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn assert_published(&self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>, payload: &T)
    where
        T: PartialEq,
    {
        self.assert_any(pattern, &format!("{payload:?}"), |found| found == payload);
    }

    /// Asserts that a payload has been published or requested that `accepts` accepts, on a topic that matches `pattern`. For
    /// payloads that cannot be compared, or of which a part counts.
    ///
    /// # Panics
    ///
    /// If none has; the text lists what was recorded. If `pattern` is invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<f64>::new();
    /// let recorder = TestKit::new(&bus).record("temperature.*")?;
    /// bus.publish("temperature.hall", 0.1 + 0.2)?;
    /// recorder.assert_published_where("temperature.hall", |degrees| (degrees - 0.3).abs() < 1e-9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn assert_published_where(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        accepts: impl Fn(&T) -> bool,
    ) {
        self.assert_any(pattern, "a message that the closure accepts", accepts);
    }

    #[track_caller]
    fn assert_any(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        wanted: &str,
        accepts: impl Fn(&T) -> bool,
    ) {
        let pattern = match pattern.try_into() {
            Ok(pattern) => pattern,
            // An invalid pattern in an assertion is a mistake in the test, which has to fail.
            Err(error) => panic!("{}", Into::<TopicError>::into(error)),
        };
        let recorded = self.recorded();
        let is_it = |message: &T, topic: &Topic| pattern.matches(topic) && accepts(message);
        let published = recorded.iter().any(|one| one.message().is_some_and(|message| is_it(message, &one.topic)));
        if !published {
            self.fail(&format!("{wanted} was not published on `{pattern}`"), &recorded);
        }
    }

    /// Asserts that no message or request comes beyond those that [`wait_for`](Self::wait_for) waited for: none
    /// at all, if it was not called.
    ///
    /// If nothing comes, this waits for the whole of `within`. Where the program is known to
    /// have finished, as after [`wait_until_idle`](super::TestKit::wait_until_idle), zero is enough.
    ///
    /// # Panics
    ///
    /// As soon as there is one more; the text lists what was recorded.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let recorder = TestKit::new(&bus).record("orders.*")?;
    /// recorder.assert_nothing_more(Duration::ZERO);
    /// bus.publish("orders.new", 7)?;
    /// recorder.wait_for(1, Duration::from_secs(5));
    /// recorder.assert_nothing_more(Duration::from_millis(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn assert_nothing_more(&self, within: Duration) {
        let awaited = self.read.lock().awaited;
        let (has_more, recorded) = self.wait_until(within, |read| read.messages > awaited);
        if has_more {
            let found = recorded.iter().filter(|one| one.is_message()).count();
            let expected = match awaited {
                0 => "no message".to_owned(),
                _ => format!("{} and no more", count(awaited, "message")),
            };
            self.fail(&format!("expected {expected}, got {found}"), &recorded);
        }
    }

    /// Asserts that nothing has become a dead letter.
    ///
    /// A message that no other subscription takes is a dead letter too.
    ///
    /// # Panics
    ///
    /// If something has; the text lists what was recorded.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let recorder = TestKit::new(&bus).record("orders.*")?;
    /// let _orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", 7)?;
    /// recorder.assert_no_dead_letters();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn assert_no_dead_letters(&self) {
        let recorded = self.recorded();
        let found = recorded.iter().filter(|one| one.is_dead_letter()).count();
        if found > 0 {
            self.fail(&format!("expected no dead letters, got {found}"), &recorded);
        }
    }

    /// Every assertion that does not hold ends here: to panic is how a test fails.
    #[track_caller]
    fn fail(&self, why: &str, recorded: &[Recorded<T>]) -> ! {
        let pattern = &self.tape.pattern;
        if recorded.is_empty() {
            panic!("{why}; nothing was recorded on `{pattern}`");
        }
        let lines: Vec<_> = recorded.iter().map(ToString::to_string).collect();
        panic!("{why}; recorded on `{pattern}`:\n{}", lines.join("\n"));
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

impl<T> fmt::Debug for Recorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("pattern", &self.tape.pattern).finish_non_exhaustive()
    }
}
