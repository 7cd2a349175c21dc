//! A handle that does not keep its hub alive.

use std::fmt;
use std::sync::{Arc, Weak};

use super::{Hub, HubInner};

/// A handle to a [`Hub`] that does not keep it alive, made by [`Hub::downgrade`].
///
/// # Examples
///
/// ```
/// use tramline::Hub;
///
/// let hub = Hub::new();
/// let weak = hub.downgrade();
/// let doubled = hub.bus::<u64>().subscribe("doubled")?;
/// let _handler = hub.bus::<u32>().on("number", move |n| {
///     if let Some(hub) = weak.upgrade() {
///         hub.bus::<u64>().fire("doubled", 2 * u64::from(**n));
///     }
/// })?;
/// hub.bus::<u32>().publish("number", 21)?;
/// assert_eq!(*doubled.recv()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct WeakHub {
    inner: Weak<HubInner>,
}

impl WeakHub {
    pub(super) fn new(inner: &Arc<HubInner>) -> Self {
        Self { inner: Arc::downgrade(inner) }
    }

    /// Returns a full handle, or `None` if the last [`Hub`] has been dropped.
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
    pub fn upgrade(&self) -> Option<Hub> {
        self.inner.upgrade().map(|inner| Hub { inner })
    }
}

impl fmt::Debug for WeakHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakHub")
    }
}
