//! Draws what the last run has measured: one publisher, one topic, eight subscribers.

mod results;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::results::{CHUNK, Figure, TURNS, Turn, group, stored};

const WORKLOAD: &str = "W1 u64 to 8";
const TITLE: &str = "One publisher, one topic, 8 subscribers";
const AXIS: &str = "time for a publish, tramline's is 1 (logarithmic; shorter is faster)";
const HIGHLIGHTED: &str = "tramline";

/// The group takes less than this in one run. What is older was left by another run.
const ONE_RUN: Duration = Duration::from_secs(180);

const INK: RGBColor = RGBColor(38, 38, 38);
const QUIET: RGBColor = RGBColor(105, 105, 105);
const GRID: RGBColor = RGBColor(226, 226, 226);
const BAR: RGBColor = RGBColor(164, 178, 194);
const HIGHLIGHT: RGBColor = RGBColor(214, 96, 36);

const WIDTH: u32 = 900;
const ROW: u32 = 28;
const ABOVE: u32 = 84;
const BELOW: u32 = 78;
const LEFT: u32 = 250;
const RIGHT: u32 = 80;

fn main() -> ExitCode {
    let Some(path) = env::args().nth(1) else {
        eprintln!("usage: plot OUT.svg");
        return ExitCode::FAILURE;
    };
    let drawn = figures().and_then(|figures| Ok(fs::write(path, draw(&figures)?)?));
    match drawn {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The systems of the last run, the quickest first: how many times as long as ours each took, over the turns.
///
/// Ratios of what was measured in the same turn, because the machine has faster and slower times.
fn figures() -> Result<Vec<(String, Figure)>, Box<dyn Error>> {
    let missing = || format!("there are no results of \"{WORKLOAD}\" yet: run `cargo bench` first");
    let folder = stored().ok_or_else(missing)?;
    let mut turns = Vec::new();
    for turn in 1..=TURNS {
        let mut medians = BTreeMap::new();
        for entry in fs::read_dir(folder.join(group(WORKLOAD, turn))).map_err(|_| missing())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(Turn { samples, measured }) = Turn::read(&entry.path(), CHUNK) else { continue };
            medians.extend(Figure::of(samples).map(|figure| (name, (figure.median, measured))));
        }
        turns.push(medians);
    }
    let last = turns.iter().flat_map(|turn| turn.values()).map(|(_, measured)| *measured).max().ok_or_else(missing)?;
    let mut ratios = BTreeMap::<_, Vec<f64>>::new();
    for turn in turns {
        let (ours, _) = *turn.get(HIGHLIGHTED).ok_or_else(missing)?;
        for (name, (median, measured)) in turn {
            if measured >= last - ONE_RUN {
                ratios.entry(name).or_default().push(median / ours);
            }
        }
    }
    let figure = |(name, ratios)| Some((name, Figure::of(ratios)?));
    let mut figures: Vec<_> = ratios.into_iter().filter_map(figure).collect();
    figures.sort_by(|(_, one), (_, other)| one.median.total_cmp(&other.median));
    Ok(figures)
}

fn draw(figures: &[(String, Figure)]) -> Result<String, Box<dyn Error>> {
    let rows = figures.len() as u32;
    let height = ABOVE + rows * ROW + BELOW;
    let slowest = figures.iter().map(|(_, figure)| figure.high).fold(1.0, f64::max);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        // White, so that it can be read on a dark page too.
        root.fill(&WHITE)?;
        let text = |text: &str, size: u32, color: RGBColor, (x, y): (i32, i32), anchor: HPos| {
            let style = ("sans-serif", size).into_font().color(&color).pos(Pos::new(anchor, VPos::Center));
            root.draw(&Text::new(text.to_owned(), (x, y), style))
        };
        text(TITLE, 22, INK, (20, 28), HPos::Left)?;
        let what =
            "u64, every message counted and checked; median of the turns; the line is their 10th to 90th percentile";
        text(what, 14, QUIET, (20, 56), HPos::Left)?;

        let (bottom, top) = (0.01, slowest * 1.2);
        let mut chart = ChartBuilder::on(&root)
            .margin_top(ABOVE)
            .margin_bottom(BELOW)
            .margin_left(LEFT)
            .margin_right(RIGHT)
            .build_cartesian_2d((bottom..top).log_scale(), f64::from(rows)..0.0)?;
        let mut tick = bottom;
        while tick <= top {
            chart.draw_series([PathElement::new([(tick, 0.0), (tick, f64::from(rows))], GRID)])?;
            let (x, y) = chart.backend_coord(&(tick, f64::from(rows)));
            text(&tick.to_string(), 13, QUIET, (x, y + 16), HPos::Center)?;
            tick *= 10.0;
        }
        for (row, (name, figure)) in (0..).zip(figures) {
            let (start, middle, end) = (f64::from(row) + 0.16, f64::from(row) + 0.5, f64::from(row) + 0.84);
            let ours = name == HIGHLIGHTED;
            let (bar, ink) = if ours { (HIGHLIGHT, HIGHLIGHT) } else { (BAR, INK) };
            chart.draw_series([Rectangle::new([(bottom, start), (figure.median, end)], bar.filled())])?;
            chart.draw_series([PathElement::new([(figure.low, middle), (figure.high, middle)], INK)])?;
            let (_, y) = chart.backend_coord(&(bottom, middle));
            text(name, 15, ink, (LEFT as i32 - 10, y), HPos::Right)?;
            let (x, _) = chart.backend_coord(&(figure.median.max(figure.high), middle));
            text(&format!("{:.2}", figure.median), 14, ink, (x + 8, y), HPos::Left)?;
        }
        let under = (ABOVE + rows * ROW) as i32;
        let middle = ((LEFT + WIDTH - RIGHT) / 2) as i32;
        text(AXIS, 14, INK, (middle, under + 40), HPos::Center)?;
        text(&machine(), 13, QUIET, (WIDTH as i32 - 20, under + 62), HPos::Right)?;
        root.present()?;
    }
    Ok(svg)
}

/// What it was measured on, as far as that can be found out here.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(0, |cores| cores.get());
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(':').nth(1)).unwrap_or(env::consts::ARCH).trim();
    format!("{cores} cores of {model}, {}; times mean nothing elsewhere", env::consts::OS)
}
