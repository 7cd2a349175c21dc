//! Outcomes in a form that can be compared.

use tramline::{DeadLetterReason, DeadLetters, Delivery, Message, Subscriber};

/// Returns how many mailboxes got the message, and how many lost it.
pub fn counts(delivery: Delivery) -> (usize, usize) {
    (delivery.delivered(), delivery.dropped())
}

/// Takes the payloads that are in the mailbox now.
pub fn taken<T: Clone + Send + 'static>(subscriber: &Subscriber<T>) -> Vec<T> {
    subscriber.try_iter().map(Message::into_payload).collect()
}

/// Takes the dead letters that are there now: their payloads and reasons.
pub fn letters(dead_letters: &DeadLetters<u32>) -> Vec<(u32, DeadLetterReason)> {
    dead_letters.try_iter().map(|letter| (*letter.payload(), letter.reason().clone())).collect()
}
