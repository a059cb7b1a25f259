//! Folder = crate = program = CloudFormation resource: a name met anywhere leads everywhere.

use std::collections::BTreeSet;

use harness::api::FUNCTIONS;
use harness::settings::workspace;
use serde_json::json;

use super::deployed::deployed;
use super::template::{functions, resource};
use super::{cargo_metadata, folders, text};

/// The one function that is no part of the service, and has no database.
pub const CHECK: &str = "check-deployment";

#[test]
fn every_folder_is_a_function_and_every_function_a_folder() {
    let deployed: BTreeSet<String> = functions().into_keys().collect();

    assert_eq!(deployed, folders(), "left: the functions of template.yaml, right: the folders in functions/");
    let known = FUNCTIONS.iter().chain([&CHECK]).map(|name| (*name).to_owned());
    let known: BTreeSet<String> = known.collect();
    assert_eq!(known, folders(), "left: the functions that the tests know, right: the folders in functions/");
    let makefile = std::fs::read_to_string(workspace().join("Makefile")).expect("there is a Makefile");
    let built = makefile.lines().find_map(|line| line.strip_prefix("FUNCTIONS := ")).unwrap_or_default();
    let built: BTreeSet<String> = built.split_whitespace().map(str::to_owned).collect();
    assert_eq!(built, folders(), "left: FUNCTIONS of the Makefile, right: the folders in functions/");
}

#[test]
fn every_folder_is_a_crate_with_one_program_of_that_name() {
    let packages = cargo_metadata()["packages"].as_array().expect("a workspace has packages");
    for folder in folders() {
        let manifest = workspace().join("functions").join(&folder).join("Cargo.toml");
        let package =
            packages.iter().find(|package| text(&package["manifest_path"]) == manifest.to_string_lossy());
        let package = package.unwrap_or_else(|| panic!("functions/{folder} is no member of the workspace"));
        assert_eq!(package["name"], json!(folder));
        let targets = package["targets"].as_array().into_iter().flatten();
        let programs =
            targets.filter(|target| target["kind"] == json!(["bin"])).map(|target| &target["name"]);
        assert_eq!(programs.collect::<Vec<_>>(), [&json!(folder)], "functions/{folder}");
    }
}

#[test]
fn every_function_is_deployed_as_its_own_program_under_its_own_name() {
    for (name, function) in functions() {
        assert_eq!(function.id, format!("{}Function", pascal_case(&name)));
        assert_eq!(
            function.properties["FunctionName"]["Fn::Sub"],
            format!("${{AWS::StackName}}-{name}"),
            "{name}"
        );
        assert_eq!(function.resource["Metadata"]["BuildMethod"], "rust-cargolambda", "{name}");
        assert_eq!(function.properties["Handler"], "bootstrap", "{name}");
        assert_eq!(function.properties["Runtime"], "provided.al2023", "{name}");
        assert_eq!(function.properties["CodeUri"], ".", "{name}");
        assert_eq!(function.properties["Tracing"], "Active", "{name}");
        // A role and a log group of its own, so that no function may do what another one does.
        let role = format!("{}Role", pascal_case(&name));
        assert_eq!(function.properties["Role"]["Fn::GetAtt"], format!("{role}.Arn"), "{name}");
        assert_eq!(resource(&role)["Type"], "AWS::IAM::Role", "{name}");
        let log_group = format!("{}LogGroup", pascal_case(&name));
        // INFO: Lambda takes a line without a level for INFO, and a line of metrics has none.
        let logging =
            json!({"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "LogGroup": {"Ref": log_group}});
        assert_eq!(function.properties["LoggingConfig"], logging, "{name}");
        let log_group = &resource(&log_group)["Properties"]["LogGroupName"]["Fn::Sub"];
        assert_eq!(log_group, &json!(format!("/aws/lambda/${{AWS::StackName}}-{name}")));
    }
}

#[test]
fn the_schema_is_migrated_before_any_other_function_is_there() {
    let custom = resource("MigratedSchema");
    assert_eq!(custom["Properties"]["ServiceToken"]["Fn::GetAtt"], "MigrateFunction.Arn");
    // A new version of the code runs the migrations again.
    assert_eq!(custom["Properties"]["CodeVersion"]["Ref"], "MigrateFunction.Version");
    for (name, function) in functions() {
        let waits = function.depends_on().contains(&"MigratedSchema");
        assert_eq!(waits, name != "migrate", "{name} depends on {:?}", function.depends_on());
    }
    assert!(
        functions()["migrate"].properties["AutoPublishAlias"].is_string(),
        "without versions there is no new one"
    );
}

#[test]
fn concurrency_is_reserved_or_not_as_the_parameters_say() {
    let reserved = deployed(&["ApiReservedConcurrency=9", "ProcessorReservedConcurrency=3"]);
    let off = deployed(&["ApiReservedConcurrency=off", "ProcessorReservedConcurrency=off"]);
    for (name, function) in functions() {
        let expected = match name.as_str() {
            "migrate" | "verify-trail" | CHECK => None,
            "schedule-processor" => Some("3"),
            _ if function.is_http() => Some("9"),
            other => panic!("{other} is new: say here what limits it"),
        };
        let of = |deployed: &super::deployed::Deployed| {
            deployed.function(&name).get("ReservedConcurrentExecutions").cloned()
        };
        assert_eq!(of(&reserved).as_ref().and_then(serde_json::Value::as_str), expected, "{name}");
        assert_eq!(of(&off), None, "{name}");
    }
}

/// A function's name as its resources' ids begin.
pub fn pascal_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect()
}
