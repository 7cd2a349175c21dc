//! kanal: one bounded channel for each subscriber and a loop over the senders, with its blocking calls.
//!
//! Both sides spin and then sleep; a full channel makes the sender wait, so nothing is lost. See `bounded` and the sync
//! example of its front page. It has no one-shot channel, so a reply comes through a fresh `bounded(1)`.

use kanal::{Receiver, Sender, bounded};

use crate::payload::Payload;
use crate::peer::{CAPACITY, Cannot, Peer, Requests, Round, Shape, caller_and_server, publishers, threads};

pub(crate) struct Kanal;

impl Peer for Kanal {
    const NAME: &'static str = "kanal, a loop";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let (senders, receivers): (Vec<Sender<T>>, Vec<_>) = (0..shape.subscribers).map(|_| bounded(CAPACITY)).unzip();
        Ok(Round {
            finish: threads(receivers, |receiver| receiver.map(T::number).collect()),
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
            move || inbox.for_each(|(number, reply)| reply.send(number + 1).expect("the caller waits")),
        ))
    }
}
