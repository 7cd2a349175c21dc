//! Texts as topics and patterns, beside the rules as `tests/support/naive.rs` tells them.
#![no_main]

#[path = "../../tests/support/naive.rs"]
mod naive;
#[path = "../../tests/reference_model/topics.rs"]
mod topics;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| topics::check(bytes));
