//! The paths that a source file names (`crate::domain::flag`, `std::env::var`), use declarations unfolded.

use super::source::Source;

/// A path, and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// From the crate's root (`crate`, …) or from another crate's (`serde_json`, …); `*` for a whole module.
    pub segments: Vec<String>,
    /// The line, from 1.
    pub line: usize,
}

impl Named {
    /// The path as written in Rust.
    pub fn text(&self) -> String {
        self.segments.join("::")
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Separator,
    Sign(char),
}

/// All paths in the code of a file; `self` and `super` are resolved.
pub fn paths(source: &Source) -> Vec<Named> {
    let tokens = tokens(&source.code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts = matches!(tokens[at].0, Token::Word(_)) && !continues(&tokens[..at]);
        if starts {
            at = read(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    let module = source.module();
    found.into_iter().map(|named| resolve(named, &module)).collect()
}

fn tokens(code: &str) -> Vec<(Token, usize)> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len());
            let (token, length) = match first {
                _ if word > 0 => (Some(Token::Word(rest[..word].to_owned())), word),
                ':' if rest.starts_with("::") => (Some(Token::Separator), 2),
                _ if first.is_whitespace() => (None, first.len_utf8()),
                _ => (Some(Token::Sign(first)), first.len_utf8()),
            };
            tokens.extend(token.map(|token| (token, number + 1)));
            rest = &rest[length..];
        }
    }
    tokens
}

/// Whether a word after these tokens goes on with something: a path, a field, a method.
fn continues(before: &[(Token, usize)]) -> bool {
    let token = |back: usize| before.len().checked_sub(back).map(|at| &before[at].0);
    match token(1) {
        Some(Token::Separator) => matches!(token(2), Some(Token::Word(_) | Token::Sign('>'))),
        // A method; but `..` is a range, or the rest of a struct.
        Some(Token::Sign('.')) => token(2) != Some(&Token::Sign('.')),
        _ => false,
    }
}

/// Reads the path, or the tree of paths, at a word or an opening brace; gives where to go on.
fn read(tokens: &[(Token, usize)], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |(_, line)| *line);
    loop {
        match tokens.get(at).map(|(token, _)| token) {
            Some(Token::Word(word)) if word == "self" && !segments.is_empty() => at += 1,
            Some(Token::Word(word)) => {
                segments.push(word.clone());
                at += 1;
            }
            Some(Token::Sign('*')) => {
                segments.push("*".to_owned());
                found.push(Named { segments, line });
                return at + 1;
            }
            Some(Token::Sign('{')) => {
                at += 1;
                while at < tokens.len() && tokens[at].0 != Token::Sign('}') {
                    at = match tokens[at].0 {
                        Token::Word(_) | Token::Sign('{' | '*') => read(tokens, at, &segments, found),
                        _ => at + 1,
                    };
                }
                return at + 1;
            }
            _ => {
                found.push(Named { segments, line });
                return at;
            }
        }
        if tokens.get(at).map(|(token, _)| token) != Some(&Token::Separator) {
            found.push(Named { segments, line });
            // `as name` gives no path of its own.
            let renamed = matches!(tokens.get(at), Some((Token::Word(word), _)) if word == "as");
            return if renamed { at + 2 } else { at };
        }
        at += 1;
    }
}

fn resolve(mut named: Named, module: &[String]) -> Named {
    let ups = named.segments.iter().take_while(|segment| *segment == "super").count();
    let is_self = named.segments[0] == "self" && named.segments.len() > 1;
    if ups > 0 || is_self {
        let own = &module[..module.len().saturating_sub(ups)];
        let rest = named.segments.split_off(ups.max(1));
        named.segments = ["crate".to_owned()].into_iter().chain(own.iter().cloned()).chain(rest).collect();
    }
    named
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let code = "use crate::{a::B, c::{self, d::*}, e as f};\nlet x = super::g::h(&::std::env::var(y.z::<T>()));\n\
                impl super::super::I for x::J {}\nself.k(self::l::M, ..n::O::p())";

    let found = paths(&Source::new("shared/src/adapters/postgres/due.rs", code));

    let lines: Vec<(String, usize)> = found.iter().map(|named| (named.text(), named.line)).collect();
    for (path, line) in [
        ("crate::a::B", 1),
        ("crate::c", 1),
        ("crate::c::d::*", 1),
        ("crate::e", 1),
        ("crate::adapters::postgres::g::h", 2),
        ("std::env::var", 2),
        ("crate::adapters::I", 3),
        ("x::J", 3),
        ("crate::adapters::postgres::due::l::M", 4),
        ("n::O::p", 4),
    ] {
        assert!(lines.contains(&(path.to_owned(), line)), "no {path} in line {line}: {lines:#?}");
    }
    assert!(!lines.iter().any(|(path, _)| path == "z" || path == "k"), "{lines:#?}");
}
