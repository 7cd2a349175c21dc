//! Futures at two mailboxes, polled by hand in any order, beside a model that is a queue each.
//!
//! After each step: whoever would find something has been woken since it last looked. That is what an executor relies on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use proptest::prelude::*;
use tramline::{Bus, Delivery, Message, PublishError, RecvError, Subscriber, TryRecvError};

use crate::support::ByHand;

const MAILBOXES: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A new future, which is polled once.
    Receive(usize),
    PollReceive(usize),
    DropReceive(usize),
    ForgetReceive(usize),
    TryReceive(usize),
    Publish,
    PollPublish(usize),
    DropPublish(usize),
    ForgetPublish(usize),
    TryPublish,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let (mailbox, task) = (0..MAILBOXES, 0..8_usize);
    prop_oneof![
        6 => mailbox.clone().prop_map(Step::Receive),
        4 => task.clone().prop_map(Step::PollReceive),
        2 => task.clone().prop_map(Step::DropReceive),
        1 => task.clone().prop_map(Step::ForgetReceive),
        4 => mailbox.prop_map(Step::TryReceive),
        8 => Just(Step::Publish),
        6 => task.clone().prop_map(Step::PollPublish),
        2 => task.clone().prop_map(Step::DropPublish),
        1 => task.prop_map(Step::ForgetPublish),
        3 => Just(Step::TryPublish),
        1 => Just(Step::Close),
    ]
}

/// A future that waits, and how often it had been woken when it last looked.
struct Waiting<O> {
    future: ByHand<Pin<Box<dyn Future<Output = O>>>>,
    seen: usize,
}

impl<O> Waiting<O> {
    fn new(future: impl Future<Output = O> + 'static) -> Self {
        Self { future: ByHand::new(Box::pin(future)), seen: 0 }
    }

    fn poll(&mut self) -> Poll<O> {
        self.seen = self.future.wakes();
        self.future.poll()
    }

    fn is_woken(&self) -> bool {
        self.future.wakes() > self.seen
    }
}

struct Receive {
    mailbox: usize,
    waiting: Waiting<Result<Message<u32>, RecvError>>,
}

struct Publish {
    number: u32,
    /// The mailboxes that do not have it yet.
    rest: Vec<usize>,
    waiting: Waiting<Result<Delivery, PublishError<u32>>>,
}

/// What the model knows of a mailbox.
#[derive(Default)]
struct Queue {
    capacity: usize,
    /// Messages, and the losses that they tell of.
    messages: VecDeque<(u32, u64)>,
    untold: u64,
    lost: u64,
    /// A forgotten publisher may have been told of room in the place of another, until somebody finds the queue empty.
    forgotten: bool,
}

impl Queue {
    fn room(&self) -> usize {
        self.capacity - self.messages.len()
    }

    fn put(&mut self, number: u32) {
        assert!(self.room() > 0);
        self.messages.push_back((number, std::mem::take(&mut self.untold)));
    }

    fn lose(&mut self) {
        self.lost += 1;
        self.untold += 1;
    }
}

struct Model {
    bus: Bus<u32>,
    subscribers: Vec<Arc<Subscriber<u32>>>,
    queues: Vec<Queue>,
    receives: Vec<Receive>,
    publishes: Vec<Publish>,
    next: u32,
    closed: bool,
}

impl Model {
    fn new(capacities: [usize; MAILBOXES]) -> Self {
        let bus = Bus::new();
        let open = |capacity| Arc::new(bus.subscription("work").capacity(capacity).open().unwrap());
        Self {
            subscribers: capacities.into_iter().map(open).collect(),
            queues: capacities.map(|capacity| Queue { capacity, ..Queue::default() }).into(),
            receives: Vec::new(),
            publishes: Vec::new(),
            next: 0,
            closed: false,
            bus,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Receive(mailbox) => {
                let subscriber = Arc::clone(&self.subscribers[mailbox]);
                let waiting = Waiting::new(async move { subscriber.recv_async().await });
                self.poll_receive(Receive { mailbox, waiting });
            }
            Step::PollReceive(index) => {
                if let Some(receive) = take(&mut self.receives, index) {
                    self.poll_receive(receive);
                }
            }
            Step::DropReceive(index) => drop(take(&mut self.receives, index)),
            Step::ForgetReceive(index) => {
                if let Some(receive) = take(&mut self.receives, index) {
                    receive.waiting.future.forget();
                }
            }
            Step::TryReceive(mailbox) => {
                let received = self.subscribers[mailbox].try_recv();
                self.received(mailbox, received);
            }
            Step::Publish => {
                let (bus, number) = (self.bus.clone(), self.next);
                self.next += 1;
                let waiting = Waiting::new(async move { bus.publish_async("work", number).await });
                self.poll_publish(Publish { number, rest: (0..MAILBOXES).collect(), waiting });
            }
            Step::PollPublish(index) => {
                if let Some(publish) = take(&mut self.publishes, index) {
                    self.poll_publish(publish);
                }
            }
            Step::DropPublish(index) => {
                if let Some(publish) = take(&mut self.publishes, index) {
                    if !self.closed {
                        publish.rest.iter().for_each(|mailbox| self.queues[*mailbox].lose());
                    }
                }
            }
            Step::ForgetPublish(index) => {
                if let Some(publish) = take(&mut self.publishes, index) {
                    publish.rest.iter().for_each(|mailbox| self.queues[*mailbox].forgotten = true);
                    publish.waiting.future.forget();
                }
            }
            Step::TryPublish => {
                let number = self.next;
                self.next += 1;
                match self.bus.try_publish("work", number) {
                    Ok(delivery) => {
                        assert!(!self.closed);
                        let full = self.queues.iter_mut().filter(|queue| queue.room() == 0).map(Queue::lose).count();
                        let takers = MAILBOXES - full;
                        self.queues.iter_mut().filter(|queue| queue.room() > 0).for_each(|queue| queue.put(number));
                        assert_eq!((delivery.delivered(), delivery.dropped()), (takers, full));
                    }
                    Err(error) => assert!(self.closed && error.into_inner() == number),
                }
            }
            Step::Close => {
                self.bus.close();
                self.closed = true;
            }
        }
    }

    fn received(&mut self, mailbox: usize, received: Result<Message<u32>, TryRecvError>) {
        let queue = &mut self.queues[mailbox];
        match (queue.messages.pop_front(), received) {
            (Some(expected), Ok(message)) => assert_eq!((*message, message.lost_before()), expected),
            (None, Err(TryRecvError::Empty)) => {
                assert!(!self.closed);
                // It has told all that wait for room, whether others were forgotten or not.
                queue.forgotten = false;
                for publish in self.publishes.iter().filter(|publish| publish.rest.contains(&mailbox)) {
                    assert!(publish.waiting.is_woken(), "nobody told {} of an empty queue", publish.number);
                }
            }
            (None, Err(error)) => assert!(self.closed && error.is_closed()),
            (expected, received) => panic!("{expected:?}, and not {received:?}"),
        }
    }

    fn poll_receive(&mut self, mut receive: Receive) {
        match receive.waiting.poll() {
            Poll::Ready(received) => self.received(receive.mailbox, received.map_err(TryRecvError::from)),
            Poll::Pending => {
                self.received(receive.mailbox, Err(TryRecvError::Empty));
                self.receives.push(receive);
            }
        }
    }

    fn poll_publish(&mut self, mut publish: Publish) {
        let polled = publish.waiting.poll();
        if self.closed {
            match polled {
                Poll::Ready(Err(error)) => assert_eq!((error.is_closed(), error.into_inner()), (true, publish.number)),
                other => panic!("{other:?} after the end"),
            }
            return;
        }
        publish.rest.retain(|mailbox| {
            let queue = &mut self.queues[*mailbox];
            let has_room = queue.room() > 0;
            if has_room {
                queue.put(publish.number);
            }
            !has_room
        });
        match polled {
            Poll::Ready(delivery) => {
                assert!(publish.rest.is_empty());
                let delivery = delivery.unwrap();
                assert_eq!((delivery.delivered(), delivery.dropped()), (MAILBOXES, 0));
            }
            Poll::Pending => {
                assert!(!publish.rest.is_empty());
                self.publishes.push(publish);
            }
        }
    }

    fn check(&self) {
        for (mailbox, queue) in self.queues.iter().enumerate() {
            assert_eq!(self.subscribers[mailbox].len(), queue.messages.len());
            assert_eq!(self.subscribers[mailbox].dropped(), queue.lost);
            let receives = || self.receives.iter().filter(|receive| receive.mailbox == mailbox);
            if self.closed || !queue.messages.is_empty() {
                assert!(receives().all(|receive| receive.waiting.is_woken()), "a receiver sleeps");
            }
            let publishes = || self.publishes.iter().filter(|publish| publish.rest.contains(&mailbox));
            let woken = publishes().filter(|publish| publish.waiting.is_woken()).count();
            if self.closed {
                assert_eq!(woken, publishes().count(), "a publisher does not know of the end");
            } else if !queue.forgotten {
                assert!(woken >= queue.room().min(publishes().count()), "there is room, and a publisher sleeps");
            }
        }
    }
}

/// One of them, if there is any.
fn take<W>(waiting: &mut Vec<W>, index: usize) -> Option<W> {
    (!waiting.is_empty()).then(|| waiting.remove(index % waiting.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_future_that_could_finish_has_been_woken(
        capacities in prop::array::uniform2(1..3_usize),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::new(capacities);
        for step in steps {
            model.step(step);
            model.check();
        }
    }
}
