//! Files and sections that the documentation names exist.

use std::fs;
use std::path::Path;

use harness::settings::workspace;

use super::blocks::files;

/// The folders of the repository; a path elsewhere, such as a log group's name, means something else.
const FOLDERS: [&str; 7] = [".github", "docs", "events", "functions", "migrations", "shared", "tests"];

fn read(file: &str) -> String {
    fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_path_in_the_documentation_exists() {
    let mut checked = 0;
    for file in files() {
        for path in read(&file).split('`').skip(1).step_by(2).filter(|code| is_path(code)) {
            assert!(workspace().join(path).exists(), "{file}: there is no {path}");
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} paths were checked");
    assert!(is_path("docs/none.md") && !is_path("docs/<name>.md") && !is_path("/flag-schedules/audit"));
}

fn is_path(code: &str) -> bool {
    let is_plain = code.chars().all(|char| char.is_ascii_alphanumeric() || "/._-".contains(char));
    is_plain && code.contains('/') && FOLDERS.contains(&code.split('/').next().unwrap_or_default())
}

#[test]
fn every_link_in_the_documentation_leads_somewhere() {
    for file in files() {
        let text = read(&file);
        let targets =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, section) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(&file).parent().unwrap_or(Path::new(""));
            let linked =
                if path.is_empty() { workspace().join(&file) } else { workspace().join(folder).join(path) };
            assert!(linked.exists(), "{file}: there is no {target}");
            let is_there = section.is_empty() || sections(&linked).iter().any(|found| found == section);
            assert!(is_there, "{file}: there is no section {target}");
        }
    }
}

/// The names that GitHub gives to the headings of a file.
fn sections(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let name = |heading: &str| -> String {
        let title = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|char| char.is_alphanumeric() || "-_".contains(*char)).collect()
    };
    headings.map(name).collect()
}
