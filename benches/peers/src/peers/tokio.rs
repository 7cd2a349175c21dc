//! tokio's `sync::broadcast`: a task with `recv` for each subscriber, `send` from any thread.
//!
//! As on the page of the module. A task that finds nothing sleeps. The ring overwrites what a slow receiver has not
//! read, so a publisher looks at `Sender::len` and yields until half of the ring is free; a receiver that lags all the
//! same fails the run.
//!
//! Requests are an `mpsc` channel that carries the sender of a `oneshot`, as on the page of `oneshot`.

use std::thread;

use tokio::sync::broadcast::{channel, error::RecvError};
use tokio::sync::{mpsc, oneshot};

use crate::payload::Payload;
use crate::peer::{CAPACITY, Cannot, Peer, Requests, Round, Shape, publishers};
use crate::runtime::{RUNTIME, tasks};
use crate::tally::Tally;

pub(crate) struct Broadcast;

impl Peer for Broadcast {
    const NAME: &'static str = "tokio broadcast";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let (sender, _) = channel(CAPACITY);
        let subscribers = (0..shape.subscribers).map(|_| sender.subscribe()).map(|mut receiver| async move {
            let mut tally = Tally::default();
            loop {
                match receiver.recv().await {
                    Ok(message) => tally.add(T::number(message)),
                    Err(RecvError::Lagged(lost)) => panic!("{lost} messages were overwritten"),
                    Err(RecvError::Closed) => break tally,
                }
            }
        });
        let finish = tasks(subscribers.collect::<Vec<_>>());
        // If each looks again after its share of a half, all of them together cannot overrun the other half.
        let share = CAPACITY / 2 / shape.publishers;
        Ok(Round {
            finish,
            publishers: publishers(shape.publishers, sender, move |sender, numbers| {
                let mut room = 0;
                for number in numbers {
                    if room == 0 {
                        while sender.len() > CAPACITY / 2 {
                            thread::yield_now();
                        }
                        room = share;
                    }
                    room -= 1;
                    sender.send(T::new(number)).expect("the receivers are here");
                }
            }),
        })
    }
}

pub(crate) struct MpscAndOneshot;

impl Peer for MpscAndOneshot {
    const NAME: &'static str = "tokio mpsc + oneshot";

    fn one_topic<T: Payload>(_: Shape) -> Result<Round, Cannot> {
        Err(Cannot("requests only"))
    }

    /// The server is a task on a worker of the runtime, the caller has a thread of its own.
    fn requests(in_flight: usize) -> Result<Requests, Cannot> {
        let (client, mut inbox) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(CAPACITY);
        let server = RUNTIME.spawn(async move {
            while let Some((number, reply)) = inbox.recv().await {
                reply.send(number + 1).expect("the caller waits");
            }
        });
        Ok(Requests {
            call: Box::new(move |numbers| {
                RUNTIME.block_on(async move {
                    let mut pending = Vec::with_capacity(in_flight);
                    let mut tally = Tally::default();
                    for number in numbers {
                        let (reply, receiver) = oneshot::channel();
                        client.send((number, reply)).await.expect("the server is here");
                        pending.push(receiver);
                        if pending.len() == in_flight {
                            for receiver in pending.drain(..) {
                                tally.add(receiver.await.expect("the server answers"));
                            }
                        }
                    }
                    tally
                })
            }),
            finish: Box::new(|| RUNTIME.block_on(server).expect("the server ended")),
        })
    }
}
