//! Delivering a message to one mailbox alone, as a thread: a dead letter that goes back to where it came from.

use std::slice;
use std::sync::Arc;

use super::sleeping::look_again;
use super::{Wait, permit_to_wait};
use crate::mailbox::{MailboxSender, Offer, wait_for_any};
use crate::message::Outgoing;
use crate::topic::Topic;

/// Why the mailbox has not got the message.
pub(crate) enum NotTaken<T, R> {
    Full(Outgoing<T, R>),
    Gone(Outgoing<T, R>),
    Closed(Outgoing<T, R>),
}

/// Puts the message into the mailbox. Waits for room if that blocks and the publisher may wait, unless that would deadlock.
pub(crate) fn deliver_to_one<T: Clone, R>(
    sender: &Arc<MailboxSender<T, R>>,
    topic: &Topic,
    outgoing: Outgoing<T, R>,
    may_wait: bool,
) -> Result<(), NotTaken<T, R>> {
    let mailbox = &*sender.mailbox;
    let mut offer = sender.offer(topic, outgoing, may_wait);
    loop {
        let outgoing = match offer {
            Offer::Enqueued { .. } => {
                mailbox.wake_for_message();
                return Ok(());
            }
            Offer::Gone(outgoing) => return Err(NotTaken::Gone(outgoing)),
            Offer::Closed(outgoing) => return Err(NotTaken::Closed(outgoing)),
            Offer::Lost(outgoing, _) => return Err(NotTaken::Full(outgoing)),
            Offer::Full(outgoing) => outgoing,
        };
        let Ok(paused) = permit_to_wait(slice::from_ref(mailbox).iter()) else {
            return Err(NotTaken::Full(outgoing));
        };
        let deadline = look_again(Wait::Forever, paused.is_some());
        let chosen = wait_for_any(slice::from_ref(sender), topic, outgoing, deadline);
        drop(paused);
        offer = match chosen {
            Ok((_, offer)) => offer,
            Err(outgoing) => sender.offer(topic, outgoing, true),
        };
    }
}
