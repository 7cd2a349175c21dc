//! WaitingTasks at a mailbox: those that wait for a message, and those that wait for room.
//!
//! A thread sleeps in the channel, which wakes it. A task cannot, so a publisher that enqueues looks whether a task waits for
//! a message, and a reader that dequeues looks whether a task waits for room.

use std::cell::Cell;
use std::task::{Context, Poll, Waker};

use super::{Mailbox, send_flag};
use crate::message::{Message, RecvError, TryRecvError};
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::wait_list::{WaitEntry, WaitFlag, WaitList};

#[derive(Default)]
pub(super) struct WaitingTasks {
    receivers: WaitList,
    publishers: WaitList,
}

/// Whether a task waits for room; beside what a reader writes.
#[derive(Default)]
pub(super) struct RoomWanted(AtomicU8);

impl RoomWanted {
    #[inline]
    fn is_set(&self) -> bool {
        // Invariant 11. SeqCst pairs with `WaitFlag::set`: the task sets it and looks at the queue again, a reader takes a message
        // out and looks here.
        self.0.load(Ordering::SeqCst) != 0
    }
}

impl<T, R> Mailbox<T, R> {
    fn receivers_wait(&self) -> WaitFlag<'_> {
        WaitFlag { byte: &self.send_flags, bit: send_flag::TASKS_WAIT }
    }

    fn publishers_wait(&self) -> WaitFlag<'_> {
        WaitFlag { byte: &self.reader.room_wanted.0, bit: 1 }
    }

    /// The last sender is gone, so there will be no more messages.
    pub(super) fn senders_gone(&self) {
        // SeqCst pairs with the load in `may_have_come`: a task sets its flag and then looks for this one, this sets it and
        // then looks for tasks.
        self.send_flags.fetch_or(send_flag::NO_SENDER, Ordering::SeqCst);
        self.wake_receivers();
    }

    /// Whether a task that has just marked that it waits has to look at the queue again: there is a message since, or the
    /// end. An attempt to receive would find that too, at ten times the cost, and nearly always there is neither.
    fn may_have_come(&self) -> bool {
        // Invariant 11. SeqCst pairs with `senders_gone`. The length is read with SeqCst too, see `WaitFlag`.
        self.len() > 0 || self.send_flags.load(Ordering::SeqCst) & send_flag::NO_SENDER != 0
    }

    /// There is a message, or there will be none.
    ///
    /// All that wait are woken, not one: one that was asked once and is not asked again, because its owner is busy with
    /// something else, would keep the message from the others.
    pub(super) fn wake_receivers(&self) {
        self.tasks.receivers.wake_all(self.receivers_wait());
    }

    /// Whether a task waits for a message.
    #[inline]
    pub(super) fn has_waiting_receivers(&self) -> bool {
        // Relaxed: the publisher has looked before, in `after_enqueue`, and sees what it saw then or something later.
        self.send_flags.load(Ordering::Relaxed) & send_flag::TASKS_WAIT != 0
    }

    /// Wakes the tasks that wait for a message, if there is one: for a publisher that has enqueued it and has been busy
    /// with other mailboxes since.
    ///
    /// A mailbox that is empty did not take the message, or a reader has it already.
    pub(crate) fn wake_for_message(&self) {
        if self.has_waiting_receivers() && self.len() > 0 {
            self.wake_receivers();
        }
    }

    /// A message was taken out: one task that waits for room may have it.
    #[inline]
    pub(super) fn notify_room(&self) {
        if self.reader.room_wanted.is_set() {
            self.wake_a_publisher();
        }
    }

    #[cold]
    fn wake_a_publisher(&self) {
        self.tasks.publishers.wake_one(self.publishers_wait());
    }

    /// Nobody has used the room that came, see `wake_receivers`; or the mailbox has ended.
    #[inline]
    pub(super) fn wake_publishers(&self) {
        if self.reader.room_wanted.is_set() {
            self.tasks.publishers.wake_all(self.publishers_wait());
        }
    }

    /// Has the task woken when there may be room, or the mailbox has ended.
    pub(crate) fn register_for_room(&self, place: &mut WaitEntry, waker: &Waker) {
        self.tasks.publishers.enter(place, waker, self.publishers_wait());
    }

    /// Stops waiting for room. If the task was woken and has not used the room, another is woken.
    pub(crate) fn leave_room_wait(&self, place: &mut WaitEntry) {
        if self.tasks.publishers.leave(place, self.publishers_wait()) {
            self.notify_room();
        }
    }

    /// Stops waiting for room, which the task has used.
    pub(crate) fn finish_room_wait(&self, place: &mut WaitEntry) {
        self.tasks.publishers.leave(place, self.publishers_wait());
    }

    /// Stops waiting for a message.
    pub(crate) fn leave_message_wait(&self, place: &mut WaitEntry) {
        self.tasks.receivers.leave(place, self.receivers_wait());
    }
}

/// The number of messages that are not for the reader, such as those that have expired, after which a task gives way to others.
const MOST_SKIPPED: u32 = 64;

impl<T: Clone, R> Mailbox<T, R> {
    /// A message, or the end; otherwise the task is woken when it is worth asking again.
    pub(crate) fn poll_recv(
        &self,
        place: &mut WaitEntry,
        context: &mut Context<'_>,
    ) -> Poll<Result<Message<T, R>, RecvError>> {
        let skipped = Cell::new(0);
        let skips_too_many = || {
            skipped.set(skipped.get() + 1);
            skipped.get() >= MOST_SKIPPED
        };
        let mut received = self.try_recv_until(skips_too_many);
        if matches!(received, Err(TryRecvError::Empty)) && skipped.get() >= MOST_SKIPPED {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if matches!(received, Err(TryRecvError::Empty)) && self.pause_to_batch() {
            received = self.try_recv();
        }
        if matches!(received, Err(TryRecvError::Empty)) {
            self.tasks.receivers.enter(place, context.waker(), self.receivers_wait());
            if !self.may_have_come() {
                return Poll::Pending;
            }
            received = self.try_recv();
        }
        let received = match received {
            Ok(message) => Ok(message),
            Err(TryRecvError::Empty) => return Poll::Pending,
            Err(TryRecvError::Closed) => Err(RecvError::Closed),
            Err(TryRecvError::Overflowed) => Err(RecvError::Overflowed),
        };
        self.leave_message_wait(place);
        Poll::Ready(received)
    }
}
