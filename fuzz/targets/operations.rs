//! Operations of a bus, beside the model of `tests/reference_model`.
#![no_main]

#[path = "../../tests/reference_model/comparison.rs"]
mod comparison;
#[path = "../../tests/reference_model/model.rs"]
mod model;
#[path = "../../tests/support/naive.rs"]
mod naive;
#[path = "../../tests/reference_model/operations.rs"]
mod operations;
#[path = "../../tests/reference_model/terms.rs"]
mod terms;
#[path = "../../tests/reference_model/translation.rs"]
mod translation;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (setup, operations) = operations::decode(bytes);
    if let Err(error) = comparison::run(setup, &operations, Duration::from_secs(10)) {
        panic!("{error}\n{setup:?}\n{operations:#?}");
    }
});
