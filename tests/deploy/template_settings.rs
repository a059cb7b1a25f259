//! The settings: what the code reads, the template sets, and the other way round.

use std::collections::BTreeSet;
use std::path::Path;

use harness::api::AUDITING;
use harness::settings::workspace;
use serde_json::json;

use super::functions::CHECK;
use super::template::functions;

/// What the template does not set, and why.
const NOT_DEPLOYED: &[(&str, &str)] = &[
    ("AWS_REGION", "Lambda sets it"),
    ("AWS_LAMBDA_LOG_FORMAT", "Lambda sets it, by LoggingConfig"),
    ("AWS_LAMBDA_LOG_LEVEL", "Lambda sets it, by LoggingConfig"),
    ("RUST_LOG", "for the local stack"),
];

/// What the template names for `sam local` alone, and no deployed function has.
const LOCAL_ONLY: &str = "AWS_ENDPOINT_URL";

#[test]
fn what_the_code_reads_is_what_the_template_sets() {
    let read = settings_of_the_code();
    let not_deployed: BTreeSet<String> = NOT_DEPLOYED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let functions = functions();
    let set = functions.values().flat_map(|function| function.variables()).map(str::to_owned);
    let set = set.filter(|name| name != LOCAL_ONLY);

    let idle: Vec<_> = not_deployed.difference(&read).collect();
    assert!(idle.is_empty(), "nothing reads these any more: {idle:?}");
    let deployed: BTreeSet<String> = read.difference(&not_deployed).cloned().collect();
    assert_eq!(set.collect::<BTreeSet<_>>(), deployed, "left: template.yaml sets, right: the code reads");
}

#[test]
fn every_function_gets_the_settings_that_it_uses_and_no_others() {
    let read = settings_of_the_code();
    for (name, function) in functions() {
        let expected: BTreeSet<&str> = read
            .iter()
            .map(String::as_str)
            .filter(|setting| !NOT_DEPLOYED.iter().any(|(known, _)| known == setting))
            .filter(|setting| match *setting {
                // For all functions, as `Globals`.
                "DATABASE_AUTH" | "DATABASE_CA_FILE" | "DATABASE_PREPARE" | "RELEASE_NAME" => true,
                "DATABASE_URL" => name != CHECK,
                "TICK_WATCH" => name == "schedule-processor",
                "AUDIT_LOG_GROUP" => AUDITING.contains(&name.as_str()) || name == "verify-trail",
                auth if auth.starts_with("AUTH_") => function.is_http(),
                other => panic!("{other} is new: say here which functions use it"),
            })
            .collect();

        let variables = function.variables().into_iter().filter(|variable| *variable != LOCAL_ONLY);
        assert_eq!(variables.collect::<BTreeSet<_>>(), expected, "{name}");
    }
}

/// Either of the two sources of keys is set, never both: the code refuses both.
#[test]
fn the_keys_come_by_url_or_inline() {
    for (name, function) in functions().into_iter().filter(|(_, function)| function.is_http()) {
        let choice = |variable: &str| {
            let value = &function.properties["Environment"]["Variables"][variable]["Fn::If"];
            value.as_array().cloned().unwrap_or_else(|| panic!("{name}: {variable} is always set"))
        };
        let (by_url, inline) = (choice("AUTH_JWKS_URL"), choice("AUTH_JWKS"));
        assert_eq!(by_url[0], inline[0], "{name}");
        let nothing = json!({"Ref": "AWS::NoValue"});
        assert_eq!((&by_url[2], &inline[1]), (&nothing, &nothing), "{name}");
        assert!(by_url[1] != nothing && inline[2] != nothing, "{name}");
    }
}

/// The names of environment variables in the code: strings in capitals in the files that read settings.
fn settings_of_the_code() -> BTreeSet<String> {
    let mut texts = Vec::new();
    read_sources(&workspace().join("shared/src"), &mut texts);
    let names = texts.into_iter().filter(|text| text.contains("Lookup<")).flat_map(|text| {
        let (code, _tests) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect::<Vec<_>>()
    });
    let is_name = |name: &String| {
        name.contains('_') && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let names: BTreeSet<String> = names.filter(is_name).collect();
    assert!(names.contains("DATABASE_URL"), "{names:?}");
    names
}

fn read_sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the library has source files") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            read_sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(std::fs::read_to_string(&path).expect("source files are text"));
        }
    }
}
