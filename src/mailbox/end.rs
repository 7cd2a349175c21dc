//! The end of a mailbox, and how its two sides learn of it.

use std::cell::Cell;

use super::{Mailbox, Offer, send_flag};
use crate::message::{Outgoing, Retained, is_large};
use crate::panic::drop_each;
use crate::sync::atomic::Ordering;

/// Whether a mailbox takes messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MailboxState {
    Open = 0,
    /// The bus is closed: the subscriber drains what there is.
    Closed = 1,
    /// It ran over under `Overflow::Disconnect`: the subscriber drains what there is.
    Overflowed = 2,
    /// No subscriber is left: what is in the queue, and what still gets in, is dropped.
    Gone = 3,
}

impl<T, R> Mailbox<T, R> {
    /// Ends the mailbox for publishers, and wakes those that wait for room. A later state overrides an earlier
    /// one. Returns `false` if it does not.
    pub(super) fn finish(&self, state: MailboxState) -> bool {
        // SeqCst pairs with the loads of `state` in this file: a thread that sees the flag below finds the reason.
        let first = self.state.fetch_max(state as u8, Ordering::SeqCst) < state as u8;
        // Invariant 5. SeqCst pairs with the load in `MailboxSender::after_enqueue`.
        self.send_flags.fetch_or(send_flag::ENDED, Ordering::SeqCst);
        self.end_trigger.fire();
        self.wake_publishers();
        first
    }

    pub(crate) fn close(&self) {
        self.finish(MailboxState::Closed);
    }

    /// Drops what is queued, after the last subscriber has left. Returns the number of messages.
    pub(crate) fn abandon(&self) -> usize {
        self.finish(MailboxState::Gone);
        self.discard()
    }

    pub(super) fn discard(&self) -> usize {
        // Values that were replaced while the mailbox was being made are nothing that was left.
        let replaced = Cell::new(0);
        let note = |value: Option<&Retained<T>>| {
            replaced.set(replaced.get() + usize::from(value.is_some_and(|value| self.skips(value))));
        };
        let count = |count: usize| {
            let count = count - replaced.get();
            if count > 0 {
                self.losses.abandoned.fetch_add(count as u64, Ordering::Relaxed);
            }
        };
        // One by one: the channel would leave the rest where it is when one of them panics, and nobody would count it.
        let dropped = if const { is_large::<T>() } {
            // In their boxes, or one message would be several times on the stack of the handler that is dropped.
            let unread = std::iter::from_fn(|| self.queue.try_recv_boxed().ok());
            drop_each(unread.inspect(|message| note(message.as_retained())), count)
        } else {
            let unread = std::iter::from_fn(|| self.queue.try_recv().ok());
            drop_each(unread.inspect(|(_, envelope)| note(envelope.as_retained())), count)
        };
        dropped - replaced.get()
    }

    pub(crate) fn is_overflowed(&self) -> bool {
        // SeqCst pairs with `finish`.
        self.state.load(Ordering::SeqCst) == MailboxState::Overflowed as u8
    }

    pub(super) fn is_gone(&self) -> bool {
        // SeqCst pairs with `finish`.
        self.state.load(Ordering::SeqCst) == MailboxState::Gone as u8
    }

    /// Whether it no longer takes messages.
    pub(crate) fn has_ended(&self) -> bool {
        // SeqCst pairs with `finish`, for a task that has marked that it waits for room.
        self.send_flags.load(Ordering::SeqCst) & send_flag::ENDED != 0
    }

    /// Refuses a message, because the mailbox has ended.
    pub(crate) fn ended(&self, outgoing: Outgoing<T, R>) -> Offer<T, R> {
        // SeqCst pairs with `finish`.
        if self.state.load(Ordering::SeqCst) == MailboxState::Closed as u8 {
            Offer::Closed(outgoing)
        } else {
            Offer::Gone(outgoing)
        }
    }
}
