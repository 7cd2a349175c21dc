//! Delivering a message to one mailbox or journal alone, as a thread: a dead letter that goes back to where it came from.

use std::slice;
use std::sync::Arc;

use smallvec::smallvec;

use super::into_logs::{PlacedInLog, Refusal, Room, place};
use super::sleeping::look_again;
use super::{Wait, permit_to_wait};
use crate::dead_letter::{Again, NotRetried};
use crate::log::{InLine, Record, SyncLog};
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
        let chosen = wait_for_any(slice::from_ref(sender), &[], topic, outgoing, deadline);
        drop(paused);
        offer = match chosen {
            Ok((_, offer)) => offer,
            Err(outgoing) => sender.offer(topic, outgoing, true),
        };
    }
}

/// Appends a dead letter to the journal that has lost it.
pub(crate) fn deliver_to_log<T>(
    log: &Arc<dyn SyncLog<T>>,
    topic: &Topic,
    again: Again<T>,
    may_wait: bool,
) -> Result<(), NotRetried<T>> {
    let record = Record { payload: again.payload, properties: again.properties };
    let room = if may_wait { Room::AfterSpinning } else { Room::Never };
    let mut placed = place(slice::from_ref(log), smallvec![(0, record)], topic, room);
    let Some((_, placed, leftovers)) = placed.pop() else { return Ok(()) };
    leftovers.finish(log);
    let ticket = match placed {
        PlacedInLog::Written => return Ok(()),
        PlacedInLog::Refused(Refusal::Closed, record) => return Err(NotRetried::Closed(record.payload)),
        PlacedInLog::Refused(_, record) => return Err(NotRetried::Full(record.payload)),
        PlacedInLog::InLine(ticket) => ticket,
    };
    loop {
        log.look_again();
        match ticket.look() {
            InLine::Placed => return Ok(()),
            InLine::Closed(record) => return record.map_or(Ok(()), |record| Err(NotRetried::Closed(record.payload))),
            InLine::Waiting => {}
        }
        if let Some(again) = look_again(Wait::Forever, true) {
            let _ = ticket.is_over().recv_deadline(again);
        }
    }
}
