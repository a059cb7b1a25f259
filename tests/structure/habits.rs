//! Habits: every file says why it is there, none grows too long, comments are few, and what cannot fail says why.

use std::collections::BTreeMap;

use harness::settings::workspace;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::source::{Source, sources};

/// Lines of a file, at most.
const LONGEST: usize = 400;
/// Lines of a product file, at most, tests left out.
const LONGEST_OF_PRODUCT: usize = 300;
/// Comment lines in a hundred lines of the product, at most, tests left out.
const MOST_COMMENTS: f64 = 12.0;

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

/// Which folder's `limits.rs`? A name that is there once needs no folder.
#[test]
fn every_test_file_has_a_name_of_its_own() {
    let mut paths: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources("tests") {
        let name = source.path.rsplit('/').next().unwrap_or_default().to_owned();
        paths.entry(name).or_default().push(source.path);
    }

    let usual = ["lib.rs", "main.rs", "mod.rs"];
    paths.retain(|name, paths| paths.len() > 1 && !usual.contains(&name.as_str()));
    assert!(paths.is_empty(), "rename all but one of each: {paths:#?}");
}

#[test]
fn every_test_that_the_readme_names_exists() {
    let readme = std::fs::read_to_string(workspace().join("tests/README.md")).unwrap();
    let (_, table) = readme.split_once("## Which test covers which fault").unwrap();
    let named: Vec<&str> = table.split('`').skip(1).step_by(2).collect();
    let code: String = sources("tests").into_iter().map(|source| source.text).collect();

    let is_missing = |name: &&str| !code.contains(&format!("fn {name}("));
    let missing: Vec<&str> = named.iter().copied().filter(is_missing).collect();

    assert!(named.len() > 50, "{named:?}");
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn no_product_file_is_too_long() {
    let sources = ["shared/src", "functions"].into_iter().flat_map(sources);

    let long = sources.filter(|source| source.product_lines().count() > LONGEST_OF_PRODUCT);

    let long: Vec<String> = long.map(|source| source.path).collect();
    assert!(long.is_empty(), "more than {LONGEST_OF_PRODUCT} lines: {long:#?}");
}

#[test]
fn the_product_has_few_comment_lines() {
    let (mut lines, mut comments) = (0_u32, 0_u32);
    for source in ["shared/src", "functions"].into_iter().flat_map(sources) {
        for line in source.product_lines() {
            lines += 1;
            comments += u32::from(line.trim_start().starts_with("//"));
        }
    }

    let share = 100.0 * f64::from(comments) / f64::from(lines);
    assert!(share <= MOST_COMMENTS, "{comments} of {lines} lines are comments: {share:.1} %");
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
        "fn f() {\n    a\n        .b()\n        .unwrap();\n}",
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
    let text: Vec<&str> = source.text.lines().collect();
    let is_comment = |line: usize| text[line - 1].trim_start().starts_with("//");
    let is_explained = |(first, last): &(usize, usize)| {
        (*first > 1 && is_comment(first - 1)) || (*first..=*last).any(|line| text[line - 1].contains("// "))
    };
    let mut calls = Calls::default();
    source.items.iter().for_each(|item| calls.visit_item(item));
    let faults = calls.found.iter().filter(|call| !is_explained(call));
    faults.map(|(_, line)| format!("{}:{line}: say in a comment why this cannot fail", source.path)).collect()
}

/// The calls of `unwrap` and `expect`: the first line of their statement, and their own.
#[derive(Default)]
struct Calls {
    statements: Vec<usize>,
    found: Vec<(usize, usize)>,
}

impl Calls {
    fn inside(&mut self, statement: &impl Spanned, visit: impl FnOnce(&mut Self)) {
        self.statements.push(statement.span().start().line);
        visit(self);
        self.statements.pop();
    }
}

impl<'ast> Visit<'ast> for Calls {
    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        self.inside(statement, |calls| visit::visit_stmt(calls, statement));
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.inside(arm, |calls| visit::visit_arm(calls, arm));
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        self.inside(field, |calls| visit::visit_field_value(calls, field));
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "unwrap" || call.method == "expect" {
            let line = call.method.span().start().line;
            self.found.push((self.statements.last().copied().unwrap_or(line), line));
        }
        visit::visit_expr_method_call(self, call);
    }
}
