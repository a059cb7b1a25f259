//! Figures and floors.

use std::fmt;
use std::time::Duration;

/// What was measured, row by row.
#[derive(Default)]
pub struct Table(Vec<Row>);

struct Row {
    what: String,
    figure: String,
    floor: String,
    ratio: f64,
    goal: String,
}

impl Table {
    /// Adds two series that were measured in turn: the medians, and their ratio.
    pub fn compare(&mut self, what: &str, measured: &[Duration], floor: (&str, &[Duration]), goal: f64) {
        let (name, floor) = (floor.0, median(floor.1));
        let figure = median(measured);
        self.0.push(Row {
            what: what.to_owned(),
            figure: shown(figure),
            floor: format!("{} ({name})", shown(floor)),
            ratio: figure.as_secs_f64() / floor.as_secs_f64(),
            goal: format!("{goal}"),
        });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | median | floor | ratio | goal |\n| --- | --- | --- | --- | --- |")?;
        self.0.iter().try_for_each(|row| {
            let Row { what, figure, floor, ratio, goal } = row;
            writeln!(f, "| {what} | {figure} | {floor} | {ratio:.2} | {goal} |")
        })
    }
}

fn median(series: &[Duration]) -> Duration {
    let mut sorted = series.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
