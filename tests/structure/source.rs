//! Rust source files, parsed, without what is compiled for tests only.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use harness::settings::workspace;
use syn::spanned::Spanned;
use syn::{Attribute, Item};

/// A source file.
pub struct Source {
    /// Its path in the repository, such as `shared/src/app.rs`.
    pub path: String,
    /// All of it.
    pub text: String,
    /// Its items, those for tests left out.
    pub items: Vec<Item>,
    /// The lines of the items for tests, from 1.
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Source {
    /// Parses the text of a file.
    ///
    /// # Panics
    /// When it is not Rust.
    pub fn new(path: &str, text: &str) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|error| {
            panic!("{path}:{}: {error}", error.span().start().line);
        });
        let below_src = path.split_once("/src/").map_or("", |(_, below)| below);
        let is_test = below_src.split('/').any(|part| part == "tests" || part == "tests.rs");
        let (tests, items): (Vec<_>, Vec<_>) =
            file.items.into_iter().partition(|item| is_test || is_for_tests(attributes(item)));
        let mut test_lines: Vec<_> = tests.iter().map(lines_of).collect();
        if is_test {
            test_lines.push(1..=text.lines().count());
        }
        Self { path: path.to_owned(), text: text.to_owned(), items, test_lines }
    }

    /// The module's path in its crate: `["adapters", "clock"]` for `…/src/adapters/clock.rs`.
    pub fn module(&self) -> Vec<String> {
        let (_, path) = self.path.split_once("/src/").unwrap_or_default();
        let mut module: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            module.pop();
        }
        module
    }

    /// Its lines, those of items for tests left out.
    pub fn product_lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().enumerate();
        let is_product = |line: usize| !self.test_lines.iter().any(|lines| lines.contains(&line));
        lines.filter(move |(at, _)| is_product(at + 1)).map(|(_, line)| line)
    }
}

/// All Rust files below a folder of the repository, sorted by path.
pub fn sources(folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&workspace().join(folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "there is no Rust file in {folder}");
    let read = |path: &PathBuf| {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let relative = path.strip_prefix(workspace()).unwrap_or(path);
        Source::new(&relative.to_string_lossy().replace('\\', "/"), &text)
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder of the repository can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether these have `#[cfg(test)]` among them.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

fn lines_of(item: &Item) -> RangeInclusive<usize> {
    let span = item.span();
    span.start().line..=span.end().line
}

#[test]
fn items_for_tests_are_left_out() {
    let text =
        "use a::b;\n#[cfg(test)]\nmod tests {\n    use c::d;\n}\n#[cfg(test)]\nmod more_tests;\nuse e::f;\n";

    let source = Source::new("shared/src/x.rs", text);

    assert_eq!(source.product_lines().collect::<Vec<_>>(), ["use a::b;", "use e::f;"]);
    assert_eq!(source.items.len(), 2);
    for path in ["shared/src/x/tests.rs", "shared/src/x/tests/y.rs"] {
        let tests = Source::new(path, text);
        assert!(tests.items.is_empty(), "{path}");
        assert_eq!(tests.product_lines().count(), 0, "{path}");
    }
}
