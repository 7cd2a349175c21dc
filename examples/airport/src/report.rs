//! What the run came to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use jiff::civil::Date;
use serde_json::{Map, Value, json};
use tramline::{BusStats, HubBusStats, Overflow, Request, SubscriptionStats};

use crate::feed::Fed;
use crate::message::{Code, WeatherAt};
use crate::names::Names;
use crate::{alerts, audit, statistics};

/// The accounts of all modules.
pub struct Report {
    pub fed: Fed,
    /// Of all files.
    pub bad_rows: u64,
    pub seconds: f64,
    pub tally: statistics::Tally,
    pub alerts: alerts::Tally,
    pub audited: u64,
    pub unwritten: u64,
    pub buses: Vec<HubBusStats>,
}

impl Report {
    /// Returns one object on one line.
    pub fn json(&self) -> String {
        let (tally, alerts) = (&self.tally, &self.alerts);
        json!({
            "complete": !self.fed.is_stopped,
            "flights": self.fed.flights,
            "departed": tally.departed,
            "landed": tally.landed,
            "cancelled": tally.cancelled,
            "diverted": tally.diverted,
            "alerts": alerts.alerts,
            "weather_answered": alerts.answered,
            "weather_missing": alerts.missing,
            "departed_by_origin": by_code(&tally.departed_by_origin),
            "departed_by_carrier": by_code(&tally.departed_by_carrier),
            "audited": self.audited,
            "audit_lost": self.audit_lost(),
            "dropped": self.dropped(),
            "dead_letters": self.dead_letters(),
            "bad_rows": self.bad_rows,
            "events": tally.events(),
            "seconds": self.seconds,
            "events_per_second": self.events_per_second(),
        })
        .to_string()
    }

    pub fn text(&self, names: &Names) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut out, names);
        out
    }

    fn write_text(&self, out: &mut String, names: &Names) -> fmt::Result {
        self.write_flights(out, names)?;
        self.write_late(out)?;
        self.write_subscriptions(out)?;
        self.write_requests(out)?;
        self.write_losses(out)?;
        let (events, seconds, rate) = (self.tally.events(), self.seconds, self.events_per_second());
        write!(out, "\n{events} events in {seconds:.3} s: {rate:.0} events/s")
    }

    fn write_flights(&self, out: &mut String, names: &Names) -> fmt::Result {
        let (tally, fed) = (&self.tally, &self.fed);
        let days = fed.days.map_or_else(|| "none yet".to_owned(), |(first, last)| period(first, last));
        writeln!(out, "Flights out of New York, {days}, replayed on tramline, a message bus within one process")?;
        if fed.is_stopped {
            writeln!(out, "Stopped early: the rest of the file was not played.")?;
        }
        let mut rows = vec![
            ("flights", fed.flights),
            ("  cancelled", tally.cancelled),
            ("  departed", tally.departed),
            ("    landed", tally.landed),
            ("    diverted", tally.diverted),
        ];
        if fed.is_stopped {
            rows.push(("    in the air", fed.in_the_air));
        }
        rows.extend([
            ("events (cancelled, departed, landed, diverted)", tally.events()),
            ("  audited", self.audited),
            ("  lost by the audit", self.audit_lost()),
            ("bad rows", self.bad_rows),
        ]);
        writeln!(out, "\n{}", table(None, rows.into_iter().map(|(name, count)| [name.to_owned(), count.to_string()])))?;

        let airport = |code: &Code| names.airport(code.as_str()).unwrap_or_default().to_owned();
        writeln!(out, "\nDepartures by origin and by airline\n")?;
        writeln!(out, "{}", by_name(&tally.departed_by_origin, airport))?;
        let airline = |code: &Code| names.airline(code.as_str()).to_owned();
        writeln!(out, "\n{}", by_name(&tally.departed_by_carrier, airline))
    }

    fn write_late(&self, out: &mut String) -> fmt::Result {
        let (tally, alerts) = (&self.tally, &self.alerts);
        writeln!(out, "\nLate by more than an hour: {} departures", alerts.alerts)?;
        if let Some(flight) = &tally.longest_delay {
            writeln!(
                out,
                "  longest: {} min, {}{} to {}",
                flight.dep_delay, flight.carrier, flight.number, flight.dest
            )?;
        }
        if let (Some(wind), Some(visibility)) = (alerts.wind.value(), alerts.visibility.value()) {
            let (answered, missing) = (alerts.answered, alerts.missing);
            writeln!(out, "  weather: mean wind {wind:.1} mph, mean visibility {visibility:.1} miles")?;
            writeln!(out, "           ({answered} observed, {missing} without an observation)")?;
        }
        Ok(())
    }

    fn write_subscriptions(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "\nSubscriptions: what each module receives. In a pattern, * is one word of a topic and > the rest.\n"
        )?;
        let header = ["module", "messages", "pattern", "group", "when full", "delivered", "peak", "dropped"];
        let rows = self.mailboxes().map(|(bus, mailbox)| {
            let patterns: Vec<_> = mailbox.patterns.iter().map(ToString::to_string).collect();
            [
                // A module that answers by type has no subscription to name; its bus has its name.
                mailbox.name.clone().unwrap_or_else(|| bus.stats.name.clone()),
                bus.stats.name.clone(),
                patterns.join(" "),
                mailbox.group.clone().unwrap_or_else(|| "-".to_owned()),
                when_full(mailbox.overflow),
                mailbox.delivered.to_string(),
                format!("{}/{}", mailbox.high_water, mailbox.capacity),
                mailbox.dropped.to_string(),
            ]
        });
        writeln!(out, "{}", table(Some(header), rows))?;
        out.write_str(
            "
  delivered: messages that entered the mailbox; alerts has a filter, for departures more than an hour late
  peak:      the most messages that waited in the mailbox, and how many it holds
",
        )
    }

    fn write_requests(&self, out: &mut String) -> fmt::Result {
        let alerts::Tally { asked, answered, missing, failed, .. } = self.alerts;
        writeln!(out, "\nRequests: messages that bring an answer back.\n")?;
        let header = ["from", "topic", "to", "asked", "answered", "failed", "no answer yet"];
        let (answered, ended) = (answered + missing, answered + missing + failed);
        let [from, topic, to] = ["alerts", WeatherAt::TOPIC, "weather"].map(str::to_owned);
        let [asked, answered, failed, open] =
            [asked, answered, failed, asked.saturating_sub(ended)].map(|count| count.to_string());
        writeln!(out, "{}", table(Some(header), [[from, topic, to, asked, answered, failed, open]]))
    }

    fn write_losses(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "\nLosses: messages that did not reach everybody.\n")?;
        let header = ["messages", "dropped", "unheard", "abandoned", "dead letters"];
        let rows = self.buses.iter().map(|bus| {
            let BusStats { dropped, unheard, abandoned, dead_letters, .. } = bus.stats;
            let counts = [dropped, unheard, abandoned, dead_letters].map(|count| count.to_string());
            let [dropped, unheard, abandoned, dead_letters] = counts;
            [bus.stats.name.clone(), dropped, unheard, abandoned, dead_letters]
        });
        writeln!(out, "{}", table(Some(header), rows))?;
        out.write_str(
            "
  dropped:      a full mailbox did not take them; only the audit may drop messages
  unheard:      no module subscribes to them, as with bad rows
  abandoned:    still waiting when their subscriber left
  dead letters: losses that the program read from the bus, with a reason
",
        )
    }

    /// Checks that the accounts agree, and returns which do not.
    pub fn verify(&self) -> Result<(), String> {
        let (tally, alerts) = (&self.tally, &self.alerts);
        let ended = tally.landed + tally.diverted;
        let sums = [
            ("departed + cancelled = flights", tally.departed + tally.cancelled, self.fed.flights),
            ("landed + diverted + in the air = departed", ended + self.fed.in_the_air, tally.departed),
            ("sum by origin = departed", tally.departed_by_origin.values().sum(), tally.departed),
            ("sum by carrier = departed", tally.departed_by_carrier.values().sum(), tally.departed),
            ("alerts heard = alerts", tally.delays, alerts.alerts),
            ("weather asked = alerts", alerts.asked, alerts.alerts),
            ("weather answered + missing = asked", alerts.answered + alerts.missing, alerts.asked),
            ("failed weather requests = 0", alerts.failed, 0),
            ("audited + audit lost = events", self.audited + self.audit_lost(), tally.events()),
            ("dropped = 0", self.dropped(), 0),
            ("dead letters = bad rows", self.dead_letters(), self.bad_rows),
        ];
        match sums.iter().find(|(_, left, right)| left != right) {
            Some((sum, left, right)) => Err(format!("the report does not add up: {sum}, but {left} is not {right}")),
            None => Ok(()),
        }
    }

    /// Events that are not in the audit: those that its mailbox lost, and those that its file did not take.
    fn audit_lost(&self) -> u64 {
        self.dropped_by_audit() + self.unwritten
    }

    /// What was lost where nobody chose to lose anything.
    fn dropped(&self) -> u64 {
        self.sum(|bus| bus.dropped).saturating_sub(self.dropped_by_audit())
    }

    /// The dead letters but for those of the audit, which are counted as its losses.
    pub fn dead_letters(&self) -> u64 {
        self.sum(|bus| bus.dead_letters).saturating_sub(self.dropped_by_audit())
    }

    fn dropped_by_audit(&self) -> u64 {
        let of_audit = self.mailboxes().filter(|(_, mailbox)| mailbox.name.as_deref() == Some(audit::NAME));
        of_audit.map(|(_, mailbox)| mailbox.dropped).sum()
    }

    fn mailboxes(&self) -> impl Iterator<Item = (&HubBusStats, &SubscriptionStats)> {
        self.buses.iter().flat_map(|bus| bus.stats.subscriptions.iter().map(move |mailbox| (bus, mailbox)))
    }

    /// The sum of one number of all buses.
    fn sum(&self, number: impl Fn(&BusStats) -> u64) -> u64 {
        self.buses.iter().map(|bus| number(&bus.stats)).sum()
    }

    fn events_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.tally.events() as f64 / self.seconds } else { 0.0 }
    }
}

fn by_code(counts: &BTreeMap<Code, u64>) -> Map<String, Value> {
    counts.iter().map(|(code, count)| (code.to_string(), (*count).into())).collect()
}

fn by_name(counts: &BTreeMap<Code, u64>, name: impl Fn(&Code) -> String) -> Table {
    table(None, counts.iter().map(|(code, count)| [code.to_string(), name(code), count.to_string()]))
}

/// Lines up the columns of a table; those of numbers at their right.
fn table<const N: usize>(header: Option<[&str; N]>, rows: impl IntoIterator<Item = [String; N]>) -> Table {
    let rows: Vec<_> = rows.into_iter().collect();
    let is_number = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit());
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if let Some(header) = header {
        table.set_header(header);
    }
    table.add_rows(&rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        if rows.iter().all(|row| is_number(&row[index])) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn when_full(overflow: Overflow) -> String {
    match overflow {
        Overflow::Block => "publisher waits".to_owned(),
        Overflow::DropNewest => "drops the newest".to_owned(),
        Overflow::DropOldest => "drops the oldest".to_owned(),
        // Later policies have no words here yet.
        other => format!("{other:?}"),
    }
}

/// Returns both days in words, without what they have in common.
pub fn period(first: Date, last: Date) -> String {
    let end = last.strftime("%-d %B %Y");
    let start = match (first.year() == last.year(), first.month() == last.month()) {
        (true, true) if first.day() == last.day() => return end.to_string(),
        (true, true) => "%-d",
        (true, false) => "%-d %B",
        _ => "%-d %B %Y",
    };
    format!("{} to {end}", first.strftime(start))
}
