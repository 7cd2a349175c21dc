//! event_bus_rs: `EventBus::publish` of bytes in a task, and a task that reads the stream of each subscription.
//!
//! As on its front page. A full topic refuses the message with `CapacityOverflow`; the publisher then yields and tries
//! again, so nothing is lost. A task that finds nothing sleeps. A subscription never ends, so a subscriber counts.

use event_bus_rs::{EventBus, PublishError};
use futures_util::StreamExt;
use tokio::task;

use crate::payload::Payload;
use crate::peer::{CAPACITY, Cannot, Peer, Round, Shape, publishers};
use crate::runtime::{on_worker, tasks};
use crate::tally::Tally;

pub(crate) struct EventBusRs;

impl Peer for EventBusRs {
    const NAME: &'static str = "event_bus_rs";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        const TOPIC: &str = "a topic";
        let bus = EventBus::new_with_topic_capacity(CAPACITY);
        let subscribers = (0..shape.subscribers).map(|_| bus.subscribe(TOPIC)).map(|mut subscription| async move {
            let mut tally = Tally::default();
            while tally.count < shape.total() {
                let bytes = subscription.next().await.expect("a subscription does not end");
                tally.add(T::number_in(&bytes));
            }
            tally
        });
        Ok(Round {
            finish: tasks(subscribers),
            publishers: publishers(shape.publishers, bus, |bus, numbers| {
                on_worker(async move {
                    for number in numbers {
                        let bytes = T::new(number).to_bytes();
                        while let Err(error) = bus.publish(TOPIC, bytes.as_ref()) {
                            assert!(matches!(error, PublishError::CapacityOverflow(_)), "{error}");
                            task::yield_now().await;
                        }
                    }
                });
            }),
        })
    }
}
