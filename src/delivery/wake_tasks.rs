//! Waking the tasks that wait for a message, when all mailboxes have it.

use std::sync::Arc;

use crate::mailbox::MailboxSender;

/// Wakes the tasks that wait at these mailboxes for the message that has just been enqueued there, when it is dropped: at
/// the end of a pass, before its publisher waits for room, or when user code unwinds in between.
// Invariant 11. It looks at the mailboxes once more rather than keep a list of them, which would need an allocation. So it also
// wakes the tasks of a mailbox that is full of what another publish has put there and is about to wake them for: the one in
// whose `Clone` this one is nested would wait for itself.
pub(super) struct WakeTasks<'a, T, R>(pub(super) &'a [Arc<MailboxSender<T, R>>]);

impl<T, R> Drop for WakeTasks<'_, T, R> {
    fn drop(&mut self) {
        self.0.iter().for_each(|sender| sender.mailbox.wake_for_message());
    }
}
