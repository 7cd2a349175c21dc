//! A message with a large payload, which waits in a box of its own.
//!
//! By value it would be copied at each step on its way, and each copy takes room on a stack: a payload of 256 KiB does not
//! fit eight times into a thread of 2 MiB. In a box it stays where it is from the queue to the handler.

use std::sync::Arc;

use super::{Envelope, Message, Retained};
use crate::topic::Topic;

/// The largest payload that a queue has by value, in bytes. Beyond it, the copies cost more than a box.
const LARGEST_BY_VALUE: usize = 4096;

/// Returns `true` if messages with this payload wait in boxes.
pub(crate) const fn is_large<T>() -> bool {
    size_of::<T>() > LARGEST_BY_VALUE
}

/// A message in a queue for large payloads.
pub(crate) enum BoxedMessage<T, R> {
    Live(Box<Message<T, R>>),
    /// Cloned by the subscriber when it takes the message out.
    Retained(Topic, Arc<Retained<T>>),
}

/// A message that a worker handles: by value, or in its box.
pub(crate) trait InHand<T, R> {
    fn message(&self) -> &Message<T, R>;
    fn into_payload(self) -> T;
}

impl<T, R> InHand<T, R> for Message<T, R> {
    #[inline]
    fn message(&self) -> &Message<T, R> {
        self
    }

    #[inline]
    fn into_payload(self) -> T {
        self.payload
    }
}

impl<T, R> InHand<T, R> for Box<Message<T, R>> {
    fn message(&self) -> &Message<T, R> {
        self
    }

    fn into_payload(self) -> T {
        self.payload
    }
}

impl<T, R> BoxedMessage<T, R> {
    /// The retained value that is in it, if it is one.
    pub(crate) fn as_retained(&self) -> Option<&Retained<T>> {
        match self {
            Self::Live(_) => None,
            Self::Retained(_, value) => Some(value),
        }
    }

    /// Takes the message out of its box.
    pub(crate) fn into_addressed(self) -> (Topic, Envelope<T, R>) {
        match self {
            Self::Live(message) => {
                let Message { topic, extras, payload } = *message;
                (topic, Envelope::with_extras(payload, extras))
            }
            Self::Retained(topic, value) => (topic, Envelope::retained(value)),
        }
    }
}
