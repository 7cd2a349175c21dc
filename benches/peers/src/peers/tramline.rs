//! tramline: a [`Publisher`] bound to the topic, a [`Subscriber`] for each thread, as its crate documentation shows.
//!
//! Readers spin, yield, let messages gather, and then sleep; the default policy makes a publisher wait for room, so
//! nothing is lost. A journal keeps each message once for all its readers, which wait as subscribers do; publishers wait for
//! the slowest. Requests are [`Publisher::request`] and [`PendingReply::wait`], answered with `Message::reply`.

use std::ops::Range;

use tramline::{Bus, JournalReader, PendingReply, Publisher, Start, Subscriber};

use crate::many_to_many;
use crate::payload::Payload;
use crate::peer::{CAPACITY, Cannot, Peer, Requests, Round, Shape, caller_and_server, publishers, threads};
use crate::tally::Tally;

const TOPIC: &str = "a.topic";

pub(crate) struct Tramline;

impl Peer for Tramline {
    const NAME: &'static str = "tramline";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let bus = Bus::<T>::builder().capacity(CAPACITY).build();
        let subscribers = (0..shape.subscribers).map(|_| bus.subscribe(TOPIC).expect("the bus is open")).collect();
        let publisher = bus.publisher(TOPIC).expect("the topic is valid");
        // The bus closes when its last publisher is dropped.
        Ok(Round {
            finish: threads(subscribers, take_all),
            publishers: publishers(shape.publishers, publisher, publish_all),
        })
    }

    fn requests(in_flight: usize) -> Result<Requests, Cannot> {
        let bus = Bus::<u64>::builder().capacity(CAPACITY).build();
        let inbox = bus.subscribe(TOPIC).expect("the bus is open");
        Ok(caller_and_server(
            bus.publisher(TOPIC).expect("the topic is valid"),
            in_flight,
            |publisher, number| -> PendingReply<u64> { publisher.request(number).expect("the server is here") },
            |pending| pending.wait().expect("the server answers"),
            move || inbox.iter().for_each(|request| request.reply(*request + 1).expect("the caller waits")),
        ))
    }

    fn many_topics() -> Result<Round, Cannot> {
        let bus = Bus::<u64>::builder().capacity(CAPACITY).build();
        let subscribers = many_to_many::SUBSCRIBERS.iter().map(|patterns| {
            let (first, others) = patterns.split_first().expect("a subscriber takes something");
            let subscription = others.iter().fold(bus.subscription(*first), |all, pattern| all.also(*pattern));
            subscription.open().expect("the patterns are valid")
        });
        let finish = threads(subscribers.collect(), take_all);
        let topics = many_to_many::TOPICS.map(|topic| bus.publisher(topic).expect("the topic is valid"));
        Ok(Round {
            finish,
            publishers: publishers(many_to_many::PUBLISHERS, topics, |topics, numbers| {
                for number in numbers {
                    let topic: &Publisher<u64> = &topics[many_to_many::topic_of(number)];
                    topic.publish(number).expect("the bus is open");
                }
            }),
        })
    }
}

/// A journal of the topic, of which every subscriber is a reader.
pub(crate) struct Journal;

impl Peer for Journal {
    const NAME: &'static str = "tramline, a journal";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let bus = Bus::<T>::new();
        let journal = bus.journal(TOPIC).capacity(shape.capacity).open().expect("the bus is open");
        let readers =
            (0..shape.subscribers).map(|_| journal.reader(Start::Next).expect("it can begin there")).collect();
        let publisher = bus.publisher(TOPIC).expect("the topic is valid");
        Ok(Round {
            finish: threads(readers, read_all),
            publishers: publishers(shape.publishers, publisher, publish_all),
        })
    }
}

fn publish_all<T: Payload>(publisher: Publisher<T>, numbers: Range<u64>) {
    for number in numbers {
        publisher.publish(T::new(number)).expect("the bus is open");
    }
}

fn read_all<T: Payload>(mut reader: JournalReader<T>) -> Tally {
    let mut tally = Tally::default();
    while let Ok(entry) = reader.recv() {
        tally.add(entry.number());
    }
    tally
}

fn take_all<T: Payload>(subscriber: Subscriber<T>) -> Tally {
    subscriber.iter().map(|message| message.number()).collect()
}
