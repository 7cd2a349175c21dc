//! How a bus is set up.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Bus, BusInner};
use crate::lifecycle::DrainGroup;
use crate::mailbox::Overflow;

/// Of a mailbox, in messages, unless somebody chooses another.
pub(crate) const DEFAULT_CAPACITY: usize = 256;

/// What a bus is called unless somebody chooses a name.
pub(crate) fn default_name<T>() -> Arc<str> {
    type_name::<T>().into()
}

/// Options for a new bus, made by [`Bus::builder`].
///
/// # Examples
///
/// ```
/// use tramline::{Bus, BusBuilder, Overflow};
///
/// let builder: BusBuilder<u32, String> = Bus::builder();
/// let bus = builder.capacity(1).overflow(Overflow::DropNewest).build();
/// let ticks = bus.subscribe("tick")?;
/// bus.publish("tick", 1)?;
/// assert_eq!(bus.publish("tick", 2)?.dropped(), 1);
/// assert_eq!(*ticks.recv()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a bus is made by build"]
pub struct BusBuilder<T, R = T> {
    name: Option<Arc<str>>,
    capacity: usize,
    overflow: Overflow,
    #[cfg(feature = "tracing")]
    trace_messages: bool,
    types: PhantomData<fn() -> (T, R)>,
}

impl<T, R> BusBuilder<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    pub(super) fn new() -> Self {
        Self {
            name: None,
            capacity: DEFAULT_CAPACITY,
            overflow: Overflow::default(),
            #[cfg(feature = "tracing")]
            trace_messages: false,
            types: PhantomData,
        }
    }

    /// Sets the name of the bus in its [statistics](crate::BusStats::name); the default is the name of the type of its
    /// messages, as [`type_name`] writes it.
    ///
    /// The name is for people and for tools that observe the program; the bus does not use it. Names need not differ.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    ///
    /// let bus = Bus::<u32>::builder().name("orders").build();
    /// assert_eq!(bus.stats().name, "orders");
    /// assert_eq!(Bus::<u32>::new().stats().name, "u32");
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into());
        self
    }

    /// Sets the capacity of mailboxes that do not set their own, in messages, from 1 to 16,777,216; the default is 256.
    ///
    /// A capacity out of this range is reported by every subscription that would use it.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::builder().capacity(16).build();
    /// assert_eq!(bus.subscribe("orders")?.capacity(), 16);
    /// assert_eq!(bus.subscription("orders").capacity(1).open()?.capacity(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Sets the policy of mailboxes that do not set their own; the default is [`Overflow::Block`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::builder().overflow(Overflow::DropOldest).build();
    /// let _price = bus.subscribe("price")?;
    /// assert_eq!(bus.stats().subscriptions[0].overflow, Overflow::DropOldest);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Sets whether a published message carries the span in which it was published; the default is `false`. With the feature
    /// `tracing`.
    ///
    /// With it, the `handle` span of the message follows from that span, across threads. Each message that is published within
    /// a span then costs an allocation that its copies share, and one for each mailbox; and it keeps the span open until the last
    /// copy of it is gone. A request needs none of this: its handler belongs to the caller's span in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::builder().trace_messages(true).build();
    /// let _mail = bus.on("order.placed", |order| tracing::info!(order = **order, "mail"))?;
    /// tracing::info_span!("checkout").in_scope(|| bus.publish("order.placed", 7))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "tracing")]
    pub fn trace_messages(mut self, trace_messages: bool) -> Self {
        self.trace_messages = trace_messages;
        self
    }

    /// Creates the bus.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Bus;
    ///
    /// let bus: Bus<u32, String> = Bus::builder().build();
    /// assert!(!bus.is_closed());
    /// ```
    #[must_use]
    pub fn build(self) -> Bus<T, R> {
        let name = self.name.unwrap_or_else(default_name::<T>);
        let inner = BusInner::new(name, self.capacity, self.overflow, DrainGroup::new());
        #[cfg(feature = "tracing")]
        let inner = inner.with_traces(self.trace_messages);
        Bus { inner: Arc::new(inner) }
    }
}

impl<T, R> fmt::Debug for BusBuilder<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusBuilder")
            .field("name", &self.name)
            .field("capacity", &self.capacity)
            .field("overflow", &self.overflow)
            .finish_non_exhaustive()
    }
}
