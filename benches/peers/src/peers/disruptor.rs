//! disruptor: `try_publish` into the ring, an event poller on each thread, as "Event Polling" on its front page shows.
//!
//! Nobody ever sleeps: pollers that find nothing and publishers that find no room yield and look again, as there are
//! fewer cores than threads. Publishers wait for the slowest poller, so nothing is lost. Pollers take what is there as
//! one batch, and cannot come or go once the ring is built.

use std::ops::Range;
use std::thread;

use disruptor::{BusySpin, Polling, Producer, build_multi_producer, build_single_producer};

use crate::payload::Payload;
use crate::peer::{Cannot, Peer, Publish, Round, Shape, one_publisher, publishers, threads};
use crate::tally::Tally;

pub(crate) struct SingleProducer;

impl Peer for SingleProducer {
    const NAME: &'static str = "disruptor, single producer (polls)";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        if shape.publishers > 1 {
            return Err(Cannot("one publisher only, by choice of this builder; the other entry has several"));
        }
        Ok(round!(build_single_producer(shape.capacity, T::default, BusySpin), shape, one))
    }
}

pub(crate) struct MultiProducer;

impl Peer for MultiProducer {
    const NAME: &'static str = "disruptor, multi producer (polls)";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        Ok(round!(build_multi_producer(shape.capacity, T::default, BusySpin), shape, several))
    }
}

/// A macro, because the types of builders and pollers differ and what they have in common is private to the crate.
macro_rules! round {
    ($builder:expr, $shape:expr, $publishers:ident) => {{
        // The type of the builder tells none, one and several pollers apart.
        let (first, builder) = $builder.new_event_poller();
        if $shape.subscribers == 1 {
            let publishers = $publishers($shape, builder.build());
            Round { finish: threads(vec![first], |poller| take_all!(poller)), publishers }
        } else {
            let (second, mut builder) = builder.new_event_poller();
            let mut pollers = vec![first, second];
            while pollers.len() < $shape.subscribers {
                let poller;
                (poller, builder) = builder.new_event_poller();
                pollers.push(poller);
            }
            let publishers = $publishers($shape, builder.build());
            Round { finish: threads(pollers, |poller| take_all!(poller)), publishers }
        }
    }};
}

macro_rules! take_all {
    ($poller:expr) => {{
        let (mut poller, mut tally) = ($poller, Tally::default());
        loop {
            match poller.poll() {
                Ok(mut events) => (&mut events).for_each(|event| tally.add(event.number())),
                Err(Polling::NoEvents) => thread::yield_now(),
                Err(Polling::Shutdown) => break tally,
            }
        }
    }};
}

use {round, take_all};

fn one<T: Payload>(_: Shape, producer: impl Producer<T> + Send + 'static) -> Vec<Publish> {
    vec![one_publisher(producer, publish_all)]
}

fn several<T: Payload>(shape: Shape, producer: impl Producer<T> + Clone + Send + 'static) -> Vec<Publish> {
    publishers(shape.publishers, producer, publish_all)
}

fn publish_all<T: Payload>(mut producer: impl Producer<T>, numbers: Range<u64>) {
    for number in numbers {
        while producer.try_publish(|slot| *slot = T::new(number)).is_err() {
            thread::yield_now();
        }
    }
}
