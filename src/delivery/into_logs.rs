//! A message on its way into the logs of its topic's journals, before any mailbox is offered it.
//!
//! All copies are made first, because `Clone` is user code, and what that publishes comes before. Then the message claims
//! its offset in every log, or its place in the line of one that is full; then it is written everywhere: so whatever is
//! published because of it comes behind it in each log. Between the first claim and the last write there are moves alone.

use std::slice;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::Stopped;
use super::indices::Indices;
use super::passes::Pass;
use crate::dead_letter::DeadLetterReason;
use crate::log::{Claim, InLine, Joined, Leftovers, NoClaim, Record, Refused, SyncLog, Ticket};
use crate::mailbox::Mailbox;
use crate::message::Outgoing;
use crate::request::{Metadata, MetadataSource};
use crate::routing::Route;
use crate::sync::Backoff;
use crate::topic::Topic;

type Log<T> = Arc<dyn SyncLog<T>>;

/// What the message has got in one log.
enum Held<T> {
    Claim(Claim<T>),
    Ticket(Ticket<T>),
    Refused(NoClaim),
    SelfDeadlock,
}

/// How a publisher waits for room in a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Not at all.
    Never,
    /// In the line. A thread that publishes spins first: most readers pass an entry in less time than it takes to sleep.
    AfterSpinning,
    /// In the line at once.
    InLine,
}

impl<T: Clone, R, S: MetadataSource<R>, F: Fn(&Mailbox<T, R>)> Pass<'_, T, R, S, F> {
    /// Puts the message into every log of the route that wants it, or into its line. These mailboxes want it too.
    pub(super) fn put_into_logs(&mut self, route: &Route<T, R>, mailboxes: &Indices, room: Room) {
        let Some(original) = &self.copies.original else { return };
        let logs = route.logs();
        let mut that_want_it = Indices::default();
        for (index, log) in logs.iter().enumerate() {
            if log.accepts(&original.payload) {
                that_want_it.push(index);
            }
        }
        if that_want_it.is_empty() {
            return;
        }
        let (observers, others) = if route.is_unfiltered() {
            route.observers_and_others()
        } else {
            let (all, observers) = mailboxes.iter().fold((0, 0), |(all, observers), index| {
                (all + 1, observers + usize::from(route.mailboxes()[index].mailbox.is_observer()))
            });
            (observers, all - observers)
        };
        self.copies.prepare(observers, others);
        // A log that counts gets the original, if no mailbox does. The caller of a request may get it back.
        let keeps_original = others > 0 || self.copies.is_of_request();
        if let [log] = logs {
            return self.put_into_only_log(log, !keeps_original && counts(log), room);
        }
        let for_original =
            if keeps_original { None } else { that_want_it.iter().filter(|log| counts(&logs[*log])).last() };
        let mut records = SmallVec::<[(usize, Record<T>); 2]>::new();
        for index in that_want_it.iter().filter(|log| Some(*log) != for_original) {
            records.extend(self.record().map(|record| (index, record)));
        }
        if let Some(index) = for_original {
            records.extend(self.original_record().map(|record| (index, record)));
        }
        if room == Room::AfterSpinning {
            let backoff = Backoff::new();
            while !backoff.is_completed() && records.iter().any(|(index, _)| logs[*index].is_full()) {
                backoff.snooze();
            }
        }
        let placed = place(logs, records, self.topic, room);
        self.settle_logs(logs, placed);
    }

    /// Notes what became of the message in the logs, and does what is left to do there: all of that may be user code.
    pub(super) fn settle_logs(&mut self, logs: &[Log<T>], placed: PlacedInLogs<T>) {
        let (mut refused, mut left) = (SmallVec::<[_; 2]>::new(), SmallVec::<[_; 2]>::new());
        for (index, placed, mut leftovers) in placed {
            let log = &logs[index];
            match placed {
                PlacedInLog::Written => self.is_in_log(log, counts(log) && !self.copies.is_of_request()),
                PlacedInLog::InLine(mut ticket) => {
                    // Now, because a mailbox may take the original, and with it the right to answer.
                    ticket.set_counts(counts(log) && !self.copies.is_of_request());
                    self.tickets.push(ticket);
                }
                PlacedInLog::Refused(why, record) => refused.push((index, why, record)),
            }
            leftovers.wake(log);
            left.push((index, leftovers));
        }
        for (index, leftovers) in left {
            leftovers.drop_chunks(&logs[index]);
        }
        // Last: a dead letter needs a clone, which may panic, and nobody else is to suffer from that.
        for (index, why, record) in refused {
            self.refused_by_log(&logs[index], why, record);
        }
    }

    /// The way of most messages of a topic with a journal: it has one.
    fn put_into_only_log(&mut self, log: &Log<T>, is_for_original: bool, room: Room) {
        let Some(record) = (if is_for_original { self.original_record() } else { self.record() }) else { return };
        let (why, record) = match log.append(self.topic, record) {
            Ok(()) => return self.is_in_log(log, counts(log) && !self.copies.is_of_request()),
            Err((Refused::Full, record)) if room != Room::Never => {
                if room == Room::AfterSpinning {
                    let backoff = Backoff::new();
                    while !backoff.is_completed() && log.is_full() {
                        backoff.snooze();
                    }
                }
                let placed = place(slice::from_ref(log), smallvec![(0, record)], self.topic, room);
                return self.settle_logs(slice::from_ref(log), placed);
            }
            Err((Refused::Full, record)) => (Refusal::Full, record),
            Err((Refused::Closed, record)) => (Refusal::Closed, record),
            Err((Refused::Overrun, record)) => (Refusal::Overrun, record),
        };
        self.refused_by_log(log, why, record);
    }

    /// A copy for a log. It has no right to answer.
    fn record(&self) -> Option<Record<T>> {
        let original = self.copies.original.as_ref()?;
        Some(Record { payload: original.payload.clone(), properties: original.properties().cloned() })
    }

    fn original_record(&mut self) -> Option<Record<T>> {
        let Outgoing { payload, metadata } = self.copies.original.take()?;
        Some(Record { payload, properties: metadata.as_ref().and_then(Metadata::properties).cloned() })
    }

    /// The log has the message, with an offset.
    #[inline]
    fn is_in_log(&mut self, log: &Log<T>, counts: bool) {
        if counts {
            self.delivery.enqueued(0);
        } else {
            log.count_observed();
        }
    }

    #[cold]
    #[inline(never)]
    fn refused_by_log(&mut self, log: &Log<T>, why: Refusal, record: Record<T>) {
        let reason = match why {
            Refusal::Full => Some(DeadLetterReason::Full),
            Refusal::Overrun => Some(DeadLetterReason::Evicted),
            Refusal::SelfDeadlock => Some(DeadLetterReason::SelfDeadlock),
            Refusal::Closed => None,
        };
        let is_of_request = self.copies.is_of_request();
        match reason {
            Some(reason) => {
                self.delivery.dropped += usize::from(counts(log) && !is_of_request);
                log.count_loss(self.topic, &record.payload, record.properties.as_ref(), reason);
            }
            None => self.stopped = Some(Stopped::Closed),
        }
        self.keep_record(record);
    }

    /// Keeps what a log did not take, in case that it is needed.
    fn keep_record(&mut self, record: Record<T>) {
        if !self.copies.is_of_request() {
            let Record { payload, properties } = record;
            self.copies.put_back(Outgoing { payload, metadata: properties.map(Metadata::Message) });
        }
    }

    /// Looks which logs have let the message in from their lines, or can now.
    pub(super) fn look_at_tickets(&mut self) {
        self.tickets.iter().for_each(|ticket| ticket.log().look_again());
        let mut index = 0;
        while let Some(ticket) = self.tickets.get(index) {
            match ticket.look() {
                InLine::Waiting => index += 1,
                InLine::Placed => {
                    let ticket = self.tickets.swap_remove(index);
                    self.is_in_log(ticket.log(), ticket.counts());
                }
                InLine::Closed(record) => {
                    let ticket = self.tickets.swap_remove(index);
                    self.missed_log(&ticket, record, Some(Stopped::Closed));
                }
            }
        }
    }

    /// Gives up the places in the lines, unless the message is in.
    pub(super) fn give_up_tickets(&mut self) {
        for ticket in std::mem::take(&mut self.tickets) {
            match ticket.take_back() {
                None => self.is_in_log(ticket.log(), ticket.counts()),
                Some(record) => {
                    self.late.push(super::Late::Log(Arc::clone(ticket.log()), !ticket.counts()));
                    self.missed_log(&ticket, record, None);
                }
            }
        }
    }

    /// A message has left the line of a log. It is kept if the log counts; otherwise whoever counts has it, or it is still here.
    fn missed_log(&mut self, ticket: &Ticket<T>, record: Option<Record<T>>, stopped: Option<Stopped>) {
        if ticket.counts() || self.copies.original.is_some() {
            self.stopped = stopped.or(self.stopped.take());
            record.into_iter().for_each(|record| self.keep_record(record));
        } else if let Some(record) = record {
            // A request that somebody may answer, or a message for an audit: the loss is that of the log alone.
            let reason = DeadLetterReason::Full;
            ticket.log().count_loss(self.topic, &record.payload, record.properties.as_ref(), reason);
            self.late.retain(|late| !late.is_log(ticket.log()));
        }
    }
}

/// Why a log does not have the message.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    Full,
    Overrun,
    SelfDeadlock,
    Closed,
}

impl From<NoClaim> for Refusal {
    fn from(why: NoClaim) -> Self {
        match why {
            NoClaim::Full => Self::Full,
            NoClaim::Closed => Self::Closed,
        }
    }
}

/// What became of a message in the logs with these indices, and what is left to be done there.
pub(super) type PlacedInLogs<T> = SmallVec<[(usize, PlacedInLog<T>, Leftovers<T>); 2]>;

pub(super) enum PlacedInLog<T> {
    Written,
    InLine(Ticket<T>),
    Refused(Refusal, Record<T>),
}

// Invariants 16 and 17.
/// Puts these copies into the logs with these indices: first all claims and places in lines, then all writes. Runs no user
/// code.
pub(super) fn place<T>(
    logs: &[Log<T>],
    records: SmallVec<[(usize, Record<T>); 2]>,
    topic: &Topic,
    room: Room,
) -> PlacedInLogs<T> {
    let mut held = SmallVec::<[_; 2]>::new();
    for (index, _) in &records {
        let mut leftovers = Leftovers::none();
        held.push((hold(&logs[*index], room, &mut leftovers), leftovers));
    }
    let mut placed = PlacedInLogs::new();
    for ((index, record), (held, mut leftovers)) in records.into_iter().zip(held) {
        let in_log = match held {
            Held::Claim(claim) => match logs[index].write(claim, topic, record, &mut leftovers) {
                Ok(()) => PlacedInLog::Written,
                Err(record) => PlacedInLog::Refused(Refusal::Overrun, record),
            },
            Held::Ticket(ticket) => {
                ticket.fill(topic, record, &mut leftovers);
                PlacedInLog::InLine(ticket)
            }
            Held::Refused(why) => PlacedInLog::Refused(why.into(), record),
            Held::SelfDeadlock => PlacedInLog::Refused(Refusal::SelfDeadlock, record),
        };
        placed.push((index, in_log, leftovers));
    }
    placed
}

/// Claims an offset, or a place in the line.
fn hold<T>(log: &Log<T>, room: Room, leftovers: &mut Leftovers<T>) -> Held<T> {
    if room == Room::Never {
        return log.claim(leftovers).map_or_else(Held::Refused, Held::Claim);
    }
    match log.claim_or_join(leftovers) {
        Joined::Claimed(claim) => Held::Claim(claim),
        Joined::InLine(number, is_over) => Held::Ticket(Ticket::new(log, number, is_over)),
        Joined::SelfDeadlock => Held::SelfDeadlock,
        Joined::Closed => Held::Refused(NoClaim::Closed),
    }
}

/// Whether the log counts in a delivery.
fn counts<T>(log: &Log<T>) -> bool {
    !log.options.is_observer
}
