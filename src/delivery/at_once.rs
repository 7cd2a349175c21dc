//! The way of nearly every message: into one mailbox after the other, without a wait.

use std::sync::Arc;

use super::Delivery;
use crate::mailbox::{AtOnce, MailboxSender};
use crate::message::Outgoing;
use crate::request::MetadataSource;
use crate::topic::Topic;

/// A message that has come to a mailbox which needs the passes.
pub(crate) struct Undelivered<T, R> {
    /// The index of that mailbox.
    pub(super) next: usize,
    /// The outcome at the mailboxes before it.
    pub(super) delivery: Delivery,
    pub(super) original: Outgoing<T, R>,
    /// A copy that the mailbox did not take.
    pub(super) spare: Option<Outgoing<T, R>>,
}

impl<T, R> Undelivered<T, R> {
    /// A message that is nowhere yet.
    pub(crate) fn new(original: Outgoing<T, R>) -> Self {
        Self { next: 0, delivery: Delivery::NONE, original, spare: None }
    }
}

/// Enqueues the message in every mailbox of a [simple](crate::routing::Route::simple) route, as long as one look at each says
/// what to do with it.
///
/// It returns at the first mailbox that needs a closer look; the passes go on from there. So they do behind a mailbox at
/// which a task waits: they wake it when the others have the message too. A route without mailboxes is for the passes too.
// Always inline, and all by value: memory that is written before an atomic operation of the channel has to arrive first.
#[inline(always)]
pub(crate) fn deliver_at_once<T: Clone, R, S: MetadataSource<R>>(
    mailboxes: &[Arc<MailboxSender<T, R>>],
    topic: &Topic,
    payload: T,
    own: S::Own,
    source: &S,
) -> Result<Delivery, Undelivered<T, R>> {
    let mut delivery = Delivery::NONE;
    let original = |payload, own| Outgoing { payload, metadata: S::metadata(own) };
    let [others @ .., last] = mailboxes else {
        return Err(Undelivered { next: 0, delivery, original: original(payload, own), spare: None });
    };
    for (next, sender) in others.iter().enumerate() {
        match sender.put_copy(topic, &payload, &own, source) {
            AtOnce::Enqueued => delivery.delivered += 1,
            AtOnce::Evicting(evicted) => delivery.enqueued(evicted),
            AtOnce::TaskWaits(evicted) => {
                delivery.enqueued(evicted);
                return Err(Undelivered { next: next + 1, delivery, original: original(payload, own), spare: None });
            }
            AtOnce::Dropped => delivery.dropped += 1,
            AtOnce::Undecided(spare) => {
                return Err(Undelivered { next, delivery, original: original(payload, own), spare });
            }
        }
    }
    match last.put_original::<S>(topic, payload, own) {
        Ok(evicted) => delivery.enqueued(evicted),
        Err(original) => return Err(Undelivered { next: others.len(), delivery, original, spare: None }),
    }
    Ok(delivery)
}
