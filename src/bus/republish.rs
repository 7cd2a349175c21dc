//! Publishing a dead letter again.

use super::{BusInner, PublishError};
use crate::dead_letter::{DeadLetter, Republish};
use crate::delivery::{Delivery, Wait};
use crate::topic::Topic;

impl<T: Clone + Send + 'static, R: Send + 'static> Republish<T> for BusInner<T, R> {
    fn republish(&self, topic: &Topic, payload: T) -> Result<(usize, usize), T> {
        let _letters = self.begin_publish();
        match self.publish(topic, self.route(topic), payload, Wait::Forever) {
            Ok(delivery) => Ok((delivery.delivered(), delivery.dropped())),
            // Without a time limit, and with a topic that was valid before, there is no other error.
            Err(error) => Err(error.into_inner()),
        }
    }
}

impl<T> DeadLetter<T> {
    /// Publishes the message again, to its topic, as [`Bus::publish`](crate::Bus::publish) does: it waits for room in
    /// mailboxes that are full and [block](crate::Overflow::Block).
    ///
    /// This publish makes no dead letters, whatever becomes of the message: losses are counted in
    /// [`BusStats`](crate::BusStats) and in the `Delivery` alone. Under [`DropOldest`](crate::Overflow::DropOldest) it can evict
    /// a newer message of a full mailbox, which makes no letter either: do not republish letters whose reason is `Evicted`. A
    /// handler that fails on the message makes a letter, as it does for every message. All subscriptions of the topic get the message, also those that had it before. What was a
    /// request is a message without a caller.
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
