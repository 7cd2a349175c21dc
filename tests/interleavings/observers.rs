//! Observers: what is published because of a message comes behind it.

use tramline::{Bus, Subscriber};

use super::{bus, meanwhile, take_all};

const CAUSE: u32 = 1;
const EFFECT: u32 = 2;

/// An observer of everything that has subscribed last.
fn observer(bus: &Bus<u32>) -> Subscriber<u32> {
    bus.subscription(">").observer().open().unwrap()
}

/// The observer has the cause before the effect, though the reactor has subscribed first.
pub fn cause_against_effect() {
    let bus = bus(2);
    let reactor = bus.subscribe("cause").unwrap();
    let observer = observer(&bus);
    let reacting = meanwhile({
        let bus = bus.clone();
        move || {
            assert_eq!(*reactor.recv().unwrap(), CAUSE);
            assert!(bus.publish("effect", EFFECT).unwrap().is_unheard());
        }
    });
    assert_eq!(bus.publish("cause", CAUSE).unwrap().delivered(), 1);
    reacting.join().unwrap();
    assert_eq!(take_all(&observer), [CAUSE, EFFECT]);
}

/// The same for a request, whose reply makes the caller publish.
pub fn observed_request_against_reply() {
    let bus = bus(2);
    let responder = bus.subscribe("cause").unwrap();
    let observer = observer(&bus);
    let replying = meanwhile({
        let bus = bus.clone();
        move || {
            let request = responder.recv().unwrap();
            assert!(bus.publish("effect", EFFECT).unwrap().is_unheard());
            request.reply(0).unwrap();
        }
    });
    assert_eq!(bus.request("cause", CAUSE).unwrap().wait().unwrap(), 0);
    replying.join().unwrap();
    assert_eq!(take_all(&observer), [CAUSE, EFFECT]);
}

/// A handler that publishes, and one that reacts to that.
pub fn handlers_that_react_to_each_other() {
    let bus = bus(4);
    let (first, second) = (bus.clone(), bus.clone());
    // When the observer has the last message, the bus closes, and its publisher may hear of that.
    let handlers = [
        bus.on("cause", move |n| drop(first.publish("effect", **n + 1))).unwrap(),
        bus.on("effect", move |n| drop(second.publish("end", **n + 1))).unwrap(),
    ];
    let observer = observer(&bus);
    assert_eq!(bus.publish("cause", CAUSE).unwrap().delivered(), 1);
    let seen: Vec<u32> = observer.iter().take(3).map(|message| *message).collect();
    assert_eq!(seen, [CAUSE, CAUSE + 1, CAUSE + 2]);
    bus.close();
    drop(handlers);
}
