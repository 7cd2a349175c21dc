//! The sending side of a mailbox: offering, evicting, waiting for room.

use std::ops::Deref;
use std::sync::Arc;

use super::queue::{Addressed, QueueSender, queue};
use super::{End, Filter, Mailbox, MailboxOptions, Overflow, attention};
use crate::counters::Loss;
use crate::dead_letter::{DeadLetterReason, Losses};
use crate::lifecycle::this_thread_serves;
use crate::message::{Envelope, Parcel, Retained};
use crate::sync::atomic::Ordering;
use crate::sync::channel::Select;
use crate::sync::{Instant, MutexGuard};
use crate::topic::Topic;

/// The right to put messages into a mailbox.
pub(crate) struct MailboxSender<T, R> {
    /// Dropped first, so that a reader that is woken by the end of the other finds the end of the queue.
    queue: QueueSender<T, R>,
    pub(crate) mailbox: Sending<T, R>,
}

/// The mailbox of a sender; when that is dropped there is no other, and who waits for messages must know.
pub(crate) struct Sending<T, R>(Arc<Mailbox<T, R>>);

impl<T, R> Deref for Sending<T, R> {
    type Target = Arc<Mailbox<T, R>>;

    fn deref(&self) -> &Arc<Mailbox<T, R>> {
        &self.0
    }
}

impl<T, R> Drop for Sending<T, R> {
    fn drop(&mut self) {
        self.0.wake_receivers();
    }
}

/// What a mailbox made of a message.
pub(crate) enum Offer<T, R> {
    /// It is in; so many others had to go for it.
    Taken { evicted: usize },
    /// It blocks: worth waiting for.
    Full(Parcel<T, R>),
    /// Its policy dropped the message.
    Lost(Parcel<T, R>, DeadLetterReason),
    /// It takes no messages any more.
    Gone(Parcel<T, R>),
    /// The bus is closed.
    Closed(Parcel<T, R>),
}

/// What a message finds at a mailbox, as far as one look tells.
pub(crate) enum Way {
    /// There may be room: [`put`](MailboxSender::put) it in.
    Usual,
    /// It gets in for sure, for which the oldest may have to go.
    Evicting,
    /// There is no room, and nobody waits for it.
    Refusing,
    /// To be [offered](MailboxSender::offer).
    Unclear,
}

impl<T, R> MailboxSender<T, R> {
    /// Makes a mailbox, with these values in its queue, for which there is room beyond its capacity.
    pub(crate) fn new(
        options: MailboxOptions,
        filter: Option<Filter<T>>,
        retained: Vec<(Topic, Arc<Retained<T>>)>,
        losses: &Arc<Losses<T>>,
    ) -> Arc<Self> {
        let topic = match options.patterns.as_slice() {
            [only] => Topic::try_from(only).ok(),
            _ => None,
        };
        let kept = retained.len();
        let (sender, receiver) = queue(options.capacity + kept, topic);
        for (topic, value) in retained {
            // Never full: the queue was made for them.
            let _ = sender.try_send(&topic, Envelope::retained(value));
        }
        let mailbox = Arc::new(Mailbox::new(options, filter, receiver, kept, losses));
        Arc::new(Self { queue: sender, mailbox: Sending(mailbox) })
    }

    /// A message got in; makes sure that somebody will take it out or drop it.
    #[inline]
    fn was_taken(&self) {
        // SeqCst pairs with `Mailbox::finish`: the last subscriber marks the mailbox gone and then empties it, we put
        // the message in and then look for the mark. Whoever comes second drops the message. The same goes for a task
        // that marks that it waits and then looks for a message, see `Mark`.
        if self.mailbox.attention.load(Ordering::SeqCst) & (attention::ENDED | attention::TASKS_WAIT) != 0 {
            self.was_taken_by_another();
        }
    }

    #[cold]
    fn was_taken_by_another(&self) {
        if self.mailbox.is_gone() {
            self.mailbox.discard();
        }
        self.mailbox.wake_receivers();
    }

    /// Hands the envelope back if the queue is full.
    ///
    /// The channel keeps the room that was made for retained values when they are gone, so it is looked after here.
    /// Only a mailbox that blocks may use it for good: its publishers wait at the channel, which knows nothing of this.
    #[inline]
    fn try_send(&self, topic: &Topic, envelope: Envelope<T, R>) -> Result<(), Envelope<T, R>> {
        if self.mailbox.was_roomy && self.is_full() {
            return Err(envelope);
        }
        self.queue.try_send(topic, envelope)
    }

    fn is_full(&self) -> bool {
        let mailbox = &*self.mailbox;
        if mailbox.was_roomy && mailbox.overflow != Overflow::Block {
            mailbox.len() >= mailbox.capacity + mailbox.extra_room.load(Ordering::Relaxed)
        } else {
            self.queue.is_full()
        }
    }

    /// Puts the message into an envelope that tells of the losses before it.
    fn envelope(&self, parcel: Parcel<T, R>) -> Envelope<T, R> {
        Envelope::new(parcel, self.mailbox.take_lost_behind())
    }
}

impl<T: Clone, R> MailboxSender<T, R> {
    /// The message did not get in after all: the next one has to tell of the losses.
    fn unpack(&self, envelope: Envelope<T, R>) -> Parcel<T, R> {
        let lost = envelope.lost_before();
        if lost > 0 {
            self.mailbox.lost_behind(lost);
        }
        envelope.into_parcel()
    }

    #[inline]
    pub(crate) fn way(&self) -> Way {
        match self.mailbox.attention.load(Ordering::Relaxed) & !attention::TASKS_WAIT {
            0 => Way::Usual,
            attention => self.unusual_way(attention),
        }
    }

    #[inline(never)]
    fn unusual_way(&self, attention: u8) -> Way {
        let mailbox = &*self.mailbox;
        match mailbox.overflow {
            _ if attention & attention::ENDED != 0 => Way::Unclear,
            Overflow::DropOldest => Way::Evicting,
            // What has just lost a message is likely to be full still.
            Overflow::DropNewest if mailbox.has_lost_behind() && self.is_full() => Way::Refusing,
            _ if attention & attention::SPECIAL != 0 || mailbox.has_lost_behind() => Way::Unclear,
            _ => Way::Usual,
        }
    }

    /// Puts the message in; hands it back if the queue is full.
    // Always: once for each mailbox of each message, and a call costs a tenth of it.
    #[inline(always)]
    pub(crate) fn put(&self, topic: &Topic, parcel: Parcel<T, R>) -> Result<(), Parcel<T, R>> {
        match self.queue.try_send(topic, Envelope::new(parcel, 0)) {
            Ok(()) => {
                self.was_taken();
                Ok(())
            }
            Err(back) => Err(back.into_parcel()),
        }
    }

    /// Offers the message without waiting.
    pub(crate) fn offer(&self, topic: &Topic, parcel: Parcel<T, R>) -> Offer<T, R> {
        if self.mailbox.has_ended() {
            return self.mailbox.ended(parcel);
        }
        if self.mailbox.overflow == Overflow::DropOldest {
            return Offer::Taken { evicted: self.push_evicting(topic, parcel) };
        }
        // No envelope is made for a queue that will not take it: telling of losses needs an allocation.
        if self.mailbox.has_lost_behind() && self.is_full() {
            return self.full(parcel);
        }
        match self.try_send(topic, self.envelope(parcel)) {
            Ok(()) => {
                self.was_taken();
                Offer::Taken { evicted: 0 }
            }
            Err(back) => self.full(self.unpack(back)),
        }
    }

    fn full(&self, parcel: Parcel<T, R>) -> Offer<T, R> {
        self.mailbox.was_full();
        match self.mailbox.overflow {
            Overflow::Block => Offer::Full(parcel),
            Overflow::Disconnect => {
                if self.mailbox.finish(End::Overflowed) {
                    Offer::Lost(parcel, DeadLetterReason::Overflowed)
                } else {
                    Offer::Gone(parcel)
                }
            }
            Overflow::DropNewest | Overflow::DropOldest => Offer::Lost(parcel, DeadLetterReason::Full),
        }
    }

    /// Gets the message in, for which the oldest may have to go; tells how many had to.
    ///
    /// Evicting and sending are two steps, and another publisher may take the room in between. One to whom that happens
    /// takes turns from then on, and while anyone does, those that come later do too; so a round is only lost to a
    /// publisher that was already on its way.
    pub(crate) fn push_evicting(&self, topic: &Topic, parcel: Parcel<T, R>) -> usize {
        let mailbox = &*self.mailbox;
        let envelope = Envelope::new(parcel, 0);
        if mailbox.eviction.is_locked() {
            return self.push_in_turn(topic, envelope, None);
        }
        // A look at a full queue costs less than an attempt. But it touches the line that the reader writes, so it is not
        // for a queue that has room.
        let was_evicting = mailbox.was_evicting.load(Ordering::Relaxed);
        let evicted = if was_evicting && self.is_full() {
            match mailbox.eviction.try_lock() {
                Some(turn) => self.evict(&turn),
                None => return self.push_in_turn(topic, envelope, None),
            }
        } else {
            None
        };
        match self.try_send(topic, envelope) {
            Ok(()) => {
                self.was_taken();
                match evicted {
                    Some(evicted) => self.evicted(evicted),
                    None => {
                        if was_evicting {
                            mailbox.was_evicting.store(false, Ordering::Relaxed);
                        }
                        0
                    }
                }
            }
            Err(envelope) => self.push_in_turn(topic, envelope, evicted),
        }
    }

    #[inline(never)]
    fn push_in_turn(&self, topic: &Topic, mut envelope: Envelope<T, R>, evicted: Option<Addressed<T, R>>) -> usize {
        let mailbox = &*self.mailbox;
        mailbox.was_full();
        mailbox.was_evicting.store(true, Ordering::Relaxed);
        let mut evicted = Vec::from_iter(evicted);
        let turn = mailbox.eviction.lock();
        while let Err(back) = self.try_send(topic, envelope) {
            envelope = back;
            evicted.extend(self.evict(&turn));
        }
        drop(turn);
        self.was_taken();
        // Payloads are looked at and dropped, and letters written, after the turn is over.
        evicted.into_iter().map(|evicted| self.evicted(evicted)).sum()
    }

    /// Takes the oldest out and counts it in one turn, for which a reader of the next one waits.
    fn evict(&self, _turn: &MutexGuard<'_, ()>) -> Option<Addressed<T, R>> {
        let (topic, envelope) = self.mailbox.queue.try_recv().ok()?;
        self.mailbox.message_left();
        if !envelope.is_retained() {
            self.count_evicted();
        }
        Some((topic, envelope))
    }

    /// Before the new message gets in: the next one to be taken out tells of it.
    fn count_evicted(&self) {
        self.mailbox.lost_in_front.add(1);
        self.mailbox.evicted.add(1);
        self.mailbox.losses.dropped.add(Loss::Evicted);
    }

    /// What is left to do for a message that had to go: it was counted, unless it is a retained value, which only the
    /// filter can tell to be a loss. Tells how many that makes.
    fn evicted(&self, (topic, envelope): Addressed<T, R>) -> usize {
        let mailbox = &*self.mailbox;
        let losses = &*mailbox.losses;
        let retained = envelope.is_retained();
        let payload = envelope.into_parcel().payload;
        if retained {
            // One that the filter would have rejected is nobody's loss.
            if !mailbox.accepts(&topic, &payload, false) {
                return 0;
            }
            self.count_evicted();
        }
        if losses.is_listening() {
            losses.post(&topic, payload, DeadLetterReason::Evicted, 0);
        }
        1
    }
}

impl<T, R> Mailbox<T, R> {
    /// Whether it takes no messages any more.
    pub(crate) fn has_ended(&self) -> bool {
        // SeqCst pairs with `finish`, for a task that has marked that it waits for room.
        self.attention.load(Ordering::SeqCst) & attention::ENDED != 0
    }

    /// What a mailbox that has ended makes of a message.
    pub(crate) fn ended(&self, parcel: Parcel<T, R>) -> Offer<T, R> {
        if self.end.load(Ordering::SeqCst) == End::Closed as u8 { Offer::Closed(parcel) } else { Offer::Gone(parcel) }
    }

    /// Whether this thread is a handler's, and the mailbox its own.
    pub(crate) fn is_served_by_this_thread(&self) -> bool {
        this_thread_serves(self.id)
    }
}

impl<T: Clone, R> Mailbox<T, R> {
    /// Counts a message that this mailbox will never have.
    pub(crate) fn lost(&self, topic: &Topic, payload: &T, reason: DeadLetterReason) {
        self.refused();
        if let Some(loss) = reason.loss() {
            self.losses.dropped.add(loss);
        }
        if self.losses.is_listening() {
            self.losses.post(topic, payload.clone(), reason, 0);
        }
    }
}

/// Sleeps until one of these mailboxes takes the message or ends; tells which, and hands the message back if none did
/// by the deadline.
pub(crate) fn wait_for_any<T: Clone, R>(
    full: &[Arc<MailboxSender<T, R>>],
    topic: &Topic,
    parcel: Parcel<T, R>,
    deadline: Option<Instant>,
) -> Result<(usize, Offer<T, R>), Parcel<T, R>> {
    // The ends come first: a mailbox that has ended may also have room, because it was emptied.
    let mut select = Select::new_biased();
    for sender in full {
        select.recv(&sender.mailbox.ended);
    }
    for sender in full {
        sender.queue.register(&mut select);
    }
    let operation = match deadline {
        Some(deadline) => select.select_deadline(deadline).ok(),
        None => Some(select.select()),
    };
    let Some(operation) = operation else { return Err(parcel) };
    let index = operation.index() % full.len();
    let sender = &full[index];
    if operation.index() < full.len() {
        // It carries nothing: that it is ready means that it has ended.
        let _ = operation.recv(&sender.mailbox.ended);
        return Ok((index, sender.mailbox.ended(parcel)));
    }
    match sender.queue.complete(operation, topic, sender.envelope(parcel)) {
        Ok(()) => {
            sender.was_taken();
            Ok((index, Offer::Taken { evicted: 0 }))
        }
        Err(back) => Ok((index, sender.mailbox.ended(sender.unpack(back)))),
    }
}
