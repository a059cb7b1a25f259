//! The commands of the guides against the template: whom they name, and what they need to be set.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use super::deployed::deployed;
use super::functions::pascal_case;
use super::guide::{deployer_policy, document};
use super::releases::version;
use super::template::{list, template};
use super::text;
use crate::onboarding::blocks::{Block, commands, files};

const GUIDES: [&str; 3] = ["docs/operations.md", "docs/database.md", "docs/audit-events.md"];

/// The only block of the operations guide with this text.
fn block_with(part: &str) -> Block {
    let mut found = commands("docs/operations.md").into_iter().filter(|block| block.text.contains(part));
    let block = found.next().unwrap_or_else(|| panic!("no block has {part}"));
    assert!(found.next().is_none(), "two blocks have {part}");
    block
}

/// The functions over which a block's loop goes.
fn looped(block: &Block) -> Vec<&str> {
    let (_, rest) = block.text.split_once("for function in ").expect("the block is a loop");
    rest.split(';').next().unwrap_or_default().split(' ').collect()
}

/// The functions of the template that have a property of the deployed stack.
fn functions_where(holds: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let all = [
        "create-schedule",
        "list-schedules",
        "cancel-schedule",
        "schedule-processor",
        "verify-trail",
        "migrate",
        "check-deployment",
    ];
    all.into_iter().filter(|function| holds(function)).collect()
}

#[test]
fn no_command_has_a_placeholder_that_a_shell_takes_for_a_redirection() {
    let is_placeholder = |word: &str| {
        word.split_once('<').and_then(|(_, rest)| rest.split_once('>')).is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || "_- ".contains(char))
        })
    };
    for block in files().iter().flat_map(|file| commands(file)) {
        let found = block.text.lines().find(|line| is_placeholder(line));
        assert_eq!(found, None, "{}: use a variable", block.place);
    }
    assert!(
        is_placeholder("--function-name <stack>-migrate") && !is_placeholder("< token.txt > decoded.txt")
    );
}

/// The names that begin after `$` or `${`, without those that are quoted for the shell.
fn used(script: &str) -> BTreeSet<String> {
    let after = script.replace("\\$", "").split('$').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let name = |rest: &String| -> String {
        rest.trim_start_matches('{')
            .chars()
            .take_while(|char| char.is_ascii_alphanumeric() || *char == '_')
            .collect()
    };
    let names = after.iter().map(name);
    names.filter(|name| name.starts_with(|first: char| first.is_ascii_alphabetic())).collect()
}

fn sets(script: &str, name: &str) -> bool {
    let assignment = format!("{name}=");
    let mut lines = script.lines().map(str::trim_start);
    lines.any(|line| {
        line.trim_start_matches("export ").starts_with(&assignment)
            || line.starts_with(&format!("for {name} in "))
            || line.contains(&format!(" for {name} in "))
    })
}

#[test]
fn every_variable_of_a_command_is_set_in_a_guide_or_explained() {
    let scripts: Vec<Block> = GUIDES.iter().flat_map(|file| commands(file)).collect();
    for file in GUIDES {
        let prose = document(file);
        for block in commands(file) {
            for name in used(&block.text) {
                let known = ["PATH", "PWD"].contains(&name.as_str())
                    || scripts.iter().any(|block| sets(&block.text, &name))
                    || prose.contains(&format!("`{name}`"));
                assert!(known, "{}: nothing says what ${name} is", block.place);
            }
        }
    }
}

/// Of these, a moved alias has to be set back before the next deployment; the others' it sets itself.
#[test]
fn the_guide_moves_the_aliases_that_codedeploy_moves() {
    let deployed = deployed(&[]);
    let by_codedeploy = functions_where(|function| {
        let alias = deployed.resource(&format!("{}FunctionAliaslive", pascal_case(function)));
        !alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"].is_null()
    });

    assert_eq!(looped(&block_with("aws lambda update-alias")), by_codedeploy);
}

#[test]
fn the_guide_deletes_old_versions_of_the_functions_that_keep_them() {
    let deployed = deployed(&[]);
    let keeping = functions_where(|function| {
        deployed.resource(version(&deployed, function).0)["UpdateReplacePolicy"] == "Retain"
    });

    assert_eq!(looped(&block_with("aws lambda delete-function ")), keeping);
}

#[test]
fn the_guide_gives_back_the_concurrency_that_a_removal_takes() {
    let default = &template()["Parameters"]["ApiReservedConcurrency"]["Default"];
    let given = block_with(&format!("--reserved-concurrent-executions {}", text(default)));
    let taken = block_with("--reserved-concurrent-executions 0");
    assert_eq!(looped(&given), looped(&taken));

    // What Lambda leaves to the rest of the account.
    let processor = &template()["Parameters"]["ProcessorReservedConcurrency"]["Default"];
    let number = |default: &Value| text(default).parse::<u32>().unwrap();
    let quota = 100 + 3 * number(default) + number(processor);
    assert!(
        document("docs/operations.md").contains(&format!("a quota of {quota} concurrent executions")),
        "{quota}"
    );
}

#[test]
fn who_deploys_may_create_the_bucket_of_the_sam_cli() {
    let policy = deployer_policy();
    let bucket = list(&policy["Statement"]).into_iter().find(|statement| statement["Sid"] == "Bucket");
    let bucket = bucket.expect("the policy has a statement for the bucket");
    // The resources of SAM's own stack, and the upload.
    for action in [
        "s3:CreateBucket",
        "s3:PutBucketPolicy",
        "s3:PutBucketTagging",
        "s3:PutBucketVersioning",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutEncryptionConfiguration",
        "s3:PutObject",
        "s3:Get*",
        "s3:ListBucket",
    ] {
        assert!(list(&bucket["Action"]).contains(&&json!(action)), "{action}");
    }
    let name = "arn:aws:s3:::aws-sam-cli-managed-default-*";
    assert_eq!(bucket["Resource"], json!([name, format!("{name}/*")]));
}

/// What the shell makes of it.
#[test]
fn the_topic_of_the_guide_lets_alarms_and_rules_publish() {
    let script = block_with("aws sns create-topic").text;
    let stub = "aws() { case $2 in create-topic) echo arn:topic ;; set-topic-attributes) printf '%s' \"$8\" ;; esac; }";
    let output = Command::new("sh").args(["-c", &format!("{stub}\n{script}")]).output().unwrap();

    let policy: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let [statement] = &list(&policy["Statement"])[..] else { panic!("{policy:#}") };
    let publishers = json!(["cloudwatch.amazonaws.com", "events.amazonaws.com"]);
    assert_eq!(statement["Principal"], json!({"Service": publishers}));
    assert_eq!((&statement["Action"], &statement["Resource"]), (&json!("sns:Publish"), &json!("arn:topic")));
}
