//! Random orders of steps, for what has too many to try them all, and for what `tests/loom.rs` tries within bounds: see
//! `scripts/models` for how to run this. `MODEL_ITERATIONS` says how many, 100,000 if it says nothing.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod models;

use std::env;
use std::time::Instant;

fn check(name: &str, case: fn()) {
    let iterations = env::var("MODEL_ITERATIONS").map_or(100_000, |number| number.parse().unwrap());
    let started = Instant::now();
    // Half of them with few interruptions, which may be long: what goes wrong only if a thread stands still while another
    // does many steps is not found by chance alone.
    shuttle::check_random(case, iterations / 2);
    shuttle::check_pct(case, iterations / 2, 3);
    println!("{name}: {iterations} random schedules, {:.1} s", started.elapsed().as_secs_f64());
}

macro_rules! models {
    ($($module:ident { $($case:ident,)+ })+) => {$($(
        #[test]
        fn $case() {
            check(stringify!($case), models::$module::$case);
        }
    )+)+};
}

models! {
    publishing {
        publish_against_subscribe,
        first_publisher_against_subscribe,
        publish_against_unsubscribe,
        two_publishers_against_a_reader,
    }
    overflow {
        blocked_publisher_against_room,
        blocked_publisher_against_unsubscribe,
        blocked_publisher_against_close,
        blocked_publisher_against_close_and_room,
        blocked_publisher_against_timeout,
        blocked_publisher_against_room_and_unsubscribe,
        evicting_publishers_against_a_reader,
        eviction_against_a_reader_of_the_next_message,
        overflow_that_disconnects_against_a_reader,
        overflow_against_a_publisher_that_waits_elsewhere,
    }
    ends {
        close_against_publish,
        close_against_subscribe,
        close_against_recv,
        close_against_unsubscribe,
        close_against_close,
        close_against_retain,
        last_handle_dropped_against_recv,
    }
    subscribing {
        retain_against_a_retained_subscription,
        forget_against_a_retained_subscription,
        last_member_leaving_against_joining,
        members_leaving_together,
        member_leaving_against_publish,
    }
    handlers {
        drain_against_publishers_and_workers,
        drain_of_handlers_that_publish,
        drain_of_handlers_that_answer_each_other,
        stop_against_publish,
        drop_of_a_server_against_requests,
        order_while_others_come_and_go,
        losses_are_told_in_time,
        dead_letters_against_losses,
        group_while_members_come_and_go,
    }
    requests {
        first_reply_against_second,
        replies_against_cancel,
        reply_against_timeout,
        reply_against_callback,
        callback_against_close,
        every_responder_dropped,
        responder_dropped_against_reply,
        close_against_reply,
        reply_and_then_close,
        request_against_unsubscribe,
        request_against_close,
        gathered_reply_against_a_responder_dropped,
        gathered_reply_and_then_close,
    }
}

#[cfg(feature = "async")]
models! {
    tasks {
        receiving_task_against_publish,
        receiving_task_against_close,
        publishing_task_against_room,
        publishing_task_against_unsubscribe,
        publishing_task_against_close,
        waiting_task_against_reply,
        waiting_task_against_a_dropped_request,
        waiting_task_against_close,
        waiting_task_against_gathered_replies,
        forgotten_task_beside_one_that_receives,
        forgotten_task_beside_one_that_publishes,
        request_against_unsubscribe_from_a_mailbox_that_stays,
        waiting_task_against_a_dead_letter,
        waiting_task_against_the_end_of_dead_letters,
    }
}
