//! The functions' network: none of their own, or subnets of a VPC with the two endpoints that they need there.

use harness::api::FUNCTIONS;
use serde_json::{Value, json};

use super::deployed::{IN_VPC, deployed};
use super::text;

const ENDPOINTS: [&str; 3] = ["EndpointSecurityGroup", "LogsEndpoint", "S3Endpoint"];
const INTERFACES: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaENIManagementAccess";

#[test]
fn without_subnets_there_is_nothing_of_a_vpc() {
    let deployed = deployed(&[]);
    for function in FUNCTIONS {
        assert_eq!(deployed.function(function).get("VpcConfig"), None, "{function}");
        assert_eq!(deployed.role(function).get("ManagedPolicyArns"), None, "{function}");
    }
    for id in ENDPOINTS {
        assert!(!deployed.has(id), "{id}");
    }
}

#[test]
fn in_a_vpc_every_function_may_have_interfaces_there() {
    let deployed = deployed(&IN_VPC);
    for function in FUNCTIONS {
        let expected =
            json!({"SubnetIds": ["subnet-a", "subnet-b"], "SecurityGroupIds": ["sg-functions", "sg-more"]});
        assert_eq!(deployed.function(function)["VpcConfig"], expected, "{function}");
        assert_eq!(deployed.role(function)["ManagedPolicyArns"], json!([INTERFACES]), "{function}");
        // Lambda, but not the function's own code, in whose calls the key is.
        let arn = format!("arn:aws:lambda:eu-central-1:123456789012:function:flags-{function}");
        let forbidden = json!({
            "Sid": "LeaveNetworkInterfacesToLambda", "Effect": "Deny", "Action": "ec2:*", "Resource": "*",
            "Condition": {"ArnLike": {"lambda:SourceFunctionArn": arn}},
        });
        assert!(deployed.statements(function).contains(&&forbidden), "{function}");
    }
    assert_eq!(deployed.broken_rules, Vec::<String>::new());
}

#[test]
fn subnets_and_security_groups_come_together() {
    for (given, told) in [
        ("VpcSubnetIds=subnet-a", "SecurityGroupsInVpc: VpcSubnetIds needs VpcSecurityGroupIds."),
        ("VpcSecurityGroupIds=sg-a", "SubnetsInVpc: VpcSecurityGroupIds needs VpcSubnetIds."),
    ] {
        assert_eq!(deployed(&[given]).broken_rules, [told]);
    }
}

#[test]
fn endpoints_are_made_only_when_asked_for() {
    let without: Vec<_> = IN_VPC.into_iter().filter(|change| !change.starts_with("CreateVpc")).collect();
    let without = deployed(&without);

    for id in ENDPOINTS {
        assert!(!without.has(id), "{id}");
    }
    assert_eq!(without.properties("MigratedSchema")["AnswersThrough"], "");
}

#[test]
fn the_endpoints_let_through_what_the_service_needs() {
    let deployed = deployed(&IN_VPC);
    let logs = deployed.properties("LogsEndpoint");
    assert_eq!(logs["ServiceName"], "com.amazonaws.eu-central-1.logs");
    assert_eq!(logs["VpcEndpointType"], "Interface");
    assert_eq!(logs["PrivateDnsEnabled"], true, "the SDK asks for the usual name");
    let group = "arn:aws:logs:eu-central-1:123456789012:log-group:/flag-schedules/audit:log-stream:*";
    assert_eq!(
        statements(logs),
        [
            ("logs:PutLogEvents", group),
            (
                "logs:FilterLogEvents",
                "arn:aws:logs:eu-central-1:123456789012:log-group:/flag-schedules/audit:*"
            ),
        ]
    );

    let s3 = deployed.properties("S3Endpoint");
    assert_eq!(s3["ServiceName"], "com.amazonaws.eu-central-1.s3");
    assert_eq!(s3["VpcEndpointType"], "Gateway");
    assert_eq!(s3["RouteTableIds"], json!(["rtb-a", "rtb-b"]));
    let answers = "arn:aws:s3:::cloudformation-custom-resource-response-eucentral1/*";
    assert_eq!(statements(s3), [("s3:PutObject", answers)]);
    // The custom resource must not be asked before its answer can go out.
    assert_eq!(deployed.properties("MigratedSchema")["AnswersThrough"], json!({"Ref": "S3Endpoint"}));

    let ingress = &deployed.properties("EndpointSecurityGroup")["SecurityGroupIngress"];
    assert_eq!(ingress.as_array().map(Vec::len), Some(1), "{ingress}");
    assert_eq!(ingress[0]["SourceSecurityGroupId"], "sg-functions");
    assert_eq!((&ingress[0]["FromPort"], &ingress[0]["ToPort"]), (&json!(443), &json!(443)));
}

/// Action and resource of each.
fn statements(endpoint: &Value) -> Vec<(&str, &str)> {
    let statements = endpoint["PolicyDocument"]["Statement"].as_array().into_iter().flatten();
    statements
        .map(|statement| {
            assert_eq!(statement["Effect"], "Allow");
            (text(&statement["Action"]), text(&statement["Resource"]))
        })
        .collect()
}
