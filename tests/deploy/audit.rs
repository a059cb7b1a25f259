//! The audit trail's place: streams named after the functions, in a group that outlives the stack.

use std::collections::BTreeSet;

use harness::api::{AUDITING, FUNCTIONS};
use serde_json::json;

use super::deployed::deployed;
use super::template::{functions, resource, resources};
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
}

#[test]
fn only_the_functions_that_audit_or_verify_know_the_audit_group() {
    let deployed = deployed(&[]);
    for function in FUNCTIONS {
        let group = deployed.variables(function).get("AUDIT_LOG_GROUP").map(|value| (*value).clone());
        let knows = AUDITING.contains(&function) || function == "verify-trail";
        let expected = knows.then(|| json!({"Ref": "AuditLogGroup"}));
        assert_eq!(group, expected, "{function}");
    }
}

#[test]
fn the_audit_group_is_protected_indexed_and_kept_as_the_parameters_say() {
    let key = "arn:aws:kms:eu-central-1:123456789012:key/1";
    let (usual, changed) = (
        deployed(&[]),
        deployed(&[
            "AuditLogDeletionProtection=false",
            "AuditLogRetentionDays=3653",
            &format!("LogKmsKeyArn={key}"),
        ]),
    );
    let (usual, changed) = (usual.properties("AuditLogGroup"), changed.properties("AuditLogGroup"));

    assert_eq!(usual["DeletionProtectionEnabled"], "true");
    // A limit of days deletes events: only who asks for one gets it.
    assert_eq!(usual.get("RetentionInDays"), None);
    assert_eq!(usual.get("KmsKeyId"), None);
    let indexed =
        json!([{"Fields": ["event_id", "flag_key", "schedule_id", "actor.user_id", "schedule.created_by"]}]);
    assert_eq!(usual["FieldIndexPolicies"], indexed);
    assert_eq!(changed["DeletionProtectionEnabled"], "false");
    assert_eq!(changed["RetentionInDays"], 3653.to_string());
    assert_eq!(changed["KmsKeyId"], key);
}

#[test]
fn the_trail_is_copied_only_where_the_parameters_say() {
    let destination = "arn:aws:logs:eu-central-1:210987654321:destination:audit";
    let role = "arn:aws:iam::123456789012:role/copies";
    let copied = deployed(&[&format!("AuditLogCopyDestinationArn={destination}")]);
    let with_role = deployed(&[
        &format!("AuditLogCopyDestinationArn={destination}"),
        &format!("AuditLogCopyRoleArn={role}"),
    ]);

    assert!(!deployed(&[]).has("AuditLogCopy"));
    let copy = copied.properties("AuditLogCopy");
    assert_eq!(copy["LogGroupName"], json!({"Ref": "AuditLogGroup"}));
    assert_eq!((&copy["DestinationArn"], &copy["FilterPattern"]), (&json!(destination), &json!("")));
    assert_eq!(copy.get("RoleArn"), None);
    assert_eq!(with_role.properties("AuditLogCopy")["RoleArn"], role);
}

#[test]
fn whoever_gets_the_alarms_is_told_of_what_weakens_the_audit_group() {
    let topic = "arn:aws:sns:eu-central-1:123456789012:alarms";
    let told = deployed(&[&format!("AlarmActionArns={topic},arn:aws:sns:eu-central-1:123456789012:b")]);

    assert!(!deployed(&[]).has("AuditLogWeakened"), "nobody could be told");
    let rule = told.properties("AuditLogWeakened");
    assert_eq!(rule["Targets"], json!([{"Id": "alarm-topic", "Arn": topic}]));
    let names = rule["EventPattern"]["detail"]["eventName"].as_array().cloned().unwrap_or_default();
    for name in [
        "DeleteLogGroup",
        "DeleteLogStream",
        "PutRetentionPolicy",
        "DeleteRetentionPolicy",
        "DisassociateKmsKey",
        "PutLogGroupDeletionProtection",
        "DeleteSubscriptionFilter",
        "PutAccountPolicy",
    ] {
        assert!(names.contains(&json!(name)), "{name} is not watched");
    }
    // Of this group and no other, whichever way the operation names it. A policy of the account masks this group, too.
    let arn = "arn:aws:logs:eu-central-1:123456789012:log-group:${AuditLogGroup}";
    let arns = [json!(arn), json!(format!("{arn}:*"))];
    let of = json!([
        {"logGroupName": [{"Ref": "AuditLogGroup"}]},
        {"logGroupIdentifier": [{"Ref": "AuditLogGroup"}, arns[0], arns[1]]},
        {"resourceIdentifier": arns},
        {"policyType": ["DATA_PROTECTION_POLICY"]},
    ]);
    assert_eq!(rule["EventPattern"]["detail"]["requestParameters"]["$or"], of);
}

#[test]
fn every_other_log_expires() {
    let deployed = deployed(&["LogRetentionDays=7"]);
    let groups = deployed.all("AWS::Logs::LogGroup");
    for (id, group) in groups.iter().filter(|(id, _)| **id != "AuditLogGroup") {
        assert_eq!(group["RetentionInDays"], "7", "{id}");
    }
    // One for each function, the access log, the audit log.
    assert_eq!(groups.len(), FUNCTIONS.len() + 3, "{:?}", groups.keys());
}
