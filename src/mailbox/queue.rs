//! The crossbeam channel behind a mailbox, in the two shapes that it needs, made when it is first used.
//!
//! A subscription to one topic knows the topic of all it receives, so its queue carries envelopes alone. A subscription
//! to a pattern, or to several topics, needs the topic with every message.
//!
//! A channel has memory for as many messages as it may hold, 20 KiB for a pattern with room for 256. A mailbox to which no
//! route was ever found, and in which no thread has slept, does without.

use crate::message::Envelope;
use crate::sync::channel::{
    Receiver, RecvTimeoutError, Select, SelectedOperation, SendError, Sender, TryRecvError, TrySendError, bounded,
};
use crate::sync::{Instant, Mutex, OnceLock};
use crate::topic::Topic;

pub(crate) type Addressed<T, R> = (Topic, Envelope<T, R>);

type OneTopic<T, R> = (Topic, Receiver<Envelope<T, R>>);
type ManyTopics<T, R> = Receiver<Addressed<T, R>>;

pub(crate) enum QueueSender<T, R> {
    OneTopic(Sender<Envelope<T, R>>),
    ManyTopics(Sender<Addressed<T, R>>),
}

/// The receiving end, and the making of both.
// A cell for each shape, so that whether it is there and which it is are one look.
pub(crate) struct QueueReceiver<T, R> {
    one_topic: OnceLock<OneTopic<T, R>>,
    many_topics: OnceLock<ManyTopics<T, R>>,
    capacity: usize,
    /// The topic of all messages, if they have but one.
    topic: Option<Topic>,
    made: Mutex<Made<T, R>>,
}

enum Made<T, R> {
    Nothing,
    /// A reader has made the channel; its sender is to be had here.
    SenderFor(QueueSender<T, R>),
    All,
    /// Nothing, and nothing will be put in.
    SenderGone,
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
    /// A queue for messages of `topic`, or of many topics.
    pub(super) fn new(capacity: usize, topic: Option<Topic>) -> Self {
        let made = Mutex::new(Made::Nothing);
        Self { one_topic: OnceLock::new(), many_topics: OnceLock::new(), capacity, topic, made }
    }

    /// Makes the channel; under the lock, so that who finds it made finds it in its cell.
    fn make(&self) -> QueueSender<T, R> {
        // Nobody else sets the cells.
        match &self.topic {
            Some(topic) => {
                let (sender, receiver) = bounded(self.capacity);
                let _ = self.one_topic.set((topic.clone(), receiver));
                QueueSender::OneTopic(sender)
            }
            None => {
                let (sender, receiver) = bounded(self.capacity);
                let _ = self.many_topics.set(receiver);
                QueueSender::ManyTopics(sender)
            }
        }
    }

    /// Hands the sender out, once, to who runs under the lock.
    pub(super) fn take_sender(&self, take: impl FnOnce(QueueSender<T, R>)) {
        let mut made = self.made.lock();
        match std::mem::replace(&mut *made, Made::All) {
            Made::Nothing => take(self.make()),
            Made::SenderFor(sender) => take(sender),
            Made::All | Made::SenderGone => {}
        }
    }

    /// Puts something in before anybody else has the queue.
    pub(super) fn with_sender(&mut self, put: impl FnOnce(&QueueSender<T, R>)) {
        let mut made = self.made.lock();
        if matches!(&*made, Made::Nothing) {
            *made = Made::SenderFor(self.make());
        }
        if let Made::SenderFor(sender) = &*made {
            put(sender);
        }
    }

    /// Nobody will take the sender.
    pub(super) fn sender_gone(&self) {
        let mut made = self.made.lock();
        let unneeded = match &*made {
            Made::Nothing => std::mem::replace(&mut *made, Made::SenderGone),
            // Whoever sleeps at the channel sees the end when this goes.
            Made::SenderFor(_) => std::mem::replace(&mut *made, Made::All),
            Made::All | Made::SenderGone => return,
        };
        drop(made);
        drop(unneeded);
    }

    /// The channel, made if need be: to sleep at it, or to see its end.
    #[cold]
    #[inline(never)]
    fn make_for_reader(&self) {
        let mut made = self.made.lock();
        match &*made {
            Made::Nothing => *made = Made::SenderFor(self.make()),
            Made::SenderGone => {
                drop(self.make());
                *made = Made::All;
            }
            Made::SenderFor(_) | Made::All => {}
        }
    }

    /// The channel, made if need be.
    fn ends(&self) -> Result<&OneTopic<T, R>, &ManyTopics<T, R>> {
        loop {
            match (self.one_topic.get(), self.many_topics.get()) {
                (Some(one), _) => return Ok(one),
                (None, Some(receiver)) => return Err(receiver),
                (None, None) => self.make_for_reader(),
            }
        }
    }

    pub(crate) fn recv(&self) -> Result<Addressed<T, R>, Disconnected> {
        match self.ends() {
            Ok((topic, receiver)) => receiver.recv().map(|envelope| (topic.clone(), envelope)),
            Err(receiver) => receiver.recv(),
        }
        .map_err(|_| Disconnected)
    }

    #[inline]
    pub(crate) fn try_recv(&self) -> Result<Addressed<T, R>, TryRecvError> {
        if let Some((topic, receiver)) = self.one_topic.get() {
            receiver.try_recv().map(|envelope| (topic.clone(), envelope))
        } else if let Some(receiver) = self.many_topics.get() {
            receiver.try_recv()
        } else {
            self.try_recv_first()
        }
    }

    /// Looks under the lock: what this thread has marked before is seen by who puts the first message in later.
    #[cold]
    #[inline(never)]
    fn try_recv_first(&self) -> Result<Addressed<T, R>, TryRecvError> {
        match &*self.made.lock() {
            Made::Nothing => return Err(TryRecvError::Empty),
            Made::SenderGone => return Err(TryRecvError::Disconnected),
            Made::SenderFor(_) | Made::All => {}
        }
        match self.ends() {
            Ok((topic, receiver)) => receiver.try_recv().map(|envelope| (topic.clone(), envelope)),
            Err(receiver) => receiver.try_recv(),
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
        if let Some((topic, receiver)) = self.one_topic.get() {
            match receiver.try_recv() {
                Ok(Envelope::Plain(payload)) if topic.is_short() && is_plain() => plain(topic.clone(), payload),
                Ok(envelope) => other(Ok((topic.clone(), envelope))),
                Err(error) => other(Err(error)),
            }
        } else if let Some(receiver) = self.many_topics.get() {
            match receiver.try_recv() {
                Ok((topic, Envelope::Plain(payload))) if topic.is_short() && is_plain() => plain(topic, payload),
                item => other(item),
            }
        } else {
            other(self.try_recv_first())
        }
    }

    pub(crate) fn recv_deadline(&self, deadline: Instant) -> Result<Addressed<T, R>, RecvTimeoutError> {
        match self.ends() {
            Ok((topic, receiver)) => receiver.recv_deadline(deadline).map(|envelope| (topic.clone(), envelope)),
            Err(receiver) => receiver.recv_deadline(deadline),
        }
    }

    pub(crate) fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        match self.ends() {
            Ok((_, receiver)) => select.recv(receiver),
            Err(receiver) => select.recv(receiver),
        }
    }

    /// Takes what a `select` over a registered receiver has chosen. Panics if the operation belongs to another one.
    pub(crate) fn complete(&self, operation: SelectedOperation<'_>) -> Result<Addressed<T, R>, Disconnected> {
        match self.ends() {
            Ok((topic, receiver)) => operation.recv(receiver).map(|envelope| (topic.clone(), envelope)),
            Err(receiver) => operation.recv(receiver),
        }
        .map_err(|_| Disconnected)
    }

    pub(crate) fn len(&self) -> usize {
        if let Some((_, receiver)) = self.one_topic.get() {
            receiver.len()
        } else if let Some(receiver) = self.many_topics.get() {
            receiver.len()
        } else {
            0
        }
    }
}
