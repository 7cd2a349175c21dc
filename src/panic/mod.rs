//! Panics of user code: caught, and turned into their text.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

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

/// Drops every one, also when the `Drop` of some panics, and tells how many there were. The first panic goes on when
/// `then` has been told of all; none does in a thread that is unwinding already, which would be its end.
pub(crate) fn drop_each<A>(items: impl Iterator<Item = A>, then: impl FnOnce(usize)) -> usize {
    let (mut count, mut first) = (0, None);
    for item in items {
        count += 1;
        if first.is_none() {
            first = catch_unwind(AssertUnwindSafe(|| drop(item))).err();
        } else {
            let _ = catch(|| drop(item));
        }
    }
    then(count);
    if let Some(panic) = first.filter(|_| !std::thread::panicking()) {
        resume_unwind(panic);
    }
    count
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
