//! What `sam local` needs of the template, of `samconfig.toml` and of the local stack, as `docs/sam-local.md` has it.

use std::collections::{BTreeMap, BTreeSet};

use harness::function_variables::{FunctionVariables, database_urls};
use harness::logs::REGION;
use serde_json::{Value, json};

use super::deployed::deployed;
use super::functions::CHECK;
use super::guide::document;
use super::template::{functions, template};
use super::text;

/// What the functions behind the local stack are started with.
fn of_the_local_stack() -> FunctionVariables {
    let settings = [
        ("AUDIT_LOG_GROUP", "/flag-schedules/audit"),
        ("AUTH_AUDIENCE", "flag-admin"),
        ("AUTH_ISSUER", "https://id.example.test"),
        ("AUTH_JWKS", r#"{"keys":[]}"#),
        ("RELEASE_NAME", "local"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:5000"),
        ("AWS_REGION", REGION),
        ("AWS_SECRET_ACCESS_KEY", "local-not-a-secret"),
    ];
    FunctionVariables {
        common: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        database_urls: database_urls(|role| {
            format!("postgres://{role}:secret@127.0.0.1:5432/flag_schedules")
        }),
    }
}

#[test]
fn every_variable_of_the_template_has_a_value_under_sam_local() {
    let file = of_the_local_stack().sam_env();
    let mut given = file["Parameters"].as_object().cloned().expect("SAM's section for all functions");
    let functions = functions();
    for name in functions.values().filter(|function| function.binary != CHECK).map(|function| &function.id) {
        let own = file[name].as_object().unwrap_or_else(|| panic!("SAM's section for {name}: {file:#}"));
        assert_eq!(own.keys().collect::<Vec<_>>(), ["DATABASE_URL"], "{name}");
        given.extend(own.clone());
    }
    let variables = |function: &super::template::Function| {
        function.properties["Environment"]["Variables"].as_object().cloned().unwrap_or_default()
    };
    let of_the_template: BTreeMap<String, Value> = functions.values().flat_map(variables).collect();

    for name in given.keys() {
        assert!(
            of_the_template.contains_key(name),
            "SAM does not hand over {name}: template.yaml has it not"
        );
    }
    for (name, value) in of_the_template.iter().filter(|(name, _)| !given.contains_key(*name)) {
        // SAM knows parameters by their defaults.
        let parameter = &template()["Parameters"][text(&value["Ref"])];
        assert_ne!(text(&parameter["Default"]), "", "{name} is {value}: it has no value under `sam local`");
    }
}

#[test]
fn in_a_container_this_machine_is_localhost() {
    let file = of_the_local_stack().sam_env();

    let given = &file["Parameters"];
    assert_eq!(given["AWS_ENDPOINT_URL"], "http://localhost:5000");
    let url = &file["VerifyTrailFunction"]["DATABASE_URL"];
    assert_eq!(url, "postgres://flag_schedules_reader:secret@localhost:5432/flag_schedules");
    // Unset for the functions, which by the template sign in by IAM and fetch keys.
    for name in ["AUTH_JWKS_URL", "DATABASE_AUTH", "DATABASE_CA_FILE"] {
        assert_eq!(given[name], "", "{name}");
    }
    for command in ["local_invoke", "local_start_api"] {
        let config = document("samconfig.toml");
        let table = config.split_once(&format!("\n[default.{command}.parameters]\n")).map(|(_, rest)| rest);
        let table = table.unwrap_or_else(|| panic!("samconfig.toml says nothing about {command}"));
        let lines: BTreeSet<&str> =
            table.lines().take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty()).collect();
        let region = format!("region = \"{REGION}\"");
        let expected = [
            r#"add_host = ["localhost:host-gateway"]"#,
            r#"env_vars = ".local/sam-env.json""#,
            region.as_str(),
        ];
        assert_eq!(lines, expected.into(), "left: samconfig.toml, {command}");
    }
}

/// It looks like a lost event, and the guide says why it is none.
#[test]
fn the_guide_explains_the_error_at_the_end_of_a_container() {
    let message = "no delivery after responses; the processor's sweep delivers";

    assert!(document("shared/src/lambda/mod.rs").contains(message), "the extension logs it when it ends");
    assert!(document("docs/sam-local.md").contains(&format!("`{message}`")), "and the guide explains it");
}

/// SAM CLI does not choose whole lists.
#[test]
fn layers_are_chosen_one_by_one() {
    for (name, function) in functions() {
        let layers = &function.properties["Layers"];
        assert!(layers.is_array(), "{name}: `sam local` refuses to start with {layers}");
    }
}

#[test]
fn no_deployed_function_has_an_endpoint_of_its_own() {
    for (name, function) in functions() {
        let endpoint = &function.properties["Environment"]["Variables"]["AWS_ENDPOINT_URL"];
        assert_eq!(endpoint, &json!({"Ref": "AWS::NoValue"}), "{name}");
        assert_eq!(deployed(&[]).variables(&name).get("AWS_ENDPOINT_URL"), None, "{name}");
    }
}

/// Built by its binary's name alone, a function would get the dependencies' features that only the tests need. The library is
/// part of every function; with it, a bare `cargo test` runs its tests.
#[test]
fn what_cargo_builds_by_default_is_what_is_deployed() {
    let members =
        super::cargo_metadata()["workspace_default_members"].as_array().cloned().unwrap_or_default();
    let names = members.iter().map(|id| {
        let path = text(id).split('#').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    });

    let mut deployed = super::folders();
    deployed.insert("shared".to_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), deployed, "left: default-members of Cargo.toml");
}
