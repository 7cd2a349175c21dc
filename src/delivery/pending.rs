//! Waiting for room as a task, which cannot sleep: what is left of a delivery when some mailboxes were full.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use super::copies::Copies;
use super::into_logs::Room;
use super::passes::Pass;
use super::{Delivered, Delivery, Late, Stopped, Undelivered};
use crate::dead_letter::DeadLetterReason;
use crate::lifecycle::CountGuard;
use crate::log::Ticket;
use crate::mailbox::{Mailbox, MailboxSender, Offer, Permit};
use crate::message::Outgoing;
use crate::request::MetadataSource;
use crate::routing::RouteGuard;
use crate::sync::wait_list::WaitEntry;
use crate::topic::Topic;

/// A message that is in the mailboxes that had room, and waits for the others.
// Invariant 12: it has no route and no sender, so a future that is never polled again blocks nobody.
pub(crate) struct PendingDelivery<T, R> {
    left: Left<T, R>,
    full: Vec<Full<T, R>>,
    /// Its places in the lines of logs that were full.
    tickets: Vec<Ticket<T>>,
    delivery: Delivery,
}

/// The message, as far as it is not in a mailbox or a log.
struct Left<T, R> {
    original: Option<Outgoing<T, R>>,
    spare: Option<Outgoing<T, R>>,
    prepared: VecDeque<Outgoing<T, R>>,
}

impl<T: Clone, R> Left<T, R> {
    fn new<S>(copies: Copies<'_, T, R, S>) -> Self {
        let Copies { original, spare, prepared, .. } = copies;
        Self { original, spare, prepared }
    }

    /// Everything, to be used in one poll.
    fn take<'s, S>(&mut self, source: &'s S) -> Copies<'s, T, R, S> {
        let Self { original, spare, prepared } = self;
        Copies { original: original.take(), spare: spare.take(), prepared: std::mem::take(prepared), source }
    }
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
#[allow(clippy::result_large_err, reason = "it is no error, and is moved once")]
pub(crate) fn deliver_pending<T: Clone, R, S: MetadataSource<R>>(
    route: RouteGuard<T, R>,
    topic: &Topic,
    undelivered: Undelivered<T, R>,
    source: &S,
    may_wait: bool,
    overflowed: impl Fn(&Mailbox<T, R>),
) -> Result<Delivered<T, R>, PendingDelivery<T, R>> {
    let room = if may_wait { Room::InLine } else { Room::Never };
    let (mut pass, mut full) = Pass::first(&route, topic, undelivered, source, room, overflowed);
    if (full.is_empty() && pass.tickets.is_empty()) || pass.stopped.is_some() {
        pass.give_up_tickets();
        return Ok(pass.finish());
    }
    let full = std::iter::from_fn(|| full.pop()).map(|index| Full::new(&route.mailboxes()[index])).collect();
    let Pass { copies, delivery, tickets, .. } = pass;
    Err(PendingDelivery { left: Left::new(copies), full, tickets, delivery })
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
        let mut pass = Pass::new(topic, self.left.take(source), self.delivery, overflowed);
        pass.tickets = std::mem::take(&mut self.tickets);
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
                Offer::Full(outgoing) => pass.copies.put_back_for_later(outgoing),
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
        pass.poll_tickets(context);
        if (self.full.is_empty() && pass.tickets.is_empty()) || pass.stopped.is_some() {
            self.full.clear();
            pass.give_up_tickets();
            return Poll::Ready(pass.finish());
        }
        let Pass { copies, delivery, tickets, .. } = pass;
        (self.left, self.tickets, self.delivery) = (Left::new(copies), tickets, delivery);
        Poll::Pending
    }

    /// The time is over.
    pub(crate) fn time_out<S: MetadataSource<R>>(&mut self, topic: &Topic, source: &S) -> Delivered<T, R> {
        let mut pass = Pass::new(topic, self.left.take(source), self.delivery, |_| {});
        pass.stopped = Some(Stopped::Timeout);
        pass.tickets = std::mem::take(&mut self.tickets);
        pass.give_up_tickets();
        let full = self.full.drain(..).filter(Full::is_open);
        pass.late.extend(full.map(|full| Late::Mailbox(Arc::clone(&full.mailbox))));
        pass.finish()
    }

    /// Gives up, unless the delivery is complete: the mailboxes and logs that do not have the message yet lose it. Returns the
    /// outcome until then.
    pub(crate) fn cancel<S: MetadataSource<R>>(&mut self, topic: &Topic, source: &S) -> Option<Delivery> {
        if self.full.is_empty() && self.tickets.is_empty() {
            source.unused(self.left.spare.take().and_then(|spare| spare.metadata));
            return None;
        }
        let Delivered { delivery, late, rest, .. } = self.time_out(topic, source);
        if let Some(rest) = &rest {
            for late in &late {
                late.lost(topic, &rest.payload, rest.properties(), DeadLetterReason::Cancelled);
            }
        }
        Some(delivery)
    }
}

/// About two microseconds.
const SPINS: u32 = 64;

impl<T: Clone, R, S: MetadataSource<R>, F: Fn(&Mailbox<T, R>)> Pass<'_, T, R, S, F> {
    /// Looks which logs have let the message in. The others wake the task when they do.
    pub(super) fn poll_tickets(&mut self, context: &mut Context<'_>) {
        for ticket in &self.tickets {
            // The waker first, so that room that comes after the look wakes the task.
            ticket.wake_when_in(context.waker());
        }
        self.look_at_tickets();
        if !self.tickets.is_empty() {
            // A reader that has just passed an entry may not have seen that somebody waits, see `Log::fill`. What it has
            // stored is on its way for nanoseconds.
            (0..SPINS).for_each(|_| std::hint::spin_loop());
            self.look_at_tickets();
        }
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
