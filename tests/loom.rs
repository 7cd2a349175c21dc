//! Every order of steps, within bounds: see `scripts/models` for how to run this, and `src/sync.rs` for what makes it
//! possible.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod models;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Runs the case in every order of steps; with a bound, in those in which a thread that could go on is interrupted at most
/// so often. `LOOM_MAX_PREEMPTIONS` is a bound for all.
fn check(name: &str, bound: Option<usize>, case: fn()) {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(bound);
    model.max_branches = 10_000;
    let bound = model.preemption_bound.map(|bound| format!(" with up to {bound} preemptions"));
    let started = Instant::now();
    model.check({
        let runs = Arc::clone(&runs);
        move || {
            runs.fetch_add(1, Ordering::Relaxed);
            case();
        }
    });
    let (runs, time) = (runs.load(Ordering::Relaxed), started.elapsed().as_secs_f64());
    println!("{name}: {runs} interleavings{}, {time:.1} s", bound.unwrap_or_default());
}

macro_rules! models {
    ($bound:expr; $($module:ident { $($case:ident,)+ })+) => {$($(
        #[test]
        fn $case() {
            check(stringify!($case), $bound, models::$module::$case);
        }
    )+)+};
}

// Every order.
models! {
    None;
    publishing {
        publish_against_subscribe,
        first_publisher_against_subscribe,
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
    }
}

// Too many orders for a minute.
models! {
    Some(3);
    publishing {
        two_publishers_against_a_reader,
    }
    overflow {
        blocked_publisher_against_close_and_room,
        blocked_publisher_against_room_and_unsubscribe,
        overflow_against_a_publisher_that_waits_elsewhere,
    }
    requests {
        first_reply_against_second,
        close_against_reply,
        gathered_reply_against_a_responder_dropped,
    }
}

#[cfg(feature = "async")]
models! {
    None;
    tasks {
        receiving_task_against_publish,
        receiving_task_against_close,
        publishing_task_against_room,
        waiting_task_against_reply,
        waiting_task_against_a_dropped_request,
        waiting_task_against_close,
        forgotten_task_beside_one_that_receives,
        forgotten_task_beside_one_that_publishes,
        request_against_unsubscribe_from_a_mailbox_that_stays,
    }
}

#[cfg(feature = "async")]
models! {
    Some(3);
    tasks {
        publishing_task_against_unsubscribe,
        publishing_task_against_close,
        waiting_task_against_gathered_replies,
        waiting_task_against_a_dead_letter,
        waiting_task_against_the_end_of_dead_letters,
    }
}
