//! W5: `Bus::publish` on one of many topics, and on one that nobody has in hand.

use criterion::{Bencher, Criterion};
use tramline::{Bus, Publisher, Subscriber};

use crate::table::{Bar, Table};

/// A bus with live topics and subscriptions to patterns, none of which matches `hot.topic`.
struct Busy {
    bus: Bus<u64>,
    subscriber: Subscriber<u64>,
    _topics: Vec<Publisher<u64>>,
    _patterns: Vec<Subscriber<u64>>,
}

impl Busy {
    fn new(topics: u64, patterns: u64) -> Self {
        let bus = Bus::new();
        Self {
            subscriber: bus.subscribe("hot.topic").expect("the bus is open"),
            _topics: (1..topics).map(|n| bus.publisher(format!("live.{n}")).expect("the topic is valid")).collect(),
            _patterns: (0..patterns)
                .map(|n| bus.subscription(format!("some.{n}.>")).capacity(1).open().expect("the bus is open"))
                .collect(),
            bus,
        }
    }

    fn hot(&self, bencher: &mut Bencher<'_>) {
        bencher.iter(|| {
            let delivery = self.bus.publish("hot.topic", 1).expect("the bus is open");
            assert_eq!(delivery.delivered(), 1);
            self.subscriber.recv().expect("it is there").into_payload()
        });
    }

    /// A topic that matches one of the patterns and is used once.
    fn one_off(&self, bencher: &mut Bencher<'_>) {
        bencher.iter(|| self.bus.publish("other.500.once", 1).expect("the bus is open"));
    }
}

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    for patterns in [0, 1_000] {
        let small = Busy::new(1, patterns);
        for topics in [1_000, 100_000] {
            let large = Busy::new(topics, patterns);
            table.compare(
                criterion,
                &format!("W5 publish by name, {topics} topics, {patterns} patterns"),
                1,
                Bar::Ratio(2.0),
                ("1 topic", |bencher| small.hot(bencher)),
                ("so many", |bencher| large.hot(bencher)),
            );
        }
    }
    let (bare, patterns) = (Busy::new(1, 0), Busy::new(1, 1_000));
    table.compare(
        criterion,
        "W5 a topic used once, 1000 patterns",
        1,
        Bar::Nanoseconds(1_000.0),
        ("no patterns", |bencher| bare.one_off(bencher)),
        ("so many", |bencher| patterns.one_off(bencher)),
    );
}
