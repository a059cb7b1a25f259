//! Releases: published as versions, reached by an alias, introduced gradually, and gone back from.

use std::collections::{BTreeMap, BTreeSet};

use harness::api::{ENDPOINTS, FUNCTIONS};
use serde_json::{Value, json};

use super::deployed::{Deployed, IN_VPC, deployed};
use super::functions::pascal_case;
use super::template::list;
use super::text;

const OF_THE_API: [&str; 3] = ["create-schedule", "list-schedules", "cancel-schedule"];

/// The version of a function, with its id.
pub fn version<'a>(deployed: &'a Deployed, function: &str) -> (&'a str, &'a Value) {
    let id = format!("{}Function", pascal_case(function));
    let versions = deployed.all("AWS::Lambda::Version");
    let mut of_this =
        versions.into_iter().filter(|(_, version)| version["FunctionName"] == json!({"Ref": id}));
    let version = of_this.next().unwrap_or_else(|| panic!("{function} has no version"));
    assert!(of_this.next().is_none(), "{function} has two versions");
    version
}

fn group<'a>(deployed: &'a Deployed, function: &str) -> &'a Value {
    deployed.properties(&format!("{}FunctionDeploymentGroup", pascal_case(function)))
}

#[test]
fn every_function_has_an_alias_of_its_newest_version() {
    let deployed = deployed(&[]);
    for function in FUNCTIONS {
        let alias = deployed.properties(&format!("{}FunctionAliaslive", pascal_case(function)));
        let (version, properties) = version(&deployed, function);

        assert_eq!(alias["Name"], "live", "{function}");
        assert_eq!(alias["FunctionVersion"], json!({"Fn::GetAtt": [version, "Version"]}), "{function}");
        // A version is replaced when its description changes: with the settings of then.
        assert_eq!(properties["Description"], "1.4.2", "{function}");
    }
}

#[test]
fn whoever_calls_a_function_calls_its_alias() {
    let deployed = deployed(&[]);
    let alias = |function: &str| format!("{}FunctionAliaslive", pascal_case(function));
    let body = deployed.properties("Api")["Body"]["paths"].to_string();
    for function in OF_THE_API {
        assert!(body.contains(&format!("${{{}}}/invocations", alias(function))), "{function}: {body}");
    }
    assert_eq!(body.matches("/invocations").count(), ENDPOINTS.len());
    assert_eq!(body.matches("Aliaslive}").count(), ENDPOINTS.len());
    for (rule, function) in [
        ("ScheduleProcessorFunctionTick", "schedule-processor"),
        ("VerifyTrailFunctionDaily", "verify-trail"),
    ] {
        let target = &deployed.properties(rule)["Targets"][0]["Arn"];
        assert_eq!(target, &json!({"Ref": alias(function)}), "{rule}");
    }
    // Failed ticks are kept for the alias, too.
    let asynchronous = deployed.all("AWS::Lambda::EventInvokeConfig");
    let qualifiers: Vec<_> = asynchronous.values().map(|config| &config["Qualifier"]).collect();
    assert_eq!(qualifiers, ["live"]);
}

#[test]
fn requests_move_to_a_new_release_as_the_parameter_says() {
    for (preference, alarms) in
        [("Canary10Percent5Minutes", true), ("Linear10PercentEvery1Minute", true), ("AllAtOnce", false)]
    {
        let deployed = deployed(&[&format!("DeploymentPreference={preference}")]);
        for function in OF_THE_API {
            let group = group(&deployed, function);
            let config = &group["DeploymentConfigName"];
            assert_eq!(config, &format!("CodeDeployDefault.Lambda{preference}"), "{function}");
            assert_eq!(group["AutoRollbackConfiguration"]["Enabled"], true, "{function}");
            assert_eq!(
                group["ServiceRoleArn"],
                json!({"Fn::GetAtt": ["CodeDeployRole", "Arn"]}),
                "{function}"
            );
            // An alarm that has fired already would stop what is deployed against it.
            let watched = list(&group["AlarmConfiguration"]["Alarms"]);
            let watched: Vec<_> = watched.into_iter().map(|alarm| text(&alarm["Name"])).collect();
            let expected =
                if alarms { vec!["flags-server-errors", "flags-slow-answers"] } else { Vec::new() };
            assert_eq!(watched, expected, "{function}, {preference}");
        }
        assert_eq!(deployed.all("AWS::CodeDeploy::DeploymentGroup").len(), OF_THE_API.len());
    }
    let names: BTreeMap<_, _> = deployed(&[])
        .all("AWS::CloudWatch::Alarm")
        .into_iter()
        .map(|(id, alarm)| (text(&alarm["AlarmName"]).to_owned(), id.to_owned()))
        .collect();
    assert!(
        names.contains_key("flags-server-errors") && names.contains_key("flags-slow-answers"),
        "{names:?}"
    );
}

/// Five minutes pass before all requests are with the new version.
#[test]
fn what_stops_a_gradual_deployment_fires_in_time() {
    let deployed = deployed(&[]);
    for id in ["ServerErrorsAlarm", "SlowAnswersAlarm"] {
        let alarm = deployed.properties(id);
        let periods = alarm["DatapointsToAlarm"].as_u64().or(alarm["EvaluationPeriods"].as_u64());
        let of_metrics =
            list(&alarm["Metrics"]).into_iter().filter_map(|query| query["MetricStat"]["Period"].as_u64());
        let period = of_metrics.chain(alarm["Period"].as_u64()).max();
        let seconds = periods.zip(period).map(|(periods, period)| periods * period);
        assert!(seconds.is_some_and(|seconds| seconds <= 180), "{id}: {seconds:?}");
    }
}

/// In a circle, CloudFormation would create nothing. Its linter looks at the template before SAM has translated it.
#[test]
fn no_resources_wait_for_each_other() {
    for changes in [&[][..], &IN_VPC[..], &["DeploymentPreference=AllAtOnce"]] {
        let deployed = deployed(changes);
        let names: BTreeSet<&str> = deployed.ids().collect();
        let mut waiting: BTreeMap<&str, BTreeSet<String>> =
            names.iter().map(|name| (*name, references(deployed.resource(name), &names))).collect();
        while let Some(ready) = waiting.iter().find(|(_, of)| of.is_empty()).map(|(name, _)| *name) {
            waiting.remove(ready);
            waiting.values_mut().for_each(|of| {
                of.remove(ready);
            });
        }
        assert!(waiting.is_empty(), "{waiting:#?}");
        assert!(names.len() > 60, "{names:?}");
    }
}

/// The resources that a resource refers to, anywhere in it.
fn references(value: &Value, names: &BTreeSet<&str>) -> BTreeSet<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| references(item, names)).collect(),
        Value::Object(members) => {
            let of_this = members.iter().flat_map(|(key, value)| match key.as_str() {
                "Ref" | "DependsOn" => {
                    list(value).into_iter().filter_map(Value::as_str).map(str::to_owned).collect()
                }
                "Fn::GetAtt" => vec![text(&value[0]).to_owned()],
                _ => Vec::new(),
            });
            let inside = members.values().flat_map(|value| references(value, names));
            of_this.chain(inside).filter(|name| names.contains(name.as_str())).collect()
        }
        Value::String(text) => {
            let parts = text.split("${").skip(1).filter_map(|part| part.split(['}', '.']).next());
            parts.filter(|name| names.contains(name)).map(str::to_owned).collect()
        }
        _ => BTreeSet::new(),
    }
}

#[test]
fn no_request_moves_before_the_new_versions_are_checked() {
    let deployed = deployed(&[]);
    let waits_for = |id: &str| -> BTreeSet<String> {
        let names: BTreeSet<&str> = deployed.ids().collect();
        let (mut found, mut next) = (BTreeSet::new(), vec![id.to_owned()]);
        while let Some(id) = next.pop() {
            for of in references(deployed.resource(&id), &names) {
                if found.insert(of.clone()) {
                    next.push(of);
                }
            }
        }
        found
    };
    for function in OF_THE_API {
        let alias = waits_for(&format!("{}FunctionAliaslive", pascal_case(function)));
        assert!(alias.contains("CheckedDeployment"), "{function}: {alias:?}");
    }
}

/// The same code again, after a failed deployment: Lambda would refuse to publish it next to a version that is kept.
#[test]
fn old_versions_are_kept_for_a_rollback_except_of_migrate() {
    let deployed = deployed(&[]);
    for function in FUNCTIONS {
        let (id, _) = version(&deployed, function);
        let resource = deployed.resource(id);
        let expected = if function == "migrate" {
            (json!("Delete"), Value::Null)
        } else {
            (json!("Retain"), json!("Retain"))
        };
        // When the code changes, and when only the description does.
        let kept = (resource["DeletionPolicy"].clone(), resource["UpdateReplacePolicy"].clone());
        assert_eq!(kept, expected, "{function}");
        // Another name of the deployment is another configuration, which can always be published.
        assert_eq!(deployed.variables(function)["RELEASE_NAME"], "1.4.2", "{function}");
        assert!(
            list(&deployed.function(function)["Tags"])
                .contains(&&json!({"Key": "release", "Value": "1.4.2"}))
        );
    }
}

#[test]
fn a_deployment_has_a_name() {
    for bad in ["", "two words", "ü", &"x".repeat(129)] {
        let broken = &deployed(&[&format!("Release={bad}")]).broken_rules;
        assert!(broken.len() == 1 && broken[0].starts_with("Release "), "{bad}: {broken:?}");
    }
}

#[test]
fn codedeploy_may_move_the_aliases_of_the_api_and_no_more() {
    let deployed = deployed(&[]);
    let role = deployed.properties("CodeDeployRole");
    let trusted = &role["AssumeRolePolicyDocument"]["Statement"];
    assert_eq!(trusted[0]["Principal"], json!({"Service": "codedeploy.amazonaws.com"}));
    assert_eq!(role.get("ManagedPolicyArns"), None);

    let statements = list(&role["Policies"][0]["PolicyDocument"]["Statement"]);
    assert_eq!(statements.len(), 2);
    let expected: Vec<String> = [":*", ""]
        .iter()
        .flat_map(|end| {
            OF_THE_API
                .map(|name| format!("arn:aws:lambda:eu-central-1:123456789012:function:flags-{name}{end}"))
        })
        .collect();
    assert_eq!(statements[0]["Resource"], json!(expected));
    let actions = json!(["lambda:GetAlias", "lambda:UpdateAlias", "lambda:GetProvisionedConcurrencyConfig"]);
    assert_eq!(statements[0]["Action"], actions);
    assert_eq!(statements[1]["Action"], "cloudwatch:DescribeAlarms");
}

#[test]
fn the_environment_is_encrypted_with_the_key_that_is_given() {
    const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1a2b3c4d";
    let (own, lambdas) = (deployed(&[&format!("EnvironmentKmsKeyArn={KEY}")]), deployed(&[]));
    let decrypt =
        json!({"Sid": "DecryptEnvironment", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": KEY});
    for function in FUNCTIONS {
        assert_eq!(own.function(function)["KmsKeyArn"], KEY, "{function}");
        assert!(own.statements(function).contains(&&decrypt), "{function}");
        assert_eq!(lambdas.function(function).get("KmsKeyArn"), None, "{function}");
    }
}
