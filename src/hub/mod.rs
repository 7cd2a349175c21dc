//! One bus for each type of message, without an enum of them all.

mod closures;
mod receive;
mod stats;
#[cfg(feature = "async")]
mod tasks;
mod types;
mod weak;

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::{
    Bus, BusInner, Drain, DrainReport, DrainScope, MessageBuilder, PausedThread, PublishError, Unfinished,
    default_name, drain,
};
use crate::delivery::Delivery;
use crate::lifecycle::{DrainGroup, Phase};
use crate::mailbox::{Overflow, SeenWorkers};
use crate::observe::stats;
use crate::request::{PendingReply, RequestError};
use crate::sync::RwLock;

#[cfg(feature = "async")]
pub use closures::{AsyncHandlerFn, AsyncServeResultFn};
pub use closures::{HandlerFn, ServeResultFn};
pub use stats::HubBusStats;
pub use types::{Event, Request};
pub use weak::WeakHub;

/// Holds one bus per message type and creates each on first use. It is a handle: clone it into every module.
///
/// A [`Bus`] carries payloads of one type. With a hub, modules share the hub and the types of the messages, and no enum that
/// has to name them all. A message that is an [`Event`] or a [`Request`] brings its topic along:
///
/// | send | receive |
/// | --- | --- |
/// | [`hub.publish(event)`](Self::publish) | [`hub.subscribe::<E>()`](Self::subscribe), [`hub.on::<E>(f)`](Self::on) |
/// | [`hub.request(request)`](Self::request) | [`hub.serve::<Q>(f)`](Self::serve) |
///
/// For other topics, patterns and options take the bus itself. The bus of an event is [`hub.bus::<E>()`](Self::bus). The bus
/// of a request is [`hub.bus_with_reply::<Q, Q::Reply>()`](Self::bus_with_reply); `hub.bus::<Q>()` is a different bus, which
/// never sees the request. Every caller that asks for the same types gets the same bus.
///
/// The buses have no common order: an [observer](crate::SubscriptionBuilder::observer) sees causes before effects within one
/// bus. A program that needs an audit trail over all of its messages in one order has one bus, and an enum.
///
/// A hub is a handle of all its buses and keeps each that it has created, so they stay open until the last hub is dropped.
/// When the last hub and the last handle of a bus are dropped, that bus closes. A handler whose closure captures a hub
/// keeps the hub alive forever: capture a [`WeakHub`]. Capturing the [`Bus`] of another type is fine unless the captures
/// form a cycle.
///
/// # Examples
///
/// ```
/// use tramline::{Event, Handler, Hub, Request, SubscribeError, Subscriber};
///
/// #[derive(Clone)]
/// struct OrderPlaced { order: u32 }
///
/// impl Event for OrderPlaced {
///     const TOPIC: &'static str = "order.placed";
/// }
///
/// #[derive(Clone)]
/// struct GetPrice { order: u32 }
///
/// impl Request for GetPrice {
///     type Reply = f64;
///     const TOPIC: &'static str = "price.of";
/// }
///
/// fn mail(hub: &Hub) -> Result<Subscriber<OrderPlaced>, SubscribeError> {
///     hub.subscribe::<OrderPlaced>()
/// }
///
/// fn prices(hub: &Hub) -> Result<Handler, SubscribeError> {
///     hub.serve::<GetPrice>(|request| f64::from(request.order) / 2.0)
/// }
///
/// let hub = Hub::new();
/// let (mail, _prices) = (mail(&hub)?, prices(&hub)?);
/// hub.publish(OrderPlaced { order: 7 })?;
/// assert_eq!(mail.recv()?.order, 7);
/// assert_eq!(hub.request(GetPrice { order: 7 })?.wait()?, 3.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The bus of an event has what the calls of the hub do not: options, retained values and dead letters.
///
/// ```
/// use std::time::Duration;
/// use tramline::{Event, Hub, Retry};
///
/// #[derive(Clone)]
/// struct StockCounted { items: i32 }
///
/// impl Event for StockCounted {
///     const TOPIC: &'static str = "stock.counted";
/// }
///
/// let hub = Hub::new();
/// let bus = hub.bus::<StockCounted>();
/// let dead_letters = bus.dead_letters();
///
/// // A handler that begins with the last value, with a name and one retry.
/// bus.publish_retained(StockCounted::TOPIC, StockCounted { items: -1 })?;
/// let _check = bus
///     .subscription(StockCounted::TOPIC)
///     .name("check")
///     .with_retained()
///     .retry(Retry::fixed(1, Duration::from_millis(1)))
///     .handle(|stock| if stock.items < 0 { Err("fewer than none") } else { Ok(()) })?;
///
/// let letter = dead_letters.recv()?;
/// assert_eq!(letter.into_payload().items, -1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    inner: Arc<HubInner>,
}

struct HubInner {
    buses: RwLock<Buses>,
    /// Handlers of one bus may publish on another while all are drained.
    drain_group: DrainGroup,
    capacity: usize,
    overflow: Overflow,
}

#[derive(Default)]
struct Buses {
    by_type: HashMap<TypeId, Entry>,
    phase: Phase,
}

/// One bus, as itself and as a member.
struct Entry {
    bus: Arc<dyn Any + Send + Sync>,
    member: Arc<dyn Member>,
}

/// What a hub does with a bus of whatever type.
trait Member: Drain + Send + Sync {
    fn stats(&self) -> HubBusStats;
    #[cfg(feature = "metrics")]
    fn record_metrics(&self);
}

impl<T: Send + 'static, R: Send + 'static> Member for BusInner<T, R> {
    fn stats(&self) -> HubBusStats {
        HubBusStats { payload: type_name::<T>(), reply: type_name::<R>(), stats: stats(self) }
    }

    #[cfg(feature = "metrics")]
    fn record_metrics(&self) {
        crate::observe::record(self);
    }
}

impl Hub {
    /// Creates a hub without buses. Its buses will have the default options: a capacity of 256 messages and
    /// [`Overflow::Block`].
    ///
    /// # Examples
    ///
    /// ```
    /// let hub = tramline::Hub::new();
    /// assert_eq!(hub.bus::<u32>().publish("nobody.listens", 1)?.delivered(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> Self {
        Self::with_defaults(crate::bus::DEFAULT_CAPACITY, Overflow::default())
    }

    /// Creates a hub whose buses have these defaults for the mailboxes of their subscriptions: the capacity in messages, and
    /// the policy at a full one. Each [subscription](Bus::subscription) can have its own. An invalid capacity is reported by
    /// the first subscription as [`SubscribeError::Capacity`](crate::SubscribeError::Capacity).
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Hub, Overflow};
    ///
    /// let hub = Hub::with_defaults(16, Overflow::DropOldest);
    /// assert_eq!(hub.bus::<u32>().subscribe("ticks")?.capacity(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_defaults(capacity: usize, overflow: Overflow) -> Self {
        let buses = RwLock::default();
        Self { inner: Arc::new(HubInner { buses, drain_group: DrainGroup::new(), capacity, overflow }) }
    }

    /// Returns a handle to the bus of this type of message, with replies of the same type; creates the bus on the first
    /// call. It is the bus of [`bus_with_reply::<T, T>`](Self::bus_with_reply), and not the bus of a [`Request`] whose
    /// reply has another type.
    ///
    /// Draining this bus alone takes what handlers of any bus of the hub publish meanwhile.
    ///
    /// The call costs a read lock and a lookup. Keep the bus, or a [`Publisher`](crate::Publisher), where messages are many.
    /// On a closed hub the bus is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let hub = tramline::Hub::new();
    /// let ticks = hub.bus::<u32>().subscribe("tick")?;
    /// hub.bus::<u32>().publish("tick", 1)?; // the same bus
    /// assert_eq!(*ticks.recv()?, 1);
    /// assert!(hub.bus::<u64>().publish("tick", 1)?.is_unheard()); // another
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bus<T: Clone + Send + 'static>(&self) -> Bus<T> {
        self.bus_with_reply::<T, T>()
    }

    /// Returns a handle to the bus of this type of message and this type of reply. The same message with another reply is
    /// another bus. The bus of a [`Request`] is `bus_with_reply::<Q, Q::Reply>()`.
    ///
    /// Otherwise as [`bus`](Self::bus).
    ///
    /// # Examples
    ///
    /// ```
    /// let hub = tramline::Hub::new();
    /// let _lengths = hub.bus_with_reply::<String, usize>().serve("length", |text| text.len())?;
    /// let length = hub.bus_with_reply::<String, usize>().request("length", "tea".to_owned())?;
    /// assert_eq!(length.wait()?, 3);
    /// assert!(hub.bus::<String>().request("length", "tea".to_owned()).is_err()); // no responder answers with a string
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bus_with_reply<T: Clone + Send + 'static, R: Send + 'static>(&self) -> Bus<T, R> {
        let found = self.inner.buses.read().find::<T, R>();
        Bus::from_inner(found.unwrap_or_else(|| self.make()))
    }

    /// Names the bus of this type of message, and returns a handle to it; creates the bus if it does not exist yet.
    ///
    /// The name stands for the bus in [`stats`](Self::stats), the `bus` labels of metrics and the report of
    /// [`drain`](Self::drain), in place of the names of its types. The last name stands, and modules may name a bus before
    /// or after others use it. The name is for people and for tools that observe the program; the hub does not use it. Give
    /// each bus a name of its own: metrics of the same name overwrite each other.
    ///
    /// A bus that is renamed while metrics are recorded goes on under its new name. Its counters of the old name stand
    /// still, its gauges of the old name are set to 0 by the next recording, and the durations of handlers that are made
    /// already keep the old name. So name the buses before the modules start their handlers.
    ///
    /// The bus of an [`Event`] is the one named here; that of a [`Request`] is
    /// [`named_with_reply::<Q, Q::Reply>`](Self::named_with_reply). Otherwise as [`bus`](Self::bus), also on a closed hub.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Event, Hub};
    ///
    /// #[derive(Clone)]
    /// struct OrderPlaced { order: u32 }
    ///
    /// impl Event for OrderPlaced {
    ///     const TOPIC: &'static str = "order.placed";
    /// }
    ///
    /// let hub = Hub::new();
    /// let orders = hub.subscribe::<OrderPlaced>()?;
    /// hub.named::<OrderPlaced>("orders");
    /// hub.publish(OrderPlaced { order: 7 })?;
    /// assert_eq!(orders.recv()?.order, 7);
    /// assert_eq!(hub.stats()[0].stats.name, "orders");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn named<T: Clone + Send + 'static>(&self, name: impl Into<String>) -> Bus<T> {
        self.named_with_reply::<T, T>(name)
    }

    /// Names the bus of this type of message and this type of reply, and returns a handle to it; creates the bus if it does
    /// not exist yet. The bus of a [`Request`] is `named_with_reply::<Q, Q::Reply>`.
    ///
    /// Otherwise as [`named`](Self::named).
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Hub, Request};
    ///
    /// #[derive(Clone)]
    /// struct GetPrice { order: u32 }
    ///
    /// impl Request for GetPrice {
    ///     type Reply = f64;
    ///     const TOPIC: &'static str = "price.of";
    /// }
    ///
    /// let hub = Hub::new();
    /// hub.named_with_reply::<GetPrice, f64>("prices");
    /// let _server = hub.serve::<GetPrice>(|request| f64::from(request.order) / 2.0)?;
    /// assert_eq!(hub.request(GetPrice { order: 7 })?.wait()?, 3.5);
    /// assert_eq!(hub.stats()[0].stats.name, "prices");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn named_with_reply<T: Clone + Send + 'static, R: Send + 'static>(&self, name: impl Into<String>) -> Bus<T, R> {
        let name: String = name.into();
        let bus = self.bus_with_reply();
        bus.inner().name.set(name.into());
        bus
    }

    fn make<T: Send + 'static, R: Send + 'static>(&self) -> Arc<BusInner<T, R>> {
        let inner = &*self.inner;
        let mut buses = inner.buses.write();
        // Another thread may have been faster.
        if let Some(bus) = buses.find() {
            return bus;
        }
        let bus =
            Arc::new(BusInner::<T, R>::new(bus_name::<T, R>(), inner.capacity, inner.overflow, inner.drain_group));
        let entry = Entry { bus: Arc::clone(&bus) as _, member: Arc::clone(&bus) as _ };
        buses.by_type.insert(TypeId::of::<(T, R)>(), entry);
        // It has nothing in it, so no code of the user runs here.
        match buses.phase {
            Phase::Open => {}
            Phase::Draining => bus.refuse(),
            Phase::Closed => bus.close(),
        }
        bus
    }

    /// Publishes an event on its own topic: `self.bus::<E>().publish(E::TOPIC, event)`. Long form, with headers and limits:
    /// [`message(event)`](Self::message)`.publish()`.
    ///
    /// # Errors
    ///
    /// As [`Bus::publish`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Event, Hub};
    ///
    /// #[derive(Clone)]
    /// struct OrderPlaced { order: u32 }
    ///
    /// impl Event for OrderPlaced {
    ///     const TOPIC: &'static str = "orders.placed";
    /// }
    ///
    /// let hub = Hub::new();
    /// let orders = hub.subscribe::<OrderPlaced>()?;
    /// hub.publish(OrderPlaced { order: 7 })?;
    /// assert_eq!(orders.recv()?.order, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish<E: Event>(&self, event: E) -> Result<Delivery, PublishError<E>> {
        self.bus::<E>().publish(E::TOPIC, event)
    }

    /// Begins a message for the topic of this event, with headers and limits; see [`MessageBuilder`]. It is
    /// `self.bus::<E>().message(E::TOPIC, event)`.
    ///
    /// [`request_message`](Self::request_message) does the same for a [`Request`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Event, Hub};
    ///
    /// #[derive(Clone)]
    /// struct OrderPlaced { order: u32 }
    ///
    /// impl Event for OrderPlaced {
    ///     const TOPIC: &'static str = "orders.placed";
    /// }
    ///
    /// let hub = Hub::new();
    /// let orders = hub.subscribe::<OrderPlaced>()?;
    /// hub.message(OrderPlaced { order: 7 }).header("tenant", "acme").publish()?;
    /// assert_eq!(orders.recv()?.headers().get("tenant"), Some("acme"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn message<E: Event>(&self, event: E) -> MessageBuilder<'static, E> {
        self.bus::<E>().into_message(E::TOPIC, event)
    }

    /// Begins a message for the topic of this request, with headers and limits; see [`MessageBuilder`]. It is
    /// `self.bus_with_reply::<Q, Q::Reply>().message(Q::TOPIC, request)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::{Hub, Request};
    ///
    /// #[derive(Clone)]
    /// struct GetPrice { order: u32 }
    ///
    /// impl Request for GetPrice {
    ///     type Reply = f64;
    ///     const TOPIC: &'static str = "prices";
    /// }
    ///
    /// let hub = Hub::new();
    /// let _server = hub.serve::<GetPrice>(|request| f64::from(request.order) / 2.0)?;
    /// let price = hub.request_message(GetPrice { order: 7 }).timeout(Duration::from_secs(2)).request()?;
    /// assert_eq!(price.wait()?, 3.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_message<Q: Request>(&self, request: Q) -> MessageBuilder<'static, Q, Q::Reply> {
        self.bus_with_reply::<Q, Q::Reply>().into_message(Q::TOPIC, request)
    }

    /// Sends a request on its own topic: `self.bus_with_reply::<Q, Q::Reply>().request(Q::TOPIC, request)`.
    ///
    /// Every subscription of that bus and topic counts as a responder, unless it is an
    /// [observer](crate::SubscriptionBuilder::observer); see [`Publisher::request`](crate::Publisher::request). Long form, with
    /// headers and limits: [`request_message(request)`](Self::request_message)`.request()`. A subscription of `self.bus::<Q>()` never sees the request unless
    /// `Q::Reply` is `Q`.
    ///
    /// # Errors
    ///
    /// As [`Bus::request`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Hub, Request};
    ///
    /// #[derive(Clone)]
    /// struct GetPrice { order: u32 }
    ///
    /// impl Request for GetPrice {
    ///     type Reply = f64;
    ///     const TOPIC: &'static str = "prices";
    /// }
    ///
    /// let hub = Hub::new();
    /// let _server = hub.serve::<GetPrice>(|request| f64::from(request.order) / 2.0)?;
    /// assert_eq!(hub.request(GetPrice { order: 7 })?.wait()?, 3.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request<Q: Request>(&self, request: Q) -> Result<PendingReply<Q::Reply>, RequestError<Q>> {
        self.bus_with_reply::<Q, Q::Reply>().request(Q::TOPIC, request)
    }

    /// Returns the statistics of every bus, in the order of the names of their types. They show the name that
    /// [`named`](Self::named) gave the bus.
    ///
    /// # Examples
    ///
    /// ```
    /// let hub = tramline::Hub::new();
    /// let _ticks = hub.bus::<u32>().subscribe("tick")?;
    /// hub.bus::<u32>().publish("tick", 1)?;
    /// let stats = hub.stats();
    /// assert_eq!((stats[0].payload, stats[0].reply), ("u32", "u32"));
    /// assert_eq!(stats[0].stats.subscriptions[0].depth, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> Vec<HubBusStats> {
        let mut stats: Vec<_> = self.inner.members().iter().map(|member| Member::stats(&**member)).collect();
        stats.sort_by_key(|bus| (bus.payload, bus.reply));
        stats
    }

    /// Records the metrics of every bus, see [`Bus::record_metrics`].
    ///
    /// The `bus` is the name that [`named`](Self::named) gave the bus, or the type of its messages, with ` -> ` and the type
    /// of the replies if that is another.
    ///
    /// # Examples
    ///
    /// ```
    /// use metrics_util::debugging::DebuggingRecorder;
    ///
    /// let recorder = DebuggingRecorder::new();
    /// let snapshotter = recorder.snapshotter();
    /// let hub = tramline::Hub::new();
    /// let _buses = (hub.bus::<u32>(), hub.bus::<String>());
    /// metrics::with_local_recorder(&recorder, || hub.record_metrics());
    /// let recorded = snapshotter.snapshot().into_vec();
    /// assert_eq!(recorded.iter().filter(|(key, ..)| key.key().name() == "tramline_topics").count(), 2);
    /// ```
    #[cfg(feature = "metrics")]
    pub fn record_metrics(&self) {
        self.inner.members().iter().for_each(|member| member.record_metrics());
    }

    /// Closes every bus, see [`Bus::close`]; those that are asked for later are closed from the beginning.
    ///
    /// # Examples
    ///
    /// ```
    /// let hub = tramline::Hub::new();
    /// let ticks = hub.bus::<u32>().subscribe("tick")?;
    /// hub.close();
    /// assert!(ticks.recv().unwrap_err().is_closed());
    /// assert!(hub.bus::<String>().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        Drain::close(&*self.inner);
    }

    /// Returns `true` from the moment that the hub refuses new work: it is being [drained](Self::drain), or is closed.
    ///
    /// [`Bus::is_closed`] of its buses agrees with it.
    ///
    /// # Examples
    ///
    /// ```
    /// let hub = tramline::Hub::new();
    /// assert!(!hub.is_closed());
    /// hub.close();
    /// assert!(hub.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.inner.buses.read().phase != Phase::Open
    }

    /// Drains all buses as one, see [`Bus::drain`]: refuses new work, waits up to `within` until the queues are empty
    /// and the handlers idle, closes, and reports what was left.
    ///
    /// Until then a handler of one bus may publish or request on any other, so work that goes through several buses is
    /// finished. The queues of subscribers count too, so a subscriber that nobody reads makes the drain wait its full time,
    /// see [`drain_handlers`](Self::drain_handlers). The call blocks its thread, as with [`Bus::drain`]; a task calls
    /// `drain_async`. The report names the bus of everything that was left.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Hub;
    ///
    /// let hub = Hub::new();
    /// let weak = hub.downgrade();
    /// let lengths = hub.bus::<usize>().subscribe("length")?;
    /// let _measuring = hub.bus::<String>().on("text", move |text| {
    ///     if let Some(hub) = weak.upgrade() {
    ///         hub.bus::<usize>().fire("length", text.len());
    ///     }
    /// })?;
    /// hub.bus::<String>().publish("text", "tea".to_owned())?;
    /// let reader = std::thread::spawn(move || lengths.iter().map(|length| *length).collect::<Vec<_>>());
    /// assert!(hub.drain(Duration::from_secs(5)).is_complete());
    /// assert_eq!(reader.join().unwrap(), [3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&self, within: Duration) -> DrainReport {
        drain(&*self.inner, DrainScope::Everything, within)
    }

    /// Drains all buses as one and waits for handlers alone, see [`Bus::drain_handlers`]: the queues of subscribers are
    /// neither waited for nor reported, and can still be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Hub;
    ///
    /// let hub = Hub::new();
    /// let lengths = hub.bus::<usize>().subscribe("length")?;
    /// let weak = hub.downgrade();
    /// let _measuring = hub.bus::<String>().on("text", move |text| {
    ///     if let Some(hub) = weak.upgrade() {
    ///         hub.bus::<usize>().fire("length", text.len());
    ///     }
    /// })?;
    /// hub.bus::<String>().publish("text", "tea".to_owned())?;
    /// assert!(hub.drain_handlers(Duration::from_secs(5)).is_complete());
    /// assert_eq!(*lengths.recv()?, 3); // nobody has read it yet
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain_handlers(&self, within: Duration) -> DrainReport {
        drain(&*self.inner, DrainScope::Handlers, within)
    }

    /// Whether every queue is empty and every handler idle, waited for at most this long.
    #[cfg(feature = "testkit")]
    pub(crate) fn is_idle(&self, within: Duration) -> bool {
        crate::bus::is_idle(&*self.inner, within)
    }

    /// Returns a handle that does not keep the hub alive, for closures that would keep their own bus open.
    ///
    /// # Examples
    ///
    /// ```
    /// let hub = tramline::Hub::new();
    /// let weak = hub.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(hub);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn downgrade(&self) -> WeakHub {
        WeakHub::new(&self.inner)
    }
}

/// Buses of a hub may have the same type of message, and only the reply tells them apart.
fn bus_name<T: 'static, R: 'static>() -> Arc<str> {
    if TypeId::of::<T>() == TypeId::of::<R>() {
        default_name::<T>()
    } else {
        format!("{} -> {}", type_name::<T>(), type_name::<R>()).into()
    }
}

impl Buses {
    fn find<T: Send + 'static, R: Send + 'static>(&self) -> Option<Arc<BusInner<T, R>>> {
        let entry = self.by_type.get(&TypeId::of::<(T, R)>())?;
        Arc::clone(&entry.bus).downcast().ok()
    }
}

impl HubInner {
    /// All buses as of now; nothing of theirs is called under the lock.
    fn members(&self) -> Vec<Arc<dyn Member>> {
        self.buses.read().by_type.values().map(|entry| Arc::clone(&entry.member)).collect()
    }
}

impl Drain for HubInner {
    fn refuse(&self) {
        // One step, so that the hub and its buses agree on it. No code of the user runs in it.
        let mut buses = self.buses.write();
        buses.phase = buses.phase.max(Phase::Draining);
        buses.by_type.values().for_each(|entry| entry.member.refuse());
    }

    fn pause_this_thread(&self) -> Vec<PausedThread> {
        self.members().iter().flat_map(|member| member.pause_this_thread()).collect()
    }

    fn is_at_rest(&self, scope: DrainScope, seen: &mut SeenWorkers) -> bool {
        self.members().iter().all(|member| member.is_at_rest(scope, seen))
    }

    fn is_awake(&self) -> bool {
        self.members().iter().any(|member| member.is_awake())
    }

    fn close(&self) {
        // A bus that is made later is closed from the beginning. The life of a hub never goes back.
        self.buses.write().phase = Phase::Closed;
        self.members().iter().for_each(|member| Drain::close(&**member));
    }

    fn workers(&self) -> usize {
        self.members().iter().map(|member| member.workers()).sum()
    }

    fn unfinished(&self, scope: DrainScope, is_settled: &mut bool) -> Vec<Unfinished> {
        let members = self.members();
        let mut unfinished: Vec<_> = members.iter().flat_map(|member| member.unfinished(scope, is_settled)).collect();
        // Within a bus they stay in their order.
        unfinished.sort_by(|one, other| one.bus().cmp(other.bus()));
        unfinished.into_iter().map(Unfinished::of_a_hub).collect()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buses = self.inner.buses.read().by_type.len();
        f.debug_struct("Hub").field("buses", &buses).field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}
