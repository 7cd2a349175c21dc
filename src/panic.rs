//! Panics of user code: caught, and turned into their text.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls user code; a panic becomes its text.
pub(crate) fn catch<A>(user_code: impl FnOnce() -> A) -> Result<A, String> {
    catch_unwind(AssertUnwindSafe(user_code)).map_err(|panic| {
        let text = text(&*panic);
        // What was thrown is user code too: its `Drop` may throw again. What that throws is left alone.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(again);
        }
        text
    })
}

/// The message of a panic, as `panic!` and its relatives make it.
fn text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
