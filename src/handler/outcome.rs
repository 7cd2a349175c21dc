//! What a handler's closure returns.

use std::fmt;

/// The result of a handler's closure: `()`, or a `Result<(), E>` whose error implements [`Display`](fmt::Display).
///
/// A closure that only panics has to name its type: `|_| -> () { panic!() }`.
///
/// # Examples
///
/// ```
/// use tramline::Outcome;
///
/// assert_eq!(().into_result(), Ok(()));
/// assert_eq!(Err("no paper").into_result(), Err("no paper".to_owned()));
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler's closure must return `()` or `Result<(), E>` where `E: Display`, not `{Self}`",
    label = "returns `{Self}`",
    note = "a closure that only panics needs a type: `|_| -> () {{ panic!() }}`"
)]
pub trait Outcome {
    /// Success, or the text of the error for the dead letter.
    ///
    /// # Errors
    ///
    /// If the handler failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::Outcome;
    ///
    /// let parsed = "seven".parse::<u32>().map(drop);
    /// assert_eq!(parsed.into_result(), Err("invalid digit found in string".to_owned()));
    /// ```
    fn into_result(self) -> Result<(), String>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}
