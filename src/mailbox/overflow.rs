//! Every decision about a message for a full mailbox, for publishers that are threads or tasks.

use std::sync::Arc;

use super::{Mailbox, MailboxSender, MailboxState, send_flag};
use crate::dead_letter::{DeadLetter, DeadLetterReason};
use crate::lifecycle::{CountGuard, this_thread_serves};
use crate::message::Outgoing;
use crate::metadata::Properties;
use crate::request::{Metadata, MetadataSource};
use crate::sync::atomic::Ordering;
use crate::topic::Topic;

/// The policy of a mailbox for a message that finds it full.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Overflow};
///
/// let bus = Bus::<u32>::new();
/// let latest = bus.subscription("price").capacity(1).overflow(Overflow::DropOldest).open()?;
/// bus.publish("price", 1)?;
/// bus.publish("price", 2)?;
/// assert_eq!(*latest.recv()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The publisher waits for room. Nothing is lost, unless the publisher chose not to wait, or would wait for itself:
    /// it is the handler that has to make the room.
    #[default]
    Block,
    /// The new message is dropped for this mailbox, and counted; the queue stays as it is.
    DropNewest,
    /// The oldest message in the queue is dropped, and counted; the new one always gets in.
    DropOldest,
    /// The new message is dropped, and counted, and the subscription ends: the subscriber gets what is queued, then
    /// `Overflowed`. A handler's threads end there, and a group is gone.
    Disconnect,
}

/// The outcome of offering a message to a mailbox.
pub(crate) enum Offer<T, R> {
    /// Enqueued, after evicting `evicted` older messages.
    Enqueued { evicted: usize },
    /// The mailbox is full and blocks: the publisher may wait.
    Full(Outgoing<T, R>),
    /// Its policy dropped the message.
    Lost(Outgoing<T, R>, DeadLetterReason),
    /// The mailbox no longer takes messages.
    Gone(Outgoing<T, R>),
    /// The bus is closed.
    Closed(Outgoing<T, R>),
}

/// The way of a message into a mailbox, as far as one look at its flags shows.
enum Admission {
    /// There may be room.
    Open,
    /// The message gets in for sure, after evicting the oldest if need be.
    Evicting,
    /// There is no room, and its policy drops the message.
    Refused,
    /// The message is to be [offered](MailboxSender::offer).
    Undecided,
}

/// The outcome of a first look at a mailbox.
pub(crate) enum AtOnce<T, R> {
    Enqueued,
    /// Enqueued, after evicting this number of older messages.
    Evicting(usize),
    /// Enqueued, after evicting this number of older messages. A task waits for it, which is to be woken when the other
    /// mailboxes have it too.
    TaskWaits(usize),
    /// Dropped and counted, by its policy.
    Dropped,
    /// Nothing: the message is to be offered. A copy that was made for nothing comes back.
    Undecided(Option<Outgoing<T, R>>),
}

/// Whether a publisher may wait for room in a mailbox.
pub(crate) enum Permit<T, R> {
    /// It may. If it is the mailbox's own handler, it counts as a reader that takes nothing out while this is kept.
    Granted(Option<CountGuard<Mailbox<T, R>>>),
    /// No reader but itself is left to make the room.
    SelfDeadlock,
}

impl<T: Clone, R> MailboxSender<T, R> {
    /// Enqueues a copy of the message, or drops it by the mailbox's policy, if one look says which.
    #[inline(always)]
    pub(crate) fn put_copy<S: MetadataSource<R>>(
        &self,
        topic: &Topic,
        payload: &T,
        own: &S::Own,
        source: &S,
    ) -> AtOnce<T, R> {
        let copy = || Outgoing { payload: payload.clone(), metadata: source.another(S::as_metadata(own)) };
        // The look comes before the copy, so that a refusal costs none. A `Clone` that ends the mailbox comes too late:
        // its copy is abandoned, as if another thread had done it.
        match self.admission() {
            Admission::Open => match self.put(topic, copy()) {
                Ok(()) if self.after_enqueue() => AtOnce::TaskWaits(0),
                Ok(()) => AtOnce::Enqueued,
                Err(copy) => AtOnce::Undecided(Some(copy)),
            },
            Admission::Evicting => match self.push_evicting(topic, copy()) {
                (evicted, false) => AtOnce::Evicting(evicted),
                (evicted, true) => AtOnce::TaskWaits(evicted),
            },
            Admission::Refused => {
                let properties = S::as_metadata(own).and_then(Metadata::properties);
                self.mailbox.lost(topic, payload, properties, DeadLetterReason::Full);
                AtOnce::Dropped
            }
            Admission::Undecided => AtOnce::Undecided(None),
        }
    }

    /// Enqueues the message itself, if one look says that it gets in, and wakes the tasks that wait for it: no other mailbox
    /// is left. Returns the number of messages evicted for it; or the message, which then is to be offered.
    #[inline(always)]
    pub(crate) fn put_original<S: MetadataSource<R>>(
        &self,
        topic: &Topic,
        payload: T,
        own: S::Own,
    ) -> Result<usize, Outgoing<T, R>> {
        match self.admission() {
            Admission::Open => {
                self.put(topic, Outgoing { payload, metadata: S::metadata(own) })?;
                if self.after_enqueue() {
                    self.mailbox.wake_receivers();
                }
                Ok(0)
            }
            Admission::Evicting => {
                let (evicted, task_waits) = self.push_evicting(topic, Outgoing { payload, metadata: S::metadata(own) });
                if task_waits {
                    self.mailbox.wake_receivers();
                }
                Ok(evicted)
            }
            Admission::Refused | Admission::Undecided => Err(Outgoing { payload, metadata: S::metadata(own) }),
        }
    }

    #[inline]
    fn admission(&self) -> Admission {
        match self.mailbox.send_flags.load(Ordering::Relaxed) & !send_flag::TASKS_WAIT {
            0 => Admission::Open,
            flags => self.closer_admission(flags),
        }
    }

    #[inline(never)]
    fn closer_admission(&self, flags: u8) -> Admission {
        let mailbox = &*self.mailbox;
        match mailbox.options.overflow {
            _ if flags & send_flag::ENDED != 0 => Admission::Undecided,
            Overflow::DropOldest => Admission::Evicting,
            // What has just lost a message is likely to be full still.
            Overflow::DropNewest if mailbox.has_unreported_refusals() && self.is_full() => Admission::Refused,
            _ if flags & send_flag::SPECIAL != 0 || mailbox.has_unreported_refusals() => Admission::Undecided,
            _ => Admission::Open,
        }
    }

    /// Offers the message without waiting. A full mailbox that blocks loses it, unless the publisher may wait.
    ///
    /// It wakes no task that waits for the message, see [`Mailbox::wake_for_message`].
    pub(crate) fn offer(&self, topic: &Topic, outgoing: Outgoing<T, R>, may_wait: bool) -> Offer<T, R> {
        if self.mailbox.has_ended() {
            return self.mailbox.ended(outgoing);
        }
        if self.mailbox.options.overflow == Overflow::DropOldest {
            let (evicted, _) = self.push_evicting(topic, outgoing);
            return Offer::Enqueued { evicted };
        }
        // No envelope is made for a queue that will not take it: reporting losses needs an allocation.
        if self.mailbox.has_unreported_refusals() && self.is_full() {
            return self.full(outgoing, may_wait);
        }
        match self.try_send(topic, self.envelope(outgoing)) {
            Ok(()) => {
                let _ = self.after_enqueue();
                Offer::Enqueued { evicted: 0 }
            }
            Err(back) => self.full(self.unpack(back), may_wait),
        }
    }

    pub(super) fn full(&self, outgoing: Outgoing<T, R>, may_wait: bool) -> Offer<T, R> {
        self.mailbox.record_full();
        match self.mailbox.options.overflow {
            Overflow::Block if may_wait => Offer::Full(outgoing),
            Overflow::Disconnect => {
                if self.mailbox.finish(MailboxState::Overflowed) {
                    Offer::Lost(outgoing, DeadLetterReason::Overflowed)
                } else {
                    Offer::Gone(outgoing)
                }
            }
            Overflow::Block | Overflow::DropNewest | Overflow::DropOldest => {
                Offer::Lost(outgoing, DeadLetterReason::Full)
            }
        }
    }
}

impl<T, R> Mailbox<T, R> {
    /// Asks whether this publisher may wait for room.
    pub(crate) fn permit_to_wait(self: &Arc<Self>) -> Permit<T, R> {
        if !this_thread_serves(self.id) {
            return Permit::Granted(None);
        }
        let paused = self.pause_reader();
        if self.is_stuck() { Permit::SelfDeadlock } else { Permit::Granted(Some(paused)) }
    }

    /// Counts this thread, which serves the mailbox, as a reader that takes nothing out, until the guard is dropped.
    pub(crate) fn pause_reader(self: &Arc<Self>) -> CountGuard<Self> {
        let counted = CountGuard::one(self, |mailbox| &mailbox.paused_readers);
        self.wake_if_stuck();
        counted
    }

    /// Whether no reader will take anything out until another thread does something.
    pub(crate) fn is_stuck(&self) -> bool {
        // SeqCst pairs with `CountGuard`, `join` and `readers_left`.
        self.paused_readers.load(Ordering::SeqCst) >= self.readers.load(Ordering::SeqCst)
    }

    /// Wakes the publishers if no reader takes anything out: a task that waits for room in its own mailbox looks then.
    pub(crate) fn wake_if_stuck(&self) {
        if self.is_stuck() {
            self.wake_publishers();
        }
    }
}

impl<T: Clone, R> Mailbox<T, R> {
    /// Counts a message that this mailbox will never get, and posts a dead letter if anybody listens.
    pub(crate) fn lost(
        &self,
        topic: &Topic,
        payload: &T,
        properties: Option<&Arc<Properties>>,
        reason: DeadLetterReason,
    ) {
        self.count_refusal();
        if let Some(loss) = reason.loss() {
            self.losses.dropped.add(loss);
        }
        if self.losses.is_listening() {
            let letter = DeadLetter::new(topic.clone(), payload.clone(), reason, properties.cloned());
            self.losses.post(letter.to(self.recipient(topic)));
        }
    }
}
