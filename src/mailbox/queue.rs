//! The crossbeam channel behind a mailbox, in the two shapes that it needs, made when it is first used.
//!
//! A subscription to one topic knows the topic of all it receives, so its queue carries envelopes alone. A subscription
//! to a pattern, or to several topics, needs the topic with every message.
//!
//! A channel has memory for as many messages as it may hold, 20 KiB for a pattern with room for 256. A mailbox that has
//! never had a message, and in which no thread has slept, does without: whichever of its two ends needs the channel first
//! makes it, and leaves the other's half for it.

use std::sync::{Arc, OnceLock};

use crate::message::Envelope;
use crate::sync::channel::{
    Receiver, RecvTimeoutError, Select, SelectedOperation, SendError, Sender, TryRecvError, TrySendError, bounded,
};
use crate::sync::{Instant, Mutex};
use crate::topic::Topic;

pub(crate) type Addressed<T, R> = (Topic, Envelope<T, R>);

// A cell for each shape, so that whether it is there and which it is are one look.
pub(crate) struct QueueSender<T, R> {
    one_topic: OnceLock<Sender<Envelope<T, R>>>,
    many_topics: OnceLock<Sender<Addressed<T, R>>>,
    making: Arc<Making<T, R>>,
}

pub(crate) struct QueueReceiver<T, R> {
    one_topic: OnceLock<(Topic, Receiver<Envelope<T, R>>)>,
    many_topics: OnceLock<Receiver<Addressed<T, R>>>,
    making: Arc<Making<T, R>>,
}

/// How to make the channel, and what has been made.
struct Making<T, R> {
    capacity: usize,
    /// The topic of all messages, if they have but one.
    topic: Option<Topic>,
    made: Mutex<Made<T, R>>,
}

enum Made<T, R> {
    Nothing,
    /// The other end has its half.
    For(Half<T, R>),
    /// There is nothing to be had: each end has its half, or has gone.
    All,
    /// The sender is gone, and has put nothing in.
    SenderGone,
}

enum Half<T, R> {
    SendOne(Sender<Envelope<T, R>>),
    SendMany(Sender<Addressed<T, R>>),
    RecvOne(Receiver<Envelope<T, R>>),
    RecvMany(Receiver<Addressed<T, R>>),
}

/// A queue for messages of `topic`, or of many topics.
pub(crate) fn queue<T, R>(capacity: usize, topic: Option<Topic>) -> (QueueSender<T, R>, QueueReceiver<T, R>) {
    let making = Arc::new(Making { capacity, topic, made: Mutex::new(Made::Nothing) });
    let sender = QueueSender { one_topic: OnceLock::new(), many_topics: OnceLock::new(), making: Arc::clone(&making) };
    (sender, QueueReceiver { one_topic: OnceLock::new(), many_topics: OnceLock::new(), making })
}

impl<T, R> Making<T, R> {
    /// Makes the channel: the halves of the sender and of the receiver.
    fn make(&self) -> (Half<T, R>, Half<T, R>) {
        if self.topic.is_some() {
            let (sender, receiver) = bounded(self.capacity);
            (Half::SendOne(sender), Half::RecvOne(receiver))
        } else {
            let (sender, receiver) = bounded(self.capacity);
            (Half::SendMany(sender), Half::RecvMany(receiver))
        }
    }
}

impl<T, R> QueueSender<T, R> {
    /// Gets the channel, which is made if need be.
    #[cold]
    #[inline(never)]
    fn get(&self) {
        let mut made = self.making.made.lock();
        let half = match std::mem::replace(&mut *made, Made::All) {
            Made::For(half) => half,
            // Another thread has been here.
            Made::All | Made::SenderGone => return,
            Made::Nothing => {
                let (half, other) = self.making.make();
                *made = Made::For(other);
                half
            }
        };
        // Under the lock: who finds nothing to be had finds it here.
        match half {
            Half::SendOne(sender) => drop(self.one_topic.set(sender)),
            Half::SendMany(sender) => drop(self.many_topics.set(sender)),
            // The receiver's, which has not come for it.
            half @ (Half::RecvOne(_) | Half::RecvMany(_)) => *made = Made::For(half),
        }
    }

    /// Hands the envelope back if the queue is full.
    // Always, as `MailboxSender::put`, which calls it.
    #[inline(always)]
    pub(crate) fn try_send(&self, topic: &Topic, envelope: Envelope<T, R>) -> Result<(), Envelope<T, R>> {
        // The mailbox keeps a receiver, so a channel is never found disconnected here.
        if let Some(sender) = self.one_topic.get() {
            sender.try_send(envelope).map_err(TrySendError::into_inner)
        } else {
            self.try_send_many(topic, envelope)
        }
    }

    #[inline]
    fn try_send_many(&self, topic: &Topic, envelope: Envelope<T, R>) -> Result<(), Envelope<T, R>> {
        match self.many_topics.get() {
            Some(sender) => sender.try_send((topic.clone(), envelope)).map_err(|error| error.into_inner().1),
            None => self.try_send_first(topic, envelope),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_send_first(&self, topic: &Topic, envelope: Envelope<T, R>) -> Result<(), Envelope<T, R>> {
        self.get();
        match (self.one_topic.get(), self.many_topics.get()) {
            (Some(sender), _) => sender.try_send(envelope).map_err(TrySendError::into_inner),
            (None, Some(sender)) => sender.try_send((topic.clone(), envelope)).map_err(|error| error.into_inner().1),
            (None, None) => unreachable!("the channel was made"),
        }
    }

    /// The channel, made if need be.
    fn ends(&self) -> Result<&Sender<Envelope<T, R>>, &Sender<Addressed<T, R>>> {
        loop {
            match (self.one_topic.get(), self.many_topics.get()) {
                (Some(sender), _) => return Ok(sender),
                (None, Some(sender)) => return Err(sender),
                (None, None) => self.get(),
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.ends().map_or_else(Sender::is_full, Sender::is_full)
    }

    pub(crate) fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        match self.ends() {
            Ok(sender) => select.send(sender),
            Err(sender) => select.send(sender),
        }
    }

    /// Sends through a registered sender that a `select` has chosen.
    pub(crate) fn complete(
        &self,
        operation: SelectedOperation<'_>,
        topic: &Topic,
        envelope: Envelope<T, R>,
    ) -> Result<(), Envelope<T, R>> {
        match self.ends() {
            Ok(sender) => operation.send(sender, envelope).map_err(SendError::into_inner),
            Err(sender) => operation.send(sender, (topic.clone(), envelope)).map_err(|error| error.into_inner().1),
        }
    }
}

impl<T, R> Drop for QueueSender<T, R> {
    fn drop(&mut self) {
        let mut made = self.making.made.lock();
        let unneeded = match &*made {
            Made::Nothing => std::mem::replace(&mut *made, Made::SenderGone),
            // The receiver has made it, and sees the end when this goes.
            Made::For(Half::SendOne(_) | Half::SendMany(_)) => std::mem::replace(&mut *made, Made::All),
            Made::For(Half::RecvOne(_) | Half::RecvMany(_)) | Made::All | Made::SenderGone => return,
        };
        drop(made);
        drop(unneeded);
    }
}

/// Every sender is gone and the queue is empty.
pub(crate) struct Disconnected;

impl<T, R> QueueReceiver<T, R> {
    /// Gets the channel, if it has been made, or has to be: then also if the sender is gone.
    ///
    /// The lock orders it: what this thread has marked before is seen by who puts the first message in later.
    #[inline(never)]
    fn get(&self, make: bool) -> Result<(), TryRecvError> {
        let mut made = self.making.made.lock();
        let half = match std::mem::replace(&mut *made, Made::All) {
            Made::For(half @ (Half::RecvOne(_) | Half::RecvMany(_))) => half,
            Made::For(half) => {
                *made = Made::For(half);
                return Ok(());
            }
            Made::All => return Ok(()),
            Made::SenderGone if !make => {
                *made = Made::SenderGone;
                return Err(TryRecvError::Disconnected);
            }
            Made::SenderGone => self.making.make().1,
            Made::Nothing if !make => {
                *made = Made::Nothing;
                return Err(TryRecvError::Empty);
            }
            Made::Nothing => {
                let (other, half) = self.making.make();
                *made = Made::For(other);
                half
            }
        };
        match (half, &self.making.topic) {
            (Half::RecvOne(receiver), Some(topic)) => drop(self.one_topic.set((topic.clone(), receiver))),
            (Half::RecvMany(receiver), None) => drop(self.many_topics.set(receiver)),
            _ => unreachable!("the halves are those of `make`"),
        }
        Ok(())
    }

    /// The channel, made if need be.
    fn ends(&self) -> Result<&(Topic, Receiver<Envelope<T, R>>), &Receiver<Addressed<T, R>>> {
        loop {
            match (self.one_topic.get(), self.many_topics.get()) {
                (Some(one), _) => return Ok(one),
                (None, Some(receiver)) => return Err(receiver),
                // It finds nothing wrong when it is to make one.
                (None, None) => drop(self.get(true)),
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

    #[cold]
    #[inline(never)]
    fn try_recv_first(&self) -> Result<Addressed<T, R>, TryRecvError> {
        self.get(false)?;
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
            match &*self.making.made.lock() {
                Made::For(Half::RecvOne(receiver)) => receiver.len(),
                Made::For(Half::RecvMany(receiver)) => receiver.len(),
                _ => 0,
            }
        }
    }
}
