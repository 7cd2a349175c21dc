//! A handle that does not keep its bus open.

use std::fmt;
use std::sync::{Arc, Weak};

use super::{Bus, BusInner};

/// A handle to a bus that does not keep it open, made by [`Bus::downgrade`].
///
/// # Examples
///
/// A handler that publishes to its own bus. With a `Bus` in the closure this bus would stay open forever.
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let doubled = bus.subscribe("doubled")?;
/// let weak = bus.downgrade();
/// let _handler = bus.on("numbers", move |n| {
///     if let Some(bus) = weak.upgrade() {
///         bus.fire("doubled", 2 * **n);
///     }
/// })?;
/// bus.publish("numbers", 21)?;
/// assert_eq!(*doubled.recv()?, 42);
/// drop(bus);
/// assert!(doubled.recv().unwrap_err().is_closed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WeakBus<T, R = T> {
    inner: Weak<BusInner<T, R>>,
}

impl<T, R> WeakBus<T, R> {
    pub(super) fn new(inner: &Arc<BusInner<T, R>>) -> Self {
        Self { inner: Arc::downgrade(inner) }
    }

    /// A full handle, if any `Bus` or [`Publisher`](crate::Publisher) is left.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let weak = bus.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(bus);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn upgrade(&self) -> Option<Bus<T, R>> {
        self.inner.upgrade().map(|inner| Bus { inner })
    }
}

impl<T, R> Clone for WeakBus<T, R> {
    fn clone(&self) -> Self {
        Self { inner: Weak::clone(&self.inner) }
    }
}

impl<T, R> fmt::Debug for WeakBus<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakBus")
    }
}
