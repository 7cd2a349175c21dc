//! What a system under test has to offer: an adapter, and nothing that is measured but the system.

use std::ops::Range;
use std::sync::{Arc, Barrier};
use std::thread;

use crate::payload::Payload;
use crate::tally::Tally;

/// The capacity of every queue, and of every ring where nothing else is said.
pub(crate) const CAPACITY: usize = 1024;

/// Why a system cannot do a workload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cannot(pub(crate) &'static str);

/// One topic, and who uses it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    /// So many from each publisher.
    pub(crate) messages: u64,
    /// Of what all subscribers share, if they share something. A queue of one subscriber has [`CAPACITY`].
    pub(crate) capacity: usize,
}

impl Shape {
    pub(crate) fn total(&self) -> u64 {
        self.publishers as u64 * self.messages
    }
}

/// Publishes these numbers, waits for room as the library would have it, and lets go of its sender.
pub(crate) type Publish = Box<dyn FnOnce(Range<u64>) + Send>;

/// Waits until every subscriber has everything. Called when all publishers have ended.
pub(crate) type Finish = Box<dyn FnOnce() -> Vec<Tally>>;

/// Publishers that have not begun, subscribers that wait.
pub(crate) struct Round {
    pub(crate) publishers: Vec<Publish>,
    pub(crate) finish: Finish,
}

/// A caller that has not begun, a server that waits.
pub(crate) struct Requests {
    /// Asks for each number its successor, so many at a time, and lets go of its end; the tally is of the replies.
    pub(crate) call: Box<dyn FnOnce(Range<u64>) -> Tally>,
    /// Waits for the end of the server.
    pub(crate) finish: Box<dyn FnOnce()>,
}

/// A system under test.
pub(crate) trait Peer {
    const NAME: &'static str;

    /// Whether the messages of one publisher arrive in order.
    const ORDERED: bool = true;

    /// W1, W4, J1 and J2: every subscriber takes every message of one topic.
    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot>;

    /// W3: a server thread that answers a number with its successor.
    fn requests(_in_flight: usize) -> Result<Requests, Cannot> {
        Err(Cannot("publish-subscribe only: it has no replies"))
    }

    /// W10: topics and subscribers as [`many_to_many`](crate::many_to_many) has them.
    fn many_topics() -> Result<Round, Cannot> {
        Err(Cannot("it has no wildcard patterns"))
    }
}

/// A [`Peer`] as a value.
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) ordered: bool,
    /// [`Peer::one_topic`] with a number as payload.
    pub(crate) numbers: fn(Shape) -> Result<Round, Cannot>,
    /// [`Peer::one_topic`] with 64 bytes as payload.
    pub(crate) blocks: fn(Shape) -> Result<Round, Cannot>,
    pub(crate) requests: fn(usize) -> Result<Requests, Cannot>,
    pub(crate) many_topics: fn() -> Result<Round, Cannot>,
}

impl System {
    pub(crate) const fn of<P: Peer>() -> Self {
        Self {
            name: P::NAME,
            ordered: P::ORDERED,
            numbers: P::one_topic::<u64>,
            blocks: P::one_topic::<[u64; 8]>,
            requests: P::requests,
            many_topics: P::many_topics,
        }
    }
}

/// So many publishers, each with a clone of the sender.
pub(crate) fn publishers<S: Clone + Send + 'static>(
    count: usize,
    sender: S,
    publish: impl Fn(S, Range<u64>) + Copy + Send + 'static,
) -> Vec<Publish> {
    vec![sender; count].into_iter().map(|sender| one_publisher(sender, publish)).collect()
}

pub(crate) fn one_publisher<S: Send + 'static>(
    sender: S,
    publish: impl FnOnce(S, Range<u64>) + Send + 'static,
) -> Publish {
    Box::new(move |numbers| publish(sender, numbers))
}

/// A thread for each subscriber. Returns when all of them run.
pub(crate) fn threads<S: Send + 'static>(
    subscribers: Vec<S>,
    receive: impl Fn(S) -> Tally + Copy + Send + 'static,
) -> Finish {
    let ready = Arc::new(Barrier::new(subscribers.len() + 1));
    let start = |subscriber| {
        let ready = ready.clone();
        thread::spawn(move || {
            ready.wait();
            receive(subscriber)
        })
    };
    let threads: Vec<_> = subscribers.into_iter().map(start).collect();
    ready.wait();
    Box::new(move || threads.into_iter().map(|thread| thread.join().expect("the subscriber ended")).collect())
}

/// A caller on the measuring thread that has so many requests in flight, and a thread for its server.
pub(crate) fn caller_and_server<C: 'static, R>(
    client: C,
    in_flight: usize,
    ask: impl Fn(&C, u64) -> R + 'static,
    reply: impl Fn(R) -> u64 + 'static,
    serve: impl FnOnce() + Send + 'static,
) -> Requests {
    let server = thread::spawn(serve);
    Requests {
        call: Box::new(move |numbers| {
            let mut pending = Vec::with_capacity(in_flight);
            let mut tally = Tally::default();
            for number in numbers {
                pending.push(ask(&client, number));
                if pending.len() == in_flight {
                    pending.drain(..).for_each(|request| tally.add(reply(request)));
                }
            }
            tally
        }),
        finish: Box::new(move || server.join().expect("the server ended")),
    }
}
