//! Retained values and groups, while members come and go.

use tramline::{Bus, Subscriber};

use super::{TOPIC, bus, full, meanwhile, take_all};

/// The kept value first, then live messages: no gap and no duplicate.
pub fn publish_retained_against_a_retained_subscription() {
    let bus = bus(1);
    let publisher = bus.publisher(TOPIC).unwrap();
    assert!(publisher.publish_retained(0).unwrap().is_unheard());
    let retaining = meanwhile(move || publisher.publish_retained(1).unwrap().delivered());
    let subscriber = bus.subscription(TOPIC).with_retained().open().unwrap();
    let delivered = retaining.join().unwrap();
    assert_eq!(take_all(&subscriber), if delivered == 1 { vec![0, 1] } else { vec![1] });
    assert_eq!(bus.retained(TOPIC), Some(1));
}

/// Who leaves without reading leaves behind the kept value and what was delivered; not a value that was replaced while the
/// mailbox was being made.
pub fn publish_retained_against_a_retained_subscription_that_leaves() {
    let bus = bus(1);
    let publisher = bus.publisher(TOPIC).unwrap();
    assert!(publisher.publish_retained(0).unwrap().is_unheard());
    let retaining = meanwhile(move || publisher.publish_retained(1).unwrap().delivered() as u64);
    drop(bus.subscription(TOPIC).with_retained().open().unwrap());
    let delivered = retaining.join().unwrap();
    assert_eq!(bus.stats().abandoned, 1 + delivered);
}

/// The last that arrives is the one that is kept.
fn two_publish_retained(capacity: usize) {
    let bus = bus(capacity);
    let subscriber = bus.subscribe(TOPIC).unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    let publishing = meanwhile({
        let publisher = publisher.clone();
        move || publisher.publish_retained(1).unwrap().delivered()
    });
    let reading = meanwhile(move || [(); 2].map(|()| *subscriber.recv().unwrap())[1]);
    assert_eq!(publisher.publish_retained(2).unwrap().delivered(), 1);
    assert_eq!(publishing.join().unwrap(), 1);
    assert_eq!(bus.retained(TOPIC), Some(reading.join().unwrap()));
}

pub fn two_who_publish_retained() {
    two_publish_retained(2);
}

/// The same where one waits for the other's place in a full mailbox.
pub fn two_who_publish_retained_to_a_full_mailbox() {
    two_publish_retained(1);
}

/// Who waits with a retained value hears of the end.
pub fn publish_retained_that_waits_against_close() {
    let (bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || publisher.publish_retained(1).is_err());
    bus.close();
    assert!(publishing.join().unwrap());
    assert_eq!(take_all(&subscriber), [0]);
}

pub fn clear_retained_against_a_retained_subscription() {
    let bus = bus(1);
    assert!(bus.publish_retained(TOPIC, 1).unwrap().is_unheard());
    let forgetting = meanwhile({
        let bus = bus.clone();
        move || bus.clear_retained(TOPIC)
    });
    let subscriber = bus.subscription("*").with_retained().open().unwrap();
    assert_eq!(forgetting.join().unwrap(), Some(1));
    assert!(take_all(&subscriber).len() <= 1);
    assert_eq!(bus.stats().topics, 0);
}

fn member(bus: &Bus<u32>) -> Subscriber<u32> {
    bus.subscription(TOPIC).group("group").open().unwrap()
}

/// Who joins gets the mailbox with what is in it, or a new one; never the one that has ended.
pub fn last_member_leaving_against_joining() {
    let bus = bus(2);
    let leaves = member(&bus);
    assert_eq!(bus.publish(TOPIC, 1).unwrap().delivered(), 1);
    let leaving = meanwhile(move || leaves.unsubscribe());
    let stays = member(&bus);
    let left = leaving.join().unwrap();
    assert_eq!(bus.publish(TOPIC, 2).unwrap().delivered(), 1);
    assert_eq!(take_all(&stays), if left == 0 { vec![1, 2] } else { vec![2] });
    assert_eq!(bus.stats().abandoned, left as u64);
}

/// The last of two to leave is the one who ends it.
pub fn members_leaving_together() {
    let bus = bus(1);
    let (one, other) = (member(&bus), member(&bus));
    assert_eq!(bus.publish(TOPIC, 1).unwrap().delivered(), 1);
    let leaving = meanwhile(move || one.unsubscribe());
    let left = other.unsubscribe() + leaving.join().unwrap();
    assert_eq!(left, 1);
    assert_eq!(bus.stats().topics, 0);
}

/// A message goes to a member that is there.
pub fn member_leaving_against_publish() {
    let bus = bus(1);
    let (leaves, stays) = (member(&bus), member(&bus));
    let publisher = bus.publisher(TOPIC).unwrap();
    let publishing = meanwhile(move || assert_eq!(publisher.publish(1).unwrap().delivered(), 1));
    drop(leaves);
    assert_eq!(*stays.recv().unwrap(), 1);
    publishing.join().unwrap();
}
