//! The crossbeam channel behind a mailbox, in the three shapes that it needs, made when it is first used.
//!
//! A subscription to one topic knows the topic of all it receives, so its queue carries envelopes alone. A subscription
//! to a pattern, or to several topics, needs the topic with every message. A large payload waits in a box, with its topic.
//!
//! A channel has memory for as many messages as it may hold, 20 KiB for a pattern with room for 256. A mailbox to which no
//! route was ever found, and in which no thread has slept, does without.

use crate::message::{BoxedMessage, Envelope, is_large};
use crate::sync::channel::{
    Receiver, RecvTimeoutError, Select, SelectedOperation, SendError, Sender, TryRecvError, TrySendError, bounded,
};
use crate::sync::{Instant, Mutex, OnceLock};
use crate::topic::Topic;

pub(crate) type Addressed<T, R> = (Topic, Envelope<T, R>);

type OneTopic<T, R> = (Topic, Receiver<Envelope<T, R>>);
type ManyTopics<T, R> = Receiver<Addressed<T, R>>;

pub(crate) struct QueueSender<T, R> {
    /// Not for large payloads: there it leads nowhere.
    by_value: ByValue<T, R>,
    /// For large payloads alone.
    // Not a third variant beside the others, which would cost each mailbox of each publish 3 instructions.
    large: Option<Sender<BoxedMessage<T, R>>>,
}

enum ByValue<T, R> {
    OneTopic(Sender<Envelope<T, R>>),
    ManyTopics(Sender<Addressed<T, R>>),
}

/// The receiving end, and the making of both.
// A cell for each shape, so that whether it is there and which it is are one look.
pub(crate) struct QueueReceiver<T, R> {
    one_topic: OnceLock<OneTopic<T, R>>,
    many_topics: OnceLock<ManyTopics<T, R>>,
    /// The only one for large payloads, and never there for others.
    large: OnceLock<Receiver<BoxedMessage<T, R>>>,
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
    fn large(sender: Sender<BoxedMessage<T, R>>) -> Self {
        Self { by_value: ByValue::OneTopic(bounded(0).0), large: Some(sender) }
    }

    fn by_value(by_value: ByValue<T, R>) -> Self {
        Self { by_value, large: None }
    }

    /// Hands the envelope back if the queue is full.
    // Always, as `MailboxSender::put`, which calls it.
    #[inline(always)]
    pub(crate) fn try_send(&self, topic: &Topic, envelope: Envelope<T, R>) -> Result<(), Envelope<T, R>> {
        if const { is_large::<T>() } {
            return self.try_send_large(topic, envelope);
        }
        // The mailbox keeps a receiver, so a channel is never found disconnected here.
        match &self.by_value {
            ByValue::OneTopic(sender) => sender.try_send(envelope).map_err(TrySendError::into_inner),
            ByValue::ManyTopics(sender) => {
                sender.try_send((topic.clone(), envelope)).map_err(|error| error.into_inner().1)
            }
        }
    }

    #[inline(never)]
    fn try_send_large(&self, topic: &Topic, envelope: Envelope<T, R>) -> Result<(), Envelope<T, R>> {
        let Some(sender) = &self.large else { return Err(envelope) };
        let boxed = envelope.into_boxed(topic.clone());
        sender.try_send(boxed).map_err(|error| error.into_inner().into_addressed().1)
    }

    pub(crate) fn is_full(&self) -> bool {
        match (&self.large, &self.by_value) {
            (Some(sender), _) => sender.is_full(),
            (None, ByValue::OneTopic(sender)) => sender.is_full(),
            (None, ByValue::ManyTopics(sender)) => sender.is_full(),
        }
    }

    pub(crate) fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        match (&self.large, &self.by_value) {
            (Some(sender), _) => select.send(sender),
            (None, ByValue::OneTopic(sender)) => select.send(sender),
            (None, ByValue::ManyTopics(sender)) => select.send(sender),
        }
    }

    /// Sends through a registered sender that a `select` has chosen.
    pub(crate) fn complete(
        &self,
        operation: SelectedOperation<'_>,
        topic: &Topic,
        envelope: Envelope<T, R>,
    ) -> Result<(), Envelope<T, R>> {
        match (&self.large, &self.by_value) {
            (Some(sender), _) => {
                let boxed = envelope.into_boxed(topic.clone());
                operation.send(sender, boxed).map_err(|error| error.into_inner().into_addressed().1)
            }
            (None, ByValue::OneTopic(sender)) => operation.send(sender, envelope).map_err(SendError::into_inner),
            (None, ByValue::ManyTopics(sender)) => {
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
        Self { one_topic: OnceLock::new(), many_topics: OnceLock::new(), large: OnceLock::new(), capacity, topic, made }
    }

    /// Makes the channel; under the lock, so that who finds it made finds it in its cell.
    fn make(&self) -> QueueSender<T, R> {
        // Nobody else sets the cells.
        match &self.topic {
            _ if const { is_large::<T>() } => {
                let (sender, receiver) = bounded(self.capacity);
                let _ = self.large.set(receiver);
                QueueSender::large(sender)
            }
            Some(topic) => {
                let (sender, receiver) = bounded(self.capacity);
                let _ = self.one_topic.set((topic.clone(), receiver));
                QueueSender::by_value(ByValue::OneTopic(sender))
            }
            None => {
                let (sender, receiver) = bounded(self.capacity);
                let _ = self.many_topics.set(receiver);
                QueueSender::by_value(ByValue::ManyTopics(sender))
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

    /// The channel for large payloads, made if need be.
    fn large_end(&self) -> &Receiver<BoxedMessage<T, R>> {
        loop {
            if let Some(receiver) = self.large.get() {
                return receiver;
            }
            self.make_for_reader();
        }
    }

    pub(crate) fn recv(&self) -> Result<Addressed<T, R>, Disconnected> {
        if const { is_large::<T>() } {
            return self.large_end().recv().map(BoxedMessage::into_addressed).map_err(|_| Disconnected);
        }
        match self.ends() {
            Ok((topic, receiver)) => receiver.recv().map(|envelope| (topic.clone(), envelope)),
            Err(receiver) => receiver.recv(),
        }
        .map_err(|_| Disconnected)
    }

    #[inline]
    pub(crate) fn try_recv(&self) -> Result<Addressed<T, R>, TryRecvError> {
        if const { is_large::<T>() } {
            return self.try_recv_boxed().map(BoxedMessage::into_addressed);
        }
        if let Some((topic, receiver)) = self.one_topic.get() {
            receiver.try_recv().map(|envelope| (topic.clone(), envelope))
        } else if let Some(receiver) = self.many_topics.get() {
            receiver.try_recv()
        } else {
            self.try_recv_first()
        }
    }

    /// As `try_recv`, for large payloads, which stay in their boxes.
    pub(crate) fn try_recv_boxed(&self) -> Result<BoxedMessage<T, R>, TryRecvError> {
        if const { !is_large::<T>() } {
            return self.try_recv().map(|(topic, envelope)| envelope.into_boxed(topic));
        }
        if self.large.get().is_none() {
            self.look_first()?;
        }
        self.large_end().try_recv()
    }

    /// Looks under the lock: what this thread has marked before is seen by who puts the first message in later. An error if
    /// no channel is made.
    fn look_first(&self) -> Result<(), TryRecvError> {
        match &*self.made.lock() {
            Made::Nothing => Err(TryRecvError::Empty),
            Made::SenderGone => Err(TryRecvError::Disconnected),
            Made::SenderFor(_) | Made::All => Ok(()),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_recv_first(&self) -> Result<Addressed<T, R>, TryRecvError> {
        self.look_first()?;
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
        if const { is_large::<T>() } {
            return other(self.try_recv());
        }
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
        if const { is_large::<T>() } {
            return self.large_end().recv_deadline(deadline).map(BoxedMessage::into_addressed);
        }
        match self.ends() {
            Ok((topic, receiver)) => receiver.recv_deadline(deadline).map(|envelope| (topic.clone(), envelope)),
            Err(receiver) => receiver.recv_deadline(deadline),
        }
    }

    pub(crate) fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        if const { is_large::<T>() } {
            return select.recv(self.large_end());
        }
        match self.ends() {
            Ok((_, receiver)) => select.recv(receiver),
            Err(receiver) => select.recv(receiver),
        }
    }

    /// Takes what a `select` over a registered receiver has chosen. Panics if the operation belongs to another one.
    pub(crate) fn complete(&self, operation: SelectedOperation<'_>) -> Result<Addressed<T, R>, Disconnected> {
        if const { is_large::<T>() } {
            let received = operation.recv(self.large_end());
            return received.map(BoxedMessage::into_addressed).map_err(|_| Disconnected);
        }
        match self.ends() {
            Ok((topic, receiver)) => operation.recv(receiver).map(|envelope| (topic.clone(), envelope)),
            Err(receiver) => operation.recv(receiver),
        }
        .map_err(|_| Disconnected)
    }

    pub(crate) fn len(&self) -> usize {
        self.len_if_made().unwrap_or_else(|| {
            // As `look_first`: a task has marked that it waits, and looks once more.
            drop(self.made.lock());
            self.len_if_made().unwrap_or(0)
        })
    }

    #[inline]
    fn len_if_made(&self) -> Option<usize> {
        if let Some((_, receiver)) = self.one_topic.get() {
            Some(receiver.len())
        } else if let Some(receiver) = self.many_topics.get() {
            Some(receiver.len())
        } else {
            self.large.get().map(Receiver::len)
        }
    }
}
