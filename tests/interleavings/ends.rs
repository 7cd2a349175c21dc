//! The end of the bus, against everything.

use super::{TOPIC, bus, meanwhile, take_all};

pub fn close_against_publish() {
    let bus = bus(1);
    let (publisher, subscriber) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let publishing = meanwhile(move || match publisher.publish(1) {
        Ok(delivery) => {
            assert_eq!(delivery.delivered(), 1, "not unheard: somebody subscribes");
            1
        }
        Err(error) => {
            assert!(error.is_closed());
            0
        }
    });
    bus.close();
    assert_eq!(subscriber.iter().count(), publishing.join().unwrap());
}

pub fn close_against_subscribe() {
    let bus = bus(1);
    let subscribing = meanwhile({
        let bus = bus.clone();
        move || match bus.subscribe(TOPIC) {
            Ok(subscriber) => assert!(subscriber.recv().unwrap_err().is_closed()),
            Err(error) => assert!(error.is_closed()),
        }
    });
    bus.close();
    subscribing.join().unwrap();
    assert_eq!(bus.stats().subscriptions.len(), 0);
}

pub fn close_against_recv() {
    let bus = bus(1);
    let subscriber = bus.subscribe(TOPIC).unwrap();
    let reading = meanwhile(move || assert!(subscriber.recv().unwrap_err().is_closed()));
    bus.close();
    reading.join().unwrap();
}

pub fn close_against_unsubscribe() {
    let bus = bus(1);
    let (publisher, subscriber) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    assert_eq!(publisher.publish(1).unwrap().delivered(), 1);
    let leaving = meanwhile(move || subscriber.unsubscribe());
    bus.close();
    assert_eq!(leaving.join().unwrap(), 1);
    assert_eq!(bus.stats().abandoned, 1);
}

pub fn close_against_close() {
    let bus = bus(1);
    let subscriber = bus.subscribe(TOPIC).unwrap();
    let closing = meanwhile({
        let bus = bus.clone();
        move || bus.close()
    });
    bus.close();
    closing.join().unwrap();
    assert!(subscriber.recv().unwrap_err().is_closed());
}

/// A closed bus keeps no value, whoever was first.
pub fn close_against_publish_retained() {
    let bus = bus(1);
    let publisher = bus.publisher(TOPIC).unwrap();
    let retaining = meanwhile(move || match publisher.publish_retained(1) {
        Ok(delivery) => assert!(delivery.is_unheard()),
        Err(error) => assert!(error.is_closed()),
    });
    bus.close();
    retaining.join().unwrap();
    assert_eq!(bus.retained(TOPIC), None);
}

/// The last handle that could publish goes, and nobody has closed the bus.
pub fn last_handle_dropped_against_recv() {
    let bus = bus(1);
    let (publisher, subscriber) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let publishing = meanwhile(move || assert_eq!(publisher.publish(1).unwrap().delivered(), 1));
    drop(bus);
    assert_eq!(subscriber.iter().count(), 1);
    publishing.join().unwrap();
    assert!(take_all(&subscriber).is_empty());
}
