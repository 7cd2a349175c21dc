//! The crossbeam channel behind a mailbox, in the two shapes that it needs.
//!
//! A subscription to one topic knows the topic of all it receives, so its queue carries envelopes alone. A subscription
//! to a pattern, or to several topics, needs the topic with every message.

use crate::message::Envelope;
use crate::sync::Instant;
use crate::sync::channel::{
    Receiver, RecvTimeoutError, Select, SelectedOperation, SendError, Sender, TryRecvError, TrySendError, bounded,
};
use crate::topic::Topic;

pub(crate) type Addressed<T, R> = (Topic, Envelope<T, R>);

pub(crate) enum QueueSender<T, R> {
    OneTopic(Sender<Envelope<T, R>>),
    ManyTopics(Sender<Addressed<T, R>>),
}

pub(crate) enum QueueReceiver<T, R> {
    OneTopic(Topic, Receiver<Envelope<T, R>>),
    ManyTopics(Receiver<Addressed<T, R>>),
}

/// A queue for messages of `topic`, or of many topics.
pub(crate) fn queue<T, R>(capacity: usize, topic: Option<Topic>) -> (QueueSender<T, R>, QueueReceiver<T, R>) {
    match topic {
        Some(topic) => {
            let (sender, receiver) = bounded(capacity);
            (QueueSender::OneTopic(sender), QueueReceiver::OneTopic(topic, receiver))
        }
        None => {
            let (sender, receiver) = bounded(capacity);
            (QueueSender::ManyTopics(sender), QueueReceiver::ManyTopics(receiver))
        }
    }
}

impl<T, R> QueueSender<T, R> {
    /// Hands the envelope back if the queue is full.
    // Always, as `MailboxSender::put`, which calls it.
    #[inline(always)]
    pub(crate) fn try_send(&self, topic: &Topic, envelope: Envelope<T, R>) -> Result<(), Envelope<T, R>> {
        // The mailbox keeps a receiver, so a channel is never found disconnected here.
        match self {
            Self::OneTopic(sender) => sender.try_send(envelope).map_err(TrySendError::into_inner),
            Self::ManyTopics(sender) => {
                sender.try_send((topic.clone(), envelope)).map_err(|error| error.into_inner().1)
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::OneTopic(sender) => sender.is_full(),
            Self::ManyTopics(sender) => sender.is_full(),
        }
    }

    pub(crate) fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        match self {
            Self::OneTopic(sender) => select.send(sender),
            Self::ManyTopics(sender) => select.send(sender),
        }
    }

    /// Sends through a registered sender that a `select` has chosen.
    pub(crate) fn complete(
        &self,
        operation: SelectedOperation<'_>,
        topic: &Topic,
        envelope: Envelope<T, R>,
    ) -> Result<(), Envelope<T, R>> {
        match self {
            Self::OneTopic(sender) => operation.send(sender, envelope).map_err(SendError::into_inner),
            Self::ManyTopics(sender) => {
                operation.send(sender, (topic.clone(), envelope)).map_err(|error| error.into_inner().1)
            }
        }
    }
}

/// Every sender is gone and the queue is empty.
pub(crate) struct Disconnected;

impl<T, R> QueueReceiver<T, R> {
    #[inline]
    pub(crate) fn recv(&self) -> Result<Addressed<T, R>, Disconnected> {
        match self {
            Self::OneTopic(topic, receiver) => receiver.recv().map(|envelope| (topic.clone(), envelope)),
            Self::ManyTopics(receiver) => receiver.recv(),
        }
        .map_err(|_| Disconnected)
    }

    #[inline]
    pub(crate) fn try_recv(&self) -> Result<Addressed<T, R>, TryRecvError> {
        match self {
            Self::OneTopic(topic, receiver) => receiver.try_recv().map(|envelope| (topic.clone(), envelope)),
            Self::ManyTopics(receiver) => receiver.try_recv(),
        }
    }

    /// Like `try_recv`, but a bare payload with a short topic is opened by `plain` where it comes out of the channel.
    ///
    /// That is the usual message. Everything between the channel and the caller that is not seen through by the compiler
    /// moves it once more, which costs more than all else here. Hence the closures: matching on the queue in `receive.rs`
    /// takes 14 instructions less and 6 ns more, because the message is then written and read in pieces of other sizes.
    #[inline]
    pub(crate) fn try_recv_plain<A>(
        &self,
        is_plain: impl Fn() -> bool,
        plain: impl FnOnce(Topic, T) -> A,
        other: impl FnOnce(Result<Addressed<T, R>, TryRecvError>) -> A,
    ) -> A {
        match self {
            Self::OneTopic(topic, receiver) => match receiver.try_recv() {
                Ok(Envelope::Plain(payload)) if topic.is_short() && is_plain() => plain(topic.clone(), payload),
                Ok(envelope) => other(Ok((topic.clone(), envelope))),
                Err(error) => other(Err(error)),
            },
            Self::ManyTopics(receiver) => match receiver.try_recv() {
                Ok((topic, Envelope::Plain(payload))) if topic.is_short() && is_plain() => plain(topic, payload),
                item => other(item),
            },
        }
    }

    pub(crate) fn recv_deadline(&self, deadline: Instant) -> Result<Addressed<T, R>, RecvTimeoutError> {
        match self {
            Self::OneTopic(topic, receiver) => {
                receiver.recv_deadline(deadline).map(|envelope| (topic.clone(), envelope))
            }
            Self::ManyTopics(receiver) => receiver.recv_deadline(deadline),
        }
    }

    pub(crate) fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        match self {
            Self::OneTopic(_, receiver) => select.recv(receiver),
            Self::ManyTopics(receiver) => select.recv(receiver),
        }
    }

    /// Takes what a `select` over a registered receiver has chosen. Panics if the operation belongs to another one.
    pub(crate) fn complete(&self, operation: SelectedOperation<'_>) -> Result<Addressed<T, R>, Disconnected> {
        match self {
            Self::OneTopic(topic, receiver) => operation.recv(receiver).map(|envelope| (topic.clone(), envelope)),
            Self::ManyTopics(receiver) => operation.recv(receiver),
        }
        .map_err(|_| Disconnected)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::OneTopic(_, receiver) => receiver.len(),
            Self::ManyTopics(receiver) => receiver.len(),
        }
    }
}
