//! Which way arrows point: what `shared/src/lib.rs` draws, file by file.

use harness::settings::workspace;

use super::paths::paths;
use super::source::{Source, sources};

/// What a part of the library may use.
struct Part {
    /// The module, with all below it.
    name: &'static str,
    /// Modules of the library besides itself. A narrower one than a part is an exception, with its reason beside it.
    modules: &'static [&'static str],
    /// Crates besides the standard library.
    crates: Crates,
}

/// Which other crates.
enum Crates {
    /// These, or modules of them. The parts without technology have this kind.
    Only(&'static [&'static str]),
    /// Any but these, and those whose name begins with one of these and `_`.
    AnyBut(&'static [&'static str]),
}

const PARTS: &[Part] = &[
    Part {
        name: "domain",
        modules: &[],
        crates: Crates::Only(&["chrono", "serde", "serde_json", "thiserror", "uuid"]),
    },
    Part { name: "error", modules: &[], crates: Crates::Only(&[]) },
    Part {
        name: "ports",
        modules: &["domain", "error"],
        crates: Crates::Only(&["async_trait", "thiserror"]),
    },
    Part {
        name: "audit",
        modules: &["domain", "error", "ports"],
        crates: Crates::Only(&["async_trait", "serde_json", "tracing"]),
    },
    Part { name: "service", modules: &["audit", "domain", "ports"], crates: Crates::Only(&["tracing"]) },
    Part {
        name: "processor",
        modules: &["audit", "domain", "error", "ports"],
        // Of tokio the timer alone: a tick ends in time.
        crates: Crates::Only(&["serde", "thiserror", "tokio::time", "tracing"]),
    },
    Part {
        name: "verify",
        modules: &["domain", "ports"],
        // Of tokio the timer alone: a run ends in time.
        crates: Crates::Only(&["serde", "serde_json", "sha2", "thiserror", "tokio::time", "tracing", "uuid"]),
    },
    Part {
        name: "metrics",
        modules: &["domain", "processor", "verify"],
        crates: Crates::Only(&["serde_json"]),
    },
    Part {
        name: "adapters",
        modules: &[
            // Adapters read their own settings.
            "config", "domain", "error", "ports",
        ],
        crates: Crates::AnyBut(&["jsonwebtoken", "lambda_extension", "lambda_runtime", "tower"]),
    },
    Part {
        name: "http",
        modules: &[
            // Authentication reads its own settings.
            "config", "domain", "error", "ports",
        ],
        crates: Crates::AnyBut(DATABASE_AND_CLOUD),
    },
    Part { name: "config", modules: &[], crates: Crates::Only(&["thiserror"]) },
    Part {
        name: "logging",
        modules: &["config"],
        crates: Crates::Only(&["serde_json", "tracing", "tracing_subscriber"]),
    },
    Part {
        name: "lambda",
        modules: &[
            // Lambda's deadlines are times of day; there is no invocation without this clock.
            "adapters::clock",
            // Lambda is told by HTTP why a function does not start.
            "adapters::https",
            "app",
            "audit",
            "config",
            "error",
            "http",
            "logging",
            "ports",
            "processor",
            "verify",
        ],
        crates: Crates::AnyBut(DATABASE_AND_CLOUD),
    },
    // The one place that puts adapters into ports.
    Part {
        name: "app",
        modules: &[
            "adapters",
            "audit",
            "config",
            "domain",
            "http",
            "logging",
            "ports",
            "processor",
            "service",
            "verify",
        ],
        crates: Crates::Only(&[]),
    },
];

const DATABASE_AND_CLOUD: &[&str] = &["aws", "deadpool", "refinery", "tokio_postgres"];

/// Functions use the library through these parts only.
const FUNCTIONS: &[(&str, &[&str])] = &[
    ("create-schedule", &["app", "http", "lambda", "service"]),
    ("list-schedules", &["app", "http", "lambda", "service"]),
    ("cancel-schedule", &["app", "http", "lambda"]),
    ("schedule-processor", &["app", "lambda", "metrics", "processor"]),
    ("verify-trail", &["app", "lambda", "metrics", "verify"]),
    // The schema is the adapter's own business: there is no port for it.
    (
        "migrate",
        &[
            "adapters::postgres::migrate",
            "adapters::postgres::settings",
            "config",
            "error",
            "lambda",
            "logging",
        ],
    ),
    ("check-deployment", &["config", "error", "lambda", "logging"]),
];

#[test]
fn arrows_never_turn_back() {
    let crates = library_dependencies();

    let faults: Vec<String> =
        sources("shared/src").iter().flat_map(|source| faults(source, &crates)).collect();

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_forbidden_use_is_told_with_file_line_and_rule() {
    let crates = library_dependencies();
    let told = |path: &str, code: &str| faults(&Source::new(path, code), &crates).join("\n");

    for (path, code) in [
        ("shared/src/domain/flag.rs", "use lambda_http::http::StatusCode;"),
        ("shared/src/domain/flag.rs", "use crate::{domain::x, adapters::clock};"),
        ("shared/src/domain/flag.rs", "use crate::adapters as domain;"),
        ("shared/src/domain/flag.rs", "use crate::*;"),
        ("shared/src/ports/due.rs", "fn f(row: tokio_postgres::Row) {}"),
        ("shared/src/service.rs", "use super::http::problem;"),
        ("shared/src/service.rs", "fn f() -> aws_sdk_cloudwatchlogs::Client {}"),
        ("shared/src/processor/mod.rs", "use crate::config;"),
        ("shared/src/processor/mod.rs", "fn f() { tokio::spawn(x); }"),
        ("shared/src/audit/sweep.rs", "fn f() { let pool = deadpool::managed::Pool::new(); }"),
        ("shared/src/audit/sweep.rs", "use crate::lambda::deadline_of;"),
        ("shared/src/adapters/cloudwatch.rs", "use super::super::http::problem;"),
        ("shared/src/adapters/cloudwatch.rs", "use crate::service::ScheduleService;"),
        ("shared/src/http/auth.rs", "use crate::adapters::https::Https;"),
        ("shared/src/http/auth.rs", "use crate::app::App;"),
        ("shared/src/http/auth.rs", "use deadpool::managed::Pool;"),
        ("shared/src/lambda/mod.rs", "use crate::adapters::postgres::Postgres;"),
    ] {
        let told = told(path, &format!("//! Why.\n{code}"));
        assert!(told.starts_with(&format!("{path}:2: ")), "{path} {code}: {told}");
    }
    assert!(told("shared/src/brand_new.rs", "use crate::domain::flag;").contains("is not drawn"));
    assert_eq!(told("shared/src/domain/flag.rs", "use serde::Serialize; use super::text; use std::fmt;"), "");
    assert_eq!(
        told(
            "shared/src/adapters/https.rs",
            "use lambda_http::http::Request; use crate::ports::clock::Clock;"
        ),
        ""
    );
}

/// An exception that nobody needs any more would let something in unseen.
#[test]
fn everything_that_is_allowed_is_needed() {
    let sources = sources("shared/src");
    let mut idle = Vec::new();
    for part in PARTS {
        let used: Vec<String> = sources
            .iter()
            .filter(|source| source.module().first().is_some_and(|first| first == part.name))
            .flat_map(|source| paths(source).into_iter().map(|named| named.text()))
            .collect();
        let modules = part.modules.iter().map(|module| format!("crate::{module}"));
        let crates = match &part.crates {
            Crates::Only(crates) => crates.iter().map(|name| (*name).to_owned()).collect(),
            Crates::AnyBut(_) => Vec::new(),
        };
        let unused = modules.chain(crates).filter(|allowed| !used.iter().any(|path| is_in(path, allowed)));
        idle.extend(
            unused.map(|allowed| format!("{} does not use {allowed}: take it out of the table", part.name)),
        );
    }

    assert!(idle.is_empty(), "\n{}\n", idle.join("\n"));
}

#[test]
fn functions_join_what_the_library_offers_and_no_more() {
    let mut faults = Vec::new();
    for source in sources("functions") {
        let name = source.path.split('/').nth(1).unwrap_or_default();
        let allowed = FUNCTIONS.iter().find(|(function, _)| *function == name);
        let Some((_, allowed)) = allowed else {
            faults.push(format!("{}: {name} is not in the table of functions here", source.path));
            continue;
        };
        for named in paths(&source).into_iter().filter(|named| named.segments[0] == "flag_schedules") {
            let path = named.text();
            let is_allowed = allowed.iter().any(|module| is_in(&path, &format!("flag_schedules::{module}")));
            if !is_allowed && named.segments.len() > 1 {
                faults.push(format!("{}:{}: {name} may not use {path}", source.path, named.line));
            }
        }
    }

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// What is wrong with a file's arrows, each as `file:line: rule`.
fn faults(source: &Source, dependencies: &[String]) -> Vec<String> {
    let module = source.module();
    let Some(part) = module.first() else { return Vec::new() }; // the crate's root has no code
    let Some(part) = PARTS.iter().find(|known| known.name == part) else {
        return vec![format!(
            "{}: {part} is not drawn in shared/src/lib.rs, nor in the table here",
            source.path
        )];
    };
    let mut faults = Vec::new();
    for named in paths(source) {
        let path = named.text();
        let first = named.segments[0].as_str();
        let allowed = if first == "crate" && named.segments.len() > 1 {
            let inside = |module: &&str| is_in(&path, &format!("crate::{module}"));
            inside(&part.name) || part.modules.iter().any(inside)
        } else if named.segments.len() > 1 && dependencies.iter().any(|dependency| dependency == first) {
            match &part.crates {
                Crates::Only(crates) => crates.iter().any(|allowed| is_in(&path, allowed)),
                Crates::AnyBut(crates) => {
                    !crates.iter().any(|name| first == *name || first.starts_with(&format!("{name}_")))
                }
            }
        } else {
            true
        };
        if !allowed {
            faults.push(format!("{}:{}: {} may not use {path}", source.path, named.line, part.name));
        }
    }
    faults
}

fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The crates that the library depends on, by the names that code uses.
fn library_dependencies() -> Vec<String> {
    let manifest = std::fs::read_to_string(workspace().join("shared/Cargo.toml")).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}
