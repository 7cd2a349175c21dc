//! What was recorded of the mailboxes before: how long the oldest message has waited, and which subscriptions have
//! gone.
//!
//! A channel does not show its oldest message, and a time in every message would cost every message. So the age is
//! found from counts: each recording notes how many messages had been put into a mailbox by then. The first message
//! that has not been taken out has a number; the first recording that had counted that many is one by which it was
//! waiting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::sync::Instant;

/// One mailbox at the time of a recording.
pub(crate) struct Sample {
    /// The number of the mailbox.
    pub(crate) mailbox: u64,
    /// What its subscription is called; several may be called the same.
    pub(crate) subscription: String,
    /// Messages that were taken out, by whomever.
    pub(crate) taken_out: u64,
    pub(crate) depth: u64,
    pub(crate) capacity: u64,
}

/// What there is to record of all mailboxes that are called the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueGauges {
    pub(crate) depth: u64,
    pub(crate) capacity: u64,
    /// Of the oldest message; at least so much.
    pub(crate) age: Duration,
}

/// What one bus remembers from one recording to the next.
#[derive(Default)]
pub(crate) struct Recordings {
    described: bool,
    /// The name of the bus at the last recording.
    bus: Option<Arc<str>>,
    mailboxes: BTreeMap<u64, Marks>,
    subscriptions: BTreeSet<String>,
}

impl Recordings {
    /// Marks the metrics as described. Returns `true` the first time.
    pub(crate) fn mark_described(&mut self) -> bool {
        !std::mem::replace(&mut self.described, true)
    }

    /// Notes the name of the bus, under which everything is recorded from now on. If it had another name at the last
    /// recording, returns that name and the subscriptions that were recorded under it.
    pub(crate) fn rename(&mut self, bus: &Arc<str>) -> Option<(Arc<str>, BTreeSet<String>)> {
        let before = self.bus.replace(Arc::clone(bus)).filter(|before| before != bus)?;
        Some((before, std::mem::take(&mut self.subscriptions)))
    }

    /// What there is to record now, by the name of the subscription. One that has gone since the last time is empty,
    /// and is told of this once.
    pub(crate) fn next(&mut self, now: Instant, samples: Vec<Sample>) -> BTreeMap<String, QueueGauges> {
        let gone = std::mem::take(&mut self.subscriptions);
        let mut queues: BTreeMap<_, _> = gone.into_iter().map(|name| (name, QueueGauges::default())).collect();
        let mut before = std::mem::take(&mut self.mailboxes);
        for sample in samples {
            let mut marks = before.remove(&sample.mailbox).unwrap_or_default();
            let age = marks.age(now, sample.taken_out, sample.depth);
            self.mailboxes.insert(sample.mailbox, marks);
            self.subscriptions.insert(sample.subscription.clone());
            let queue = queues.entry(sample.subscription).or_default();
            queue.depth += sample.depth;
            queue.capacity += sample.capacity;
            queue.age = queue.age.max(age);
        }
        queues
    }
}

/// How many messages had been put into one mailbox, at times when some of them still wait. No more of these than
/// messages.
#[derive(Default)]
struct Marks(VecDeque<(u64, Instant)>);

impl Marks {
    fn age(&mut self, now: Instant, taken_out: u64, depth: u64) -> Duration {
        let put_in = taken_out + depth;
        if let Some(&(last, _)) = self.0.back() {
            // Retained values that the filter has rejected leave without being counted: the numbers of all others
            // become less.
            let uncounted = last.saturating_sub(put_in);
            self.0.iter_mut().for_each(|(mark, _)| *mark = mark.saturating_sub(uncounted));
        }
        if self.0.back().is_none_or(|&(last, _)| last < put_in) {
            self.0.push_back((put_in, now));
        }
        while self.0.front().is_some_and(|&(mark, _)| mark <= taken_out) {
            self.0.pop_front();
        }
        self.0.front().map_or(Duration::ZERO, |&(_, waiting_since)| now.saturating_duration_since(waiting_since))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::{Marks, QueueGauges, Recordings, Sample};

    fn sample(mailbox: u64, subscription: &str, taken_out: u64, depth: u64) -> Sample {
        Sample { mailbox, subscription: subscription.to_owned(), taken_out, depth, capacity: 10 }
    }

    #[test]
    fn the_age_is_the_time_since_the_first_recording_that_saw_the_message() {
        let start = Instant::now();
        let mut marks = Marks::default();
        let mut age =
            |second, taken_out, depth| marks.age(start + Duration::from_secs(second), taken_out, depth).as_secs();
        assert_eq!(age(0, 0, 0), 0);
        assert_eq!(age(1, 0, 2), 0, "both have come since the last recording");
        assert_eq!(age(2, 0, 2), 1);
        assert_eq!(age(3, 0, 5), 2, "three more do not make the first any younger");
        assert_eq!(age(4, 1, 4), 3, "the second is as old as the first");
        assert_eq!(age(5, 2, 3), 2, "the third was seen at 3");
        assert_eq!(age(6, 5, 0), 0, "nothing waits");
        assert_eq!(age(7, 9, 1), 0, "and what waits now is new");
        assert_eq!(age(8, 9, 1), 1);
        assert_eq!(age(9, 10, 1), 0, "as many wait, but it is another");
    }

    #[test]
    fn values_that_leave_uncounted_do_not_make_the_others_older() {
        let start = Instant::now();
        let mut marks = Marks::default();
        let mut age =
            |second, taken_out, depth| marks.age(start + Duration::from_secs(second), taken_out, depth).as_secs();
        assert_eq!(age(0, 0, 3), 0, "three retained values");
        assert_eq!(age(1, 0, 4), 1, "and a message");
        assert_eq!(age(2, 0, 1), 1, "the filter has rejected the three");
        assert_eq!(age(3, 1, 0), 0);
        assert_eq!(age(4, 1, 1), 0);
        assert_eq!(age(5, 1, 1), 1);
    }

    #[test]
    fn what_is_remembered_does_not_grow_with_the_recordings() {
        let start = Instant::now();
        let mut marks = Marks::default();
        for n in 0..10_000 {
            let _ = marks.age(start + Duration::from_secs(n), n, 5);
        }
        assert_eq!(marks.0.len(), 5);
    }

    #[test]
    fn a_subscription_that_has_gone_is_emptied_once_and_its_namesakes_are_one() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut recordings = Recordings::default();
        assert!(recordings.mark_described());
        assert!(!recordings.mark_described());
        let _ = recordings.next(start, vec![sample(1, "a", 0, 1), sample(2, "b", 0, 2)]);
        let queues = recordings.next(after(1), vec![sample(1, "a", 0, 2), sample(3, "a", 7, 1), sample(2, "b", 2, 0)]);
        let two = QueueGauges { depth: 3, capacity: 20, age: Duration::from_secs(1) };
        let read = QueueGauges { depth: 0, capacity: 10, age: Duration::ZERO };
        assert_eq!(queues, BTreeMap::from([("a".to_owned(), two), ("b".to_owned(), read)]));
        let queues = recordings.next(after(2), vec![sample(3, "a", 7, 1)]);
        let one = QueueGauges { depth: 1, capacity: 10, age: Duration::from_secs(1) };
        assert_eq!(queues, BTreeMap::from([("a".to_owned(), one), ("b".to_owned(), QueueGauges::default())]));
        let queues = recordings.next(after(3), Vec::new());
        assert_eq!(queues, BTreeMap::from([("a".to_owned(), QueueGauges::default())]));
        assert!(recordings.next(after(4), Vec::new()).is_empty());
        assert!(recordings.mailboxes.is_empty());
    }

    #[test]
    fn a_name_that_has_changed_is_returned_once_with_its_subscriptions() {
        let start = Instant::now();
        let mut recordings = Recordings::default();
        let [old, new] = ["old", "new"].map(Arc::<str>::from);
        assert_eq!(recordings.rename(&old), None, "the first recording");
        let _ = recordings.next(start, vec![sample(1, "a", 0, 1), sample(2, "b", 0, 2)]);
        assert_eq!(recordings.rename(&old), None);
        let subscriptions = ["a", "b"].map(str::to_owned).into();
        assert_eq!(recordings.rename(&new), Some((old, subscriptions)));
        let queues = recordings.next(start + Duration::from_secs(1), vec![sample(1, "a", 0, 1)]);
        let waiting = QueueGauges { depth: 1, capacity: 10, age: Duration::from_secs(1) };
        assert_eq!(queues, BTreeMap::from([("a".to_owned(), waiting)]), "the other has gone under the old name");
        assert_eq!(recordings.rename(&new), None);
    }
}
