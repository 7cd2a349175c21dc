//! Helpers that several test files use.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used, reason = "each test file uses its own part")]

mod by_hand;
mod gate;
pub mod naive;
mod outcomes;
mod payloads;
#[cfg(target_os = "linux")]
pub mod process;
mod waiting;

pub use by_hand::{ByHand, Watch, block_on, block_on_counting};
pub use gate::{Gate, gate};
pub use outcomes::{counts, letters, taken};
pub use payloads::{Counted, InOrder, Numbered};
pub use waiting::{LONG, SHORT, in_turn, patient, wait_until, within, within_limit};
