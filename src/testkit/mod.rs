//! Tools for the tests of a program's own modules, with the feature `testkit`.
//!
//! A [`TestKit`] belongs to one bus. It makes [`Recorder`]s, which record messages and assert them; responders that answer
//! according to a [`Script`], in place of the modules that are not under test; and faults: a handler that panics, a mailbox
//! that is full. The module under test gets the bus, as in the program, and does not see the kit.
//!
//! ```toml
//! [dev-dependencies]
//! tramline = { version = "0.1", features = ["testkit"] }
//! ```
//!
//! # A module and its test
//!
//! ```
//! /// Asks for the price of every order, and publishes it.
//! mod billing {
//!     use tramline::{Bus, Handler, SubscribeError};
//!
//!     #[derive(Debug, Clone, PartialEq)]
//!     pub enum Shop {
//!         Placed { item: &'static str },
//!         PriceOf(&'static str),
//!         Priced { item: &'static str, cents: u32 },
//!     }
//!
//!     pub fn start(bus: &Bus<Shop, u32>) -> Result<Handler, SubscribeError> {
//!         let weak = bus.downgrade();
//!         bus.on("order.*.placed", move |order| -> Result<(), Box<dyn std::error::Error>> {
//!             let Shop::Placed { item } = **order else { return Ok(()) };
//!             let bus = weak.upgrade().ok_or("the program ends")?;
//!             let cents = bus.request(format!("price.{item}"), Shop::PriceOf(item))?.wait()?;
//!             bus.publish("order.priced", Shop::Priced { item, cents })?;
//!             Ok(())
//!         })
//!     }
//! }
//!
//! # // What a program has as `#[test]`.
//! use std::time::Duration;
//! use tramline::testkit::{TestKit, RecordedKind};
//! use tramline::{Bus, DeadLetterReason};
//!
//! use billing::Shop;
//!
//! const SOON: Duration = Duration::from_secs(5); // a limit, not a pause
//!
//! fn an_order_is_priced() -> Result<(), Box<dyn std::error::Error>> {
//!     let bus = Bus::builder().build();
//!     let kit = TestKit::new(&bus);
//!     let recorder = kit.record(">")?; // before the module, so that nothing is missing
//!     kit.reply_to("price.*")?.with(350);
//!     let _billing = billing::start(&bus)?;
//!
//!     bus.publish("order.de.placed", Shop::Placed { item: "tea" })?;
//!
//!     let recorded = recorder.wait_for(3, SOON);
//!     let topics: Vec<_> = recorded.iter().map(|recorded| recorded.topic.as_str()).collect();
//!     assert_eq!(topics, ["order.de.placed", "price.tea", "order.priced"]);
//!     recorder.assert_published("order.priced", &Shop::Priced { item: "tea", cents: 350 });
//!     kit.wait_until_idle(SOON);
//!     recorder.assert_nothing_more(Duration::ZERO);
//!     Ok(())
//! }
//!
//! fn an_order_without_a_price_becomes_a_dead_letter() -> Result<(), Box<dyn std::error::Error>> {
//!     let bus = Bus::builder().build();
//!     let kit = TestKit::new(&bus);
//!     let recorder = kit.record("order.>")?;
//!     kit.reply_to("price.*")?.then_fail("out of stock");
//!     let _billing = billing::start(&bus)?;
//!
//!     bus.publish("order.de.placed", Shop::Placed { item: "tea" })?;
//!
//!     let letters = recorder.wait_for_dead_letters(1, SOON);
//!     let RecordedKind::DeadLetter { payload: Shop::Placed { item: "tea" }, reason, attempts: 1, .. } = &letters[0].kind else {
//!         panic!("{}", letters[0])
//!     };
//!     assert_eq!(*reason, DeadLetterReason::Failed("the request failed: out of stock".to_owned()));
//!     recorder.wait_for(1, SOON);
//!     recorder.assert_nothing_more(Duration::ZERO);
//!     Ok(())
//! }
//! #
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #     an_order_is_priced()?;
//! #     an_order_without_a_price_becomes_a_dead_letter()
//! # }
//! ```
//!
//! # When a test fails
//!
//! The message says what was expected, and lists what was recorded instead: the time in milliseconds since the kit was made,
//! the kind of the record, the topic, and the `Debug` string of the payload.
//!
//! ```text
//! waited 1s for 3 messages, got 2; recorded on `>`:
//!      0.1 ms  published    order.de.placed  Placed { item: "tea" }
//!      0.3 ms  requested    price.tea  PriceOf("tea")
//!      0.4 ms  refused      price.tea  out of stock
//!      0.5 ms  dead letter  order.de.placed  Placed { item: "tea" }: its handler failed: the request failed: out of stock
//! ```
//!
//! # What counts
//!
//! A recorder changes nothing that the module under test can see. It is no subscription of
//! [`Delivery`](crate::Delivery), [`subscriber_count`](crate::Publisher::subscriber_count), [`Bus::stats`], metrics and drain
//! reports: a message that only recorders see is unheard, and a request has no responders. It does read dead letters.
//!
//! Scripted responders and faults take the place of modules, so they are subscriptions as those of modules are: they count in
//! all of these, with the names `script`, `panics` and `always full`.
//!
//! # Many buses
//!
//! A module that was given a [`Hub`] is tested with a kit for each of its buses: `TestKit::new(&hub.bus::<OrderPlaced>())`,
//! `TestKit::new(&hub.bus_with_reply::<GetPrice, u32>())`. [`wait_until_hub_idle`] waits for all of them.
//!
//! # Tasks
//!
//! The functions of this module that wait block their thread. An asynchronous test calls them from `spawn_blocking`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::{Bus, Unfinished, WeakBus, is_idle, unfinished};
use crate::hub::Hub;
use crate::lifecycle::{EndSignal, EndTrigger};
use crate::mailbox::Overflow;
use crate::routing::SubscribeError;
use crate::sync::Mutex;
use crate::topic::{Pattern, TopicError};

mod recorded;
mod recorder;
mod script;

pub use recorded::{Recorded, RecordedKind};
pub use recorder::Recorder;
pub use script::Script;

use recorder::Tapes;

/// Recorders, scripted responders and faults for the test of a module on one bus. See the [module](self) for a complete
/// test.
///
/// It does not keep the bus open. **Dropping it** ends its responders and faults, and no recorder: what is to end
/// earlier gets a kit of its own. **When the bus closes**, responders finish what is queued.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::Bus;
/// use tramline::testkit::TestKit;
///
/// let bus = Bus::<u32>::new();
/// let kit = TestKit::new(&bus);
/// let recorder = kit.record("sum")?;
/// kit.reply_to("double")?.by(|n| 2 * n);
///
/// let doubled = bus.request("double", 4)?.wait()?;
/// bus.publish("sum", 4 + doubled)?;
/// recorder.wait_for(1, Duration::from_secs(5));
/// recorder.assert_published("sum", &12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TestKit<T, R = T> {
    bus: WeakBus<T, R>,
    tapes: Arc<Tapes<T>>,
    /// Dropped before what is kept, so that no responder pauses any longer.
    _end: EndTrigger,
    ended: EndSignal,
    kept: Mutex<Vec<Box<dyn Send + Sync>>>,
}

impl<T, R> TestKit<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Creates a kit for this bus. The times of its recorders begin here.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Hub;
    /// use tramline::testkit::TestKit;
    ///
    /// let hub = Hub::new();
    /// let numbers = TestKit::new(&hub.bus::<u32>());
    /// let lengths = TestKit::new(&hub.bus_with_reply::<String, usize>());
    /// lengths.reply_to("length")?.by(|text| text.len());
    /// # drop(numbers);
    /// # Ok::<(), tramline::SubscribeError>(())
    /// ```
    #[must_use]
    pub fn new(bus: &Bus<T, R>) -> Self {
        let (end, ended) = EndTrigger::new();
        Self { bus: bus.downgrade(), tapes: Arc::new(Tapes::new()), _end: end, ended, kept: Mutex::default() }
    }

    fn bus(&self) -> Result<Bus<T, R>, SubscribeError> {
        self.bus.upgrade().ok_or(SubscribeError::Closed)
    }

    fn keep(&self, fault: impl Send + Sync + 'static) {
        self.kept.lock().push(Box::new(fault));
    }

    /// Starts a recorder of all topics that match.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the pattern is invalid, or the bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let recorder = TestKit::new(&bus).record("orders.>")?;
    /// assert!(bus.publish("orders.de.new", 7)?.is_unheard()); // a recorder takes nothing
    /// assert!(bus.request("orders.price", 7).unwrap_err().is_no_responders());
    /// recorder.assert_published("orders.de.new", &7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
    ) -> Result<Recorder<T>, SubscribeError> {
        Recorder::start(&self.bus()?, &self.tapes, pattern)
    }

    /// Starts a responder for all topics that match, which answers according to the returned [`Script`]. Complete the script
    /// before the first request comes.
    ///
    /// The recorders of this kit record its answers.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the pattern is invalid, the bus is closed, or the thread cannot be spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    /// use tramline::testkit::{TestKit, RecordedKind};
    ///
    /// let bus = Bus::<&str, u32>::builder().build();
    /// let kit = TestKit::new(&bus);
    /// let recorder = kit.record("price.*")?;
    /// kit.reply_to("price.*")?.with(350).then_fail("out of stock");
    /// assert_eq!(bus.request("price.tea", "a pound")?.wait()?, 350);
    /// let what: Vec<_> = recorder.recorded().into_iter().map(|recorded| recorded.kind).collect();
    /// assert_eq!(what, [RecordedKind::Requested("a pound"), RecordedKind::Replied("350".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reply_to(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
    ) -> Result<Script<T, R>, SubscribeError> {
        let script = Script::new(&self.tapes, &self.ended);
        let shared = script.shared();
        let responder =
            self.bus()?.subscription(pattern).name("script").handle(move |request| shared.answer(request))?;
        self.keep(responder);
        Ok(script)
    }

    /// Injects a fault: a handler of the topics that match, which panics on its `n`-th message, counted from 1, and
    /// ignores the others.
    ///
    /// That message becomes a dead letter, and if it is a request that no other responder answers, its caller gets
    /// `Failed`. The other requests that it takes go unanswered, as far as it is concerned.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the pattern is invalid, the bus is closed, or the thread cannot be spawned.
    ///
    /// # Panics
    ///
    /// If `n` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let kit = TestKit::new(&bus);
    /// let recorder = kit.record("orders.*")?;
    /// kit.panic_on("orders.*", 2)?;
    /// for order in 1..=3 {
    ///     bus.publish("orders.new", order)?;
    /// }
    /// let letters = recorder.wait_for_dead_letters(1, Duration::from_secs(5));
    /// assert!(letters[0].to_string().contains("2: its handler panicked: a fault of the test kit"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn panic_on(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        n: usize,
    ) -> Result<(), SubscribeError> {
        // An assertion of a test: a fault that never happens would prove nothing.
        assert!(n > 0, "n must be at least 1, got 0");
        let mut seen: usize = 0;
        let handler = self.bus()?.subscription(pattern).name("panics").handle(move |_| {
            seen = seen.saturating_add(1);
            assert!(seen != n, "a fault of the test kit, on message {n}");
        })?;
        self.keep(handler);
        Ok(())
    }

    /// Injects a fault: a full mailbox for the topics that match, which no subscriber reads. It affects publishers as
    /// any full mailbox with this policy does:
    ///
    /// - [`Block`](Overflow::Block): `publish` and `request` wait until the kit is dropped or the bus closes,
    ///   `publish_timeout` times out, `try_publish` and `fire` lose the message.
    /// - [`DropNewest`](Overflow::DropNewest): every message is dropped.
    /// - [`DropOldest`](Overflow::DropOldest): it always takes the latest message, evicting the one before. It has room for
    ///   one message, and is full from the first on.
    /// - [`Disconnect`](Overflow::Disconnect): the first message is dropped and ends the subscription; the second finds no
    ///   mailbox.
    ///
    /// [`wait_until_idle`](Self::wait_until_idle) does not wait for it, but for handlers that wait for room in it.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the pattern is invalid, or the bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::testkit::TestKit;
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::new();
    /// let kit = TestKit::new(&bus);
    /// kit.always_full("orders.*", Overflow::Block)?;
    /// let soon = Duration::from_millis(1);
    /// assert!(bus.publish_timeout("orders.new", 1, soon).unwrap_err().is_timeout());
    /// assert_eq!(bus.try_publish("orders.new", 1)?.dropped(), 1);
    /// drop(kit);
    /// assert!(bus.publish("orders.new", 1)?.is_unheard());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn always_full(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        overflow: Overflow,
    ) -> Result<(), SubscribeError> {
        let capacity = usize::from(overflow == Overflow::DropOldest);
        let builder = self.bus()?.subscription(pattern).name("always full");
        self.keep(builder.overflow(overflow).capacity(capacity).open_unread()?);
        Ok(())
    }

    /// Waits up to `within` until every queue of the bus is empty and every handler idle. Then everything that was published
    /// before has been handled, and everything that handlers published meanwhile.
    ///
    /// It closes nothing. The bus counts its mailboxes and handlers: it does not count a message that a subscriber has
    /// received, or one that a timer publishes later. A retry, and the pause before it, keep a handler busy. Called from a
    /// handler, it does not wait for that handler's thread.
    ///
    /// # Panics
    ///
    /// If the bus is not idle after `within`; the message has the [statistics](crate::BusStats) of the bus, which show the
    /// queues. If the last handle of the bus has been dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use std::time::Duration;
    /// use tramline::Bus;
    /// use tramline::testkit::TestKit;
    ///
    /// let bus = Bus::<u32>::new();
    /// let sum = Arc::new(AtomicU32::new(0));
    /// let total = Arc::clone(&sum);
    /// let _adding = bus.on("number", move |n| {
    ///     total.fetch_add(**n, Ordering::Relaxed);
    /// })?;
    /// for n in 1..=10 {
    ///     bus.publish("number", n)?;
    /// }
    /// TestKit::new(&bus).wait_until_idle(Duration::from_secs(5));
    /// assert_eq!(sum.load(Ordering::Relaxed), 55);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn wait_until_idle(&self, within: Duration) {
        // An assertion of a test, as the one below: that it does not hold is the test's failure.
        let Some(bus) = self.bus.upgrade() else { panic!("the bus is gone: its last handle was dropped") };
        let inner = bus.inner();
        if !is_idle(&**inner, within) {
            let unfinished = unfinished(&**inner);
            let busy: usize = unfinished.iter().map(Unfinished::running).sum();
            panic!("not idle after {within:?}, busy handler threads: {busy}\n{}", bus.stats());
        }
    }
}

impl<T, R> fmt::Debug for TestKit<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestKit").field("bus", &self.bus.upgrade()).finish_non_exhaustive()
    }
}

/// Waits until every queue of every bus of the hub is empty and every handler idle, at most this long: as
/// [`TestKit::wait_until_idle`], where work goes through several buses.
///
/// # Panics
///
/// If it is not idle after `within`; the text has the [statistics](crate::BusStats) of the buses.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::Hub;
/// use tramline::testkit::{TestKit, wait_until_hub_idle};
///
/// let hub = Hub::new();
/// let lengths = TestKit::new(&hub.bus::<usize>());
/// let recorder = lengths.record("length")?;
/// let bus = hub.bus::<usize>();
/// let _measuring = hub.bus::<String>().on("text", move |text| bus.fire("length", text.len()))?;
/// hub.bus::<String>().publish("text", "tea".to_owned())?;
/// wait_until_hub_idle(&hub, Duration::from_secs(5));
/// recorder.assert_published("length", &3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn wait_until_hub_idle(hub: &Hub, within: Duration) {
    if !hub.is_idle(within) {
        let stats: Vec<_> = hub.stats().iter().map(|bus| bus.stats.to_string()).collect();
        // As `TestKit::wait_until_idle`: an assertion of a test.
        panic!("not idle after {within:?}\n{}", stats.join("\n"));
    }
}
