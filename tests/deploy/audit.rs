//! The audit trail's place: streams named after the functions, and leave to write to one's own and no other.

use std::collections::BTreeSet;

use harness::api::AUDITING;
use serde_json::{Value, json};

use super::template::{functions, list, resource, resources, template};
use super::text;

#[test]
fn every_auditing_function_has_a_stream_of_its_name_in_the_audit_group() {
    let mut streams = BTreeSet::new();
    for (id, stream) in resources("AWS::Logs::LogStream") {
        let properties = &stream["Properties"];
        assert_eq!(properties["LogGroupName"], json!({"Ref": "AuditLogGroup"}), "{id}");
        let name = text(&properties["LogStreamName"]);
        let function =
            functions().remove(name).unwrap_or_else(|| panic!("{id} is for {name}, which is no function"));
        assert!(function.depends_on().contains(&id), "{name} must not be there before {id}");
        streams.insert(name);
    }

    assert_eq!(streams, BTreeSet::from(AUDITING));
}

#[test]
fn the_audit_trail_outlives_the_stack() {
    let streams = resources("AWS::Logs::LogStream");
    for (id, resource) in streams.into_iter().chain([("AuditLogGroup", resource("AuditLogGroup"))]) {
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            assert_eq!(resource[policy], "Retain", "{policy} of {id}");
        }
    }
    // A limit of days would delete events.
    assert_eq!(resource("AuditLogGroup")["Properties"]["RetentionInDays"], Value::Null);
}

#[test]
fn every_function_may_write_to_its_own_stream_of_the_audit_group_and_no_other() {
    for (name, function) in functions() {
        let audit: Vec<_> =
            function.statements().into_iter().filter(|statement| concerns_audit(statement)).collect();
        if !AUDITING.contains(&name.as_str()) {
            assert!(audit.is_empty(), "{name} audits nothing, but may {audit:?}");
            continue;
        }
        let [statement] = audit[..] else {
            panic!("{name} has not one statement for the audit group: {audit:#?}")
        };
        assert_eq!(statement["Effect"], "Allow", "{name}");
        assert_eq!(list(&statement["Action"]), [&json!("logs:PutLogEvents")], "{name}");
        let stream = format!(
            "arn:${{AWS::Partition}}:logs:${{AWS::Region}}:${{AWS::AccountId}}:log-group:${{AuditLogGroup}}:log-stream:{name}"
        );
        assert_eq!(statement["Resource"], json!({"Fn::Sub": stream}), "{name}");
        let group = &function.properties["Environment"]["Variables"]["AUDIT_LOG_GROUP"];
        assert_eq!(group, &json!({"Ref": "AuditLogGroup"}), "{name}");
    }
}

#[test]
fn no_policy_allows_everything() {
    let statements = statements_in(template());
    let mut faults = Vec::new();
    for statement in &statements {
        for (key, value) in statement.as_object().into_iter().flatten() {
            let too_much = match key.as_str() {
                "Action" => list(value).into_iter().any(|action| text(action).contains('*')),
                "Resource" => list(value).into_iter().any(|resource| resource == "*"),
                "NotAction" | "NotResource" | "NotPrincipal" => true,
                "Principal" => value == "*",
                _ => false,
            };
            if too_much {
                faults.push(format!("{key} of {statement}"));
            }
        }
    }

    assert!(faults.is_empty(), "too much is allowed:\n{}", faults.join("\n"));
    // A role for each function, each with leave for Lambda to take it and to write its own log.
    assert!(statements.len() >= 2 * functions().len(), "{statements:#?}");
}

#[test]
fn no_function_gets_leave_from_anywhere_else_than_its_role() {
    for (name, function) in functions() {
        assert_eq!(
            function.properties["Policies"],
            Value::Null,
            "{name}: with a role of its own, SAM ignores them"
        );
    }
    let roles = resources("AWS::IAM::Role");
    assert_eq!(roles.len(), functions().len(), "{:?}", roles.keys());
    for (id, role) in roles {
        // With a network of its own, a function needs interfaces in it; otherwise none of AWS's ready-made policies.
        let managed = &role["Properties"]["ManagedPolicyArns"]["Fn::If"];
        let interfaces = "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaENIManagementAccess";
        assert_eq!(managed, &json!(["InVpc", [{"Fn::Sub": interfaces}], {"Ref": "AWS::NoValue"}]), "{id}");
    }
    for kind in ["AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"] {
        assert!(resources(kind).is_empty(), "{kind}");
    }
}

/// Whether a statement says anything about the audit group, or about more log groups than one's own.
fn concerns_audit(statement: &Value) -> bool {
    let resources = statement["Resource"].to_string();
    resources.contains("AuditLogGroup") || resources.contains("log-group:*") || resources.contains("\"*\"")
}

/// All policy statements below a value.
fn statements_in(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(map) => {
            let own = map.get("Statement").map(list).unwrap_or_default();
            own.into_iter().chain(map.values().flat_map(statements_in)).collect()
        }
        Value::Array(values) => values.iter().flat_map(statements_in).collect(),
        _ => Vec::new(),
    }
}
