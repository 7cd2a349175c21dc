//! Publishing a dead letter again.

use super::{BusInner, PublishError};
use crate::dead_letter::{Again, DeadLetter, NotRetried, Republish};
use crate::delivery::{Delivery, NotTaken, Wait, deliver_to_log, deliver_to_one};
use crate::message::Outgoing;
use crate::request::Metadata;
use crate::topic::Topic;

impl<T: Clone + Send + 'static, R: Send + 'static> Republish<T> for BusInner<T, R> {
    fn republish(&self, topic: &Topic, again: Again<T>) -> Result<(usize, usize), T> {
        let _letters = self.begin_publish();
        match self.publish_outgoing(topic, self.route(topic), outgoing(again), Wait::Forever) {
            Ok(delivery) => Ok((delivery.delivered(), delivery.dropped())),
            // Without a time limit, and with a topic that was valid before, there is no other error.
            Err(error) => Err(error.into_inner()),
        }
    }

    fn retry(&self, mailbox: u64, topic: &Topic, again: Again<T>, may_wait: bool) -> Result<(), NotRetried<T>> {
        let _letters = self.begin_publish();
        if !self.lifecycle.accepts() {
            return Err(NotRetried::Closed(again.payload));
        }
        let source = self.map.read().source(mailbox);
        let sender = source.as_ref().and_then(|source| {
            source.make();
            source.made().cloned()
        });
        // Invariant 3: a publisher that sleeps keeps the sender alone.
        drop(source);
        let Some(sender) = sender else { return self.retry_at_journal(mailbox, topic, again, may_wait) };
        let delivered = deliver_to_one(&sender, topic, outgoing(again), may_wait);
        if sender.mailbox.is_overflowed() {
            self.unroute(&sender.mailbox);
        }
        delivered.map_err(|error| match error {
            NotTaken::Full(outgoing) => NotRetried::Full(outgoing.payload),
            NotTaken::Gone(outgoing) => NotRetried::Gone(outgoing.payload),
            NotTaken::Closed(outgoing) => NotRetried::Closed(outgoing.payload),
        })
    }
}

impl<T: Clone + Send + 'static, R: Send + 'static> BusInner<T, R> {
    /// Gives a letter back to the handler of a journal that has this number, or to the journal that was full.
    fn retry_at_journal(
        &self,
        number: u64,
        topic: &Topic,
        mut again: Again<T>,
        may_wait: bool,
    ) -> Result<(), NotRetried<T>> {
        for log in self.logs() {
            if log.id == number {
                return deliver_to_log(&log, topic, again, may_wait);
            }
            match log.give_back(number, topic, again) {
                Ok(()) => return Ok(()),
                Err(back) => again = back,
            }
        }
        Err(NotRetried::Gone(again.payload))
    }
}

fn outgoing<T, R>(again: Again<T>) -> Outgoing<T, R> {
    Outgoing { payload: again.payload, metadata: again.properties.map(Metadata::Message) }
}

impl<T> DeadLetter<T> {
    /// Publishes the message again, to its topic, as [`Bus::publish`](crate::Bus::publish) does: it waits for room in
    /// mailboxes that are full and [block](crate::Overflow::Block).
    ///
    /// This publish makes no dead letters, whatever becomes of the message: losses are counted in
    /// [`BusStats`](crate::BusStats) and in the `Delivery` alone. Under [`DropOldest`](crate::Overflow::DropOldest) it can evict
    /// a newer message of a full mailbox, which makes no letter either: do not republish letters whose reason is `Evicted`. A
    /// handler that fails on the message makes a letter, as it does for every message.
    ///
    /// All subscriptions of the topic get the message, also those that had it before; [`retry`](Self::retry) delivers it to
    /// the handler of the letter alone. It keeps its headers, and has no time at which it expires. What was a request is a
    /// message without a caller.
    ///
    /// The wait delays this thread, and no publisher; letters that come meanwhile are kept up to the capacity of the
    /// [reader](crate::DeadLetters). A task, or a thread that must not wait, publishes
    /// [`topic()`](Self::topic) and [`into_payload()`](Self::into_payload) with `publish_async` or
    /// [`try_publish`](crate::Bus::try_publish). A letter does not keep its bus open.
    ///
    /// # Errors
    ///
    /// [`PublishError::Closed`], with the payload, if the bus is being drained, closed or gone, or was closed during the
    /// wait. What a handler republishes during a drain is accepted.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let dead_letters = bus.dead_letters();
    /// bus.fire("orders.new", "tea".to_owned()); // too early
    /// assert!(dead_letters.recv()?.republish()?.is_unheard()); // still too early, and no letter again
    /// assert!(dead_letters.is_empty());
    ///
    /// bus.fire("orders.new", "soup".to_owned());
    /// let orders = bus.subscribe("orders.new")?;
    /// assert_eq!(dead_letters.recv()?.republish()?.delivered(), 1);
    /// assert_eq!(orders.recv()?.as_str(), "soup");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn republish(self) -> Result<Delivery, PublishError<T>> {
        let published = self.republish_to().map_err(|payload| PublishError::Closed(payload.into()))?;
        Ok(Delivery::new(published.0, published.1))
    }
}
