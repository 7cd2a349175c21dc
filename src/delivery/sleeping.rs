//! Waiting for room as a thread: first by spinning, then asleep.

use std::sync::Arc;
use std::time::Duration;

use super::indices::Indices;
use super::into_logs::Room;
use super::passes::Pass;
use super::wake_tasks::WakeTasks;
use super::{Delivered, Delivery, Late, Stopped, Undelivered, Wait, permit_to_wait};
use crate::dead_letter::DeadLetterReason;
use crate::log::Ticket;
use crate::mailbox::{Mailbox, MailboxSender, Offer, wait_for_any};
use crate::request::MetadataSource;
use crate::routing::RouteGuard;
use crate::sync::channel::Select;
use crate::sync::{Backoff, Instant};
use crate::topic::Topic;

/// How often a handler that waits for room in its own mailbox looks whether another reader is left.
const LOOK: Duration = Duration::from_millis(20);

/// When to look again: at the end of the wait, or before if it is of a handler for room in its own mailbox, whose other
/// readers may leave, or come to wait too.
pub(super) fn look_again(wait: Wait, serves_one: bool) -> Option<Instant> {
    let look = serves_one.then(|| Instant::now() + LOOK);
    [look, wait.deadline()].into_iter().flatten().min()
}

/// Runs the passes for the mailboxes that do not have the message yet.
#[inline(never)]
pub(crate) fn deliver_rest<T: Clone, R, S: MetadataSource<R>>(
    route: RouteGuard<T, R>,
    topic: &Topic,
    undelivered: Undelivered<T, R>,
    source: &S,
    wait: Wait,
    overflowed: impl Fn(&Mailbox<T, R>),
) -> Delivered<T, R> {
    if route.is_empty() {
        return Delivered { rest: Some(undelivered.original), ..Delivered::complete(Delivery::NONE) };
    }
    let room = if wait.may_wait() { Room::AfterSpinning } else { Room::Never };
    let (mut pass, full) = Pass::first(&route, topic, undelivered, source, room, overflowed);
    if !full.is_empty() || !pass.tickets.is_empty() {
        pass.second(route, full, wait);
    }
    pass.finish()
}

impl<T: Clone, R, S: MetadataSource<R>, F: Fn(&Mailbox<T, R>)> Pass<'_, T, R, S, F> {
    /// Waits for the mailboxes that were full, for all at once: whichever has room gets the message.
    ///
    /// A publisher that has to sleep lets go of the route first, and keeps only the mailboxes that it waits for. Otherwise
    /// a mailbox that was taken off its routes meanwhile would still have a sender, and its subscriber would not see the
    /// end.
    // Invariant 3.
    fn second(&mut self, route: RouteGuard<T, R>, mut full: Indices, wait: Wait) {
        // A full mailbox is the normal case of lossless flow, and going to sleep costs more than most waits.
        let backoff = Backoff::new();
        while !backoff.is_completed() && !wait.is_over() {
            backoff.snooze();
            let mut round = std::mem::take(&mut full);
            let _wakes = WakeTasks(route.mailboxes());
            while let Some(index) = round.pop() {
                let last = round.is_empty() && full.is_empty() && self.stopped.is_none();
                if self.offer(&route.mailboxes()[index], last, true) {
                    full.push(index);
                }
            }
            self.look_at_tickets();
            if (full.is_empty() && self.tickets.is_empty()) || self.stopped.is_some() {
                return self.give_up_tickets();
            }
        }
        let full = std::iter::from_fn(|| full.pop()).map(|index| Arc::clone(&route.mailboxes()[index])).collect();
        drop(route);
        self.sleep(full, wait);
    }

    /// Sleeps until all of these mailboxes have the message or have ended, the wait is over, or the bus closes.
    fn sleep(&mut self, mut full: Vec<Arc<MailboxSender<T, R>>>, wait: Wait) {
        while !(full.is_empty() && self.tickets.is_empty()) && self.stopped.is_none() {
            if full.is_empty() {
                self.sleep_in_lines(wait);
                continue;
            }
            // The copy is made before the choice: user code must not run between the choice and the sending. Nor may it
            // run while this thread counts as one that waits: it may come to wait itself.
            let Some(outgoing) = self.copy_for(&full[0].mailbox, full.len() == 1) else { return };
            let paused = match permit_to_wait(full.iter().map(|sender| &*sender.mailbox)) {
                Ok(paused) => paused,
                Err(index) => {
                    let sender = full.remove(index);
                    self.settle(&sender.mailbox, Offer::Lost(outgoing, DeadLetterReason::SelfDeadlock));
                    continue;
                }
            };
            let signals: Vec<_> = self.tickets.iter().map(Ticket::is_over).collect();
            let again = look_again(wait, paused.is_some() || !signals.is_empty());
            let chosen = wait_for_any(&full, &signals, self.topic, outgoing, again);
            drop(paused);
            match chosen {
                Ok((index, offer)) => {
                    let sender = full.remove(index);
                    self.settle(&sender.mailbox, offer);
                }
                Err(outgoing) => {
                    self.copies.put_back_for_later(outgoing);
                    self.look_at_tickets();
                    if wait.is_over() {
                        self.stopped = Some(Stopped::Timeout);
                    }
                }
            }
        }
        if matches!(self.stopped, Some(Stopped::Timeout)) {
            self.late.extend(full.iter().map(|sender| Late::Mailbox(Arc::clone(&sender.mailbox))));
        }
        self.give_up_tickets();
    }

    /// Sleeps until one of the logs in whose lines the message waits has let it in or is closed, or the wait is over.
    fn sleep_in_lines(&mut self, wait: Wait) {
        let mut select = Select::new();
        for ticket in &self.tickets {
            select.recv(ticket.is_over());
        }
        if let Some(again) = look_again(wait, true) {
            // Over, or to look whether a reader has made room without knowing that somebody waits, see `Log::fill`.
            let _ = select.ready_deadline(again);
        }
        self.look_at_tickets();
        if wait.is_over() && !self.tickets.is_empty() {
            self.stopped.get_or_insert(Stopped::Timeout);
        }
    }
}
