//! The envelope in which a message waits in a queue, kept small: what few messages have sits behind one pointer.

use std::sync::Arc;

use super::{BoxedMessage, Message, Retained};
use crate::metadata::Properties;
use crate::request::{Metadata, MetadataSource};
use crate::spans::Carried;
use crate::topic::Topic;

/// A message in a queue. Kept small: what few messages have sits behind one pointer.
pub(crate) enum Envelope<T, R> {
    Plain(T),
    WithExtras(Box<Extras<T, R>>),
}

/// The parts that few messages have. They stay with the message when its payload is taken out.
pub(crate) struct Extras<T, R> {
    payload: QueuedPayload<T>,
    pub(super) lost_before: u64,
    pub(super) metadata: Option<Metadata<R>>,
}

enum QueuedPayload<T> {
    Live(T),
    /// Cloned by the subscriber when it takes the message out.
    Retained(Arc<Retained<T>>),
    /// It is in the message.
    Taken,
}

/// A message on its way to a mailbox.
pub(crate) struct Outgoing<T, R> {
    pub(crate) payload: T,
    pub(crate) metadata: Option<Metadata<R>>,
}

impl<T, R> Extras<T, R> {
    /// Creates extras for a message whose payload is in the message.
    pub(super) fn of_taken_payload() -> Self {
        Self { payload: QueuedPayload::Taken, lost_before: 0, metadata: None }
    }

    /// The same for one that has metadata.
    pub(super) fn of_taken(metadata: Metadata<R>) -> Self {
        Self { metadata: Some(metadata), ..Self::of_taken_payload() }
    }

    pub(super) fn properties(&self) -> Option<&Arc<Properties>> {
        self.metadata.as_ref()?.properties()
    }

    fn is_expired(&self) -> bool {
        self.properties().is_some_and(|properties| properties.is_expired())
    }
}

impl<T: Clone, R> Outgoing<T, R> {
    #[inline]
    pub(crate) fn copy(&self, source: &impl MetadataSource<R>) -> Self {
        Self { payload: self.payload.clone(), metadata: source.another(self.metadata.as_ref()) }
    }

    pub(crate) fn is_request(&self) -> bool {
        matches!(self.metadata, Some(Metadata::Request(_)))
    }

    pub(crate) fn properties(&self) -> Option<&Arc<Properties>> {
        self.metadata.as_ref()?.properties()
    }

    /// The same, published in this span. A request carries its caller's, in its slot.
    pub(crate) fn with_span(mut self, span: Carried) -> Self {
        if span.is_none() {
            return self;
        }
        let metadata = self.metadata.get_or_insert_with(|| Metadata::Message(Arc::default()));
        // Before it is published nobody else has the properties.
        if let Metadata::Message(properties) = metadata {
            if let Some(properties) = Arc::get_mut(properties) {
                properties.published_in = Some(span);
            }
        }
        self
    }

    /// A copy for an observer.
    pub(crate) fn observed(&self) -> Self {
        let metadata = self.metadata.as_ref().and_then(Metadata::for_observer);
        Self { payload: self.payload.clone(), metadata }
    }
}

impl<T, R> Envelope<T, R> {
    // Without a guard in the match: it would leave behind a look at a reply that is known to be none, and with one codegen
    // unit a call for it.
    #[inline(always)]
    pub(crate) fn new(outgoing: Outgoing<T, R>, lost_before: u64) -> Self {
        let Outgoing { payload, metadata } = outgoing;
        match metadata {
            None => {
                if lost_before == 0 {
                    Self::Plain(payload)
                } else {
                    Self::live(payload, lost_before, None)
                }
            }
            Some(metadata) => Self::live(payload, lost_before, Some(metadata)),
        }
    }

    fn live(payload: T, lost_before: u64, metadata: Option<Metadata<R>>) -> Self {
        Self::WithExtras(Box::new(Extras { payload: QueuedPayload::Live(payload), lost_before, metadata }))
    }

    pub(crate) fn retained(value: Arc<Retained<T>>) -> Self {
        let metadata = value.properties().cloned().map(Metadata::Message);
        Self::WithExtras(Box::new(Extras { payload: QueuedPayload::Retained(value), lost_before: 0, metadata }))
    }

    /// Puts a payload and what was beside it in a message together again.
    pub(super) fn with_extras(payload: T, extras: Option<Box<Extras<T, R>>>) -> Self {
        match extras {
            None => Self::Plain(payload),
            Some(mut extras) => {
                extras.payload = QueuedPayload::Live(payload);
                Self::WithExtras(extras)
            }
        }
    }

    /// Makes a boxed message, for a queue of large payloads.
    // Never inline: the copies on its stack are gone before anything else is called.
    #[inline(never)]
    pub(crate) fn into_boxed(self, topic: Topic) -> BoxedMessage<T, R> {
        match self {
            Self::Plain(payload) => BoxedMessage::Live(Box::new(Message::plain(topic, payload))),
            Self::WithExtras(mut extras) => match std::mem::replace(&mut extras.payload, QueuedPayload::Taken) {
                QueuedPayload::Live(payload) => {
                    BoxedMessage::Live(Box::new(Message { topic, extras: Some(extras), payload }))
                }
                QueuedPayload::Retained(value) => BoxedMessage::Retained(topic, value),
                QueuedPayload::Taken => unreachable!("what is in a queue has its payload"),
            },
        }
    }

    #[inline]
    pub(crate) fn is_retained(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::WithExtras(extras) => matches!(extras.payload, QueuedPayload::Retained(_)),
        }
    }

    /// The retained value that is in it, if it is one.
    pub(crate) fn as_retained(&self) -> Option<&Retained<T>> {
        match self {
            Self::WithExtras(extras) => match &extras.payload {
                QueuedPayload::Retained(value) => Some(value),
                QueuedPayload::Live(_) | QueuedPayload::Taken => None,
            },
            Self::Plain(_) => None,
        }
    }

    /// Whether it is not for every reader at every time: a retained value, or a message that expires.
    #[inline]
    pub(crate) fn is_conditional(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::WithExtras(extras) => {
                matches!(extras.payload, QueuedPayload::Retained(_))
                    || extras.properties().is_some_and(|properties| properties.expires.is_some())
            }
        }
    }

    /// Whether it is not to be delivered any more.
    pub(crate) fn is_expired(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::WithExtras(extras) => extras.is_expired(),
        }
    }

    #[inline]
    pub(crate) fn lost_before(&self) -> u64 {
        match self {
            Self::Plain(_) => 0,
            Self::WithExtras(extras) => extras.lost_before,
        }
    }
}

impl<T: Clone> QueuedPayload<T> {
    fn take(&mut self) -> T {
        match std::mem::replace(self, Self::Taken) {
            Self::Live(payload) => payload,
            Self::Retained(value) => value.take(),
            Self::Taken => unreachable!("what is in a queue has its payload"),
        }
    }
}

impl<T: Clone, R> Envelope<T, R> {
    #[inline]
    pub(crate) fn into_outgoing(self) -> Outgoing<T, R> {
        match self {
            Self::Plain(payload) => Outgoing { payload, metadata: None },
            Self::WithExtras(mut extras) => Outgoing { payload: extras.payload.take(), metadata: extras.metadata },
        }
    }

    #[inline]
    pub(crate) fn into_message(self, topic: Topic) -> Message<T, R> {
        match self {
            Self::Plain(payload) => Message::plain(topic, payload),
            Self::WithExtras(mut extras) => Message { topic, payload: extras.payload.take(), extras: Some(extras) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Envelope;
    use crate::message::Message;

    /// What few messages have takes no room in the queue beyond a pointer, which takes the place of the payload.
    #[test]
    fn an_envelope_is_a_payload_or_a_pointer() {
        assert_eq!(size_of::<Envelope<(), ()>>(), 8);
        assert_eq!(size_of::<Envelope<u64, u64>>(), 16);
        assert_eq!(size_of::<Envelope<&str, ()>>(), 16);
        assert_eq!(size_of::<Envelope<String, String>>(), 24);
        assert_eq!(size_of::<Message<u64>>(), 56);
    }
}
