//! No cycles between the modules of the library: next to each other in one folder, none depends on one that depends on it.
//!
//! A folder counts as one node next to its siblings, with all its files; inside the folder its own file (`mod.rs`, or the
//! file with the folder's name) is the node `self`. Re-exports are followed to the file that has the item.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Named, paths};
use super::source::{Source, sources};

/// From one node to another, with the first place that has the dependency.
type Edges = BTreeMap<(String, String), String>;

#[test]
fn the_modules_of_the_library_form_no_cycle() {
    let found = cycles(&sources("shared/src"));

    let told: Vec<String> =
        found.iter().map(|(name, edges)| format!("{name}\n  {}", edges.join("\n  "))).collect();
    assert!(told.is_empty(), "these depend on each other:\n{}\n", told.join("\n"));
}

#[test]
fn a_cycle_is_reported_with_its_edges() {
    let sources = |files: &[(&str, &str)]| -> Vec<Source> {
        files.iter().map(|(path, code)| Source::new(&format!("shared/src/{path}"), code)).collect()
    };
    let found = |files| cycles(&sources(files)).into_iter().collect::<Vec<_>>();

    // Directly, and by way of a third one.
    let direct = found(&[("a.rs", "use crate::b::B;"), ("b.rs", "fn f() { super::a::g() }")]);
    let edges = ["a -> b: shared/src/a.rs:1 crate::b::B", "b -> a: shared/src/b.rs:1 crate::a::g"];
    assert_eq!(direct, [("{a, b}".to_owned(), edges.map(str::to_owned).to_vec())]);
    let three = found(&[("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "use crate::a;")]);
    assert_eq!(three[0].0, "{a, b, c}");
    // Between folders, through different files of them.
    let folders = found(&[
        ("a/x.rs", "use crate::b::y;"),
        ("b/y.rs", ""),
        ("b/z.rs", "use crate::a::w;"),
        ("a/w.rs", ""),
    ]);
    assert_eq!(folders[0].0, "{a, b}");
    // Between a folder's own file and another one of it; through an import's name; through a re-export.
    let own = found(&[("a/mod.rs", "mod b; fn f() { b::g() }"), ("a/b.rs", "use super::f;")]);
    assert_eq!(own[0].0, "a/{b, self}");
    let import = found(&[
        ("a.rs", "use crate::b; fn f() { b::c::g() }"),
        ("b/c.rs", "use crate::a::f;"),
        ("b/mod.rs", ""),
    ]);
    assert_eq!(import[0].0, "{a, b}");
    let reexport =
        [("a/mod.rs", "mod b; mod c; pub use b::B;"), ("a/b.rs", "struct B;"), ("a/c.rs", "use super::B;")];
    assert_eq!(found(&reexport), []);

    assert_eq!(found(&[("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "")]), []);
}

/// The groups of modules that depend on each other, each with its edges.
fn cycles(sources: &[Source]) -> BTreeMap<String, Vec<String>> {
    let graph = Graph::of(sources);
    let mut found = BTreeMap::new();
    for folder in graph.modules.iter().map(|module| module.as_slice()).chain([[].as_slice()]) {
        let edges = graph.edges_in(folder);
        for group in groups(&edges) {
            let members = group.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let folder = folder.iter().map(|part| format!("{part}/")).collect::<String>();
            let inside = edges.iter().filter(|((from, to), _)| group.contains(from) && group.contains(to));
            let told = inside.map(|((from, to), place)| format!("{from} -> {to}: {place}")).collect();
            found.insert(format!("{folder}{{{members}}}"), told);
        }
    }
    found
}

/// The files of a crate as modules, and which names which.
struct Graph {
    modules: BTreeSet<Vec<String>>,
    /// From a module, to a module, and where.
    uses: Vec<(Vec<String>, Vec<String>, String)>,
}

impl Graph {
    fn of(sources: &[Source]) -> Self {
        let files: Vec<(Vec<String>, &Source, Vec<Named>)> =
            sources.iter().map(|source| (source.module(), source, paths(source))).collect();
        let mut modules = BTreeSet::new();
        for (module, ..) in &files {
            modules.extend((1..=module.len()).map(|length| module[..length].to_vec()));
        }
        let mut graph = Self { modules, uses: Vec::new() };
        let mut reexports = BTreeMap::new();
        for (module, _, named) in &files {
            for named in named.iter().filter(|named| named.is_reexport) {
                if let Some(path) = graph.local(&named.segments, module)
                    && let Some(name) = &named.import
                {
                    reexports.insert([&module[..], std::slice::from_ref(name)].concat(), path);
                }
            }
        }
        for (module, source, found) in &files {
            let imports: BTreeMap<&str, &Named> =
                found.iter().filter_map(|named| Some((named.import.as_deref()?, named))).collect();
            for named in found.iter().filter(|named| !named.is_reexport) {
                let mut segments = named.segments.clone();
                if let (Some(import), [first, rest @ ..]) = (imports.get(segments[0].as_str()), &segments[..])
                    && named.import.is_none()
                    && !rest.is_empty()
                    && first != "crate"
                {
                    segments = [&import.segments[..], rest].concat();
                }
                let Some(path) = graph.local(&segments, module) else { continue };
                let to = graph.home(path, &reexports);
                if to != *module && !to.is_empty() {
                    let place = format!("{}:{} {}", source.path, named.line, named.text());
                    graph.uses.push((module.clone(), to, place));
                }
            }
        }
        graph
    }

    /// A path from the crate's root, `crate` left out; none for another crate's.
    fn local(&self, segments: &[String], module: &[String]) -> Option<Vec<String>> {
        if segments[0] == "crate" {
            return Some(segments[1..].to_vec());
        }
        let child = [module, &segments[..1]].concat();
        (segments.len() > 1 && self.modules.contains(&child)).then(|| [module, segments].concat())
    }

    /// The module that has what a path names.
    fn home(&self, mut path: Vec<String>, reexports: &BTreeMap<Vec<String>, Vec<String>>) -> Vec<String> {
        loop {
            let length = (0..=path.len()).rev().find(|length| self.modules.contains(&path[..*length]));
            let length = length.unwrap_or(0);
            match path.get(..=length).and_then(|name| reexports.get(name)) {
                Some(target) => path = [target, &path[length + 1..]].concat(),
                None => return path[..length].to_vec(),
            }
        }
    }

    /// The dependencies between the nodes of a folder.
    fn edges_in(&self, folder: &[String]) -> Edges {
        let node = |module: &[String]| -> Option<String> {
            let below = module.strip_prefix(folder)?;
            Some(below.first().map_or("self", String::as_str).to_owned())
        };
        let mut edges = Edges::new();
        for (from, to, place) in &self.uses {
            if let (Some(from), Some(to)) = (node(from), node(to))
                && from != to
            {
                edges.entry((from, to)).or_insert_with(|| place.clone());
            }
        }
        edges
    }
}

/// The sets of nodes that can all be reached from each other.
fn groups(edges: &Edges) -> BTreeSet<BTreeSet<String>> {
    let reached = |start: &String| {
        let mut reached = BTreeSet::new();
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            let next = edges.keys().filter(|(from, _)| from == node).map(|(_, to)| to);
            open.extend(next.filter(|to| reached.insert((*to).clone())));
        }
        reached
    };
    let nodes: BTreeSet<&String> = edges.keys().flat_map(|(from, to)| [from, to]).collect();
    let reached: BTreeMap<&String, BTreeSet<String>> =
        nodes.iter().map(|node| (*node, reached(node))).collect();
    let group = |node: &&String| -> BTreeSet<String> {
        let mutual = reached[*node].iter().filter(|other| reached[other].contains(*node));
        mutual.cloned().collect()
    };
    nodes.iter().map(group).filter(|group| group.len() > 1).collect()
}
