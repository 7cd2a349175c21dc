//! The terminal: the progress bar, the board, and messages above them. Nothing is drawn elsewhere.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

/// Nobody reads faster than this.
const REFRESH: Duration = Duration::from_millis(50);

/// Draws on standard error. Clones are the same screen.
#[derive(Clone)]
pub struct Screen {
    lines: MultiProgress,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    pub fn new() -> Self {
        Self { lines: MultiProgress::new() }
    }

    /// Adds a bar that counts flights, with the time that `time` returns. Without a total it has only the count.
    pub fn bar(
        &self,
        flights: Option<u64>,
        time: impl Fn() -> Option<String> + Clone + Send + Sync + 'static,
    ) -> ProgressBar {
        let (bar, template) = match flights {
            Some(flights) => {
                (ProgressBar::new(flights), "{wide_bar} {human_pos} of {human_len} flights  {text}  {eta} left")
            }
            None => (ProgressBar::no_length(), "{human_pos} flights  {text}"),
        };
        self.add(bar, template, move || time().unwrap_or_default())
    }

    /// Adds a place for lines of text, which is asked for and drawn again and again.
    pub fn canvas(&self, text: impl Fn() -> String + Clone + Send + Sync + 'static) -> ProgressBar {
        self.add(ProgressBar::new_spinner(), "{text}", text)
    }

    /// Returns whether nothing is drawn, because standard error is not a terminal.
    pub fn is_hidden(&self) -> bool {
        self.lines.is_hidden()
    }

    /// Writes a message that stays.
    pub fn say(&self, text: &str) {
        self.lines.suspend(|| {
            // There is no other place to report a failure.
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    fn add(
        &self,
        bar: ProgressBar,
        template: &str,
        text: impl Fn() -> String + Clone + Send + Sync + 'static,
    ) -> ProgressBar {
        let write = move |_: &ProgressState, line: &mut dyn fmt::Write| {
            // What is not drawn now is drawn the next time.
            let _ = line.write_str(&text());
        };
        let bar = self.lines.add(bar);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("text", write));
        }
        bar.enable_steady_tick(REFRESH);
        bar
    }
}
