//! Waiting, as a task, for room for a retained value.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use super::copies::Copies;
use super::in_order::{Leftovers, PutInOrder, WaitFor};
use super::passes::Pass;
use super::{Delivered, Delivery, Stopped};
use crate::dead_letter::DeadLetterReason;
use crate::lifecycle::CountGuard;
use crate::log::Ticket;
use crate::mailbox::{Mailbox, MailboxSender, Offer, Permit};
use crate::message::Outgoing;
use crate::request::SharedMetadata;
use crate::routing::InBacklog;
use crate::sync::wait_list::WaitEntry;
use crate::topic::Topic;

/// A retained value that is in the mailboxes that had room, and in the backlogs of the others.
// Invariant 12: others who wait there put it in, if this is never polled again.
pub(crate) struct PendingInOrder<T, R> {
    waits: Vec<WaitForRoom<T, R>>,
    /// Its places in the lines of logs that were full.
    tickets: Vec<Ticket<T>>,
    delivery: Delivery,
    /// What a mailbox did not take.
    rest: Option<Outgoing<T, R>>,
    /// Dropped at the end.
    leftovers: Option<Leftovers<T, R>>,
}

/// A mailbox that was full.
struct WaitForRoom<T, R> {
    mailbox: Arc<Mailbox<T, R>>,
    /// Weak: a future that is never polled again must not keep the subscriber from seeing the end.
    sender: Weak<MailboxSender<T, R>>,
    message: InBacklog<T, R>,
    place: WaitEntry,
    /// While the task is the mailbox's own handler, and so takes nothing out.
    paused: Option<CountGuard<Mailbox<T, R>>>,
}

impl<T, R> Drop for WaitForRoom<T, R> {
    fn drop(&mut self) {
        self.mailbox.leave_room_wait(&mut self.place);
    }
}

impl<T: Clone, R> PutInOrder<T, R> {
    /// Goes on as a task. What it leaves is to be polled.
    #[allow(clippy::result_large_err, reason = "it is no error, and is moved once")]
    pub(crate) fn deliver_pending(
        self,
        topic: &Topic,
        overflowed: impl Fn(&Mailbox<T, R>),
    ) -> Result<Delivered<T, R>, PendingInOrder<T, R>> {
        let (mut pass, waits, leftovers) = self.settle(topic, overflowed);
        if (waits.is_empty() && pass.tickets.is_empty()) || pass.stopped.is_some() {
            pass.give_up_tickets();
            let delivered = pass.finish();
            drop((waits, leftovers));
            return Ok(delivered);
        }
        let Pass { copies: Copies { original: rest, .. }, delivery, tickets, .. } = pass;
        let waits = waits.into_iter().map(WaitForRoom::new).collect();
        Err(PendingInOrder { waits, tickets, delivery, rest, leftovers: Some(leftovers) })
    }
}

impl<T: Clone, R> PendingInOrder<T, R> {
    /// Looks where the message is in, and puts in what waits where there is room; the task is woken when that is worth
    /// another try.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        topic: &Topic,
        overflowed: impl Fn(&Mailbox<T, R>),
    ) -> Poll<Delivered<T, R>> {
        let copies =
            Copies { original: self.rest.take(), spare: None, prepared: VecDeque::new(), source: &SharedMetadata };
        let mut pass = Pass::new(topic, copies, self.delivery, overflowed);
        // User code runs below, which may come to wait itself.
        self.waits.iter_mut().for_each(|wait| wait.paused = None);
        self.waits.retain_mut(|wait| pass.stopped.is_some() || !wait.try_settle(&mut pass, context));
        if let Some(index) = self.waits.iter_mut().position(WaitForRoom::must_not_wait) {
            let wait = self.waits.remove(index);
            let refused = |outgoing| Offer::Lost(outgoing, DeadLetterReason::SelfDeadlock);
            pass.settle(&wait.mailbox, wait.message.take().map_or(Offer::Enqueued { evicted: 0 }, refused));
        }
        pass.tickets = std::mem::take(&mut self.tickets);
        pass.poll_tickets(context);
        if (self.waits.is_empty() && pass.tickets.is_empty()) || pass.stopped.is_some() {
            pass.give_up_tickets();
            for wait in self.waits.drain(..) {
                pass.take_back(&wait.mailbox, &wait.message);
            }
            let delivered = pass.finish();
            drop(self.leftovers.take());
            return Poll::Ready(delivered);
        }
        let Pass { copies: Copies { original, .. }, delivery, tickets, .. } = pass;
        (self.rest, self.tickets, self.delivery) = (original, tickets, delivery);
        Poll::Pending
    }

    /// The time is over.
    pub(crate) fn time_out(&mut self, topic: &Topic) -> Delivered<T, R> {
        let copies =
            Copies { original: self.rest.take(), spare: None, prepared: VecDeque::new(), source: &SharedMetadata };
        let mut pass = Pass::new(topic, copies, self.delivery, |_| {});
        pass.stopped = Some(Stopped::Timeout);
        pass.tickets = std::mem::take(&mut self.tickets);
        pass.give_up_tickets();
        for wait in self.waits.drain(..) {
            pass.take_back(&wait.mailbox, &wait.message);
        }
        let delivered = pass.finish();
        drop(self.leftovers.take());
        delivered
    }

    /// Gives up, unless the delivery is complete: the mailboxes that do not have the message yet lose it. Returns the
    /// outcome until then.
    pub(crate) fn cancel(&mut self, topic: &Topic) -> Option<Delivery> {
        if self.waits.is_empty() && self.tickets.is_empty() {
            return None;
        }
        for ticket in std::mem::take(&mut self.tickets) {
            let (log, record) = (ticket.log(), ticket.take_back());
            match record {
                Some(Some(record)) => {
                    log.count_loss(topic, &record.payload, record.properties.as_ref(), DeadLetterReason::Cancelled);
                }
                Some(None) => {}
                None if log.options.is_observer => log.count_observed(),
                None => self.delivery.enqueued(0),
            }
        }
        for wait in self.waits.drain(..) {
            let is_open = wait.sender.strong_count() > 0 && !wait.mailbox.has_ended();
            match wait.message.take() {
                Some(outgoing) if is_open => {
                    wait.mailbox.lost(topic, &outgoing.payload, outgoing.properties(), DeadLetterReason::Cancelled);
                }
                Some(_) => {}
                // Another one has put it in.
                None if wait.mailbox.is_observer() => wait.mailbox.count_observed(),
                None => self.delivery.enqueued(0),
            }
        }
        Some(self.delivery)
    }
}

impl<T: Clone, R> WaitForRoom<T, R> {
    fn new(WaitFor { sender, message }: WaitFor<T, R>) -> Self {
        let mailbox = Arc::clone(&sender.mailbox);
        Self { mailbox, sender: Arc::downgrade(&sender), message, place: WaitEntry::default(), paused: None }
    }

    fn try_settle<F: Fn(&Mailbox<T, R>)>(
        &mut self,
        pass: &mut Pass<'_, T, R, SharedMetadata, F>,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(sender) = self.sender.upgrade() else {
            let ended = |outgoing| self.mailbox.ended(outgoing);
            pass.settle(&self.mailbox, self.message.take().map_or(Offer::Enqueued { evicted: 0 }, ended));
            return true;
        };
        let settled = pass.try_settle(&sender, &self.message) || {
            self.mailbox.register_for_room(&mut self.place, context.waker());
            self.message.wake_when_in(context.waker());
            // What fills the mailbox may be of a publisher that was interrupted before it woke the tasks.
            self.mailbox.wake_for_message();
            // There may be room since.
            pass.try_settle(&sender, &self.message)
        };
        if settled {
            self.mailbox.leave_room_wait(&mut self.place);
        }
        settled
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
