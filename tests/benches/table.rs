//! Figures, each beside its floor and its goal.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::series::{median, percentile};

/// What was measured, row by row, and the series that the pictures show.
#[derive(Default)]
pub struct Table(Vec<Row>, BTreeMap<&'static str, Vec<f64>>);

struct Row {
    what: String,
    figure: Figure,
    floor: Option<(Figure, String)>,
    goal: Option<Goal>,
}

/// A number, and how it is shown.
#[derive(Clone)]
pub struct Figure {
    value: f64,
    shown: String,
}

/// What a figure should be.
pub enum Goal {
    /// At most so many times the floor.
    Times(f64),
    /// At least so many times the floor.
    AtLeastTimes(f64),
    /// At most this.
    AtMost(Figure),
}

impl Figure {
    /// A duration.
    pub fn time(time: Duration) -> Self {
        let value = time.as_secs_f64() * 1000.0;
        Self { value, shown: format!("{value:.2} ms") }
    }

    /// How fast so many of these were done: shown as a rate, compared by the time that it took.
    pub fn rate(done: usize, what: &str, took: Duration) -> Self {
        let value = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let rate = done as f64 / value;
        Self { value, shown: format!("{rate:.0} {what}/s") }
    }

    /// How many of these are done in a second when each takes so long: compared by that number, so more is better.
    pub fn throughput(what: &str, each: Duration) -> Self {
        let value = 1.0 / each.as_secs_f64();
        Self { value, shown: format!("{value:.0} {what}/s") }
    }

    /// A size, shown in megabytes of a million bytes.
    pub fn size(bytes: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let value = bytes as f64 / 1e6;
        Self { value, shown: format!("{value:.2} MB") }
    }

    /// A number of things.
    pub fn count(count: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let value = count as f64;
        Self { value, shown: count.to_string() }
    }
}

impl Table {
    /// Adds a figure; its floor, if it has one, with what that is.
    pub fn add(&mut self, what: &str, figure: Figure, floor: Option<(Figure, &str)>, goal: Option<Goal>) {
        let floor = floor.map(|(floor, name)| (floor, name.to_owned()));
        self.0.push(Row { what: what.to_owned(), figure, floor, goal });
    }

    /// Adds a value to a series of a picture.
    pub fn draw(&mut self, series: &'static str, value: f64) {
        self.1.entry(series).or_default().push(value);
    }

    /// Adds durations to a series of a picture, in milliseconds.
    pub fn draw_times(&mut self, series: &'static str, times: &[Duration]) {
        times.iter().for_each(|time| self.draw(series, Figure::time(*time).value));
    }

    /// Takes over what another table has.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Everything, for programs.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self.0.iter().map(Row::json).collect();
        json!({"rows": rows, "series": self.1})
    }

    /// Adds the medians of two series that were measured in turn; the goal is so many times the floor.
    pub fn compare(
        &mut self,
        what: &str,
        measured: &[Duration],
        floor: (&str, &[Duration]),
        goal: Option<f64>,
    ) {
        let (name, floor) = (floor.0, median(floor.1));
        self.add(
            what,
            Figure::time(median(measured)),
            Some((Figure::time(floor), name)),
            goal.map(Goal::Times),
        );
    }

    /// Adds the 99th percentiles of two series that were measured in turn.
    pub fn compare_tails(&mut self, what: &str, measured: &[Duration], floor: (&str, &[Duration])) {
        let (name, floor) = (floor.0, percentile(floor.1, 99));
        let figure = Figure::time(percentile(measured, 99));
        self.add(what, figure, Some((Figure::time(floor), name)), None);
    }
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.floor.as_ref().map(|(floor, _)| self.figure.value / floor.value)
    }

    fn json(&self) -> Value {
        let floor = self.floor.as_ref();
        let floor =
            floor.map(|(floor, name)| json!({"what": name, "shown": floor.shown, "value": floor.value}));
        let goal = self.goal().map(|(goal, met)| json!({"goal": goal, "met": met}));
        let figure = json!({"shown": self.figure.shown, "value": self.figure.value});
        json!({"what": self.what, "figure": figure, "floor": floor, "ratio": self.ratio(), "goal": goal})
    }

    /// The goal, and whether it is met.
    fn goal(&self) -> Option<(String, bool)> {
        match self.goal.as_ref()? {
            Goal::Times(times) => Some((format!("≤ {times}×"), self.ratio()? <= *times)),
            Goal::AtLeastTimes(times) => Some((format!("≥ {times}×"), self.ratio()? >= *times)),
            Goal::AtMost(most) => Some((format!("≤ {}", most.shown), self.figure.value <= most.value)),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | figure | floor | ratio | goal | met |\n| --- | --- | --- | --- | --- | --- |")?;
        self.0.iter().try_for_each(|row| {
            let Row { what, figure, .. } = row;
            let floor = row.floor.as_ref().map(|(floor, name)| format!("{} ({name})", floor.shown));
            let floor = floor.unwrap_or_default();
            let ratio = row.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let (goal, met) = row
                .goal()
                .map_or((String::new(), ""), |(goal, met)| (goal, if met { "yes" } else { "**no**" }));
            writeln!(f, "| {what} | {} | {floor} | {ratio} | {goal} | {met} |", figure.shown)
        })
    }
}
