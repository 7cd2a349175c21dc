//! Operations of a bus, beside the model of `tests/model.rs`.
#![no_main]

#[path = "../../tests/support/naive.rs"]
mod naive;
#[path = "../../tests/model/operations.rs"]
mod operations;
#[path = "../../tests/model/reference.rs"]
mod reference;
#[path = "../../tests/model/terms.rs"]
mod terms;
#[path = "../../tests/model/translation.rs"]
mod translation;
#[path = "../../tests/model/world.rs"]
mod world;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (setup, operations) = operations::decode(bytes);
    if let Err(error) = world::run(setup, &operations, Duration::from_secs(10)) {
        panic!("{error}\n{setup:?}\n{operations:#?}");
    }
});
