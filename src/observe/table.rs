//! Statistics as a table for people.

use std::cmp::Ordering;
use std::fmt;

use super::{BusStats, SubscriptionStats};
use crate::mailbox::Overflow;

/// Patterns are listed as long as they fit into so many characters; the first is always there.
const PATTERNS_WIDTH: usize = 40;

/// The characters of a bar between its brackets.
const BAR_WIDTH: usize = 10;

const COLUMNS: usize = 8;

const HEADINGS: [&str; COLUMNS] = ["patterns", "name", "when full", "queue", "", "peak", "delivered", "dropped"];

/// Columns of numbers; the others are of text. The last is a number, so that no line ends in padding.
const RIGHT_ALIGNED: [bool; COLUMNS] = [false, false, false, false, true, true, true, true];

impl BusStats {
    /// The subscription that is the furthest behind: the one whose mailbox is the fullest, as a part of its capacity.
    /// Of several that are equally full, the one in which the most messages wait, and of those the oldest. `None` if no
    /// message waits anywhere.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _large = bus.subscription("tick").capacity(100).open()?;
    /// let _small = bus.subscription("tick").capacity(2).name("small").open()?;
    /// assert!(bus.stats().slowest().is_none());
    /// bus.publish("tick", 1)?;
    /// assert_eq!(bus.stats().slowest().unwrap().name.as_deref(), Some("small"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slowest(&self) -> Option<&SubscriptionStats> {
        self.subscriptions[self.slowest_index()?..].first()
    }

    fn slowest_index(&self) -> Option<usize> {
        let waiting = self.subscriptions.iter().enumerate().filter(|(_, subscription)| subscription.depth > 0);
        // Of equal ones `max_by` would take the last.
        waiting.rev().max_by(|(_, one), (_, other)| by_fullness(one, other)).map(|(index, _)| index)
    }
}

fn by_fullness(one: &SubscriptionStats, other: &SubscriptionStats) -> Ordering {
    // Fractions compared crosswise, in integers that hold every product.
    let part = |this: &SubscriptionStats, that: &SubscriptionStats| this.depth as u128 * that.capacity as u128;
    part(one, other).cmp(&part(other, one)).then(one.depth.cmp(&other.depth))
}

/// A table for people: a line of totals, then a line for each subscription, with the [slowest](Self::slowest) marked.
///
/// Failures, panics and skipped requests have a place in the first line when there are any. `name` is the name of the
/// subscription and of its group, with the number of members; an observer says so. `queue` shows how much of the capacity is
/// taken, `peak` the high-water mark.
/// Of a long list of patterns, the last column says how many more there are. A control character in a name is shown as
/// an escape. The layout is not for programs: it may change with any version.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Overflow};
///
/// let bus = Bus::<u32>::builder().name("market").build();
/// let _prices = bus.subscription("price.*").name("ticker").capacity(4).overflow(Overflow::DropOldest).open()?;
/// let _orders = bus.subscription("order.new").also("order.gone").group("desk").capacity(100).open()?;
/// for price in 1..=6 {
///     bus.publish("price.tea", price)?;
/// }
/// bus.publish("order.new", 1)?;
///
/// let table = "\
/// market: 2 topics, 2 subscriptions, 1 group, 0 unheard, 2 dropped, 0 abandoned, 0 dead letters
/// patterns               name      when full    queue                peak  delivered  dropped
/// price.*                ticker    drop oldest  [##########]    4/4     4          6        2  <- slowest
/// order.gone, order.new  desk (1)  block        [#.........]  1/100     1          1        0";
/// assert_eq!(bus.stats().to_string(), table);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl fmt::Display for BusStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", printable(&self.name), self.totals())?;
        if self.subscriptions.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self.subscriptions.iter().map(cells).collect();
        let mut widths = HEADINGS.map(width);
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                widths[column] = widths[column].max(width(cell));
            }
        }
        write_row(f, &HEADINGS, &widths)?;
        let slowest = self.slowest_index();
        for (index, row) in rows.iter().enumerate() {
            write_row(f, row, &widths)?;
            if slowest == Some(index) {
                f.write_str("  <- slowest")?;
            }
        }
        Ok(())
    }
}

impl BusStats {
    fn totals(&self) -> String {
        let groups = self.subscriptions.iter().filter(|subscription| subscription.group.is_some()).count();
        let mut totals = vec![
            count(self.topics as u64, "topic"),
            count(self.subscriptions.len() as u64, "subscription"),
            count(groups as u64, "group"),
            format!("{} unheard", self.unheard),
            format!("{} dropped", self.dropped),
            format!("{} abandoned", self.abandoned),
            count(self.dead_letters, "dead letter"),
        ];
        let only_if_any = [
            (self.handler_failures, "handler failure"),
            (self.handler_panics, "handler panic"),
            (self.skipped_requests, "skipped request"),
            (self.filter_panics, "filter panic"),
            (self.callback_panics, "callback panic"),
        ];
        totals.extend(only_if_any.iter().filter(|(number, _)| *number > 0).map(|(number, what)| count(*number, what)));
        totals.join(", ")
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn cells(subscription: &SubscriptionStats) -> [String; COLUMNS] {
    [
        patterns(subscription),
        name(subscription),
        when_full(subscription).to_owned(),
        bar(subscription),
        format!("{}/{}", subscription.depth, subscription.capacity),
        subscription.high_water.to_string(),
        subscription.delivered.to_string(),
        subscription.dropped.to_string(),
    ]
}

fn patterns(subscription: &SubscriptionStats) -> String {
    let mut list = String::new();
    for (index, pattern) in subscription.patterns.iter().enumerate() {
        let pattern = pattern.as_str();
        if index > 0 {
            if width(&list) + 2 + width(pattern) > PATTERNS_WIDTH {
                return format!("{list}, +{} more", subscription.patterns.len() - index);
            }
            list.push_str(", ");
        }
        list.push_str(pattern);
    }
    list
}

fn name(subscription: &SubscriptionStats) -> String {
    let name = subscription.name.as_deref().map(printable);
    let group = subscription.group.as_deref();
    let group = group.map(|group| format!("{} ({})", printable(group), subscription.members));
    let observer = subscription.observer.then(|| "observer".to_owned());
    let labels: Vec<_> = [name, group, observer].into_iter().flatten().collect();
    if labels.is_empty() { "-".to_owned() } else { labels.join(", ") }
}

fn when_full(subscription: &SubscriptionStats) -> &'static str {
    match subscription.overflow {
        Overflow::Block => "block",
        Overflow::DropNewest => "drop newest",
        Overflow::DropOldest => "drop oldest",
        Overflow::Disconnect if subscription.overflowed => "disconnected",
        Overflow::Disconnect => "disconnect",
    }
}

/// Empty only for an empty mailbox, full only for a full one. Retained values may wait beyond the capacity.
fn bar(subscription: &SubscriptionStats) -> String {
    let SubscriptionStats { depth, capacity, .. } = *subscription;
    let part = (depth as u128 * BAR_WIDTH as u128 / capacity.max(1) as u128) as usize;
    let filled = part.clamp(usize::from(depth > 0), BAR_WIDTH);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR_WIDTH - filled))
}

/// A name is any text, and must not break the lines.
fn printable(name: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    name.chars().map(escaped).collect()
}

/// As most terminals show it: in characters, not bytes.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// On a line of its own.
fn write_row(f: &mut fmt::Formatter<'_>, cells: &[impl AsRef<str>; COLUMNS], widths: &[usize; COLUMNS]) -> fmt::Result {
    let mut separator = "\n";
    for ((cell, &width), right) in cells.iter().zip(widths).zip(RIGHT_ALIGNED) {
        // The formatter counts characters too.
        let cell = cell.as_ref();
        if right {
            write!(f, "{separator}{cell:>width$}")?
        } else {
            write!(f, "{separator}{cell:<width$}")?
        }
        separator = "  ";
    }
    Ok(())
}
