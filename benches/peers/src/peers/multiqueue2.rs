//! multiqueue2: `broadcast_queue`, a stream with a single consumer for each thread, `try_send`.
//!
//! As the examples of its front page. Readers spin, yield, and then sleep, which is its default. A full queue refuses
//! the message; senders cannot wait, so the publisher yields and tries again, and nothing is lost.

use std::iter;
use std::thread;

use multiqueue2::broadcast_queue;

use crate::payload::Payload;
use crate::peer::{Cannot, Peer, Round, Shape, publishers, threads};

pub(crate) struct Multiqueue2;

impl Peer for Multiqueue2 {
    const NAME: &'static str = "multiqueue2";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let (sender, first) = broadcast_queue::<T>(shape.capacity as u64);
        let stream = || first.add_stream().into_single().expect("the stream has one consumer");
        let receivers = (0..shape.subscribers).map(|_| stream()).collect();
        // A stream that nobody reads would fill the queue.
        first.unsubscribe();
        Ok(Round {
            finish: threads(receivers, |receiver| iter::from_fn(|| receiver.recv().ok()).map(T::number).collect()),
            publishers: publishers(shape.publishers, sender, |sender, numbers| {
                for number in numbers {
                    while sender.try_send(T::new(number)).is_err() {
                        thread::yield_now();
                    }
                }
            }),
        })
    }
}
