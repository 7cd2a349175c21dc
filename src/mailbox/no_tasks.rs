//! Without the feature `async` no task waits at a mailbox.

use super::Mailbox;

impl<T, R> Mailbox<T, R> {
    #[inline]
    pub(super) fn wake_receivers(&self) {}

    #[inline]
    pub(super) fn senders_gone(&self) {}

    #[inline]
    pub(super) fn has_waiting_receivers(&self) -> bool {
        false
    }

    #[inline]
    pub(crate) fn wake_for_message(&self) {}

    #[inline]
    pub(super) fn notify_room(&self) {}

    #[inline]
    pub(super) fn wake_publishers(&self) {}
}
