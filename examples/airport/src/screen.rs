//! The terminal: the progress bar, the board, and messages above them. Nothing is drawn elsewhere.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

/// Nobody reads faster than this.
const REFRESH: Duration = Duration::from_millis(50);

/// Draws on standard error. Clones are the same screen.
#[derive(Clone)]
pub(crate) struct Screen {
    lines: MultiProgress,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { lines: MultiProgress::new() }
    }

    /// A bar for so many bytes.
    pub(crate) fn bar(&self, bytes: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {bytes} of {total_bytes}  {eta} left");
        self.add(ProgressBar::new(bytes), style)
    }

    /// A place for lines of text, asked for and drawn again and again.
    pub(crate) fn canvas(&self, text: impl Fn() -> String + Clone + Send + Sync + 'static) -> ProgressBar {
        let write = move |_: &ProgressState, line: &mut dyn fmt::Write| {
            // A line that is not drawn now is drawn the next time.
            let _ = line.write_str(&text());
        };
        let style = ProgressStyle::with_template("{text}").map(|style| style.with_key("text", write));
        let canvas = self.add(ProgressBar::new_spinner(), style);
        canvas.enable_steady_tick(REFRESH);
        canvas
    }

    /// Whether nobody sees what is drawn.
    pub(crate) fn is_hidden(&self) -> bool {
        self.lines.is_hidden()
    }

    /// Writes a message that stays.
    pub(crate) fn say(&self, text: &str) {
        self.lines.suspend(|| {
            // There is nobody left to be told that this failed.
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    fn add<E>(&self, bar: ProgressBar, style: Result<ProgressStyle, E>) -> ProgressBar {
        let bar = self.lines.add(bar);
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar
    }
}
