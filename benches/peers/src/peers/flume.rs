//! flume: one bounded channel for each subscriber and a loop over the senders, with its blocking calls.
//!
//! A receiver or sender that has to wait sleeps at once; a full channel makes the sender wait, so nothing is lost. See
//! `bounded`, `Sender::send` and `Receiver::iter` in its documentation. A reply comes through a fresh `bounded(1)`.

use flume::{Receiver, Sender, bounded};

use crate::payload::Payload;
use crate::peer::{CAPACITY, Cannot, Peer, Requests, Round, Shape, caller_and_server, publishers, threads};

pub(crate) struct Flume;

impl Peer for Flume {
    const NAME: &'static str = "flume, a loop";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let (senders, receivers): (Vec<Sender<T>>, Vec<_>) = (0..shape.subscribers).map(|_| bounded(CAPACITY)).unzip();
        Ok(Round {
            finish: threads(receivers, |receiver| receiver.iter().map(T::number).collect()),
            publishers: publishers(shape.publishers, senders, |senders, numbers| {
                for number in numbers {
                    for sender in &senders {
                        sender.send(T::new(number)).expect("the receiver is here");
                    }
                }
            }),
        })
    }

    fn requests(in_flight: usize) -> Result<Requests, Cannot> {
        let (sender, inbox) = bounded::<(u64, Sender<u64>)>(CAPACITY);
        Ok(caller_and_server(
            sender,
            in_flight,
            |sender, number| -> Receiver<u64> {
                let (reply, receiver) = bounded(1);
                sender.send((number, reply)).expect("the server is here");
                receiver
            },
            |receiver| receiver.recv().expect("the server answers"),
            move || inbox.iter().for_each(|(number, reply)| reply.send(number + 1).expect("the caller waits")),
        ))
    }
}
