//! What the documentation and the running stack offer to paste is pasted, into zsh, and does what is said of it.

use std::collections::BTreeSet;
use std::process::Command;

use harness::settings::workspace;
use serde_json::Value;

use super::blocks::{blocks, commands};
use super::stack::Stack;
use super::terminal::{SHELLS, paste};
use super::text;

/// For all of a text; the session sleeps for eight seconds.
const LIMIT: u32 = 60;

#[test]
fn the_sessions_work_in_zsh() {
    let stack = Stack::start();

    the_settings_are_exported(&stack);
    each_function_signs_in_as_its_role(&stack);
    the_readme_shows_the_answer(&stack);
    the_welcome_can_be_pasted(&stack);
    the_session_shows_what_it_says(&stack);
    let told = stack.told();
    assert!(told.contains("flag_schedule.created") && told.contains("flag_schedule.applied"), "{told}");
}

fn the_settings_are_exported(stack: &Stack) {
    let script = format!(". {}; env", stack.env());
    let shown = text(&Command::new("sh").args(["-c", &script]).current_dir(workspace()).output().unwrap());

    for name in ["ADMIN_TOKEN", "API_URL", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "SECOND_ADMIN_TOKEN"] {
        assert!(shown.lines().any(|line| line.starts_with(&format!("{name}="))), "no {name}: {shown}");
    }
}

fn each_function_signs_in_as_its_role(stack: &Stack) {
    let sql = "select distinct usename::text from pg_stat_activity where usename like 'flag_schedules_%' order by 1";
    let script = format!(r#". {}; "$PSQL" "$DATABASE_URL" -At -c "$1""#, stack.env());
    let shown =
        text(&Command::new("sh").args(["-c", &script, "sh", sql]).current_dir(workspace()).output().unwrap());

    // `migrate` has hung up.
    let expected = ["flag_schedules_api", "flag_schedules_processor", "flag_schedules_reader"];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
}

/// The answer in the README has the fields of the real one.
fn the_readme_shows_the_answer(stack: &Stack) {
    let texts = with_the_settings(stack, "README.md", |text| text.contains("curl"));
    assert_eq!(texts.len(), 1, "the quick start is one request");
    let shown = pasted(&texts).remove(0);

    let line = shown.lines().find(|line| line.starts_with(r#"{"id":"#)).unwrap_or_else(|| panic!("{shown}"));
    let answer: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {shown}"));
    let example = blocks("README.md").into_iter().find(|block| block.language == "json").unwrap();
    let example: Value = serde_json::from_str(&example.text).unwrap();
    assert_eq!(names(&example), names(&answer), "left: README.md");
    assert_eq!(answer["status"], "pending", "{answer}");
}

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Its commands are the paragraphs after those that end with a colon.
fn the_welcome_can_be_pasted(stack: &Stack) {
    let told = stack.told();
    let paragraphs: Vec<&str> = told.split("\n\n").collect();
    let commands = paragraphs.windows(2).filter(|pair| pair[0].trim_end().ends_with(':'));
    let mut commands: Vec<String> = commands.map(|pair| pair[1].trim().to_owned()).collect();
    commands.truncate(4);
    // The first run of this clone has `.local/env`, and this one may be it.
    assert!(commands[0].contains("/env'"), "{told}");
    assert!(!commands.concat().contains('#'), "{told}");
    assert!(told.contains("A tick every 1 s waits"), "{told}");
    assert!(told.contains("CONTAINERS_AT=172.17.0.1 make run"), "{told}");

    let shown = pasted(&commands);

    assert!(shown[1].contains(r#""status":"pending""#), "{shown:#?}");
    assert!(shown[2].contains(r#""schedules":"#), "{shown:#?}");
    assert!(shown[3].contains(r#""status":"cancelled""#), "{shown:#?}");
}

fn the_session_shows_what_it_says(stack: &Stack) {
    let texts = with_the_settings(stack, "docs/session.md", |_| true);

    let shown = pasted(&texts).join("\n");

    for expected in [
        "HTTP/1.1 201",
        r#""status":"pending""#,
        r#""status":"applied""#,
        "new-checkout | production",
        r#""event_type": "flag_schedule.created""#,
        r#""event_type": "flag_schedule.applied""#,
        r#""missing_count": 0"#,
        r#""unknown_count": 0"#,
        r#""different_count": 0"#,
        r#""status":"cancelled""#,
        "HTTP/1.1 409",
        r#""status":400"#,
        r#""status":403"#,
    ] {
        assert!(shown.contains(expected), "no {expected}:\n{shown}");
    }
}

/// The commands of a file, with this stack's settings.
fn with_the_settings(stack: &Stack, file: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let texts = commands(file).into_iter().map(|block| block.text).filter(|text| wanted(text));
    let texts: Vec<String> = texts.collect();
    assert!(texts[0].starts_with(". .local/env\n"), "{file} loads the settings first");
    texts.into_iter().map(|text| text.replace(". .local/env", &format!(". {}", stack.env()))).collect()
}

fn pasted(texts: &[String]) -> Vec<String> {
    let shown = paste(SHELLS[0], texts, LIMIT);
    for shown in &shown {
        let failed = ["command not found", "parse error", "no matches found", "curl: ("];
        assert!(!failed.iter().any(|told| shown.contains(told)), "{shown}");
    }
    shown
}
