//! The paths that a source file names (`crate::domain::flag`, `std::env::var`), use declarations unfolded.

use proc_macro2::{TokenStream, TokenTree};
use syn::UseTree;
use syn::visit::{self, Visit};

use super::source::Source;

/// A path, and where it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// From the crate's root (`crate`, …) or from another crate's (`serde_json`, …); `*` for a whole module.
    pub segments: Vec<String>,
    /// The line, from 1.
    pub line: usize,
    /// What a use declaration calls it in this file.
    pub import: Option<String>,
    /// It is a `pub use`: this module offers the name to others.
    pub is_reexport: bool,
}

impl Named {
    /// The path as written in Rust.
    pub fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// All paths in the code of a file; `self` and `super` are resolved.
pub fn paths(source: &Source) -> Vec<Named> {
    let mut finder = Finder { module: source.module(), found: Vec::new() };
    source.items.iter().for_each(|item| finder.visit_item(item));
    finder.found
}

struct Finder {
    /// The module that is being read, an inline one included.
    module: Vec<String>,
    found: Vec<Named>,
}

impl Finder {
    fn name(&mut self, segments: Vec<String>, line: usize) {
        let segments = resolve(segments, &self.module);
        self.found.push(Named { segments, line, import: None, is_reexport: false });
    }

    fn import(&mut self, tree: &UseTree, prefix: &[String], is_reexport: bool) {
        let with = |name: &syn::Ident| -> Vec<String> {
            let itself = name == "self" && !prefix.is_empty();
            prefix.iter().cloned().chain((!itself).then(|| name.to_string())).collect()
        };
        let (segments, name, line) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident), is_reexport),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, prefix, is_reexport));
            }
            UseTree::Name(name) => (with(&name.ident), None, name.ident.span().start().line),
            UseTree::Rename(renamed) => {
                (with(&renamed.ident), Some(renamed.rename.to_string()), renamed.ident.span().start().line)
            }
            UseTree::Glob(glob) => {
                let star = glob.star_token.spans[0].start().line;
                (prefix.iter().cloned().chain(["*".to_owned()]).collect(), None, star)
            }
        };
        let segments = resolve(segments, &self.module);
        let import = name.or_else(|| segments.last().cloned());
        self.found.push(Named { segments, line, import, is_reexport });
    }

    /// The paths in the arguments of a macro, which need not be expressions.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut separators, mut after_dot) = (0, 0, false);
        for token in tokens {
            match &token {
                TokenTree::Ident(word) if separators == 2 && !path.is_empty() => path.push(word.to_string()),
                TokenTree::Punct(sign) if sign.as_char() == ':' && !path.is_empty() => {
                    separators += 1;
                    continue;
                }
                other => {
                    if !path.is_empty() {
                        self.name(std::mem::take(&mut path), line);
                    }
                    match other {
                        TokenTree::Ident(word) if !after_dot => {
                            path.push(word.to_string());
                            line = word.span().start().line;
                        }
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        _ => {}
                    }
                }
            }
            separators = 0;
            after_dot = matches!(&token, TokenTree::Punct(sign) if sign.as_char() == '.');
        }
        if !path.is_empty() {
            self.name(path, line);
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, declaration: &'ast syn::ItemUse) {
        let is_reexport = !matches!(declaration.vis, syn::Visibility::Inherited);
        self.import(&declaration.tree, &[], is_reexport);
    }

    /// `pub(super)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
        self.name(segments, line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.tokens(call.tokens.clone());
    }
}

fn resolve(mut segments: Vec<String>, module: &[String]) -> Vec<String> {
    let ups = segments.iter().take_while(|segment| *segment == "super").count();
    let is_self = segments[0] == "self" && segments.len() > 1;
    if ups == 0 && !is_self {
        return segments;
    }
    let own = &module[..module.len().saturating_sub(ups)];
    let rest = segments.split_off(ups.max(1));
    ["crate".to_owned()].into_iter().chain(own.iter().cloned()).chain(rest).collect()
}

#[test]
fn every_kind_of_path_is_found() {
    let code = "use crate::{a::B, c::{self, d::*}, e as f};\nfn f() { super::g::h(&::std::env::var(y.z::<T>())); }\n\
                impl super::super::I for x::J {}\nfn g() { self.k(self::l::M, N { ..n::O::p() }) }\n\
                fn h() { info!(%x, y = q::R::s(t.u), \"{}\", [super::v::W]); }\nmod i { use super::w; }";

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
        ("q::R::s", 5),
        ("crate::adapters::postgres::v::W", 5),
        ("crate::adapters::postgres::due::w", 6),
    ] {
        assert!(lines.contains(&(path.to_owned(), line)), "no {path} in line {line}: {lines:#?}");
    }
    assert!(!lines.iter().any(|(path, _)| ["z", "k", "u"].contains(&path.as_str())), "{lines:#?}");
    assert!(found.iter().any(|named| named.text() == "crate::e" && named.import.as_deref() == Some("f")));
}
