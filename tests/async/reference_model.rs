//! Futures at two mailboxes, polled by hand in any order, beside a model that is a queue each. One of them may be an observer's.
//! Some messages have headers, and some expire before they can be taken out.
//!
//! After each step: whoever would find something has been woken since it last looked. That is what an executor relies on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use tramline::{Bus, Delivery, Message, MessageBuilder, PublishError, RecvError, Subscriber, TryRecvError};

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
    Publish(Kind),
    PollPublish(usize),
    DropPublish(usize),
    ForgetPublish(usize),
    TryPublish(Kind),
    Close,
}

/// What a message has beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    WithHeaders,
    /// With headers; its time is over at once.
    Expired,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::Plain), 1 => Just(Kind::WithHeaders), 1 => Just(Kind::Expired)]
}

fn step() -> impl Strategy<Value = Step> {
    let (mailbox, task) = (0..MAILBOXES, 0..8_usize);
    prop_oneof![
        6 => mailbox.clone().prop_map(Step::Receive),
        4 => task.clone().prop_map(Step::PollReceive),
        2 => task.clone().prop_map(Step::DropReceive),
        1 => task.clone().prop_map(Step::ForgetReceive),
        4 => mailbox.prop_map(Step::TryReceive),
        8 => kind().prop_map(Step::Publish),
        6 => task.clone().prop_map(Step::PollPublish),
        2 => task.clone().prop_map(Step::DropPublish),
        1 => task.prop_map(Step::ForgetPublish),
        3 => kind().prop_map(Step::TryPublish),
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
    kind: Kind,
    /// The mailboxes that do not have it yet.
    rest: Vec<usize>,
    waiting: Waiting<Result<Delivery, PublishError<u32>>>,
}

/// What the model knows of a mailbox.
#[derive(Default)]
struct Queue {
    capacity: usize,
    is_observer: bool,
    /// Messages, and the losses that they tell of.
    messages: VecDeque<(u32, Kind, u64)>,
    untold: u64,
    /// What the next message to be taken out tells of: messages that have expired, and what these were to tell of.
    untold_in_front: u64,
    lost: u64,
    /// A forgotten publisher may have been told of room in the place of another, until somebody finds the queue empty.
    forgotten: bool,
}

impl Queue {
    fn room(&self) -> usize {
        self.capacity - self.messages.len()
    }

    fn put(&mut self, number: u32, kind: Kind) {
        assert!(self.room() > 0);
        self.messages.push_back((number, kind, std::mem::take(&mut self.untold)));
    }

    /// The next message, with the losses that it tells of. What has expired is lost on the way.
    fn take(&mut self) -> Option<(u32, Kind, u64)> {
        while let Some((number, kind, lost_before)) = self.messages.pop_front() {
            if kind != Kind::Expired {
                return Some((number, kind, lost_before + std::mem::take(&mut self.untold_in_front)));
            }
            self.lost += 1;
            self.untold_in_front += 1 + lost_before;
        }
        None
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
    /// The last mailbox may be an observer's.
    fn new(capacities: [usize; MAILBOXES], observed: bool) -> Self {
        let bus = Bus::new();
        let queues: Vec<_> = (1..)
            .zip(capacities)
            .map(|(n, capacity)| Queue { capacity, is_observer: observed && n == MAILBOXES, ..Queue::default() })
            .collect();
        let open = |queue: &Queue| {
            let subscription = bus.subscription("work").capacity(queue.capacity);
            let subscription = if queue.is_observer { subscription.observer() } else { subscription };
            Arc::new(subscription.open().unwrap())
        };
        Self {
            subscribers: queues.iter().map(open).collect(),
            queues,
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
            Step::Publish(kind) => {
                let (bus, number) = (self.bus.clone(), self.next);
                self.next += 1;
                let waiting = match kind {
                    Kind::Plain => Waiting::new(async move { bus.publish_async("work", number).await }),
                    _ => Waiting::new(async move { message(&bus, number, kind).publish_async().await }),
                };
                self.poll_publish(Publish { number, kind, rest: (0..MAILBOXES).collect(), waiting });
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
            Step::TryPublish(kind) => {
                let number = self.next;
                self.next += 1;
                let published = match kind {
                    Kind::Plain => self.bus.try_publish("work", number),
                    _ => message(&self.bus, number, kind).no_wait().publish(),
                };
                match published {
                    Ok(delivery) => {
                        assert!(!self.closed);
                        let (mut takers, mut full) = (0, 0);
                        for queue in &mut self.queues {
                            if queue.room() > 0 {
                                queue.put(number, kind);
                                takers += usize::from(!queue.is_observer);
                            } else {
                                queue.lose();
                                full += usize::from(!queue.is_observer);
                            }
                        }
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
        match (queue.take(), received) {
            (Some((number, kind, lost_before)), Ok(message)) => {
                assert_eq!((*message, message.lost_before()), (number, lost_before));
                assert_eq!(message.headers().get("number").is_some(), kind != Kind::Plain);
            }
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
                queue.put(publish.number, publish.kind);
            }
            !has_room
        });
        match polled {
            Poll::Ready(delivery) => {
                assert!(publish.rest.is_empty());
                let delivery = delivery.unwrap();
                let counted = self.queues.iter().filter(|queue| !queue.is_observer).count();
                assert_eq!((delivery.delivered(), delivery.dropped()), (counted, 0));
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

/// A message with headers.
fn message(bus: &Bus<u32>, number: u32, kind: Kind) -> MessageBuilder<'_, u32> {
    let message = bus.message("work", number).header("number", number.to_string());
    if kind == Kind::Expired { message.expires_after(Duration::ZERO) } else { message }
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
        observed in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::new(capacities, observed);
        for step in steps {
            model.step(step);
            model.check();
        }
    }
}
