//! Putting a message in under a lock: no user code runs before that is released.

use super::queue::Addressed;
use super::{Mailbox, MailboxSender, Offer, Overflow};
use crate::message::Outgoing;
use crate::topic::Topic;

/// What became of a message under the lock. What it leaves over is for `MailboxSender::settle_put`.
pub(crate) enum Put<T, R> {
    Enqueued {
        evicted: Vec<Addressed<T, R>>,
    },
    /// It was full, or has ended.
    NotTaken(Outgoing<T, R>),
}

impl<T: Clone, R> MailboxSender<T, R> {
    /// Puts the message in if there is room, or if room can be made.
    pub(crate) fn put_silently(&self, topic: &Topic, outgoing: Outgoing<T, R>) -> Put<T, R> {
        if self.mailbox.has_ended() {
            return Put::NotTaken(outgoing);
        }
        if self.mailbox.options.overflow == Overflow::DropOldest {
            return Put::Enqueued { evicted: self.evict_and_put(topic, outgoing) };
        }
        match self.try_send(topic, self.envelope(outgoing)) {
            Ok(()) => Put::Enqueued { evicted: Vec::new() },
            Err(back) => Put::NotTaken(self.unpack(back)),
        }
    }

    /// Does what `put_silently` has left. Tasks that wait for the message are for the caller to wake.
    pub(crate) fn settle_put(&self, put: Put<T, R>, may_wait: bool) -> Offer<T, R> {
        match put {
            Put::Enqueued { evicted } => {
                let _ = self.after_enqueue();
                Offer::Enqueued { evicted: evicted.into_iter().map(|evicted| self.settle_evicted(evicted)).sum() }
            }
            Put::NotTaken(outgoing) if self.mailbox.has_ended() => self.mailbox.ended(outgoing),
            // Not offered again, though there may be room by now: a later one may have got in.
            Put::NotTaken(outgoing) => self.full(outgoing, may_wait),
        }
    }
}

impl<T, R> Mailbox<T, R> {
    /// Whether a publisher waits here, if it is full.
    pub(crate) fn blocks(&self) -> bool {
        self.options.overflow == Overflow::Block && !self.has_ended()
    }
}
