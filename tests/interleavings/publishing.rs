//! Publishing, while the mailboxes of the topic change.

use std::sync::Arc;

use tramline::{Bus, Publisher};

use super::checker::sync::atomic::{AtomicBool, Ordering};
use super::{TOPIC, bus, meanwhile, take_all};

/// What is published after `subscribe` has returned is delivered; and what was delivered is there.
fn against_subscribe(bus: &Bus<u32>, publisher: impl FnOnce() -> Publisher<u32> + Send + 'static) {
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
    let subscriber = bus.subscribe("*").unwrap();
    subscribed.store(true, Ordering::Release);
    let delivered = publishing.join().unwrap();
    assert_eq!(take_all(&subscriber).len(), delivered);
}

pub fn publish_against_subscribe() {
    let bus = bus(1);
    let publisher = bus.publisher(TOPIC).unwrap();
    against_subscribe(&bus, move || publisher);
}

/// The same for a topic that comes into use at that moment.
pub fn first_publisher_against_subscribe() {
    let bus = bus(1);
    let own = bus.clone();
    against_subscribe(&bus, move || own.publisher(TOPIC).unwrap());
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
