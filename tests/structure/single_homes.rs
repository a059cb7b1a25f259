//! What has one home: the environment and the time.

use super::paths::{Named, paths};
use super::source::{Source, sources};

const ENVIRONMENT: &str = "shared/src/config.rs";
const CLOCK: &str = "shared/src/adapters/clock.rs";

#[test]
fn only_config_reads_the_environment_and_only_the_clock_asks_for_the_time() {
    let sources: Vec<Source> = ["shared/src", "functions"].into_iter().flat_map(sources).collect();

    let faults: Vec<String> = sources.iter().flat_map(faults).collect();

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    // The homes are where they are said to be.
    let home = |path: &str, is_asked: fn(&Named) -> bool| {
        sources.iter().filter(|source| source.path == path).flat_map(paths).any(|named| is_asked(&named))
    };
    assert!(home(ENVIRONMENT, reads_the_environment), "{ENVIRONMENT} does not read the environment any more");
    assert!(home(CLOCK, asks_for_the_time), "{CLOCK} does not ask for the time any more");
}

#[test]
fn a_second_home_is_told_with_file_line_and_rule() {
    for code in [
        "let url = std::env::var(name);",
        "use std::env;",
        "use std::{env, fmt};",
        "let now = chrono::Utc::now();",
        "let now = Utc::now();",
        "let now = std::time::SystemTime::now();",
        "let now = Local::now;",
    ] {
        let told = faults(&Source::new("shared/src/service.rs", &format!("//! Why.\n\n{code}"))).join("\n");
        assert!(told.starts_with("shared/src/service.rs:3: only "), "{code}: {told}");
    }
    let harmless =
        Source::new("shared/src/service.rs", "let begun = Instant::now(); env!(name); clock.now()");
    assert!(faults(&harmless).is_empty());
}

fn faults(source: &Source) -> Vec<String> {
    let fault = |named: Named| {
        let rule = if reads_the_environment(&named) && source.path != ENVIRONMENT {
            format!("only {ENVIRONMENT} reads the environment")
        } else if asks_for_the_time(&named) && source.path != CLOCK {
            format!("only {CLOCK} asks for the time of day")
        } else {
            return None;
        };
        Some(format!("{}:{}: {rule}, not {}", source.path, named.line, named.text()))
    };
    paths(source).into_iter().filter_map(fault).collect()
}

fn reads_the_environment(named: &Named) -> bool {
    named.segments.starts_with(&["std".to_owned(), "env".to_owned()])
}

fn asks_for_the_time(named: &Named) -> bool {
    match &named.segments[..] {
        [.., clock, now] => ["Utc", "Local", "SystemTime"].contains(&clock.as_str()) && now == "now",
        _ => false,
    }
}
