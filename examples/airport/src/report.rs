//! What the run came to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use tramline::{BusStats, HubBusStats, SubscriptionStats};

use crate::message::Code;
use crate::names::Names;
use crate::{alerts, audit, statistics};

/// The accounts of all modules.
pub(crate) struct Report {
    pub(crate) flights: u64,
    pub(crate) bad_rows: u64,
    pub(crate) seconds: f64,
    pub(crate) tally: statistics::Tally,
    pub(crate) alerts: alerts::Tally,
    pub(crate) audited: u64,
    pub(crate) unwritten: u64,
    pub(crate) buses: Vec<HubBusStats>,
}

#[derive(Serialize)]
struct Json<'a> {
    flights: u64,
    departed: u64,
    landed: u64,
    cancelled: u64,
    diverted: u64,
    alerts: u64,
    weather_answered: u64,
    weather_missing: u64,
    departed_by_origin: &'a BTreeMap<Code, u64>,
    departed_by_carrier: &'a BTreeMap<Code, u64>,
    audited: u64,
    audit_lost: u64,
    dropped: u64,
    dead_letters: u64,
    bad_rows: u64,
    events: u64,
    seconds: f64,
    events_per_second: f64,
}

impl Report {
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let (tally, alerts) = (&self.tally, &self.alerts);
        serde_json::to_string(&Json {
            flights: self.flights,
            departed: tally.departed,
            landed: tally.landed,
            cancelled: tally.cancelled,
            diverted: tally.diverted,
            alerts: alerts.alerts,
            weather_answered: alerts.answered,
            weather_missing: alerts.missing,
            departed_by_origin: &tally.departed_by_origin,
            departed_by_carrier: &tally.departed_by_carrier,
            audited: self.audited,
            audit_lost: self.audit_lost(),
            dropped: self.dropped(),
            dead_letters: self.dead_letters(),
            bad_rows: self.bad_rows,
            events: tally.events(),
            seconds: self.seconds,
            events_per_second: self.events_per_second(),
        })
    }

    pub(crate) fn text(&self, names: &Names) -> String {
        let mut out = String::new();
        // Writing to a text cannot fail.
        let _ = self.write_text(&mut out, names);
        out
    }

    fn write_text(&self, out: &mut String, names: &Names) -> std::fmt::Result {
        let (tally, alerts) = (&self.tally, &self.alerts);
        section(out, "flights", &[("in the file", self.flights), ("bad rows", self.bad_rows)])?;
        section(
            out,
            "events",
            &[
                ("departed", tally.departed),
                ("cancelled", tally.cancelled),
                ("landed", tally.landed),
                ("diverted", tally.diverted),
            ],
        )?;

        writeln!(out, "\ndepartures by origin")?;
        for (origin, count) in &tally.departed_by_origin {
            let name = names.airport(origin.as_str()).unwrap_or_default();
            writeln!(out, "  {origin:<4}{name:<28}{count:>9}")?;
        }
        writeln!(out, "\ndepartures by airline")?;
        for (carrier, count) in &tally.departed_by_carrier {
            let name = names.airline(carrier.as_str());
            writeln!(out, "  {carrier:<4}{name:<28}{count:>9}")?;
        }

        section(
            out,
            "\nlate by more than an hour",
            &[("alerts", alerts.alerts), ("weather observed", alerts.answered), ("not observed", alerts.missing)],
        )?;
        if let Some(flight) = &tally.longest_delay {
            let label = format!("longest, {}{} to {}", flight.carrier, flight.number, flight.dest);
            writeln!(out, "  {label:<32}{:>9} min", flight.dep_delay)?;
        }
        if let (Some(wind), Some(visibility)) = (alerts.wind.value(), alerts.visibility.value()) {
            writeln!(out, "  {:<32}{wind:>9.1} mph", "mean wind")?;
            writeln!(out, "  {:<32}{visibility:>9.1} miles", "mean visibility")?;
        }
        section(
            out,
            "\nlosses",
            &[
                ("audited", self.audited),
                ("audit lost", self.audit_lost()),
                ("dropped elsewhere", self.dropped()),
                ("dead letters", self.dead_letters()),
            ],
        )?;

        self.write_mailboxes(out)?;
        let (events, seconds, rate) = (tally.events(), self.seconds, self.events_per_second());
        write!(out, "\n{events} events in {seconds:.3} s: {rate:.0} events/s")
    }

    fn write_mailboxes(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n{:<36}{:>8}{:>11}{:>9}{:>13}{:>10}",
            "mailbox", "members", "delivered", "dropped", "most waiting", "capacity"
        )?;
        for mailbox in self.mailboxes() {
            let patterns: Vec<_> = mailbox.patterns.iter().map(ToString::to_string).collect();
            let name = mailbox.name.as_deref().unwrap_or("-");
            let SubscriptionStats { members, delivered, dropped, high_water, capacity, .. } = mailbox;
            writeln!(
                out,
                "  {name:<12}{:<22}{members:>8}{delivered:>11}{dropped:>9}{high_water:>13}{capacity:>10}",
                patterns.join(" ")
            )?;
        }
        Ok(())
    }

    /// Whether the accounts agree; if not, where they do not.
    pub(crate) fn verify(&self) -> Result<(), String> {
        let (tally, alerts) = (&self.tally, &self.alerts);
        let sums = [
            ("departed + cancelled = flights", tally.departed + tally.cancelled, self.flights),
            ("landed + diverted = departed", tally.landed + tally.diverted, tally.departed),
            ("sum by origin = departed", tally.departed_by_origin.values().sum(), tally.departed),
            ("sum by carrier = departed", tally.departed_by_carrier.values().sum(), tally.departed),
            ("alerts heard = alerts", tally.delays, alerts.alerts),
            ("weather answered + missing = alerts", alerts.answered + alerts.missing, alerts.alerts),
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
    pub(crate) fn dead_letters(&self) -> u64 {
        self.sum(|bus| bus.dead_letters).saturating_sub(self.dropped_by_audit())
    }

    fn dropped_by_audit(&self) -> u64 {
        let is_audit = |mailbox: &&SubscriptionStats| mailbox.name.as_deref() == Some(audit::NAME);
        self.mailboxes().filter(is_audit).map(|mailbox| mailbox.dropped).sum()
    }

    fn mailboxes(&self) -> impl Iterator<Item = &SubscriptionStats> {
        self.buses.iter().flat_map(|bus| &bus.stats.subscriptions)
    }

    /// The sum of one number of all buses.
    fn sum(&self, number: impl Fn(&BusStats) -> u64) -> u64 {
        self.buses.iter().map(|bus| number(&bus.stats)).sum()
    }

    fn events_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.tally.events() as f64 / self.seconds } else { 0.0 }
    }
}

fn section(out: &mut String, title: &str, rows: &[(&str, u64)]) -> std::fmt::Result {
    writeln!(out, "{title}")?;
    rows.iter().try_for_each(|(name, value)| writeln!(out, "  {name:<32}{value:>9}"))
}
