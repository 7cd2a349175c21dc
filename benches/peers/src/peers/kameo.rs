//! kameo_actors: a `PubSub` that tells every subscribed actor, with `DeliveryStrategy::Guaranteed`.
//!
//! Both ways of the page of its module: one publisher owns the `PubSub`, several tell it as an actor. A full mailbox
//! makes the sender wait, so nothing is lost; an actor that finds nothing sleeps. W10 is its `Broker`, whose patterns
//! are globs, and W3 is the `ask` of kameo itself, which is how its actors reply.

use glob::Pattern;
use kameo::actor::{ActorRef, Spawn};
use kameo::message::{Context, Message};
use kameo::{Actor, Reply, mailbox};
use kameo_actors::DeliveryStrategy;
use kameo_actors::broker::{self, Broker};
use kameo_actors::pubsub::{self, Publish};

use crate::many_to_many;
use crate::payload::Payload;
use crate::peer::{CAPACITY, Cannot, Peer, Requests, Round, Shape, one_publisher, publishers};
use crate::runtime::{RUNTIME, on_worker};
use crate::tally::Tally;

#[derive(Actor, Default)]
struct Subscriber(Tally);

impl<T: Payload> Message<T> for Subscriber {
    type Reply = ();

    async fn handle(&mut self, message: T, _: &mut Context<Self, ()>) {
        self.0.add(message.number());
    }
}

/// Asks a subscriber what it got. Mailboxes keep their order, so the answer comes when all the rest is taken.
struct Report;

#[derive(Reply)]
struct Got(Tally);

impl Message<Report> for Subscriber {
    type Reply = Got;

    async fn handle(&mut self, _: Report, _: &mut Context<Self, Got>) -> Got {
        Got(self.0)
    }
}

pub(crate) struct PubSub;

impl Peer for PubSub {
    const NAME: &'static str = "kameo_actors PubSub";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let subscribers = spawn_subscribers(shape.subscribers);
        let mut bus = pubsub::PubSub::<T>::new(DeliveryStrategy::Guaranteed);
        subscribers.iter().cloned().for_each(|subscriber| bus.subscribe(subscriber));
        if shape.publishers == 1 {
            let publisher = one_publisher(bus, |mut bus, numbers| {
                on_worker(async move {
                    for number in numbers {
                        bus.publish(T::new(number)).await;
                    }
                });
            });
            return Ok(Round { publishers: vec![publisher], finish: Box::new(|| reports(subscribers)) });
        }
        let bus = spawn_actor(bus);
        Ok(Round {
            publishers: publishers(shape.publishers, bus.clone(), |bus, numbers| {
                on_worker(async move {
                    for number in numbers {
                        bus.tell(Publish(T::new(number))).await.expect("the bus runs");
                    }
                });
            }),
            finish: Box::new(|| {
                stop(bus);
                reports(subscribers)
            }),
        })
    }

    fn requests(_: usize) -> Result<Requests, Cannot> {
        Err(Cannot("publish-subscribe only: its actors reply to the `ask` of kameo, which has a line of its own"))
    }

    fn many_topics() -> Result<Round, Cannot> {
        Err(Cannot("it has no topics: those are the `Broker` of the same crate, which has a line of its own"))
    }
}

pub(crate) struct TopicBroker;

impl Peer for TopicBroker {
    const NAME: &'static str = "kameo_actors Broker";

    fn one_topic<T: Payload>(_: Shape) -> Result<Round, Cannot> {
        Err(Cannot("a broker of many topics"))
    }

    fn many_topics() -> Result<Round, Cannot> {
        let broker = spawn_actor(Broker::<u64>::new(DeliveryStrategy::Guaranteed));
        let subscribers = spawn_subscribers(many_to_many::SUBSCRIBERS.len());
        for (patterns, subscriber) in many_to_many::SUBSCRIBERS.iter().zip(&subscribers) {
            for pattern in *patterns {
                let topic = Pattern::new(&with_slashes(pattern)).expect("the pattern is valid");
                let subscribe = broker::Subscribe { topic, recipient: subscriber.clone().recipient() };
                RUNTIME.block_on(broker.ask(subscribe).into_future()).expect("the broker runs");
            }
        }
        let topics = many_to_many::TOPICS.map(with_slashes);
        Ok(Round {
            publishers: publishers(many_to_many::PUBLISHERS, (broker.clone(), topics), |(broker, topics), numbers| {
                on_worker(async move {
                    for message in numbers {
                        let topic = topics[many_to_many::topic_of(message)].clone();
                        broker.tell(broker::Publish { topic, message }).await.expect("the broker runs");
                    }
                });
            }),
            finish: Box::new(|| {
                stop(broker);
                reports(subscribers)
            }),
        })
    }
}

/// Globs have slashes between the tokens, and two stars for one or more of them.
fn with_slashes(pattern: &str) -> String {
    pattern.replace('.', "/").replace('>', "**")
}

/// The server is an actor, which is a task. The caller is a task too, or it has a thread of its own: two tasks may take
/// turns on one thread.
pub(crate) struct Ask<const TASKS: bool>;

#[derive(Actor)]
struct Server;

impl Message<u64> for Server {
    type Reply = u64;

    async fn handle(&mut self, number: u64, _: &mut Context<Self, u64>) -> u64 {
        number + 1
    }
}

impl<const TASKS: bool> Peer for Ask<TASKS> {
    const NAME: &'static str = if TASKS { "kameo ask, tasks" } else { "kameo ask, threads" };

    fn one_topic<T: Payload>(_: Shape) -> Result<Round, Cannot> {
        Err(Cannot("requests only"))
    }

    fn requests(in_flight: usize) -> Result<Requests, Cannot> {
        let server = spawn_actor(Server);
        let client = server.clone();
        Ok(Requests {
            call: Box::new(move |numbers| {
                let calls = async move {
                    let mut pending = Vec::with_capacity(in_flight);
                    let mut tally = Tally::default();
                    for number in numbers {
                        pending.push(client.ask(number).enqueue().await.expect("the server runs"));
                        if pending.len() == in_flight {
                            for reply in pending.drain(..) {
                                tally.add(reply.await.expect("the server answers"));
                            }
                        }
                    }
                    tally
                };
                if TASKS { on_worker(calls) } else { RUNTIME.block_on(calls) }
            }),
            finish: Box::new(|| stop(server)),
        })
    }
}

fn spawn_subscribers(count: usize) -> Vec<ActorRef<Subscriber>> {
    (0..count).map(|_| spawn_actor(Subscriber::default())).collect()
}

fn spawn_actor<A: Actor<Args = A>>(actor: A) -> ActorRef<A> {
    RUNTIME.block_on(async {
        let actor = A::spawn_with_mailbox(actor, mailbox::bounded(CAPACITY));
        actor.wait_for_startup().await;
        actor
    })
}

/// Lets an actor finish what is in its mailbox, and end.
fn stop<A: Actor>(actor: ActorRef<A>) {
    RUNTIME.block_on(async {
        actor.stop_gracefully().await.expect("the actor runs");
        actor.wait_for_shutdown().await;
    });
}

fn reports(subscribers: Vec<ActorRef<Subscriber>>) -> Vec<Tally> {
    let report = |subscriber: &ActorRef<Subscriber>| {
        let Got(tally) = RUNTIME.block_on(subscriber.ask(Report).into_future()).expect("the subscriber runs");
        tally
    };
    let tallies = subscribers.iter().map(report).collect();
    subscribers.into_iter().for_each(stop);
    tallies
}
