//! Dead letters that are delivered again, to the mailbox that they come from, while that changes.

use tramline::{Bus, DeadLetter, Subscriber};

use super::{full, meanwhile, take_all};

/// A letter of a mailbox which has room for one message and has it.
fn letter() -> (Bus<u32>, DeadLetter<u32>, Subscriber<u32>) {
    let (bus, publisher, subscriber) = full();
    let letters = bus.dead_letters();
    assert_eq!(publisher.try_publish(1).unwrap().dropped(), 1);
    (bus, letters.try_recv().unwrap(), subscriber)
}

/// Retries the letter. Returns whether the mailbox has it; otherwise the letter comes back.
fn retry(letter: DeadLetter<u32>) -> bool {
    match letter.retry() {
        Ok(()) => true,
        Err(error) => {
            assert!(error.is_gone() || error.is_closed());
            assert_eq!(error.into_inner().into_payload(), 1);
            false
        }
    }
}

pub fn retry_that_waits_against_room() {
    let (bus, letter, subscriber) = letter();
    let retrying = meanwhile(move || retry(letter));
    assert_eq!(*subscriber.recv().unwrap(), 0);
    assert_eq!(*subscriber.recv().unwrap(), 1);
    assert!(retrying.join().unwrap());
    // The subscriber sees the end as soon as the bus closes: the retry has let go of the mailbox.
    bus.close();
    assert!(subscriber.recv().unwrap_err().is_closed());
}

/// The letter gets in and is abandoned with the mailbox, or comes back.
pub fn retry_against_unsubscribe() {
    let (bus, letter, subscriber) = letter();
    assert_eq!(*subscriber.recv().unwrap(), 0);
    let retrying = meanwhile(move || retry(letter));
    drop(subscriber);
    let retried = retrying.join().unwrap();
    assert_eq!(bus.stats().abandoned, u64::from(retried));
}

/// The same for a retry that waits for room.
pub fn retry_that_waits_against_unsubscribe() {
    let (bus, letter, subscriber) = letter();
    let retrying = meanwhile(move || retry(letter));
    drop(subscriber);
    let retried = retrying.join().unwrap();
    assert_eq!(bus.stats().abandoned, 1 + u64::from(retried));
}

/// The end of the bus is the end of the wait; a letter that got in is read before the end.
pub fn retry_that_waits_against_close() {
    let (bus, letter, subscriber) = letter();
    let retrying = meanwhile(move || retry(letter));
    bus.close();
    // Nobody has made room for it.
    assert!(!retrying.join().unwrap());
    assert_eq!(take_all(&subscriber), [0]);
    assert!(subscriber.recv().unwrap_err().is_closed());
}

/// Room and the end at the same time.
pub fn retry_that_waits_against_room_and_unsubscribe() {
    let (bus, letter, subscriber) = letter();
    let retrying = meanwhile(move || retry(letter));
    assert_eq!(*subscriber.recv().unwrap(), 0);
    let received = take_all(&subscriber).len();
    drop(subscriber);
    let retried = retrying.join().unwrap();
    assert_eq!(bus.stats().abandoned + received as u64, u64::from(retried));
}
