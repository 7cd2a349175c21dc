//! The rules for a message that some mailbox did not take at first sight, whether its publisher is a thread or a task.
//!
//! The first pass offers the message to every mailbox without waiting. What is full and blocks then is waited for, for
//! all of them at once: by a thread in `sleeping`, by a task in `pending`.

use std::collections::VecDeque;

use super::copies::Copies;
use super::indices::Indices;
use super::into_logs::Room;
use super::wake_tasks::WakeTasks;
use super::{Delivered, Delivery, Late, Stopped, Undelivered};
use crate::dead_letter::DeadLetterReason;
use crate::log::Ticket;
use crate::mailbox::{Mailbox, MailboxSender, Offer};
use crate::message::Outgoing;
use crate::request::MetadataSource;
use crate::routing::Route;
use crate::topic::Topic;

/// One message on its way to the mailboxes of one route.
pub(super) struct Pass<'a, T, R, S, F> {
    pub(super) topic: &'a Topic,
    pub(super) copies: Copies<'a, T, R, S>,
    pub(super) delivery: Delivery,
    pub(super) stopped: Option<Stopped>,
    /// Who had no room in time.
    pub(super) late: Vec<Late<T, R>>,
    /// Its places in the lines of logs that were full.
    pub(super) tickets: Vec<Ticket<T>>,
    /// Takes a mailbox that has just run over off all routes.
    overflowed: F,
}

impl<'a, T: Clone, R, S: MetadataSource<R>, F: Fn(&Mailbox<T, R>)> Pass<'a, T, R, S, F> {
    pub(super) fn new(topic: &'a Topic, copies: Copies<'a, T, R, S>, delivery: Delivery, overflowed: F) -> Self {
        Self { topic, copies, delivery, stopped: None, late: Vec::new(), tickets: Vec::new(), overflowed }
    }

    /// Runs the first pass, for the mailboxes that do not have the message yet. Returns those that block and were full.
    pub(super) fn first(
        route: &Route<T, R>,
        topic: &'a Topic,
        undelivered: Undelivered<T, R>,
        source: &'a S,
        room: Room,
        overflowed: F,
    ) -> (Self, Indices) {
        let Undelivered { next, delivery, original, spare } = undelivered;
        let copies = Copies { original: Some(original), spare, prepared: VecDeque::new(), source };
        let mut pass = Self::new(topic, copies, delivery, overflowed);
        let mailboxes = pass.that_want_it(route, next);
        if !route.logs().is_empty() {
            pass.put_into_logs(route, &mailboxes, room);
        }
        let _wakes = WakeTasks(route.mailboxes());
        let full = pass.offer_to_all(route, mailboxes, room != Room::Never);
        (pass, full)
    }

    fn offer_to_all(&mut self, route: &Route<T, R>, mut left: Indices, may_wait: bool) -> Indices {
        let mut full = Indices::default();
        while let Some(index) = left.pop() {
            // When the bus closes meanwhile, the original is kept: it goes back to the publisher.
            let last = left.is_empty() && full.is_empty() && self.stopped.is_none();
            if self.offer(&route.mailboxes()[index], last, may_wait) {
                full.push(index);
            }
        }
        full
    }

    /// The mailboxes that want the message, from this one on. All filters are asked before any mailbox has it: what they
    /// publish comes before it everywhere.
    fn that_want_it(&self, route: &Route<T, R>, next: usize) -> Indices {
        if route.is_unfiltered() {
            return Indices::from(next..route.len());
        }
        let mut that_want_it = Indices::default();
        let Some(original) = &self.copies.original else { return that_want_it };
        let (is_request, properties) = (original.is_request(), original.properties());
        for (index, sender) in route.mailboxes().iter().enumerate().skip(next) {
            // A batch may come with a route that still has mailboxes which have ended: their filters are not asked any more.
            let mailbox = &sender.mailbox;
            if mailbox.has_ended() || mailbox.accepts(self.topic, &original.payload, is_request, properties) {
                that_want_it.push(index);
            }
        }
        that_want_it
    }

    /// Offers the message to one mailbox. Returns `true` if that is full and worth waiting for.
    pub(super) fn offer(&mut self, sender: &MailboxSender<T, R>, last: bool, may_wait: bool) -> bool {
        // A caller does not wait for those that cannot answer.
        let may_wait = may_wait && !(sender.mailbox.is_observer() && self.copies.is_of_request());
        let Some(outgoing) = self.copy_for(&sender.mailbox, last) else { return false };
        match sender.offer(self.topic, outgoing, may_wait) {
            Offer::Full(outgoing) => {
                self.copies.put_back_for_later(outgoing);
                true
            }
            offer => {
                self.settle(&sender.mailbox, offer);
                false
            }
        }
    }

    /// The original for the last mailbox that counts, a copy for the others.
    pub(super) fn copy_for(&mut self, mailbox: &Mailbox<T, R>, last: bool) -> Option<Outgoing<T, R>> {
        if mailbox.is_observer() { self.copies.observed() } else { self.copies.take(last) }
    }

    /// Notes what a mailbox did with the message.
    pub(super) fn settle(&mut self, mailbox: &Mailbox<T, R>, offer: Offer<T, R>) {
        let is_observer = mailbox.is_observer();
        let outgoing = match offer {
            Offer::Enqueued { .. } if is_observer => {
                // It does not count in the delivery.
                mailbox.count_observed();
                return;
            }
            Offer::Enqueued { evicted } => return self.delivery.enqueued(evicted),
            Offer::Lost(outgoing, reason) => {
                self.delivery.dropped += usize::from(!is_observer);
                if reason == DeadLetterReason::Overflowed {
                    (self.overflowed)(mailbox);
                }
                mailbox.lost(self.topic, &outgoing.payload, outgoing.properties(), reason);
                outgoing
            }
            Offer::Closed(outgoing) => {
                self.stopped = Some(Stopped::Closed);
                outgoing
            }
            Offer::Full(outgoing) | Offer::Gone(outgoing) => outgoing,
        };
        // An observer's copy of a request has no right to answer.
        if !(is_observer && self.copies.is_of_request()) {
            self.copies.put_back(outgoing);
        }
    }

    pub(super) fn finish(self) -> Delivered<T, R> {
        Delivered { delivery: self.delivery, stopped: self.stopped, late: self.late, rest: self.copies.into_rest() }
    }
}
