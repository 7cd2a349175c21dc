//! The queue of a mailbox that is about to be made, with the retained values that it begins with.

use std::sync::Arc;

use super::MailboxOptions;
use super::queue::QueueReceiver;
use crate::message::{Envelope, Retained};
use crate::topic::Topic;

/// A queue that nobody has yet. To fill it may take long, so that is done before the lock of the map is taken.
pub(crate) struct NewQueue<T, R> {
    pub(super) queue: QueueReceiver<T, R>,
    /// The retained values in it, for which there is room beyond its capacity.
    pub(super) kept: usize,
    /// For so many there is.
    room: usize,
}

impl<T, R> NewQueue<T, R> {
    pub(crate) fn new(options: &MailboxOptions, values: Vec<(Topic, Arc<Retained<T>>)>) -> Self {
        // A few more may come until the mailbox is in the map.
        let mut this = Self::with_room(options, values.len() + values.len() / 8);
        this.put(values);
        this
    }

    fn with_room(options: &MailboxOptions, room: usize) -> Self {
        let topic = match options.patterns.as_slice() {
            [only] => Topic::try_from(only).ok(),
            _ => None,
        };
        Self { queue: QueueReceiver::new(options.capacity + room, topic), kept: 0, room }
    }

    /// Puts more values in, for which it may have to become larger.
    pub(crate) fn add(&mut self, options: &MailboxOptions, values: Vec<(Topic, Arc<Retained<T>>)>) {
        if self.kept + values.len() > self.room {
            let mut larger = Self::with_room(options, self.kept + values.len());
            larger.queue.with_sender(|sender| {
                while let Ok((topic, envelope)) = self.queue.try_recv() {
                    // Never full, here and below: there is room for all.
                    let _ = sender.try_send(&topic, envelope);
                }
            });
            *self = Self { kept: self.kept, ..larger };
        }
        self.put(values);
    }

    fn put(&mut self, values: Vec<(Topic, Arc<Retained<T>>)>) {
        if values.is_empty() {
            return;
        }
        self.kept += values.len();
        self.queue.with_sender(|sender| {
            for (topic, value) in values {
                let _ = sender.try_send(&topic, Envelope::retained(value));
            }
        });
    }
}
