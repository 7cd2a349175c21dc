//! Waiting for room as a task, which cannot sleep: what is left of a delivery when some mailboxes were full.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use super::copies::Copies;
use super::passes::Pass;
use super::{Delivered, Delivery, Stopped, Undelivered};
use crate::dead_letter::DeadLetterReason;
use crate::lifecycle::CountGuard;
use crate::mailbox::{Mailbox, MailboxSender, Offer, Permit};
use crate::message::Outgoing;
use crate::request::MetadataSource;
use crate::routing::RouteGuard;
use crate::sync::wait_list::WaitEntry;
use crate::topic::Topic;

/// A message that is in the mailboxes that had room, and waits for the others.
// Invariant 12: it has no route and no sender, so a future that is never polled again blocks nobody.
pub(crate) struct PendingDelivery<T, R> {
    original: Option<Outgoing<T, R>>,
    spare: Option<Outgoing<T, R>>,
    full: Vec<Full<T, R>>,
    delivery: Delivery,
}

/// A mailbox that was full.
struct Full<T, R> {
    mailbox: Arc<Mailbox<T, R>>,
    /// Weak: a future that is never polled again must not keep the subscriber from seeing the end.
    sender: Weak<MailboxSender<T, R>>,
    place: WaitEntry,
    /// Whether it has the message or has ended.
    settled: bool,
    /// While the task is the mailbox's own handler, and so takes nothing out.
    paused: Option<CountGuard<Mailbox<T, R>>>,
}

impl<T, R> Drop for Full<T, R> {
    fn drop(&mut self) {
        self.mailbox.leave_room_wait(&mut self.place);
    }
}

/// One look at the mailboxes that were full. At its end, those that are settled are removed, and tasks that wait there for
/// the message are woken; also when user code unwinds.
struct Round<'a, T, R>(&'a mut Vec<Full<T, R>>);

impl<T, R> Drop for Round<'_, T, R> {
    fn drop(&mut self) {
        self.0.retain(|full| {
            if full.settled {
                full.mailbox.wake_for_message();
            }
            !full.settled
        });
    }
}

/// Runs the first pass. What it leaves is to be polled.
pub(crate) fn deliver_pending<T: Clone, R, S: MetadataSource<R>>(
    route: RouteGuard<T, R>,
    topic: &Topic,
    undelivered: Undelivered<T, R>,
    source: &S,
    may_wait: bool,
    overflowed: impl Fn(&Mailbox<T, R>),
) -> Result<Delivered<T, R>, PendingDelivery<T, R>> {
    let (pass, mut full) = Pass::first(&route, topic, undelivered, source, may_wait, overflowed);
    if full.is_empty() || pass.stopped.is_some() {
        return Ok(pass.finish());
    }
    let full = std::iter::from_fn(|| full.pop()).map(|index| Full::new(&route.mailboxes()[index])).collect();
    let Pass { copies: Copies { original, spare, .. }, delivery, .. } = pass;
    Err(PendingDelivery { original, spare, full, delivery })
}

impl<T: Clone, R> PendingDelivery<T, R> {
    /// Offers the message to the mailboxes that do not have it yet; the task is woken when that is worth another try.
    pub(crate) fn poll<S: MetadataSource<R>>(
        &mut self,
        context: &mut Context<'_>,
        topic: &Topic,
        source: &S,
        overflowed: impl Fn(&Mailbox<T, R>),
    ) -> Poll<Delivered<T, R>> {
        let copies = Copies { original: self.original.take(), spare: self.spare.take(), source };
        let mut pass = Pass::new(topic, copies, self.delivery, overflowed);
        // User code runs below, which may come to wait itself.
        self.full.iter_mut().for_each(|full| full.paused = None);
        let round = Round(&mut self.full);
        let mut unsettled = round.0.len();
        for full in round.0.iter_mut() {
            if pass.stopped.is_some() {
                break;
            }
            let Some(outgoing) = pass.copy_for(&full.mailbox, unsettled == 1) else { break };
            match full.offer(topic, outgoing, context) {
                Offer::Full(outgoing) => pass.copies.put_back(outgoing),
                offer => {
                    full.settled = true;
                    unsettled -= 1;
                    if matches!(offer, Offer::Enqueued { .. }) {
                        full.mailbox.finish_room_wait(&mut full.place);
                    }
                    pass.settle(&full.mailbox, offer);
                }
            }
        }
        drop(round);
        if let Some(index) = self.full.iter_mut().position(Full::must_not_wait) {
            let full = self.full.remove(index);
            if let Some(outgoing) = pass.copy_for(&full.mailbox, self.full.is_empty()) {
                pass.settle(&full.mailbox, Offer::Lost(outgoing, DeadLetterReason::SelfDeadlock));
            }
        }
        if self.full.is_empty() || pass.stopped.is_some() {
            self.full.clear();
            return Poll::Ready(pass.finish());
        }
        let Pass { copies: Copies { original, spare, .. }, delivery, .. } = pass;
        (self.original, self.spare, self.delivery) = (original, spare, delivery);
        Poll::Pending
    }

    /// The time is over.
    pub(crate) fn time_out(&mut self, source: &impl MetadataSource<R>) -> Delivered<T, R> {
        source.unused(self.spare.take().and_then(|spare| spare.metadata));
        let late = self.full.drain(..).filter(Full::is_open).map(|full| Arc::clone(&full.mailbox)).collect();
        Delivered { delivery: self.delivery, stopped: Some(Stopped::Timeout), late, rest: self.original.take() }
    }

    /// Gives up, unless the delivery is complete: the mailboxes that do not have the message yet lose it. Returns the
    /// outcome until then.
    pub(crate) fn cancel(&mut self, topic: &Topic, source: &impl MetadataSource<R>) -> Option<Delivery> {
        let cancelled = self.original.is_some().then_some(self.delivery);
        if let Some(original) = &self.original {
            for full in self.full.drain(..).filter(Full::is_open) {
                full.mailbox.lost(topic, &original.payload, original.properties(), DeadLetterReason::Cancelled);
            }
        }
        source.unused(self.spare.take().and_then(|spare| spare.metadata));
        cancelled
    }
}

impl<T: Clone, R> Full<T, R> {
    fn new(sender: &Arc<MailboxSender<T, R>>) -> Self {
        let mailbox = Arc::clone(&sender.mailbox);
        Self { mailbox, sender: Arc::downgrade(sender), place: WaitEntry::default(), settled: false, paused: None }
    }

    fn offer(&mut self, topic: &Topic, outgoing: Outgoing<T, R>, context: &mut Context<'_>) -> Offer<T, R> {
        let Some(sender) = self.sender.upgrade() else { return self.mailbox.ended(outgoing) };
        match sender.offer(topic, outgoing, true) {
            Offer::Full(outgoing) => {
                self.mailbox.register_for_room(&mut self.place, context.waker());
                // There may be room since.
                sender.offer(topic, outgoing, true)
            }
            offer => offer,
        }
    }

    /// Neither closed nor left: a message that it does not get is a loss.
    fn is_open(&self) -> bool {
        self.sender.strong_count() > 0 && !self.mailbox.has_ended()
    }

    fn must_not_wait(&mut self) -> bool {
        match self.mailbox.permit_to_wait() {
            Permit::Granted(reader) => {
                self.paused = reader;
                false
            }
            Permit::SelfDeadlock => true,
        }
    }
}
