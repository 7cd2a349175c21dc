//! What a handler's closure returns.

use std::fmt;

/// What a handler's closure may return: `()`, or a `Result<(), E>` whose error can be displayed.
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
