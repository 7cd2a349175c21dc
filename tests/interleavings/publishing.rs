//! Publishing, while the mailboxes of the topic change.

use std::sync::Arc;

use tramline::{Bus, Overflow, Publisher};

use super::checker::sync::atomic::{AtomicBool, Ordering};
use super::{TOPIC, bus, meanwhile, take_all};

/// What is published after `subscribe` has returned is delivered; and what was delivered is there.
fn against_subscribe(bus: &Bus<u32>, pattern: &str, publisher: impl FnOnce() -> Publisher<u32> + Send + 'static) {
    let subscribed = Arc::new(AtomicBool::new(false));
    let publishing = meanwhile({
        let subscribed = Arc::clone(&subscribed);
        move || {
            let publisher = publisher();
            let late = subscribed.load(Ordering::Acquire);
            let delivered = publisher.publish(1).unwrap().delivered();
            assert!(delivered == 1 || !late);
            delivered
        }
    });
    let subscriber = bus.subscribe(pattern).unwrap();
    subscribed.store(true, Ordering::Release);
    let delivered = publishing.join().unwrap();
    assert_eq!(take_all(&subscriber).len(), delivered);
}

pub fn publish_against_subscribe() {
    let bus = bus(1);
    let publisher = bus.publisher(TOPIC).unwrap();
    against_subscribe(&bus, "*", move || publisher);
}

/// A publisher whose route was found before.
fn that_has_published(bus: &Bus<u32>) -> Publisher<u32> {
    let publisher = bus.publisher(TOPIC).unwrap();
    assert!(publisher.publish(0).unwrap().is_unheard());
    publisher
}

/// The same for a route that was found before, which another generation makes stale.
pub fn publish_on_a_found_route_against_subscribe() {
    let bus = bus(1);
    let publisher = that_has_published(&bus);
    against_subscribe(&bus, "*", move || publisher);
}

/// And for one that is made stale by another in its place.
pub fn publish_on_a_found_route_against_subscribe_to_the_topic() {
    let bus = bus(1);
    let publisher = that_has_published(&bus);
    against_subscribe(&bus, TOPIC, move || publisher);
}

/// Two who find the route of a topic while a subscription comes that concerns another topic, and one that concerns this.
pub fn routes_found_together_against_subscribe() {
    let bus = bus(2);
    let publisher = that_has_published(&bus);
    let publishing = meanwhile({
        let publisher = publisher.clone();
        move || publisher.publish(1).unwrap().delivered()
    });
    let elsewhere = bus.subscribe("*.elsewhere").unwrap();
    let subscriber = bus.subscribe("*").unwrap();
    assert_eq!(publisher.publish(2).unwrap().delivered(), 1);
    let delivered = publishing.join().unwrap();
    assert_eq!(take_all(&subscriber).len(), 1 + delivered);
    assert!(elsewhere.is_empty());
}

/// A mailbox ends while the route of a topic is found that leads to it: its reader sees the end, whoever comes first, and
/// though nobody publishes on that topic again.
pub fn route_found_against_the_end_of_its_mailbox() {
    let bus = bus(1);
    let runs_over = bus.subscription("*").capacity(1).overflow(Overflow::Disconnect).open().unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    assert_eq!(publisher.publish(1).unwrap().delivered(), 1);
    let elsewhere = bus.publisher("elsewhere").unwrap();
    let finding = meanwhile(move || {
        elsewhere.fire(2);
        elsewhere
    });
    publisher.fire(3);
    assert_eq!(*runs_over.recv().unwrap(), 1);
    // One of the two was one too many.
    while runs_over.recv().is_ok() {}
    drop(finding.join().unwrap());
    assert_eq!(bus.stats().dropped, 1);
}

/// The same for a topic that comes into use at that moment.
pub fn first_publisher_against_subscribe() {
    let bus = bus(1);
    let own = bus.clone();
    against_subscribe(&bus, "*", move || own.publisher(TOPIC).unwrap());
    assert_eq!(bus.stats().topics, 0, "nothing keeps the topic");
}

/// Nothing is lost to the living, and nothing stays with the dead: what their mailbox still took is dropped and counted.
pub fn publish_against_unsubscribe() {
    let bus = Bus::<Arc<()>>::builder().capacity(1).build();
    let publisher = bus.publisher(TOPIC).unwrap();
    let (stays, leaves) = (bus.subscribe(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let payload = Arc::new(());
    let publishing = meanwhile({
        let payload = Arc::clone(&payload);
        move || publisher.publish(payload).unwrap().delivered()
    });
    let left = leaves.unsubscribe();
    let delivered = publishing.join().unwrap();
    assert!(left < delivered && delivered <= 2);
    assert_eq!(bus.stats().abandoned, delivered as u64 - 1);
    assert_eq!(Arc::strong_count(&payload), 2, "here, and with the one who stays");
    assert_eq!(stays.try_iter().count(), 1);
}

/// Two who publish to one mailbox, and one who reads it, with room for one message.
pub fn two_publishers_against_a_reader() {
    let bus = bus(1);
    let subscriber = bus.subscribe(TOPIC).unwrap();
    let publishing = [1, 2].map(|payload| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || publisher.publish(payload).unwrap().delivered())
    });
    let received = *subscriber.recv().unwrap() + *subscriber.recv().unwrap();
    assert_eq!(received, 3);
    assert!(publishing.into_iter().all(|publishing| publishing.join().unwrap() == 1));
}
