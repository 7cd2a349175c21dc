//! Steps of two or three threads or tasks at the same time, for both model checkers. Each case is as small as possible.
//!
//! A case runs once for every order of steps that the checker tries, so it says what holds in all of them.
#![allow(unreachable_pub, reason = "the crate is a test")]
#![allow(dead_code, reason = "not every checker runs every case")]

#[cfg(loom)]
pub use loom as checker;
#[cfg(shuttle)]
pub use shuttle as checker;

use std::time::Duration;

use checker::thread::{JoinHandle, spawn};
use tramline::{Bus, Publisher, Subscriber};

pub mod dead_letters;
pub mod ends;
pub mod handlers;
pub mod journal;
#[cfg(feature = "async")]
pub mod journal_tasks;
pub mod observers;
pub mod overflow;
pub mod publishing;
pub mod requests;
pub mod subscribing;
#[cfg(feature = "async")]
pub mod tasks;

/// Hands every case that both checkers run to the macro `$models`, with the most times that loom interrupts a thread that
/// could go on: `None` tries every order of steps; the cases with `Some` have too many orders for a minute.
macro_rules! every_case {
    ($models:ident) => {
        $models! {
            None;
            publishing {
                publish_against_subscribe,
                first_publisher_against_subscribe,
                publish_on_a_found_route_against_subscribe,
                publish_on_a_found_route_against_subscribe_to_the_topic,
                publish_against_unsubscribe,
            }
            overflow {
                blocked_publisher_against_room,
                blocked_publisher_against_unsubscribe,
                blocked_publisher_against_close,
                blocked_publisher_against_timeout,
                evicting_publishers_against_a_reader,
                eviction_against_a_reader_of_the_next_message,
                overflow_that_disconnects_against_a_reader,
            }
            ends {
                close_against_publish,
                close_against_subscribe,
                close_against_recv,
                close_against_unsubscribe,
                close_against_close,
                close_against_publish_retained,
                last_handle_dropped_against_recv,
            }
            subscribing {
                publish_retained_against_a_retained_subscription,
                publish_retained_against_a_retained_subscription_that_leaves,
                clear_retained_against_a_retained_subscription,
                publish_retained_that_waits_against_close,
                last_member_leaving_against_joining,
                members_leaving_together,
                member_leaving_against_publish,
            }
            requests {
                replies_against_cancel,
                reply_against_timeout,
                reply_against_callback,
                callback_against_close,
                every_responder_dropped,
                responder_dropped_against_reply,
                reply_and_then_close,
                request_against_unsubscribe,
                request_against_close,
                gathered_reply_and_then_close,
                request_with_a_timeout_against_room_and_reply,
                request_that_times_out_against_reply,
            }
            observers {
                cause_against_effect,
                observed_request_against_reply,
            }
            dead_letters {
                retry_that_waits_against_room,
                retry_against_unsubscribe,
                retry_that_waits_against_unsubscribe,
                retry_that_waits_against_close,
                retry_that_waits_against_room_and_unsubscribe,
            }
            journal {
                append_against_read,
                append_against_a_reader_of_the_next_chunk,
                append_against_a_reader_that_leaves,
                append_against_a_reader_that_skips,
                close_of_a_journal_against_a_reader_that_sleeps,
                close_against_a_publisher_in_the_line,
                overrun_against_a_reader,
                publisher_with_a_timeout_against_room,
                cause_against_effect_in_two_journals,
            }
        }
        $models! {
            Some(3);
            publishing {
                two_publishers_against_a_reader,
                route_found_against_the_end_of_its_mailbox,
                routes_found_together_against_subscribe,
            }
            overflow {
                blocked_publisher_against_close_and_room,
                blocked_publisher_against_room_and_unsubscribe,
                overflow_against_a_publisher_that_waits_elsewhere,
            }
            subscribing {
                two_who_publish_retained,
                two_who_publish_retained_to_a_full_mailbox,
            }
            requests {
                first_reply_against_second,
                close_against_reply,
                gathered_reply_against_a_responder_dropped,
                request_against_room_at_an_observer_and_a_responder,
            }
            journal {
                append_against_a_reader_that_joins_at_the_next,
                append_against_a_reader_that_goes_back,
                overrun_against_a_late_publisher,
                two_publishers_of_a_journal,
            }
        }
        #[cfg(feature = "async")]
        $models! {
            None;
            tasks {
                receiving_task_against_publish,
                woken_task_against_the_other_mailbox,
                receiving_task_against_close,
                publishing_task_against_room,
                publishing_task_with_a_timeout_against_room,
                waiting_task_against_reply,
                waiting_task_against_a_dropped_request,
                waiting_task_against_close,
                waiting_task_against_a_dead_letter,
                waiting_task_against_the_end_of_dead_letters,
                forgotten_task_beside_one_that_receives,
                forgotten_task_beside_one_that_publishes,
                request_against_unsubscribe_from_a_mailbox_that_stays,
                cancelled_request_against_a_task_that_serves,
                cancelled_gather_against_a_task_that_serves,
                stopping_task_against_the_end_of_a_worker,
            }
            journal_tasks {
                task_in_the_line_against_room,
                task_that_waits_already_against_room,
                task_in_the_line_against_a_reader_that_leaves,
                task_in_the_line_against_a_reader_that_skips,
                task_in_the_line_against_close,
                task_in_the_line_with_a_timeout_against_room,
                cancelled_task_in_the_line_against_room,
            }
        }
        #[cfg(feature = "async")]
        $models! {
            Some(3);
            tasks {
                publishing_task_against_unsubscribe,
                forgotten_task_beside_one_that_publishes_retained,
                publishing_task_against_close,
                asking_task_with_a_timeout_against_room_and_reply,
                waiting_task_against_gathered_replies,
            }
            journal_tasks {
                task_in_the_line_against_a_reader_that_sleeps,
                task_in_the_line_against_a_reader_that_goes_back,
                cause_in_the_line_against_effect,
                task_in_the_line_and_at_a_mailbox_against_room,
            }
        }
        $models! {
            Some(1);
            journal {
                append_against_a_reader_that_joins_a_full_journal,
            }
        }
        $models! {
            Some(2);
            journal {
                append_against_a_reader_that_joins_at_the_oldest,
                append_against_one_reader_that_reads_and_one_that_joins,
                append_against_a_reader_that_is_cloned,
                appends_that_do_not_wait_against_a_reader_that_joins_at_the_oldest,
                appends_that_do_not_wait_against_a_reader_that_joins_at_the_next,
                two_publishers_against_a_reader_of_a_journal,
                close_against_append,
                close_against_room_and_a_publisher_in_the_line,
                overrun_that_disconnects_against_a_reader,
                recycling_against_a_reader_of_the_old_chunk,
            }
        }
        #[cfg(feature = "async")]
        $models! {
            Some(2);
            journal_tasks {
                cancelled_task_in_the_line_before_another,
                forgotten_task_in_the_line_before_another,
            }
        }
    };
}
pub(crate) use every_case;

pub const TOPIC: &str = "topic";

/// A time that passes whenever it likes, see `Instant` of `src/sync/model`.
pub const SECOND: Duration = Duration::from_secs(1);

pub fn bus(capacity: usize) -> Bus<u32> {
    Bus::builder().capacity(capacity).build()
}

/// A bus with one mailbox, which has room for one message and has it.
pub fn full() -> (Bus<u32>, Publisher<u32>, Subscriber<u32>) {
    let bus = bus(1);
    let (publisher, subscriber) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    assert_eq!(publisher.publish(0).unwrap().delivered(), 1);
    (bus, publisher, subscriber)
}

/// Does something at the same time as the rest of the case.
pub fn meanwhile<A: Send + 'static>(part: impl FnOnce() -> A + Send + 'static) -> JoinHandle<A> {
    spawn(part)
}

/// The payloads that are there.
pub fn take_all(subscriber: &Subscriber<u32>) -> Vec<u32> {
    subscriber.try_iter().map(|message| *message).collect()
}
