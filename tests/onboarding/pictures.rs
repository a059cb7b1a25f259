//! The pictures of the documentation, and the model behind the one of costs.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::settings::{tool, workspace};

use super::blocks::files;
use super::text;

/// That a picture which a document shows exists is a test of all links.
#[test]
fn every_picture_is_in_a_document_with_a_text_for_those_who_do_not_see_it() {
    let documents = files().into_iter().map(|file| std::fs::read_to_string(workspace().join(file)).unwrap());
    let documents: String = documents.collect();
    let pictures = pictures(&workspace().join("docs"));

    for picture in &pictures {
        let path = picture.strip_prefix(workspace().join("docs")).unwrap().display().to_string();
        let shown = documents.split_once(&format!("]({path})"));
        let (before, _) = shown.unwrap_or_else(|| panic!("no document shows docs/{path}"));
        let (_, alternative) = before.rsplit_once("![").unwrap();
        assert!(alternative.len() > 20 && !alternative.contains('\n'), "docs/{path}: {alternative:?}");
    }
    assert!(pictures.len() >= 4, "{pictures:?}");
}

fn pictures(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { pictures(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "svg"))
        .collect()
}

/// The subjects of `make bench` and their settings are those that the guide and the help name.
#[test]
fn every_benchmark_is_named_in_the_guide() {
    let guide = std::fs::read_to_string(workspace().join("docs/performance.md")).unwrap();
    let main = std::fs::read_to_string(workspace().join("tests/benches/main.rs")).unwrap();
    let (_, subjects) = main.split_once("const SUBJECTS").unwrap();
    let (subjects, _) = subjects.split_once(';').unwrap().1.split_once(';').unwrap();
    let (_, running) = guide.split_once("## Running the benchmarks").unwrap();
    let (running, _) = running.split_once("\n## ").unwrap();

    let subjects: Vec<_> = subjects.split('"').skip(1).step_by(2).collect();
    for subject in &subjects {
        assert!(running.contains(&format!("`{subject}`")), "docs/performance.md does not name {subject}");
    }
    assert!(subjects.len() > 10, "{subjects:?}");
}

/// Durations of a millisecond and lines of a kilobyte, for a month with a million schedules.
#[test]
fn the_model_of_costs_is_that_of_the_operations_guide() {
    let script = "
import sys
sys.path.insert(0, 'tests/benches')
import cost
model = cost.Model({call: [1.0, 1000.0] for call in ('create', 'list', 'idle tick', 'tick with 100 due', 'bytes of an audit event')})
print(cost.WATCH_SECONDS, *(round(model.ticks(setting, 1e6), 1) for setting in cost.SETTINGS), model.ticks('planned', 1), round(model.fixed(), 2))";
    let mut python = Command::new(tool("python").unwrap());
    let output = python.args(["-B", "-c", script]).current_dir(workspace()).output().unwrap();
    let watch = std::fs::read_to_string(workspace().join("shared/src/processor/watch.rs")).unwrap();

    let told = text(&output);
    let told: Vec<f64> = told.split_whitespace().map(|number| number.parse().expect(&told)).collect();
    let [seconds, off, planned, always, unused, fixed] = told[..] else { panic!("{told:?}") };

    assert!(watch.contains(&format!("WATCH_TIME: Duration = Duration::from_secs({seconds})")), "{seconds}");
    assert!(off < 0.5 && (9.0..10.0).contains(&always), "cents and nine dollars: {told:?}");
    assert!(off < planned && planned < always && unused < 0.5, "nothing to nine dollars: {told:?}");
    assert!((9.0..10.0).contains(&fixed), "nine and a half dollars for metrics and alarms: {fixed}");
}
