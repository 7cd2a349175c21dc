//! W10: 4 publishers of 16 topics, 6 subscribers that share the topics among them, and 2 that take patterns.

use criterion::Criterion;

use crate::measure::Expected;
use crate::peers::TOPICS_ONLY;
use crate::table::Table;

pub(crate) const PUBLISHERS: usize = 4;

/// Every publisher goes through all of them.
pub(crate) const TOPICS: [&str; 16] = [
    "load.a.0", "load.a.1", "load.a.2", "load.a.3", "load.a.4", "load.a.5", "load.a.6", "load.a.7", "load.b.0",
    "load.b.1", "load.b.2", "load.b.3", "load.b.4", "load.b.5", "load.b.6", "load.b.7",
];

/// What each takes. `*` stands for one token, a last `>` for one or more.
pub(crate) const SUBSCRIBERS: [&[&str]; 8] = [
    &["load.a.0", "load.a.6", "load.b.4"],
    &["load.a.1", "load.a.7", "load.b.5"],
    &["load.a.2", "load.b.0", "load.b.6"],
    &["load.a.3", "load.b.1", "load.b.7"],
    &["load.a.4", "load.b.2"],
    &["load.a.5", "load.b.3"],
    &["load.a.*"],
    &["load.>"],
];

/// The place in [`TOPICS`] of the topic of this message.
pub(crate) fn topic_of(number: u64) -> usize {
    number as usize % TOPICS.len()
}

pub(crate) fn run(criterion: &mut Criterion) -> Table {
    let title = "4 publishers, 16 topics, 8 subscribers, 2 of them with patterns";
    let mut table = Table::new("W10", title, ("publish", "deliveries"), TOPICS_ONLY);
    let taken: usize = SUBSCRIBERS.iter().map(|patterns| topics_of(patterns).count()).sum();
    let copies = taken as f64 / TOPICS.len() as f64;
    table.column(criterion, "many to many".to_owned(), (PUBLISHERS as u64, copies), |system, what, messages| {
        let (elapsed, tallies) = (system.many_topics)()?.run(what, messages);
        assert_eq!(tallies.len(), SUBSCRIBERS.len());
        for (patterns, tally) in SUBSCRIBERS.iter().zip(tallies) {
            expected(patterns, PUBLISHERS as u64 * messages).check(what, tally, false);
        }
        Ok(elapsed)
    });
    table
}

/// The places of the topics that match one of the patterns.
fn topics_of(patterns: &[&str]) -> impl Iterator<Item = u64> {
    let matches = |topic: &str| {
        patterns.iter().any(|pattern| match pattern.strip_suffix(['*', '>']) {
            Some(start) => topic.starts_with(start),
            None => topic == *pattern,
        })
    };
    (0..).zip(TOPICS).filter(move |(_, topic)| matches(topic)).map(|(place, _)| place)
}

/// Of the numbers below `total`, those whose topics match.
fn expected(patterns: &[&str], total: u64) -> Expected {
    let topics = TOPICS.len() as u64;
    assert_eq!(total % topics, 0, "every topic has as many messages");
    let each = Expected::below(total / topics);
    topics_of(patterns).fold(Expected { count: 0, sum: 0 }, |all, place| Expected {
        count: all.count + each.count,
        sum: all.sum + topics * each.sum + place * each.count,
    })
}
