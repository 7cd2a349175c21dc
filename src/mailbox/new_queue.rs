//! The queue of a mailbox that is about to be made, with the retained values that it begins with.

use std::sync::Arc;

use super::MailboxOptions;
use super::queue::{QueueReceiver, QueueSender, queue};
use crate::message::{Envelope, Retained};
use crate::topic::Topic;

/// A queue that nobody has yet. To fill it may take long, so that is done before the lock of the map is taken.
pub(crate) struct NewQueue<T, R> {
    pub(super) sender: QueueSender<T, R>,
    pub(super) receiver: QueueReceiver<T, R>,
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
        let (sender, receiver) = queue(options.capacity + room, topic);
        Self { sender, receiver, kept: 0, room }
    }

    /// Puts more values in, for which it may have to become larger.
    pub(crate) fn add(&mut self, options: &MailboxOptions, values: Vec<(Topic, Arc<Retained<T>>)>) {
        if self.kept + values.len() > self.room {
            let larger = Self::with_room(options, self.kept + values.len());
            while let Ok((topic, envelope)) = self.receiver.try_recv() {
                // Never full, here and below: there is room for all.
                let _ = larger.sender.try_send(&topic, envelope);
            }
            *self = Self { kept: self.kept, ..larger };
        }
        self.put(values);
    }

    fn put(&mut self, values: Vec<(Topic, Arc<Retained<T>>)>) {
        self.kept += values.len();
        for (topic, value) in values {
            let _ = self.sender.try_send(&topic, Envelope::retained(value));
        }
    }
}
