//! Evicting the oldest message to make room, for mailboxes that drop the oldest.

use super::queue::Addressed;
use super::{Mailbox, MailboxSender};
use crate::counters::Loss;
use crate::dead_letter::{DeadLetter, DeadLetterReason};
use crate::message::{Envelope, Outgoing};
use crate::request::Metadata;
use crate::sync::MutexGuard;
use crate::sync::atomic::{Ordering, fence};
use crate::topic::Topic;

/// Wakes the tasks that wait at a mailbox, if user code that runs after the message was enqueued unwinds.
struct WakeOnUnwind<'a, T, R>(&'a Mailbox<T, R>);

impl<T, R> Drop for WakeOnUnwind<'_, T, R> {
    fn drop(&mut self) {
        self.0.wake_for_message();
    }
}

impl<T: Clone, R> MailboxSender<T, R> {
    /// Enqueues the message, evicting the oldest ones to make room. Returns the number of evicted messages, and whether a
    /// task waits for the message, as `after_enqueue`.
    ///
    /// Evicting and sending are two steps, and another publisher may take the room in between. A publisher to which that
    /// happens takes turns from then on, and while one does, later ones do too; so it loses a round only to a publisher
    /// that was already on its way.
    // Invariant 10.
    pub(crate) fn push_evicting(&self, topic: &Topic, outgoing: Outgoing<T, R>) -> (usize, bool) {
        let mailbox = &*self.mailbox;
        let envelope = Envelope::new(outgoing, 0);
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
                let task_waits = self.after_enqueue();
                let unwinding = WakeOnUnwind(mailbox);
                let lost = match evicted {
                    Some(evicted) => self.settle_evicted(evicted),
                    None => {
                        if was_evicting {
                            mailbox.was_evicting.store(false, Ordering::Relaxed);
                        }
                        0
                    }
                };
                std::mem::forget(unwinding);
                (lost, task_waits)
            }
            Err(envelope) => self.push_in_turn(topic, envelope, evicted),
        }
    }

    #[inline(never)]
    fn push_in_turn(&self, topic: &Topic, envelope: Envelope<T, R>, evicted: Option<Addressed<T, R>>) -> (usize, bool) {
        let mailbox = &*self.mailbox;
        mailbox.record_full();
        mailbox.was_evicting.store(true, Ordering::Relaxed);
        let evicted = self.put_in_turn(topic, envelope, Vec::from_iter(evicted));
        let task_waits = self.after_enqueue();
        let unwinding = WakeOnUnwind(mailbox);
        // Payloads are looked at and dropped, and letters written, after the turn is over.
        let lost = evicted.into_iter().map(|evicted| self.settle_evicted(evicted)).sum();
        std::mem::forget(unwinding);
        (lost, task_waits)
    }

    /// Enqueues the message, and returns those that were evicted for it, with these. Runs no user code.
    fn put_in_turn(
        &self,
        topic: &Topic,
        mut envelope: Envelope<T, R>,
        mut evicted: Vec<Addressed<T, R>>,
    ) -> Vec<Addressed<T, R>> {
        let turn = self.mailbox.eviction.lock();
        while let Err(back) = self.try_send(topic, envelope) {
            envelope = back;
            evicted.extend(self.evict(&turn));
        }
        evicted
    }

    /// The same for a message that is put in under a lock.
    pub(super) fn evict_and_put(&self, topic: &Topic, outgoing: Outgoing<T, R>) -> Vec<Addressed<T, R>> {
        self.put_in_turn(topic, Envelope::new(outgoing, 0), Vec::new())
    }

    /// Takes the oldest out and counts it in one turn, for which a reader of the next one waits.
    fn evict(&self, _turn: &MutexGuard<'_, ()>) -> Option<Addressed<T, R>> {
        let (topic, envelope) = self.mailbox.queue.try_recv().ok()?;
        self.mailbox.message_dequeued();
        if !envelope.is_retained() {
            self.count_eviction();
        }
        Some((topic, envelope))
    }

    /// Counts before the new message gets in: the next one to be taken out reports it.
    fn count_eviction(&self) {
        self.mailbox.evicted.add(1);
        self.mailbox.losses.dropped.add(Loss::Evicted);
    }

    /// Settles a message that was evicted: it was counted, unless it is a retained value, which is a loss only if the filter
    /// accepts it. Returns the number of losses, 0 or 1.
    pub(super) fn settle_evicted(&self, (topic, envelope): Addressed<T, R>) -> usize {
        let mailbox = &*self.mailbox;
        let losses = &*mailbox.losses;
        let retained = envelope.is_retained();
        if envelope.as_retained().is_some_and(|value| mailbox.skips(value) || value.is_expired()) {
            return 0;
        }
        let Outgoing { payload, metadata } = envelope.into_outgoing();
        let properties = metadata.as_ref().and_then(Metadata::properties);
        if retained {
            // One that the filter would have rejected is nobody's loss.
            if !mailbox.accepts(&topic, &payload, false, properties) {
                return 0;
            }
            self.count_eviction();
        }
        if losses.is_listening() {
            let properties = properties.cloned();
            let recipient = mailbox.recipient(&topic);
            losses.post(DeadLetter::new(topic, payload, DeadLetterReason::Evicted, properties).to(recipient));
        }
        1
    }
}

impl<T, R> Mailbox<T, R> {
    /// Whatever was evicted from in front of the message that was just taken out is counted when this returns.
    ///
    /// The evicting publisher had its turn before it took that out, and counts it before the turn is over. Both took
    /// something out of the channel, one after the other, so this sees the turn, or what came of it.
    pub(super) fn wait_for_eviction(&self) {
        if self.eviction.is_locked() {
            drop(self.eviction.lock());
        }
        // Pairs with the end of the turn, in `push_evicting` and `push_in_turn`, if that is what was seen.
        fence(Ordering::Acquire);
    }
}
