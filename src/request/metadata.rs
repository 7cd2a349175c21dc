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
    /// The metadata of the original on its way at once: nothing at all, if it is known that there is none. An option that is
    /// never filled would be written and looked at for each message.
    type Own;

    fn own(metadata: Option<Metadata<R>>) -> Self::Own;
    fn metadata(own: Self::Own) -> Option<Metadata<R>>;
    fn as_metadata(own: &Self::Own) -> Option<&Metadata<R>>;
    /// That of one more copy, when the original has this.
    fn another(&self, original: Option<&Metadata<R>>) -> Option<Metadata<R>>;
    /// A copy was made and not needed; it must not count as one that went without answering.
    fn unused(&self, metadata: Option<Metadata<R>>);
}

/// Of a bare message.
pub(crate) struct NoMetadata;

impl<R> MetadataSource<R> for NoMetadata {
    type Own = ();

    #[inline(always)]
    fn own(_: Option<Metadata<R>>) {}

    #[inline(always)]
    fn metadata(_own: ()) -> Option<Metadata<R>> {
        None
    }

    #[inline(always)]
    fn as_metadata(_: &()) -> Option<&Metadata<R>> {
        None
    }

    fn another(&self, _: Option<&Metadata<R>>) -> Option<Metadata<R>> {
        None
    }

    fn unused(&self, _: Option<Metadata<R>>) {}
}

/// All copies have the same: the properties of the message, or a right to answer the request.
pub(crate) struct SharedMetadata;

impl<R> MetadataSource<R> for SharedMetadata {
    type Own = Option<Metadata<R>>;

    #[inline(always)]
    fn own(metadata: Option<Metadata<R>>) -> Self::Own {
        metadata
    }

    #[inline(always)]
    fn metadata(own: Self::Own) -> Option<Metadata<R>> {
        own
    }

    #[inline(always)]
    fn as_metadata(own: &Self::Own) -> Option<&Metadata<R>> {
        own.as_ref()
    }

    fn another(&self, original: Option<&Metadata<R>>) -> Option<Metadata<R>> {
        original.map(Metadata::another)
    }

    fn unused(&self, _: Option<Metadata<R>>) {}
}
