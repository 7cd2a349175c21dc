//! jaeb: handlers for a type of event, which is its topic, and `EventBus::publish` on the publisher's thread.
//!
//! As its USAGE page subscribes handlers at run time, in both of its kinds. Asynchronous handlers are a task for each
//! message and handler, in no order and with no bound. Synchronous ones run inside of `publish`, one after the other.
//! Neither loses anything; `EventBus::shutdown` waits for the tasks.

use std::sync::Arc;

use jaeb::{EventBus, EventHandler, HandlerResult, SyncEventHandler};

use crate::payload::Payload;
use crate::peer::{Cannot, Peer, Round, Shape, publishers};
use crate::runtime::RUNTIME;
use crate::tally::SharedTally;

struct Subscriber(Arc<SharedTally>);

struct InlineSubscriber(Arc<SharedTally>);

impl<T: Payload> EventHandler<T> for Subscriber {
    async fn handle(&self, event: &T, _: &EventBus) -> HandlerResult {
        self.0.add(event.number());
        Ok(())
    }
}

impl<T: Payload> SyncEventHandler<T> for InlineSubscriber {
    fn handle(&self, event: &T, _: &EventBus) -> HandlerResult {
        self.0.add_in_turn(event.number());
        Ok(())
    }
}

pub(crate) struct AsyncHandlers;

impl Peer for AsyncHandlers {
    const NAME: &'static str = "jaeb, async handlers (unbounded)";
    const ORDERED: bool = false;

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let (bus, tallies) = new_bus(shape);
        for tally in tallies.iter().cloned() {
            // Dropping what this returns leaves the handler subscribed.
            let _ = RUNTIME.block_on(bus.subscribe::<T, _, _>(Subscriber(tally))).expect("the bus is open");
        }
        Ok(round::<T>(shape, bus, tallies))
    }
}

pub(crate) struct SyncHandlers;

impl Peer for SyncHandlers {
    const NAME: &'static str = "jaeb, sync handlers (inline)";

    fn one_topic<T: Payload>(shape: Shape) -> Result<Round, Cannot> {
        let (bus, tallies) = new_bus(shape);
        for tally in tallies.iter().cloned() {
            // Dropping what this returns leaves the handler subscribed.
            let _ = RUNTIME.block_on(bus.subscribe::<T, _, _>(InlineSubscriber(tally))).expect("the bus is open");
        }
        Ok(round::<T>(shape, bus, tallies))
    }
}

fn new_bus(shape: Shape) -> (EventBus, Vec<Arc<SharedTally>>) {
    let bus = RUNTIME.block_on(EventBus::builder().build()).expect("the defaults are valid");
    (bus, (0..shape.subscribers).map(|_| Arc::default()).collect())
}

fn round<T: Payload>(shape: Shape, bus: EventBus, tallies: Vec<Arc<SharedTally>>) -> Round {
    Round {
        publishers: publishers(shape.publishers, bus.clone(), |bus, numbers| {
            RUNTIME.block_on(async {
                for number in numbers {
                    bus.publish(T::new(number)).await.expect("the bus is open");
                }
            });
        }),
        finish: Box::new(move || {
            RUNTIME.block_on(bus.shutdown()).expect("no time limit is set");
            tallies.iter().map(|tally| tally.get()).collect()
        }),
    }
}
