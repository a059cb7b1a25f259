//! Habits: every file says why it is there, none grows too long, and what cannot fail says why.

use super::source::{Source, sources};

/// Lines of a file, at most.
const LONGEST: usize = 400;

#[test]
fn every_file_says_why_it_is_there() {
    let sources = ["shared", "functions", "tests"].into_iter().flat_map(sources);

    let silent: Vec<String> =
        sources.filter(|source| !source.text.starts_with("//!")).map(|source| source.path).collect();

    assert!(silent.is_empty(), "these do not begin with `//!`: {silent:#?}");
}

#[test]
fn no_file_is_too_long() {
    let sources = ["shared", "functions", "tests"].into_iter().flat_map(sources);

    let long: Vec<String> = sources.filter_map(too_long).collect();

    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
    assert!(too_long(Source::new("a.rs", &"\n".repeat(LONGEST))).is_none());
    assert!(too_long(Source::new("a.rs", &"\n".repeat(LONGEST + 1))).is_some());
}

#[test]
fn what_cannot_fail_says_why() {
    let sources = ["shared", "functions"].into_iter().flat_map(sources);

    let faults: Vec<String> = sources.flat_map(|source| unexplained(&source)).collect();

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn an_unwrap_without_a_reason_is_told_and_one_with_a_reason_is_not() {
    let told = |code: &str| unexplained(&Source::new("shared/src/x.rs", code));

    for code in [
        "fn f() {\n    x.unwrap();\n}",
        "fn f() {\n    x.expect(\"y\");\n}",
        "    a\n        .b()\n        .unwrap();",
    ] {
        assert_eq!(told(code).len(), 1, "{code}");
    }
    for code in [
        "fn f() {\n    // It was checked above.\n    x.unwrap();\n}",
        "fn f() {\n    x.unwrap(); // it was checked above\n}",
        "fn f() {\n    // It was checked above.\n    let y = a\n        .b()\n        .unwrap();\n}",
        "fn f() {\n    x.unwrap_or_default();\n    // x.unwrap()\n    \"x.unwrap()\";\n}",
        "#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap(); }\n}",
    ] {
        assert!(told(code).is_empty(), "{code}: {:?}", told(code));
    }
}

fn too_long(source: Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > LONGEST).then(|| format!("{} has {lines} lines, more than {LONGEST}: split it", source.path))
}

/// `unwrap` and `expect` without a comment on the same line or above the statement.
fn unexplained(source: &Source) -> Vec<String> {
    let code: Vec<&str> = source.code.lines().collect();
    let text: Vec<&str> = source.text.lines().collect();
    let is_explained = |at: usize| {
        let ends = |line: &str| line.is_empty() || line.ends_with([';', '{', '}', ',']);
        let first = (0..=at).rev().find(|line| *line == 0 || ends(code[line - 1].trim())).unwrap_or(at);
        let above = first.checked_sub(1).is_some_and(|line| text[line].trim_start().starts_with("//"));
        above || (first..=at).any(|line| text[line].contains("// "))
    };
    let calls = |line: &str| line.contains(".unwrap()") || line.contains(".expect(");
    let faults = (0..code.len()).filter(|at| calls(code[*at]) && !is_explained(*at));
    faults.map(|at| format!("{}:{}: say in a comment why this cannot fail", source.path, at + 1)).collect()
}
