//! The operations guide against the template: its tables have what is deployed, no more and no less.

use std::collections::{BTreeMap, BTreeSet};

use harness::settings::workspace;
use serde_json::Value;

use super::deployed::{IN_VPC, deployed};
use super::template::template;
use super::text;

/// A document of the repository.
pub fn document(file: &str) -> String {
    let path = workspace().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the tables below a heading of `docs/operations.md`, cell by cell, without the heads.
pub fn table(heading: &str) -> Vec<Vec<String>> {
    let guide = document("docs/operations.md");
    let (_, section) = guide
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("docs/operations.md has no section {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with('|')).collect();
    let head = |at: &usize| rows.get(at + 1).is_some_and(|next| next.starts_with("| ---"));
    let indices = (0..rows.len()).filter(|at| !head(at) && !rows[*at].starts_with("| ---"));
    indices
        .map(|at| rows[at].trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn the_guide_has_every_parameter_with_its_default() {
    let parameters = template()["Parameters"].as_object().expect("the template has parameters");
    let deployed: BTreeMap<_, _> = parameters
        .iter()
        .map(|(name, parameter)| {
            let default = match parameter.get("Default") {
                None => "required".to_owned(),
                Some(default) if text(default).is_empty() && default.is_string() => "none".to_owned(),
                Some(default) => format!("`{}`", default.as_str().map_or(default.to_string(), str::to_owned)),
            };
            (format!("`{name}`"), default)
        })
        .collect();

    let rows = table("Parameters");
    let told: BTreeMap<_, _> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();

    assert_eq!(deployed, told, "left: template.yaml, right: docs/operations.md");
    assert_eq!(rows.len(), told.len(), "a parameter stands there twice");
}

#[test]
fn every_parameter_and_every_condition_is_used() {
    let template = template();
    let used = ["Globals", "Resources", "Conditions"].map(|section| template[section].to_string()).concat();
    for name in template["Parameters"].as_object().into_iter().flatten().map(|(name, _)| name) {
        let there =
            used.contains(&format!(r#"{{"Ref":"{name}"}}"#)) || used.contains(&format!("${{{name}}}"));
        assert!(there, "nothing uses the parameter {name}");
    }
    for name in template["Conditions"].as_object().into_iter().flatten().map(|(name, _)| name) {
        let there = [format!(r#""Fn::If":["{name}","#), format!(r#""Condition":"{name}""#)];
        assert!(there.iter().any(|use_| used.contains(use_)), "nothing uses the condition {name}");
    }
}

/// The blocks of JSON below a heading of the guide.
fn json_blocks(heading: &str) -> Vec<Value> {
    let guide = document("docs/operations.md");
    let (_, section) = guide.split_once(&format!("\n## {heading}\n")).expect("a section of the guide");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks
        .map(|block| serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}")))
        .collect()
}

/// The services of CloudFormation's types, as IAM calls them.
fn service(kind: &str) -> &str {
    match kind.split("::").nth(1).unwrap_or_default() {
        "ApiGatewayV2" => "apigateway",
        "CloudWatch" => "cloudwatch",
        "CodeDeploy" => "codedeploy",
        "EC2" => "ec2",
        "Events" => "events",
        "IAM" => "iam",
        "Lambda" => "lambda",
        "Logs" => "logs",
        "SQS" => "sqs",
        other => {
            panic!("{other} is new: say here what IAM calls it, and in the guide what whoever deploys may do")
        }
    }
}

/// What the guide says that whoever deploys may do.
pub fn deployer_policy() -> Value {
    let blocks = json_blocks("Keys and permissions");
    let [key_policy, deployer] = &blocks[..] else { panic!("{blocks:#?}") };
    assert!(key_policy.as_array().is_some_and(|statements| statements.len() == 2), "{key_policy:#}");
    deployer.clone()
}

#[test]
fn whoever_deploys_may_do_something_with_everything_that_is_deployed() {
    let actions = deployer_policy().to_string();

    let everything =
        [&IN_VPC[..], &["AlarmActionArns=arn:aws:sns:eu-central-1:123456789012:alarms"]].concat();
    let deployed = deployed(&everything);
    let kinds: BTreeSet<&str> = deployed.kinds().filter(|kind| kind.starts_with("AWS::")).collect();
    assert!(kinds.len() > 15, "{kinds:?}");
    for kind in kinds {
        assert!(actions.contains(&format!(r#""{}:"#, service(kind))), "{kind}");
    }
    // CloudFormation creates roles in the stack's name.
    assert!(actions.contains(r#""arn:aws:iam::123456789012:role/STACK-*""#));
}

#[test]
fn the_guide_says_how_long_a_stacks_name_may_be() {
    // Lambda's and EventBridge's limit.
    const LIMIT: usize = 64;
    let deployed = deployed(&["AlarmActionArns=arn:aws:sns:eu-central-1:123456789012:alarms"]);
    let name = |properties: &Value, member: &str| properties[member].as_str().map_or(0, |name| name.len());
    let functions = deployed.all("AWS::Lambda::Function").into_values().map(|it| name(it, "FunctionName"));
    let rules = deployed.all("AWS::Events::Rule").into_values().map(|it| name(it, "Name"));
    let longest = functions.chain(rules).max().expect("there are functions") - "flags".len();

    let told = format!("may have at most {} characters", LIMIT - longest);
    assert!(document("docs/operations.md").contains(&told), "expected: {told}");
}
