//! Taking messages out of a mailbox.
//!
//! Nearly every message is a bare payload with nothing to report: `recv` and `try_recv` take those where they come out of
//! the channel. Everything else goes through `open`.

use super::queue::Addressed;
use super::{Mailbox, recv_flag};
use crate::dead_letter::{DeadLetter, DeadLetterReason};
use crate::message::{BoxedMessage, Envelope, InHand, Message, RecvError, RecvTimeoutError, TryRecvError, is_large};
use crate::sync::Instant;
use crate::sync::atomic::Ordering;
use crate::sync::channel::{self, Select, SelectedOperation};
use crate::topic::Topic;

impl<T, R> Mailbox<T, R> {
    /// A message was taken out of the queue: there is room, and the extra room shrinks.
    #[inline]
    pub(super) fn message_dequeued(&self) {
        self.notify_room();
        if self.began_with_retained && self.extra_room.load(Ordering::Relaxed) > 0 {
            let less = |room: usize| room.checked_sub(1);
            // Fails if another reader took the last of it, which is as well.
            let _ = self.extra_room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// The queue was seen empty.
    fn record_empty(&self) {
        // A load and a store: of several readers, one may spoil the other's mark, and no more.
        self.reader.flags.store(self.recv_flags() | recv_flag::WAS_EMPTY, Ordering::Relaxed);
        self.wake_publishers();
    }

    pub(super) fn recv_flags(&self) -> u8 {
        self.reader.flags.load(Ordering::Relaxed)
    }

    fn recv_error(&self) -> RecvError {
        if self.is_overflowed() { RecvError::Overflowed } else { RecvError::Closed }
    }

    pub(crate) fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        self.record_empty();
        self.queue.register(select)
    }
}

impl<T: Clone, R> Mailbox<T, R> {
    #[inline]
    pub(crate) fn recv(&self) -> Result<Message<T, R>, RecvError> {
        if const { is_large::<T>() } {
            return self.recv_closer(self.queue.try_recv());
        }
        let plain = |topic, payload| Ok(Message::plain(topic, payload));
        self.queue.try_recv_plain(|| self.count_if_plain(), plain, |item| self.recv_closer(item))
    }

    #[inline]
    pub(crate) fn try_recv(&self) -> Result<Message<T, R>, TryRecvError> {
        self.try_recv_until(|| false)
    }

    /// As `try_recv`, but ends as if the mailbox was empty if the time is over when a message was not for the reader, such as
    /// one that has expired: others like it may come without an end.
    #[inline]
    pub(super) fn try_recv_until(&self, is_over: impl Fn() -> bool) -> Result<Message<T, R>, TryRecvError> {
        if const { is_large::<T>() } {
            return self.try_recv_closer(self.queue.try_recv(), is_over);
        }
        let plain = |topic, payload| Ok(Message::plain(topic, payload));
        self.queue.try_recv_plain(|| self.count_if_plain(), plain, |item| self.try_recv_closer(item, is_over))
    }

    /// Counts a message that is a bare payload. Returns `false` if it has more to report.
    #[inline]
    fn count_if_plain(&self) -> bool {
        if self.recv_flags() != 0 && !self.is_plain() {
            return false;
        }
        self.notify_room();
        self.count();
        true
    }

    #[inline(never)]
    fn is_plain(&self) -> bool {
        self.sample_after_empty();
        !self.began_with_retained && !self.has_unreported_evictions() && !self.has_unreported_expiries()
    }

    #[inline]
    fn count(&self) {
        // A look at the depth touches the line that publishers write.
        if self.reader.received.add(1) % 64 == 0 {
            self.sample_depth();
        }
    }

    /// If this is the first message after an empty queue, a burst has piled up behind it.
    fn sample_after_empty(&self) {
        let flags = self.recv_flags();
        if flags & recv_flag::WAS_EMPTY != 0 {
            self.reader.flags.store(flags & !recv_flag::WAS_EMPTY, Ordering::Relaxed);
            self.sample_depth();
        }
    }

    #[inline(never)]
    fn sample_depth(&self) {
        // The message that was taken out was waiting too; by now another may have its place.
        let depth = self.queue.len() + 1;
        self.record_depth(if self.began_with_retained { depth } else { depth.min(self.options.capacity) });
    }

    /// The queue is empty. Where messages stream in, a reader that looks again at once gets each as it comes, and fights
    /// with the publisher over the lines of the channel for every one (100 ns a message). One that lets some gather gets
    /// them by the dozen (30 ns). Where they come one by one it would only be late (800 ns for a round trip, 2,700 with
    /// the pause). So it tries it once in a while, and does it again as long as it pays. Tells whether it did.
    pub(crate) fn pause_to_batch(&self) -> bool {
        const PAUSE: u32 = 100;
        const EVERY: u64 = 1024;
        const PAYS: u64 = 8;
        // Loads and stores of their own: several readers at once may spoil a guess, and no more.
        let reader = &*self.reader;
        let received = reader.received.get();
        let gathered = received.wrapping_sub(reader.received_when_empty.load(Ordering::Relaxed));
        let empty = reader.empty.load(Ordering::Relaxed).wrapping_add(1);
        let pause = (reader.paused.load(Ordering::Relaxed) && gathered >= PAYS) || empty % EVERY == 0;
        reader.received_when_empty.store(received, Ordering::Relaxed);
        reader.empty.store(empty, Ordering::Relaxed);
        reader.paused.store(pause, Ordering::Relaxed);
        if pause {
            (0..PAUSE).for_each(|_| std::hint::spin_loop());
        }
        pause
    }

    #[inline(never)]
    fn recv_closer(
        &self,
        mut item: Result<Addressed<T, R>, channel::TryRecvError>,
    ) -> Result<Message<T, R>, RecvError> {
        loop {
            if matches!(item, Err(channel::TryRecvError::Empty)) {
                self.record_empty();
                self.pause_to_batch();
                item = self.queue.recv().map_err(|_| channel::TryRecvError::Disconnected);
            }
            match item {
                Ok(received) => match self.open(received) {
                    Some(message) => return Ok(message),
                    None => item = self.queue.try_recv(),
                },
                Err(_) => return Err(self.recv_error()),
            }
        }
    }

    #[inline(never)]
    fn try_recv_closer(
        &self,
        mut item: Result<Addressed<T, R>, channel::TryRecvError>,
        is_over: impl Fn() -> bool,
    ) -> Result<Message<T, R>, TryRecvError> {
        loop {
            match item {
                Ok(received) => match self.open(received) {
                    Some(message) => return Ok(message),
                    None if is_over() => return Err(TryRecvError::Empty),
                    None => item = self.queue.try_recv(),
                },
                Err(channel::TryRecvError::Empty) => {
                    self.record_empty();
                    return Err(TryRecvError::Empty);
                }
                Err(channel::TryRecvError::Disconnected) => return Err(self.recv_error().into()),
            }
        }
    }

    /// As `try_recv`, for a large payload, which stays in its box.
    pub(crate) fn try_recv_boxed(&self) -> Result<Box<Message<T, R>>, TryRecvError> {
        loop {
            match self.queue.try_recv_boxed() {
                Ok(item) => {
                    if let Some(message) = self.open_boxed(item) {
                        return Ok(message);
                    }
                }
                Err(channel::TryRecvError::Empty) => {
                    self.record_empty();
                    return Err(TryRecvError::Empty);
                }
                Err(channel::TryRecvError::Disconnected) => return Err(self.recv_error().into()),
            }
        }
    }

    /// As `open`, for a message in a box.
    fn open_boxed(&self, item: BoxedMessage<T, R>) -> Option<Box<Message<T, R>>> {
        self.message_dequeued();
        let mut message = match item {
            BoxedMessage::Live(message) if message.is_expired() => {
                self.expire(message);
                return None;
            }
            BoxedMessage::Live(message) => message,
            BoxedMessage::Retained(topic, value) => {
                if self.skips(&value) {
                    return None;
                }
                if value.is_expired() {
                    return None;
                }
                let message = value.into_boxed_message(topic);
                if !self.accepts(message.topic(), message.payload(), false, message.properties()) {
                    return None;
                }
                message
            }
        };
        self.count_with_losses(&mut message);
        Some(message)
    }

    pub(crate) fn recv_deadline(&self, deadline: Instant) -> Result<Message<T, R>, RecvTimeoutError> {
        let is_over = || deadline <= Instant::now();
        match self.try_recv_until(is_over) {
            Ok(message) => return Ok(message),
            Err(TryRecvError::Closed) => return Err(RecvTimeoutError::Closed),
            Err(TryRecvError::Overflowed) => return Err(RecvTimeoutError::Overflowed),
            Err(TryRecvError::Empty) => {}
        }
        self.pause_to_batch();
        loop {
            match self.queue.recv_deadline(deadline).map(|item| self.open(item)) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) if is_over() => return Err(RecvTimeoutError::Timeout),
                Ok(None) => {}
                Err(channel::RecvTimeoutError::Timeout) => {
                    self.record_empty();
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(channel::RecvTimeoutError::Disconnected) => return Err(self.recv_error().into()),
            }
        }
    }

    pub(crate) fn complete(&self, operation: SelectedOperation<'_>) -> Result<Message<T, R>, RecvError> {
        match self.queue.complete(operation).map(|item| self.open(item)) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => self.recv(),
            Err(_) => Err(self.recv_error()),
        }
    }

    /// Makes a message of what was taken out of the queue; `None` for a retained value that was replaced, or that the filter
    /// rejects.
    ///
    /// Live messages went through the filter before they got in. A retained value could not: it was put in under the
    /// lock of the map.
    #[inline]
    fn open(&self, (topic, envelope): Addressed<T, R>) -> Option<Message<T, R>> {
        self.message_dequeued();
        let mut message =
            if envelope.is_conditional() { self.open_closer(topic, envelope)? } else { envelope.into_message(topic) };
        self.count_with_losses(&mut message);
        Some(message)
    }

    /// Counts a message that is delivered, which reports the losses before it.
    #[inline(always)]
    fn count_with_losses(&self, message: &mut Message<T, R>) {
        self.sample_after_empty();
        self.count();
        if self.has_unreported_evictions() {
            message.add_lost(self.take_unreported_evictions());
        }
        if self.has_unreported_expiries() {
            message.add_lost(self.take_unreported_expiries());
        }
    }

    /// As `open`, for a retained value or a message that expires.
    #[inline(never)]
    fn open_closer(&self, topic: Topic, envelope: Envelope<T, R>) -> Option<Message<T, R>> {
        let retained = envelope.as_retained();
        let (retained, replaced) = (retained.is_some(), retained.is_some_and(|value| self.skips(value)));
        if replaced {
            return None;
        }
        if envelope.is_expired() {
            if !retained {
                self.expire(envelope.into_message(topic));
            }
            return None;
        }
        let message = envelope.into_message(topic);
        if retained && !self.accepts(message.topic(), message.payload(), false, message.properties()) {
            return None;
        }
        Some(message)
    }

    /// The time of this message is over: it is a loss.
    #[cold]
    fn expire(&self, message: impl InHand<T, R>) {
        self.count_expiry(message.message().lost_before());
        if self.losses.is_listening() {
            let (topic, properties) = (message.message().topic().clone(), message.message().properties().cloned());
            let recipient = self.recipient(&topic);
            let letter = DeadLetter::new(topic, message.into_payload(), DeadLetterReason::Expired, properties);
            self.losses.post(letter.to(recipient));
        }
    }
}
