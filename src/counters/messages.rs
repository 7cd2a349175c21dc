//! How many messages a bus takes, delivers and handles: counts on the way of every message, which only metrics ask for.

#[cfg(feature = "metrics")]
pub(crate) use counted::MessageCounters;
#[cfg(not(feature = "metrics"))]
pub(crate) use uncounted::MessageCounters;

#[cfg(feature = "metrics")]
mod counted {
    use crossbeam_utils::CachePadded;

    use crate::counters::{OwnerBiasedCounter, this_thread};

    /// Threads count in different places, so that they do not wait for each other. More threads than this share some.
    const SHARDS: u64 = 16;

    #[derive(Default)]
    struct Shard {
        published: OwnerBiasedCounter,
        delivered: OwnerBiasedCounter,
        handled: OwnerBiasedCounter,
    }

    #[derive(Default)]
    pub(crate) struct MessageCounters([CachePadded<Shard>; SHARDS as usize]);

    impl MessageCounters {
        #[inline]
        fn shard(&self) -> &Shard {
            &self.0[(this_thread() % SHARDS) as usize]
        }

        /// Counts a message that was offered to the mailboxes of its topic, of which `delivered` took it.
        #[inline]
        pub(crate) fn published(&self, delivered: usize) {
            let shard = self.shard();
            shard.published.add(1);
            shard.delivered.add(delivered as u64);
        }

        /// An observer has it.
        pub(crate) fn observed(&self) {
            self.shard().delivered.add(1);
        }

        /// A handler's closure has succeeded.
        #[inline]
        pub(crate) fn handled(&self) {
            self.shard().handled.add(1);
        }

        pub(crate) fn total_published(&self) -> u64 {
            self.0.iter().map(|shard| shard.published.get()).sum()
        }

        pub(crate) fn total_delivered(&self) -> u64 {
            self.0.iter().map(|shard| shard.delivered.get()).sum()
        }

        pub(crate) fn total_handled(&self) -> u64 {
            self.0.iter().map(|shard| shard.handled.get()).sum()
        }
    }

    #[cfg(test)]
    mod tests {
        use super::{MessageCounters, SHARDS};

        #[test]
        fn more_threads_than_shards_lose_no_count() {
            let messages = MessageCounters::default();
            std::thread::scope(|scope| {
                for _ in 0..2 * SHARDS {
                    scope.spawn(|| {
                        for _ in 0..100 {
                            messages.published(3);
                            messages.handled();
                        }
                    });
                }
            });
            let expected = 2 * SHARDS * 100;
            assert_eq!(messages.total_published(), expected);
            assert_eq!(messages.total_delivered(), 3 * expected);
            assert_eq!(messages.total_handled(), expected);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod uncounted {
    #[derive(Default)]
    pub(crate) struct MessageCounters(());

    impl MessageCounters {
        #[inline(always)]
        pub(crate) fn published(&self, _: usize) {}

        #[inline(always)]
        pub(crate) fn observed(&self) {}

        #[inline(always)]
        pub(crate) fn handled(&self) {}
    }
}
