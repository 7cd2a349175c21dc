//! The last value of a topic, kept for subscribers that come later.

use std::sync::Arc;

use super::{Extras, Message};
use crate::metadata::Properties;
use crate::request::Metadata;
use crate::sync::ReentrantMutex;
use crate::sync::counters::{AtomicU64, Ordering};
use crate::topic::Topic;

/// One kept value. Whoever needs it clones it, on his own thread and when he needs it.
///
/// A payload need not be `Sync`, so only one thread may clone it at a time. That lock guards this one value and nothing
/// of the bus; it is reentrant, so that a `Clone` that asks the bus for the same value does not wait for itself.
pub(crate) struct Retained<T> {
    value: ReentrantMutex<T>,
    properties: Option<Arc<Properties>>,
    /// Counts up over the bus: values are handed out in the order in which they were kept.
    pub(crate) sequence: u64,
    /// The number of what came in its place; the greatest one until then.
    ///
    /// Orders nothing: it changes under the lock of the map, and who asks has been under it since.
    replaced: AtomicU64,
}

impl<T> Retained<T> {
    pub(crate) fn new(value: T, properties: Option<Arc<Properties>>, sequence: u64) -> Arc<Self> {
        let (value, replaced) = (ReentrantMutex::new(value), AtomicU64::new(u64::MAX));
        Arc::new(Self { value, properties, sequence, replaced })
    }

    pub(crate) fn properties(&self) -> Option<&Arc<Properties>> {
        self.properties.as_ref()
    }

    /// Whether its time is over: then it is as if it was not kept.
    pub(crate) fn is_expired(&self) -> bool {
        self.properties().is_some_and(|properties| properties.is_expired())
    }

    /// Another one came in its place.
    pub(crate) fn replaced_at(&self, sequence: u64) {
        self.replaced.store(sequence, Ordering::Relaxed);
    }

    /// Whether it was still kept when `sequence` was the next number.
    pub(crate) fn was_kept_at(&self, sequence: u64) -> bool {
        self.replaced.load(Ordering::Relaxed) >= sequence
    }
}

impl<T: Clone> Retained<T> {
    pub(crate) fn get(&self) -> T {
        self.value.lock().clone()
    }

    /// The value itself if nobody else needs it, a clone otherwise.
    pub(crate) fn take(self: Arc<Self>) -> T {
        match Arc::try_unwrap(self) {
            Ok(only) => only.value.into_inner(),
            Err(shared) => shared.get(),
        }
    }

    /// Makes a message of the value, in a box.
    // Never inline: the copies on its stack are gone before anything else is called.
    #[inline(never)]
    pub(crate) fn into_boxed_message<R>(self: Arc<Self>, topic: Topic) -> Box<Message<T, R>> {
        let properties = self.properties.clone();
        let mut message = Box::new(Message::plain(topic, self.take()));
        message.extras = properties.map(|properties| Box::new(Extras::of_taken(Metadata::Message(properties))));
        message
    }
}
