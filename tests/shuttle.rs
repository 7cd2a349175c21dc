//! Random orders of steps, for what has too many to try them all, and for what `tests/loom.rs` tries within bounds: see
//! `scripts/models` for how to run this. `MODEL_ITERATIONS` says how many, 100,000 if it says nothing.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod interleavings;

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
    ($bound:expr; $($module:ident { $($case:ident,)+ })+) => {$($(
        #[test]
        fn $case() {
            check(stringify!($case), interleavings::$module::$case);
        }
    )+)+};
}

interleavings::every_case!(models);

// Too large for loom.
models! {
    None;
    handlers {
        drain_against_publishers_and_workers,
        drain_of_handlers_that_publish,
        drain_of_handlers_that_answer_each_other,
        drain_without_time_against_workers,
        drain_without_time_of_idle_workers,
        stop_without_time_against_workers,
        stop_against_publish,
        drop_of_a_server_against_requests,
        cancelled_requests_against_serving,
        detach_against_close,
        order_while_others_come_and_go,
        losses_are_reported_in_time,
        dead_letters_against_losses,
        letters_published_again_against_each_other,
        letter_published_again_against_close,
        retry_against_stop,
        retry_that_waits_against_stop_without_time,
        group_while_members_come_and_go,
    }
    journal {
        publishers_in_the_line_against_room,
        journal_with_publishers_and_readers,
        journal_while_readers_come_and_go,
        journal_that_drops_with_publishers_and_readers,
        cause_against_effect_in_two_journals_that_are_full,
        stop_of_a_handler_on_a_journal_against_appends,
    }
    observers {
        handlers_that_react_to_each_other,
    }
}
