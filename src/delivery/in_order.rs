//! Delivering retained values in the order in which they are kept.
//!
//! Filters are asked and copies made first, so that what they publish comes before. Then the value is kept and put into
//! every mailbox that has room, in one step that no other retained value of the topic can come between. Where there is no
//! room, or others wait already, the message joins their backlog.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::copies::Copies;
use super::into_logs::{PlacedInLogs, Room, place};
use super::passes::Pass;
use super::wake_tasks::WakeTasks;
use super::{Delivered, Delivery, Late, Stopped, Wait, look_again, permit_to_wait};
use crate::dead_letter::DeadLetterReason;
use crate::log::Record;
use crate::mailbox::{Mailbox, MailboxSender, Offer, Put};
use crate::message::{Outgoing, Retained};
use crate::request::SharedMetadata;
use crate::routing::{Backlogs, InBacklog, Route, RouteGuard};
use crate::sync::channel::Select;
use crate::topic::Topic;

/// A message on its way, before it is kept.
pub(crate) struct InOrder<T, R> {
    /// The mailboxes whose filters were asked, in the order of their numbers, and whether they want it.
    asked: Vec<(u64, bool)>,
    original: Outgoing<T, R>,
    /// For all mailboxes that want it but one.
    copies: Vec<Outgoing<T, R>>,
    /// The logs that were asked, whether they want it, and their copies.
    asked_logs: Vec<(u64, Option<Record<T>>)>,
}

/// What became of it, under the lock.
pub(crate) struct PutInOrder<T, R> {
    route: RouteGuard<T, R>,
    puts: Vec<(usize, Placed<T, R>)>,
    in_logs: PlacedInLogs<T>,
    /// The message, if no mailbox that counts wants it.
    original: Option<Outgoing<T, R>>,
    /// What is dropped when the locks are released, and last of all: its `Drop` is user code, and may panic.
    leftovers: Leftovers<T, R>,
}

/// Copies that were made for nothing, and the value that was kept before.
pub(super) type Leftovers<T, R> =
    (Vec<Outgoing<T, R>>, Option<Outgoing<T, R>>, Option<Arc<Retained<T>>>, Vec<Record<T>>);

enum Placed<T, R> {
    Put(Put<T, R>),
    InBacklog(InBacklog<T, R>),
}

/// A mailbox with whose room a publisher waits.
pub(super) struct WaitFor<T, R> {
    pub(super) sender: Arc<MailboxSender<T, R>>,
    pub(super) message: InBacklog<T, R>,
}

/// A delivery, and the mailboxes that are left to wait for.
pub(super) type Settled<'a, T, R, F> = (Pass<'a, T, R, SharedMetadata, F>, Vec<WaitFor<T, R>>, Leftovers<T, R>);

impl<T: Clone, R> InOrder<T, R> {
    pub(crate) fn new(original: Outgoing<T, R>) -> Self {
        Self { asked: Vec::new(), original, copies: Vec::new(), asked_logs: Vec::new() }
    }

    /// Asks the filters that were not asked before, and makes as many copies as it takes.
    pub(crate) fn prepare(&mut self, route: &Route<T, R>, topic: &Topic) {
        let (mut observers, mut others) = (0, 0_usize);
        for sender in route.mailboxes() {
            let mailbox = &sender.mailbox;
            let wants = match self.asked.binary_search_by_key(&mailbox.id, |(asked, _)| *asked) {
                Ok(index) => self.asked[index].1,
                Err(index) => {
                    // One that has ended is offered the message, whether it wants it or not.
                    let original = &self.original;
                    let wants =
                        mailbox.has_ended() || mailbox.accepts(topic, &original.payload, false, original.properties());
                    self.asked.insert(index, (mailbox.id, wants));
                    wants
                }
            };
            match mailbox.is_observer() {
                true => observers += usize::from(wants),
                false => others += usize::from(wants),
            }
        }
        for log in route.logs() {
            if self.asked_logs.iter().all(|(asked, _)| *asked != log.id) {
                let original = &self.original;
                let record =
                    || Record { payload: original.payload.clone(), properties: original.properties().cloned() };
                let record = log.accepts(&original.payload).then(record);
                self.asked_logs.push((log.id, record));
            }
        }
        // The original is for one that counts.
        while self.copies.len() < observers + others.saturating_sub(1) {
            self.copies.push(self.original.copy(&SharedMetadata));
        }
    }

    /// Puts the message into every mailbox of this route, for which it was prepared, or into its backlog. Runs no user code.
    pub(crate) fn put(
        self,
        route: RouteGuard<T, R>,
        topic: &Topic,
        backlogs: &mut Backlogs<T, R>,
        replaced: Option<Arc<Retained<T>>>,
        may_wait: bool,
    ) -> PutInOrder<T, R> {
        let Self { asked, original, mut copies, asked_logs } = self;
        let (mut records, mut unwanted) = (SmallVec::new(), Vec::new());
        for (asked, record) in asked_logs {
            match route.logs().iter().position(|log| log.id == asked) {
                Some(index) => records.extend(record.map(|record| (index, record))),
                None => unwanted.extend(record),
            }
        }
        let in_logs = place(route.logs(), records, topic, if may_wait { Room::InLine } else { Room::Never });
        let (mut original, mut puts) = (Some(original), Vec::with_capacity(route.len()));
        for (index, sender) in route.mailboxes().iter().enumerate() {
            let mailbox = &sender.mailbox;
            let asked = asked.binary_search_by_key(&mailbox.id, |(asked, _)| *asked).map(|index| asked[index].1);
            if asked != Ok(true) {
                continue;
            }
            // There is one for each, see `prepare`; the original is the last.
            let Some(copy) = copies.pop().or_else(|| original.take()) else { break };
            let put =
                if backlogs.is_empty_at(mailbox.id) { sender.put_silently(topic, copy) } else { Put::NotTaken(copy) };
            let placed = match put {
                Put::NotTaken(copy) if may_wait && mailbox.blocks() => {
                    Placed::InBacklog(backlogs.add(mailbox.id, copy))
                }
                put => Placed::Put(put),
            };
            puts.push((index, placed));
        }
        let is_heard = puts.iter().any(|(index, _)| !route.mailboxes()[*index].mailbox.is_observer())
            || in_logs.iter().any(|(index, ..)| !route.logs()[*index].options.is_observer);
        let (original, unneeded) = if is_heard { (None, original) } else { (original, None) };
        PutInOrder { route, puts, in_logs, original, leftovers: (copies, unneeded, replaced, unwanted) }
    }

    pub(crate) fn into_payload(self) -> T {
        self.original.payload
    }
}

impl<T: Clone, R> PutInOrder<T, R> {
    /// Goes on when the lock is released. Returns the mailboxes that are left to wait for.
    pub(super) fn settle<'a, F: Fn(&Mailbox<T, R>)>(self, topic: &'a Topic, overflowed: F) -> Settled<'a, T, R, F> {
        let copies =
            Copies { original: self.original, spare: None, prepared: VecDeque::new(), source: &SharedMetadata };
        let mut pass = Pass::new(topic, copies, Delivery::NONE, overflowed);
        pass.settle_logs(self.route.logs(), self.in_logs);
        let mut waits = Vec::new();
        let _wakes = WakeTasks(self.route.mailboxes());
        for (index, placed) in self.puts {
            let sender = &self.route.mailboxes()[index];
            match placed {
                Placed::Put(put) => pass.settle(&sender.mailbox, sender.settle_put(put, false)),
                Placed::InBacklog(message) => waits.push(WaitFor { sender: Arc::clone(sender), message }),
            }
        }
        (pass, waits, self.leftovers)
    }

    /// Waits for the mailboxes that were full, as a thread.
    pub(crate) fn deliver(self, topic: &Topic, wait: Wait, overflowed: impl Fn(&Mailbox<T, R>)) -> Delivered<T, R> {
        let (mut pass, mut waits, leftovers) = self.settle(topic, overflowed);
        while !(waits.is_empty() && pass.tickets.is_empty()) && pass.stopped.is_none() {
            waits.retain(|wait| !pass.try_settle(&*wait.sender, &wait.message));
            pass.look_at_tickets();
            if !(waits.is_empty() && pass.tickets.is_empty()) && pass.stopped.is_none() {
                pass.wait_in_order(&mut waits, wait);
            }
        }
        // Those that were given up take their messages along.
        for WaitFor { sender, message } in waits.drain(..) {
            pass.take_back(&sender.mailbox, &message);
        }
        pass.give_up_tickets();
        let delivered = pass.finish();
        drop(leftovers);
        delivered
    }
}

impl<T: Clone, R, F: Fn(&Mailbox<T, R>)> Pass<'_, T, R, SharedMetadata, F> {
    /// Looks whether the message is in the mailbox, if there is room now, or never will be. Returns `false` if it waits on.
    pub(super) fn try_settle(&mut self, sender: &MailboxSender<T, R>, message: &InBacklog<T, R>) -> bool {
        message.put(self.topic, sender);
        let mailbox = &*sender.mailbox;
        if message.is_waiting() && !mailbox.has_ended() {
            return false;
        }
        let offer = message.take().map_or(Offer::Enqueued { evicted: 0 }, |outgoing| mailbox.ended(outgoing));
        self.settle(mailbox, offer);
        true
    }

    /// Gives up a mailbox, unless another publisher has put the message in.
    pub(super) fn take_back(&mut self, mailbox: &Arc<Mailbox<T, R>>, message: &InBacklog<T, R>) {
        match message.take() {
            // Its copy has no right to answer, which is nothing to a retained value.
            Some(outgoing) => {
                self.late.push(Late::Mailbox(Arc::clone(mailbox)));
                self.copies.put_back(outgoing);
            }
            None => self.settle(mailbox, Offer::Enqueued { evicted: 0 }),
        }
    }

    /// Sleeps until it is worth another try; gives up a mailbox for whose room it must not wait, or all of them when the
    /// time is over.
    fn wait_in_order(&mut self, waits: &mut Vec<WaitFor<T, R>>, wait: Wait) {
        let paused = match permit_to_wait(waits.iter().map(|wait| &*wait.sender.mailbox)) {
            Ok(paused) => paused,
            Err(index) => {
                let WaitFor { sender, message } = waits.remove(index);
                let refused = |outgoing| Offer::Lost(outgoing, DeadLetterReason::SelfDeadlock);
                self.settle(&sender.mailbox, message.take().map_or(Offer::Enqueued { evicted: 0 }, refused));
                return;
            }
        };
        // What fills these mailboxes may have been put in by a publish that was interrupted before it woke their tasks.
        waits.iter().for_each(|wait| wait.sender.mailbox.wake_for_message());
        let mut select = Select::new();
        for WaitFor { sender, message } in &*waits {
            sender.register_for_room(&mut select);
            select.recv(message.is_in());
        }
        for ticket in &self.tickets {
            select.recv(ticket.is_over());
        }
        match look_again(wait, paused.is_some() || !self.tickets.is_empty()) {
            None => _ = select.ready(),
            Some(deadline) => _ = select.ready_deadline(deadline),
        }
        drop(select);
        drop(paused);
        if wait.is_over() {
            self.stopped = Some(Stopped::Timeout);
        }
    }
}
