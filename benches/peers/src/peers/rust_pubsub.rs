//! rust-pubsub: `create_publisher`, `publish` by the number of the topic, `subscribe_manual` for each thread.
//!
//! As the examples of its front page, with the configuration that does not overwrite: then a full queue makes the
//! publisher wait, and nothing is lost. Its queues are crossbeam channels, so both sides spin, yield, and then sleep.
//! The bus is one for the whole process, so a subscriber ends when it is unsubscribed.

use std::iter;

use rust_pubsub::{ManualReceiver, PubSub, TopicConfig};

use crate::payload::Payload;
use crate::peer::{CAPACITY, Cannot, Peer, Round, Shape, publishers, threads};

pub(crate) struct RustPubsub;

impl Peer for RustPubsub {
    const NAME: &'static str = "rust-pubsub";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        const TOPIC: &str = "a topic";
        let bus = PubSub::instance();
        let topic = bus.create_publisher(TOPIC);
        let receivers: Vec<ManualReceiver<T>> =
            (0..shape.subscribers).map(|_| bus.subscribe_manual(TOPIC, TopicConfig::new(CAPACITY, false))).collect();
        let take_all =
            threads(receivers.clone(), |receiver| iter::from_fn(|| receiver.recv()).map(T::number).collect());
        Ok(Round {
            publishers: publishers(shape.publishers, bus, move |bus, numbers| {
                for number in numbers {
                    bus.publish(topic, T::new(number));
                }
            }),
            finish: Box::new(move || {
                receivers.into_iter().for_each(ManualReceiver::unsubscribe);
                take_all()
            }),
        })
    }
}
