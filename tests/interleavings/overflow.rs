//! Full mailboxes: a publisher that waits, against everything that ends its wait; and mailboxes that lose messages.

use tramline::Overflow;

use super::checker::thread;
use super::{SECOND, TOPIC, bus, full, meanwhile, take_all};

pub fn blocked_publisher_against_room() {
    let (_bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || publisher.publish(1).unwrap().delivered());
    assert_eq!(*subscriber.recv().unwrap(), 0);
    assert_eq!(*subscriber.recv().unwrap(), 1);
    assert_eq!(publishing.join().unwrap(), 1);
}

pub fn blocked_publisher_against_unsubscribe() {
    let (bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || publisher.publish(1).unwrap().delivered());
    drop(subscriber);
    let delivered = publishing.join().unwrap();
    assert_eq!(bus.stats().abandoned, 1 + delivered as u64);
}

pub fn blocked_publisher_against_close() {
    let (bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || {
        let error = publisher.publish(1).unwrap_err();
        assert!(error.is_closed());
        assert_eq!(error.into_inner(), 1);
    });
    bus.close();
    // Nobody has made room for it.
    publishing.join().unwrap();
    assert_eq!(*subscriber.recv().unwrap(), 0);
    assert!(subscriber.recv().unwrap_err().is_closed());
}

/// What is delivered while the bus closes is read before the end.
pub fn blocked_publisher_against_close_and_room() {
    let (bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || match publisher.publish(1) {
        Ok(delivery) => {
            assert_eq!(delivery.delivered(), 1);
            true
        }
        Err(error) => {
            assert!(error.is_closed());
            false
        }
    });
    let closing = meanwhile(move || bus.close());
    let received: Vec<u32> = subscriber.iter().map(|message| *message).collect();
    assert_eq!(received, if publishing.join().unwrap() { vec![0, 1] } else { vec![0] });
    closing.join().unwrap();
}

pub fn blocked_publisher_against_timeout() {
    let (_bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || {
        let delivered = match publisher.publish_timeout(1, SECOND) {
            Ok(delivery) => delivery.delivered() == 1,
            Err(error) => !error.is_timeout(),
        };
        (publisher, delivered)
    });
    assert_eq!(*subscriber.recv().unwrap(), 0);
    let (publisher, delivered) = publishing.join().unwrap();
    if delivered {
        // Full again, and nobody makes room.
        assert!(publisher.publish_timeout(2, SECOND).unwrap_err().is_timeout());
    }
    assert_eq!(take_all(&subscriber), if delivered { vec![1] } else { vec![] });
}

/// Waiting for two mailboxes at once: one gets room, the other ends.
pub fn blocked_publisher_against_room_and_unsubscribe() {
    let (bus, publisher, reads) = full();
    assert_eq!(*reads.recv().unwrap(), 0);
    let leaves = bus.subscribe(TOPIC).unwrap();
    assert_eq!(publisher.publish(0).unwrap().delivered(), 2);
    let publishing = meanwhile(move || publisher.publish(1).unwrap().delivered());
    let leaving = meanwhile(move || drop(leaves));
    assert_eq!(*reads.recv().unwrap(), 0);
    assert_eq!(*reads.recv().unwrap(), 1);
    leaving.join().unwrap();
    let delivered = publishing.join().unwrap();
    assert_eq!(bus.stats().abandoned, delivered as u64);
}

/// The message that is published always gets in, and what goes for it is counted once.
pub fn evicting_publishers_against_a_reader() {
    let bus = bus(1);
    let subscriber = bus.subscription(TOPIC).overflow(Overflow::DropOldest).open().unwrap();
    // Its route has been found and its queue made: other cases show those steps.
    assert_eq!(bus.publish(TOPIC, 0).unwrap().delivered(), 1);
    assert_eq!(*subscriber.recv().unwrap(), 0);
    let publishing = [1, 2].map(|payload| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || publisher.publish(payload).unwrap().dropped())
    });
    let mut messages = Vec::from_iter(subscriber.try_recv());
    let dropped: usize = publishing.into_iter().map(|publishing| publishing.join().unwrap()).sum();
    messages.extend(subscriber.try_iter());
    assert_eq!(messages.len() + dropped, 2);
    assert!(!messages.is_empty());
    let told: u64 = messages.iter().map(|message| message.lost_before()).sum();
    assert_eq!(told, dropped as u64, "every loss is told of");
    assert_eq!(bus.stats().dropped, dropped as u64);
}

/// Whoever sees that a message is missing is told in the same moment.
pub fn eviction_against_a_reader_of_the_next_message() {
    let bus = bus(2);
    let subscriber = bus.subscription(TOPIC).overflow(Overflow::DropOldest).open().unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    (0..2).for_each(|n| assert_eq!(publisher.publish(n).unwrap().delivered(), 1));
    let publishing = meanwhile(move || publisher.publish(2).unwrap().dropped());
    let first = subscriber.recv().unwrap();
    // What goes right after it may be told with it too.
    assert!(first.lost_before() >= u64::from(*first));
    let dropped = publishing.join().unwrap() as u64;
    let rest: u64 = subscriber.try_iter().map(|message| message.lost_before()).sum();
    assert_eq!(first.lost_before() + rest, dropped);
}

/// A mailbox that has run over ends for its reader at once, though the publisher that it happened to waits at another.
pub fn overflow_against_a_publisher_that_waits_elsewhere() {
    let (bus, publisher, reads) = full();
    let overflows = bus.subscription("*").overflow(Overflow::Disconnect).open().unwrap();
    assert_eq!(*reads.recv().unwrap(), 0);
    assert_eq!(publisher.publish(0).unwrap().delivered(), 2);
    let publishing = meanwhile(move || publisher.publish(1).unwrap());
    // Not read before it has run over.
    while !bus.stats().subscriptions.iter().any(|subscription| subscription.overflowed) {
        thread::yield_now();
    }
    assert_eq!(*overflows.recv().unwrap(), 0);
    assert!(overflows.recv().unwrap_err().is_overflowed());
    assert_eq!(*reads.recv().unwrap(), 0);
    assert_eq!(*reads.recv().unwrap(), 1);
    let delivery = publishing.join().unwrap();
    assert_eq!((delivery.delivered(), delivery.dropped()), (1, 1));
}

/// It runs over once; what it has is read, then its end.
pub fn overflow_that_disconnects_against_a_reader() {
    let bus = bus(1);
    let subscriber = bus.subscription(TOPIC).overflow(Overflow::Disconnect).open().unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    assert_eq!(publisher.publish(0).unwrap().delivered(), 1);
    let publishing = meanwhile(move || publisher.publish(1).unwrap());
    assert_eq!(*subscriber.recv().unwrap(), 0);
    let delivery = publishing.join().unwrap();
    assert_eq!(delivery.delivered() + delivery.dropped(), 1);
    match subscriber.try_recv() {
        Ok(message) => assert_eq!((*message, delivery.delivered()), (1, 1)),
        Err(end) => assert!(end.is_overflowed() && delivery.dropped() == 1),
    }
}
