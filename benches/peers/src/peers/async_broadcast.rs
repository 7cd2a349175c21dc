//! async-broadcast: `Sender::broadcast_direct` and a task with `Receiver::recv_direct` for each subscriber.
//!
//! As on its front page, with the calls that do not allocate. A full channel makes the sender wait, which is its
//! default, so nothing is lost. A task that finds nothing sleeps.

use async_broadcast::broadcast;

use crate::payload::Payload;
use crate::peer::{Cannot, Peer, Round, Shape, publishers};
use crate::runtime::{RUNTIME, tasks};
use crate::tally::Tally;

pub(crate) struct AsyncBroadcast;

impl Peer for AsyncBroadcast {
    const NAME: &'static str = "async-broadcast";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let (sender, first) = broadcast(shape.capacity);
        let receivers = vec![first; shape.subscribers];
        let subscribers = receivers.into_iter().map(|mut receiver| async move {
            let mut tally = Tally::default();
            while let Ok(message) = receiver.recv_direct().await {
                tally.add(T::number(message));
            }
            tally
        });
        Ok(Round {
            finish: tasks(subscribers),
            publishers: publishers(shape.publishers, sender, |sender, numbers| {
                RUNTIME.block_on(async {
                    for number in numbers {
                        sender.broadcast_direct(T::new(number)).await.expect("the receivers are here");
                    }
                });
            }),
        })
    }
}
