//! tokio's `sync::broadcast`: `send`, and `recv` in tasks or `blocking_recv` on threads, as the page of the module shows.
//!
//! A receiver that finds nothing sleeps. The ring overwrites what a slow receiver has not read, so a publisher looks at
//! `Sender::len` and yields until half of the ring is free; a receiver that lags all the same fails the run.
//!
//! Requests are an `mpsc` channel that carries the sender of a `oneshot`, as the page of `sync` pairs them.

use std::iter;
use std::thread;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Sender, channel};
use tokio::sync::{mpsc, oneshot};
use tokio::task;

use crate::payload::Payload;
use crate::peer::{CAPACITY, Cannot, Peer, Requests, Round, Shape, publishers, threads};
use crate::runtime::{RUNTIME, on_worker, tasks};
use crate::tally::Tally;

/// Publishers and subscribers are tasks of one runtime.
pub(crate) struct BroadcastToTasks;

impl Peer for BroadcastToTasks {
    const NAME: &'static str = "tokio broadcast, tasks";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let (sender, _) = channel::<T>(shape.capacity);
        let subscribers: Vec<_> = (0..shape.subscribers).map(|_| sender.subscribe()).collect();
        let finish = tasks(subscribers.into_iter().map(|mut receiver| async move {
            let mut tally = Tally::default();
            while let Some(message) = unless_closed(receiver.recv().await) {
                tally.add(message.number());
            }
            tally
        }));
        Ok(Round {
            finish,
            publishers: publishers(shape.publishers, sender, move |sender, numbers| {
                on_worker(async move {
                    let mut room = 0;
                    for number in numbers {
                        while room == 0 {
                            room = room_in(&sender, shape);
                            if room == 0 {
                                task::yield_now().await;
                            }
                        }
                        room -= 1;
                        sender.send(T::new(number)).expect("the receivers are here");
                    }
                });
            }),
        })
    }
}

/// Publishers and subscribers are threads.
pub(crate) struct BroadcastToThreads;

impl Peer for BroadcastToThreads {
    const NAME: &'static str = "tokio broadcast, threads";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let (sender, _) = channel::<T>(shape.capacity);
        let subscribers = (0..shape.subscribers).map(|_| sender.subscribe()).collect();
        let finish = threads(subscribers, |mut receiver| {
            iter::from_fn(|| unless_closed(receiver.blocking_recv())).map(T::number).collect()
        });
        Ok(Round {
            finish,
            publishers: publishers(shape.publishers, sender, move |sender, numbers| {
                let mut room = 0;
                for number in numbers {
                    while room == 0 {
                        room = room_in(&sender, shape);
                        if room == 0 {
                            thread::yield_now();
                        }
                    }
                    room -= 1;
                    sender.send(T::new(number)).expect("the receivers are here");
                }
            }),
        })
    }
}

/// How many messages a publisher may send before it looks again.
///
/// Each gets its share of one half while the other may be taken, so all of them together cannot overrun the ring.
fn room_in<T>(sender: &Sender<T>, shape: Shape) -> usize {
    let half = shape.capacity / 2;
    if sender.len() <= half { half / shape.publishers } else { 0 }
}

fn unless_closed<T>(received: Result<T, RecvError>) -> Option<T> {
    match received {
        Ok(message) => Some(message),
        Err(RecvError::Lagged(lost)) => panic!("{lost} messages were overwritten"),
        Err(RecvError::Closed) => None,
    }
}

/// The server is a task. So is the caller, or it has a thread of its own: two tasks may take turns on one thread.
pub(crate) struct MpscAndOneshot<const TASKS: bool>;

impl<const TASKS: bool> Peer for MpscAndOneshot<TASKS> {
    const NAME: &'static str = if TASKS { "tokio mpsc + oneshot, tasks" } else { "tokio mpsc + oneshot, threads" };

    fn one_topic<T: Payload>(_: Shape) -> Result<Round, Cannot> {
        Err(Cannot("requests only"))
    }

    fn requests(in_flight: usize) -> Result<Requests, Cannot> {
        let (client, mut inbox) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(CAPACITY);
        let server = RUNTIME.spawn(async move {
            while let Some((number, reply)) = inbox.recv().await {
                reply.send(number + 1).expect("the caller waits");
            }
        });
        Ok(Requests {
            call: Box::new(move |numbers| {
                let calls = async move {
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
                };
                if TASKS { on_worker(calls) } else { RUNTIME.block_on(calls) }
            }),
            finish: Box::new(|| RUNTIME.block_on(server).expect("the server ended")),
        })
    }
}
