//! double_decker: `Bus::broadcast`, and `Bus::add_rx` for each thread, as on its front page.
//!
//! Its queues are unbounded crossbeam channels: nothing is lost, no publisher ever waits, and memory grows instead.
//! Readers spin, yield, and then sleep. It has one topic for each type.

use double_decker::Bus;

use crate::payload::Payload;
use crate::peer::{Cannot, Peer, Round, Shape, publishers, threads};

pub(crate) struct DoubleDecker;

impl Peer for DoubleDecker {
    const NAME: &'static str = "double_decker (unbounded)";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let bus = Bus::<T>::new();
        let receivers = (0..shape.subscribers).map(|_| bus.add_rx()).collect();
        Ok(Round {
            finish: threads(receivers, |receiver| receiver.iter().map(T::number).collect()),
            publishers: publishers(shape.publishers, bus, |bus, numbers| {
                for number in numbers {
                    bus.broadcast(T::new(number));
                }
            }),
        })
    }
}
