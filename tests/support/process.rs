//! What Linux reports of this process and its threads.

use std::fs;

/// The threads whose names begin alike, added up.
#[derive(Default, Debug, Clone, Copy)]
pub struct Threads {
    pub count: u64,
    pub asleep: u64,
    /// How often they went to sleep.
    pub sleeps: u64,
    /// Processor time, in ticks.
    pub ticks: u64,
}

impl Threads {
    /// Looks at all threads whose names begin with `name`. Linux cuts names off after 15 bytes.
    pub fn named(name: &str) -> Self {
        let mut sum = Self::default();
        for task in fs::read_dir("/proc/self/task").unwrap() {
            let path = task.unwrap().path();
            // A thread may end while it is looked at; then there is nothing to read.
            let text = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
            let status = text("status");
            let field =
                |field: &str| status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default().trim();
            if !field("Name:").starts_with(name) {
                continue;
            }
            sum.count += 1;
            sum.asleep += u64::from(field("State:").starts_with('S'));
            sum.sleeps += field("voluntary_ctxt_switches:").parse::<u64>().unwrap_or(0);
            sum.ticks += ticks_of(&text("stat")).unwrap_or(0);
        }
        sum
    }
}

/// Returns the processor time of the process so far, user and system together, in ticks of 10 ms.
pub fn ticks() -> u64 {
    ticks_of(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap()
}

/// Adds the user and the system time, which are fields 14 and 15 of a `stat` file.
fn ticks_of(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold anything; the fields behind it begin with the third.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    [14, 15].iter().map(|number| fields.get(number - 3)?.parse::<u64>().ok()).sum()
}
