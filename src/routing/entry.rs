//! One topic in use.

use std::sync::Arc;

use super::{Backlogs, Route};
use crate::message::Retained;
use crate::sync::atomic::AtomicUsize;
use crate::sync::{ArcSwap, Mutex};
use crate::topic::Topic;

/// One topic in use: it has a publisher, a subscription to just this topic, or a retained value.
pub(crate) struct TopicEntry<T, R> {
    pub(crate) topic: Topic,
    /// As it was when somebody last published: what it is now, only `TopicMap::route_of` says.
    pub(crate) route: ArcSwap<Route<T, R>>,
    /// `Publisher` handles. Made from nothing only under the lock of the map.
    pub(crate) publishers: AtomicUsize,
    pub(super) retained: Mutex<Option<Arc<Retained<T>>>>,
    /// Of the retained values that wait for room.
    pub(crate) backlogs: Mutex<Backlogs<T, R>>,
}

impl<T, R> TopicEntry<T, R> {
    pub(super) fn new(topic: &Topic, route: Arc<Route<T, R>>) -> Arc<Self> {
        Arc::new(Self {
            topic: topic.clone(),
            route: ArcSwap::new(route),
            publishers: AtomicUsize::new(0),
            retained: Mutex::new(None),
            backlogs: Mutex::default(),
        })
    }

    /// The retained value, unless its time is over.
    pub(super) fn retained(&self) -> Option<Arc<Retained<T>>> {
        // Looked at in its place: a clone that is dropped here may be the last by then.
        let retained = self.retained.lock();
        retained.as_ref().filter(|value| !value.is_expired()).cloned()
    }

    /// The same, if it is still the one of this number.
    pub(super) fn kept_as(&self, number: u64) -> Option<Arc<Retained<T>>> {
        let retained = self.retained.lock();
        retained.as_ref().filter(|value| value.sequence == number && !value.is_expired()).cloned()
    }
}
