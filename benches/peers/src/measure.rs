//! One round of a workload: what is timed, and what is checked.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::peer::{Cannot, Requests, Round, Shape};
use crate::tally::Tally;
use crate::watchdog::watched;

/// What a subscriber must have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Expected {
    /// All numbers below `count`.
    pub(crate) fn below(count: u64) -> Self {
        let sum = (u128::from(count) * u128::from(count.saturating_sub(1)) / 2) as u64;
        Self { count, sum }
    }

    /// Panics if a message was lost, doubled, made up, or was out of order although `rising`.
    pub(crate) fn check(self, what: &str, tally: Tally, rising: bool) {
        assert_eq!(Self { count: tally.count, sum: tally.sum }, self, "{what}: a subscriber got something else");
        assert!(!rising || tally.falls == 0, "{what}: {} messages came out of order", tally.falls);
    }
}

impl Round {
    /// From the first publish until the last subscriber has everything; the publishers share the numbers from 0.
    pub(crate) fn run(self, what: &str, messages: u64) -> (Duration, Vec<Tally>) {
        let Self { publishers, finish } = self;
        watched(what, || {
            let gate = Barrier::new(publishers.len() + 1);
            let mut start = Instant::now();
            thread::scope(|scope| {
                for (publisher, publish) in (0..).zip(publishers) {
                    let gate = &gate;
                    scope.spawn(move || {
                        gate.wait();
                        gate.wait();
                        publish(publisher * messages..(publisher + 1) * messages);
                    });
                }
                // Once to know that all are there, once to let them go.
                gate.wait();
                start = Instant::now();
                gate.wait();
            });
            let tallies = finish();
            (start.elapsed(), tallies)
        })
    }
}

impl Requests {
    /// From the first request until the last reply.
    pub(crate) fn run(self, what: &str, messages: u64) -> Duration {
        let Self { call, finish } = self;
        watched(what, || {
            let start = Instant::now();
            let tally = call(0..messages);
            let elapsed = start.elapsed();
            finish();
            let replies = Expected { count: messages, sum: Expected::below(messages + 1).sum };
            replies.check(what, tally, true);
            elapsed
        })
    }
}

/// Runs a round of one topic: every subscriber has to get everything, in order if there is one publisher and the system
/// keeps its order.
pub(crate) fn run_topic(round: Round, what: &str, shape: Shape, ordered: bool) -> Result<Duration, Cannot> {
    let (elapsed, tallies) = round.run(what, shape.messages);
    assert_eq!(tallies.len(), shape.subscribers, "{what}");
    for tally in tallies {
        Expected::below(shape.total()).check(what, tally, ordered && shape.publishers == 1);
    }
    Ok(elapsed)
}
