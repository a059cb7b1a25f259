//! Rust source files, with comments, texts and tests told apart from the code.

use std::path::{Path, PathBuf};

use harness::settings::workspace;

/// A source file.
#[derive(Debug)]
pub struct Source {
    /// Its path in the repository, such as `shared/src/app.rs`.
    pub path: String,
    /// All of it.
    pub text: String,
    /// The code alone, line for line: blanks instead of comments, texts and what is compiled for tests only.
    pub code: String,
}

impl Source {
    /// Reads what a file at this path says.
    pub fn new(path: &str, text: &str) -> Self {
        let mut code = blank_comments_and_texts(text);
        let below_src = path.split_once("/src/").map_or("", |(_, below)| below);
        let is_test = below_src.split('/').any(|part| part == "tests" || part == "tests.rs");
        if is_test {
            blank(&mut code);
        }
        blank_tests(&mut code);
        Self { path: path.to_owned(), text: text.to_owned(), code: code.into_iter().collect() }
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
}

/// All Rust files below a folder of the repository, in the order of their paths.
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

/// Blanks what is no code. Line breaks stay, so that lines keep their numbers.
fn blank_comments_and_texts(text: &str) -> Vec<char> {
    let mut chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => end_of_line(&chars, at),
            ('/', Some('*')) => end_of_block_comment(&chars, at),
            ('"', _) => end_of_text(&chars, at),
            ('r', Some('"' | '#')) if !is_word(&chars, at) => end_of_raw_text(&chars, at).unwrap_or(at + 1),
            ('\'', _) => end_of_char(&chars, at).unwrap_or(at + 1),
            _ => at + 1,
        };
        if end > at + 1 {
            blank(&mut chars[at..end]);
        }
        at = end;
    }
    chars
}

fn blank(chars: &mut [char]) {
    chars.iter_mut().filter(|char| **char != '\n').for_each(|char| *char = ' ');
}

/// Whether the character before belongs to the same word.
fn is_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|char| *char == '\n').map_or(chars.len(), |length| at + length)
}

/// Block comments nest.
fn end_of_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn end_of_text(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `r"…"`, `r#"…"#`; none for a raw identifier.
fn end_of_raw_text(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|char| **char == '#').count();
    let mut end = at + 1 + hashes;
    if chars.get(end) != Some(&'"') {
        return None;
    }
    end += 1;
    while end < chars.len() {
        let closing = chars[end + 1..].iter().take_while(|char| **char == '#').count();
        if chars[end] == '"' && closing >= hashes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(end)
}

/// `'a'`, `'\n'`; none for a lifetime.
fn end_of_char(chars: &[char], at: usize) -> Option<usize> {
    if chars.get(at + 1) == Some(&'\\') {
        return chars[at + 3..].iter().position(|char| *char == '\'').map(|length| at + 3 + length + 1);
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

/// Blanks every item that has `#[cfg(test)]` above it.
fn blank_tests(chars: &mut [char]) {
    let attribute: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut at = 0;
    while let Some(start) = chars[at..].windows(attribute.len()).position(|window| window == attribute) {
        let start = at + start;
        let mut depth = 0;
        let item = start + attribute.len();
        let end = chars[item..].iter().position(|char| {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (*char == '}' || *char == ';') && depth == 0
        });
        let end = end.map_or(chars.len(), |length| item + length + 1);
        blank(&mut chars[start..end]);
        at = end;
    }
}

#[test]
fn comments_texts_and_tests_are_no_code() {
    let text = r##"use a::b; // use c::d;
/* use e::f; /* nested */ use g::h; */
let text = "use i::j; \" use k::l;"; let raw = r#"use m::n; " "#; let char = '"'; let life: &'static str;
#[cfg(test)]
mod tests {
    fn f() { use o::p; }
}
use q::r;
"##;

    let source = Source::new("shared/src/x.rs", text);

    let words = |code: &str| code.split_whitespace().collect::<Vec<_>>().join(" ");
    let code = "use a::b; let text = ; let raw = ; let char = ; let life: &'static str; use q::r;";
    assert_eq!(words(&source.code), code);
    assert_eq!(source.code.lines().count(), text.lines().count());
    assert!(source.code.lines().nth(7).is_some_and(|line| line == "use q::r;"), "{}", source.code);
    for path in ["shared/src/x/tests.rs", "shared/src/x/tests/y.rs"] {
        assert_eq!(words(&Source::new(path, text).code), "", "{path}");
    }
}
