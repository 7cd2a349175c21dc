//! A weak pointer from one thing to the next.

use std::sync::{Arc, Weak};

/// Does not keep what it points to.
pub(crate) struct WeakLink<A>(Weak<A>);

impl<A> WeakLink<A> {
    pub(crate) fn new(to: &Arc<A>) -> Self {
        Self(Arc::downgrade(to))
    }

    pub(crate) fn upgrade(&self) -> Option<Arc<A>> {
        self.0.upgrade()
    }
}
