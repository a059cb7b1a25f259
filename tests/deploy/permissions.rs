//! What each function may do: what its code calls, on its own things, and no more.

use std::collections::{BTreeMap, BTreeSet};

use harness::api::{AUDITING, FUNCTIONS};
use harness::settings::workspace;
use serde_json::{Value, json};

use super::deployed::{BY_SECRET, Deployed, deployed};
use super::functions::pascal_case;
use super::template::{functions, list, resources};
use super::text;

const ACCOUNT: &str = "eu-central-1:123456789012";

/// Action by resource.
type Leave = BTreeSet<(String, String)>;

/// What a function's role allows.
fn leave(deployed: &Deployed, function: &str) -> Leave {
    let mut leave = Leave::new();
    for statement in deployed.statements(function) {
        if statement["Sid"] == "LeaveNetworkInterfacesToLambda" {
            continue; // Forbids; see the tests of the VPC.
        }
        assert_eq!(statement["Effect"], "Allow", "{function}");
        let known = ["Sid", "Effect", "Action", "Resource"];
        for key in statement.as_object().into_iter().flat_map(|statement| statement.keys()) {
            assert!(known.contains(&key.as_str()), "{function}: {key}");
        }
        for action in list(&statement["Action"]) {
            for resource in list(&statement["Resource"]) {
                let resource = resource.as_str().map_or_else(|| resource.to_string(), str::to_owned);
                leave.insert((text(action).to_owned(), resource));
            }
        }
    }
    leave
}

/// What it should allow.
fn expected(function: &str, iam: bool) -> Leave {
    let attribute = |id: &str| json!({"Fn::GetAtt": [id, "Arn"]}).to_string();
    let log_group = attribute(&format!("{}LogGroup", pascal_case(function)));
    let mut leave: Vec<(&str, String)> = vec![
        // Lambda writes the function's log, in the function's name, and traces it.
        ("logs:CreateLogStream", log_group.clone()),
        ("logs:PutLogEvents", log_group),
        ("xray:PutTraceSegments", "*".to_owned()),
        ("xray:PutTelemetryRecords", "*".to_owned()),
    ];
    if iam {
        let user = match function {
            "schedule-processor" => "processor",
            "verify-trail" => "reader",
            "migrate" => "migrate",
            "list-schedules" => "reader",
            _ => "api",
        };
        let role = format!("arn:aws:rds-db:{ACCOUNT}:dbuser:db-ABCDEFGH/flag_schedules_{user}");
        leave.push(("rds-db:connect", role));
    }
    if AUDITING.contains(&function) {
        let stream = format!("arn:aws:logs:{ACCOUNT}:log-group:${{AuditLogGroup}}:log-stream:{function}");
        leave.push(("logs:PutLogEvents", stream));
    }
    if function == "verify-trail" {
        leave.push(("logs:FilterLogEvents", attribute("AuditLogGroup")));
    }
    if function == "schedule-processor" {
        leave.push(("sqs:SendMessage", attribute("FailedTicks")));
    }
    leave.into_iter().map(|(action, resource)| (action.to_owned(), resource)).collect()
}

#[test]
fn every_function_may_do_what_it_needs_and_no_more() {
    for (changes, iam) in [(&[][..], true), (&BY_SECRET[..], false)] {
        let deployed = deployed(changes);
        for function in FUNCTIONS {
            assert_eq!(leave(&deployed, function), expected(function, iam), "{function}, by IAM: {iam}");
        }
    }
}

/// The streams are the template's to make: a missing one is created once where allowed, and it need not be.
#[test]
fn the_code_calls_of_cloudwatch_logs_what_the_roles_are_made_for() {
    let read = |file: &str| {
        let path = workspace().join("shared/src/adapters").join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let code = read("cloudwatch.rs") + &read("cloudwatch/trail_reader.rs");
    let unspaced: String = code.split_whitespace().collect();
    // A call of the SDK: `.operation().log_group_name(…`.
    let calls = unspaced.split("().log_group_name(").collect::<Vec<_>>();
    let calls: BTreeSet<_> =
        calls[..calls.len() - 1].iter().filter_map(|code| code.rsplit('.').next()).collect();

    assert_eq!(calls, BTreeSet::from(["put_log_events", "create_log_stream", "filter_log_events"]));
}

#[test]
fn no_function_gets_leave_from_anywhere_else_than_its_role() {
    for (name, function) in functions() {
        let policies = &function.properties["Policies"];
        assert_eq!(policies, &Value::Null, "{name}: with a role of its own, SAM ignores them");
    }
    let mut roles = resources("AWS::IAM::Role");
    assert!(roles.remove("CodeDeployRole").is_some(), "it has tests of its own");
    assert_eq!(roles.len(), functions().len(), "{:?}", roles.keys());
    for (id, role) in roles {
        let trusted = &role["Properties"]["AssumeRolePolicyDocument"]["Statement"];
        assert_eq!(trusted.as_array().map(Vec::len), Some(1), "{id}");
        assert_eq!(trusted[0]["Principal"], json!({"Service": "lambda.amazonaws.com"}), "{id}");
    }
    for kind in ["AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"] {
        assert!(resources(kind).is_empty(), "{kind}");
    }
}

/// In the file itself, for a comment is no part of what it says.
#[test]
fn nothing_is_allowed_for_everything_without_a_written_reason() {
    let path = workspace().join("template.yaml");
    let template =
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<&str> = template.lines().collect();
    let mut reasons = BTreeMap::new();
    for (number, line) in lines.iter().enumerate() {
        let (key, value) = line.trim_start_matches([' ', '-']).split_once(": ").unwrap_or_default();
        let wild = match key {
            "Resource" | "Principal" => value.trim_matches(['\'', '"']) == "*",
            "Action" => value.contains('*'),
            "NotAction" | "NotResource" | "NotPrincipal" => true,
            _ => false,
        };
        if wild {
            // The statement's first line is a list item; the reason stands above it.
            let start = lines[..=number].iter().rposition(|line| line.trim_start().starts_with("- "));
            let above = start.and_then(|start| start.checked_sub(1)).map_or("", |above| lines[above].trim());
            reasons.insert(number + 1, (line.trim(), above));
        }
    }

    let bare: Vec<_> = reasons.iter().filter(|(_, (_, above))| !above.starts_with("# ")).collect();
    assert!(bare.is_empty(), "no comment stands above the statement: {bare:#?}");
    // X-Ray and what is forbidden (twice) in each role, X-Ray in the check's, CodeDeploy's, and the two endpoints of the VPC, one with two statements.
    assert_eq!(reasons.len(), 3 * FUNCTIONS.len() + 5, "{reasons:#?}");
}

#[test]
fn only_the_ticks_own_rule_may_leave_a_message_in_the_queue() {
    let deployed = deployed(&[]);
    let statements = &deployed.properties("FailedTicksPolicy")["PolicyDocument"]["Statement"];
    let rule = deployed.properties("ScheduleProcessorFunctionTick");

    assert_eq!(statements.as_array().map(Vec::len), Some(1), "{statements}");
    assert_eq!(statements[0]["Principal"], json!({"Service": "events.amazonaws.com"}));
    let name = text(&rule["Name"]);
    let expected = json!({"ArnEquals": {"aws:SourceArn": format!("arn:aws:events:{ACCOUNT}:rule/{name}")}});
    assert_eq!(statements[0]["Condition"], expected);
}
