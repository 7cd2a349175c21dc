//! What the copies of a message have beside their payload, and where they get it from.

use std::sync::Arc;

use super::Responder;
use crate::metadata::Properties;

/// What few messages have beside their payload.
pub(crate) enum Metadata<R> {
    /// Of a request. Its properties are in the slot.
    Request(Responder<R>),
    /// Of a message that is no request.
    Message(Arc<Properties>),
}

impl<R> Metadata<R> {
    /// The same for one more copy.
    pub(crate) fn another(&self) -> Self {
        match self {
            Self::Request(responder) => Self::Request(responder.another()),
            Self::Message(properties) => Self::Message(Arc::clone(properties)),
        }
    }

    pub(crate) fn responder(&self) -> Option<&Responder<R>> {
        match self {
            Self::Request(responder) => Some(responder),
            Self::Message(_) => None,
        }
    }

    pub(crate) fn properties(&self) -> Option<&Arc<Properties>> {
        match self {
            Self::Request(responder) => responder.properties(),
            Self::Message(properties) => Some(properties),
        }
    }

    /// What an observer's copy has: everything but the right to answer.
    pub(crate) fn for_observer(&self) -> Option<Self> {
        self.properties().map(|properties| Self::Message(Arc::clone(properties)))
    }
}

/// Where the copies of one message get their metadata from.
pub(crate) trait MetadataSource<R> {
    /// That of one more copy, when the original has this.
    fn another(&self, original: Option<&Metadata<R>>) -> Option<Metadata<R>>;
    /// The properties of the original, which has this.
    fn properties<'a>(&self, original: Option<&'a Metadata<R>>) -> Option<&'a Arc<Properties>> {
        original?.properties()
    }
    /// A copy was made and not needed; it must not count as one that went without answering.
    fn unused(&self, metadata: Option<Metadata<R>>);
}

/// Of a bare message.
pub(crate) struct NoMetadata;

impl<R> MetadataSource<R> for NoMetadata {
    fn another(&self, _: Option<&Metadata<R>>) -> Option<Metadata<R>> {
        None
    }

    fn properties<'a>(&self, _: Option<&'a Metadata<R>>) -> Option<&'a Arc<Properties>> {
        None
    }

    fn unused(&self, _: Option<Metadata<R>>) {}
}

/// All copies have the same: the properties of the message, or a right to answer the request.
pub(crate) struct SharedMetadata;

impl<R> MetadataSource<R> for SharedMetadata {
    fn another(&self, original: Option<&Metadata<R>>) -> Option<Metadata<R>> {
        original.map(Metadata::another)
    }

    fn unused(&self, _: Option<Metadata<R>>) {}
}
