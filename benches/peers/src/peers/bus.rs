//! bus: `Bus::broadcast` from the one owner of the bus, `BusReader::recv` on each thread, as on its front page.
//!
//! A full ring makes the publisher wait, so nothing is lost. Both sides spin and then sleep 0.1 ms at a time; the bus
//! has a thread that wakes readers.

use crate::payload::Payload;
use crate::peer::{Cannot, Peer, Round, Shape, one_publisher, threads};

pub(crate) struct Bus;

impl Peer for Bus {
    const NAME: &'static str = "bus";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        if shape.publishers > 1 {
            return Err(Cannot("one publisher only: who publishes owns the bus"));
        }
        let mut bus = bus::Bus::<T>::new(shape.capacity);
        let readers = (0..shape.subscribers).map(|_| bus.add_rx()).collect();
        Ok(Round {
            finish: threads(readers, |reader| reader.into_iter().map(T::number).collect()),
            publishers: vec![one_publisher(bus, |mut bus, numbers| {
                for number in numbers {
                    bus.broadcast(T::new(number));
                }
            })],
        })
    }
}
