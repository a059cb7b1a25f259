//! `migrate` as a CloudFormation custom resource: it always answers, and never tells a secret.

use harness::database::Database;
use harness::lambda::{Env, Function, Launch};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::cloudformation::{Answer, CloudFormation, SIGNATURE};
use super::{event, execute, migrate_at, migrate_on, names, refusal, run, schema};

/// A database that nobody serves, and the password in its address.
const GONE: &str = "postgres://somebody:a-very-secret-password@127.0.0.1:1/gone";
const PASSWORD: &str = "a-very-secret-password";

/// CloudFormation's event, answered to this server.
pub fn request(kind: &str, cloudformation: &CloudFormation) -> Value {
    let mut event = event("migrate-custom-resource.json");
    event["RequestType"] = json!(kind);
    event["ResponseURL"] = json!(cloudformation.url());
    event
}

/// Sends it and gives what CloudFormation was answered.
pub async fn answer(migrate: &Function, request: &Value, cloudformation: &CloudFormation) -> Answer {
    let result = migrate.invoke(request).await.value();
    let answer = cloudformation.answer();
    assert_eq!(result, json!({"status": answer.body["Status"]}));
    answer
}

/// Nothing in the function's output or the answer may let anybody into the database or answer in our place.
fn assert_no_secret(migrate: &Function, answer: &Value) {
    let said = format!("{}\n{answer}", migrate.logs().join("\n"));
    for secret in [PASSWORD, SIGNATURE] {
        assert!(!said.contains(secret), "{secret} is in: {said}");
    }
}

#[tokio::test]
async fn create_migrates_and_answers_with_all_that_cloudformation_needs() {
    let database = Database::empty().await;
    let cloudformation = CloudFormation::start().await;
    let request = request("Create", &cloudformation);

    let answer = answer(&migrate_on(&database).await, &request, &cloudformation).await;

    assert_eq!(answer.method, Method::PUT);
    assert_eq!(answer.target, format!("/bucket/answer%7C1?X-Amz-Signature={SIGNATURE}"));
    // S3 wants to know the length, and the address is signed for a request without a content type.
    assert_eq!(answer.headers["content-length"], answer.bytes.to_string());
    assert!(answer.headers.get("content-type").is_none_or(|value| value.is_empty()), "{:?}", answer.headers);
    let body = answer.body;
    assert_eq!(body["Status"], "SUCCESS", "{body:#}");
    for field in ["StackId", "RequestId", "LogicalResourceId"] {
        assert_eq!(body[field], request[field], "{field}");
    }
    assert!(body["PhysicalResourceId"].as_str().is_some_and(|id| !id.is_empty()), "{body:#}");
    assert_eq!(body["Data"]["SchemaVersion"], json!(names().last()));
    let history = schema::rows(&database.connect().await, schema::HISTORY).await;
    assert_eq!(history.len(), names().len());
}

#[tokio::test]
async fn update_keeps_the_physical_resource() {
    let database = Database::empty().await;
    let migrate = migrate_on(&database).await;
    let created = CloudFormation::start().await;
    let create = answer(&migrate, &request("Create", &created), &created).await;

    // A new id would make CloudFormation delete the old resource; also when an older release used another one.
    for id in [create.body["PhysicalResourceId"].clone(), json!("an-id-of-an-older-release")] {
        let updated = CloudFormation::start().await;
        let mut update = request("Update", &updated);
        update["PhysicalResourceId"] = id.clone();
        update["OldResourceProperties"] = json!({"CodeVersion": "1"});

        let answer = answer(&migrate, &update, &updated).await;

        assert_eq!(answer.body["Status"], "SUCCESS", "{:#}", answer.body);
        assert!(id.is_string(), "{id}");
        assert_eq!(answer.body["PhysicalResourceId"], id);
    }
}

#[tokio::test]
async fn update_migrates() {
    let database = Database::empty().await;
    let client = database.connect().await;
    let migrate = migrate_on(&database).await;
    let cloudformation = CloudFormation::start().await;
    let mut update = request("Update", &cloudformation);
    update["PhysicalResourceId"] = json!("flag-schedules-schema");

    let answer = answer(&migrate, &update, &cloudformation).await;

    assert_eq!(answer.body["Data"]["SchemaVersion"], json!(names().last()));
    assert_eq!(schema::rows(&client, schema::HISTORY).await.len(), names().len());
}

#[tokio::test]
async fn delete_changes_nothing() {
    let database = Database::migrated().await;
    let client = database.connect().await;
    execute(&client, "insert into feature_flags (flag_key) values ('kept')").await;
    let before = (schema::dump(&client).await, schema::rows(&client, "feature_flags").await);
    let cloudformation = CloudFormation::start().await;
    let mut delete = request("Delete", &cloudformation);
    delete["PhysicalResourceId"] = json!("flag-schedules-schema");

    let answer = answer(&migrate_on(&database).await, &delete, &cloudformation).await;

    assert_eq!(answer.body["Status"], "SUCCESS", "{:#}", answer.body);
    assert_eq!(answer.body["Reason"], "a stack's deletion leaves the tables and their data");
    assert_eq!(answer.body["PhysicalResourceId"], "flag-schedules-schema");
    assert_eq!((schema::dump(&client).await, schema::rows(&client, "feature_flags").await), before);
}

#[tokio::test]
async fn delete_of_an_empty_database_leaves_it_empty() {
    let database = Database::empty().await;
    let cloudformation = CloudFormation::start().await;

    let answer =
        answer(&migrate_on(&database).await, &request("Delete", &cloudformation), &cloudformation).await;

    assert_eq!(answer.body["Status"], "SUCCESS", "{:#}", answer.body);
    assert!(schema::dump(&database.connect().await).await.is_empty());
}

#[tokio::test]
async fn delete_succeeds_when_the_database_is_gone() {
    let cloudformation = CloudFormation::start().await;
    let migrate = migrate_at(GONE).await;

    let answer = answer(&migrate, &request("Delete", &cloudformation), &cloudformation).await;

    assert_eq!(answer.body["Status"], "SUCCESS", "{:#}", answer.body);
    assert_no_secret(&migrate, &answer.body);
}

/// Versions of the function, as CloudFormation names them.
fn versions(update: &mut Value, new: &str, old: &str) {
    let arn = |version: &str| {
        json!(format!("arn:aws:lambda:eu-central-1:123456789012:function:flags-migrate:{version}"))
    };
    update["ResourceProperties"]["CodeVersion"] = arn(new);
    update["OldResourceProperties"] = json!({"CodeVersion": arn(old)});
    update["PhysicalResourceId"] = json!("flag-schedules-schema");
}

/// Another failure would leave the stack in `UPDATE_ROLLBACK_FAILED`.
#[tokio::test]
async fn a_rollback_succeeds_whatever_made_the_update_fail() {
    // Nothing fails faster than a bad setting.
    let failing = Env::new().set("DATABASE_URL", "nowhere");
    let failing = Launch::of("migrate").env(failing).start().await.unwrap_or_else(|error| panic!("{error}"));
    for (new, old, status) in [
        ("3", "4", "SUCCESS"),
        ("9", "10", "SUCCESS"),
        ("1", "4000000000", "SUCCESS"),
        ("4", "3", "FAILED"),
        ("10", "9", "FAILED"),
        ("4", "4", "FAILED"),
        ("$LATEST", "4", "FAILED"),
        ("3", "", "FAILED"),
    ] {
        let cloudformation = CloudFormation::start().await;
        let mut update = request("Update", &cloudformation);
        versions(&mut update, new, old);

        let answer = answer(&failing, &update, &cloudformation).await;

        assert_eq!(answer.body["Status"], status, "{old} to {new}: {:#}", answer.body);
        assert_eq!(answer.body["PhysicalResourceId"], "flag-schedules-schema");
    }
}

/// An update without another version of the function, in which this property changes.
fn same_code(update: &mut Value, property: &str) {
    versions(update, "4", "4");
    for (properties, value) in [("ResourceProperties", "new"), ("OldResourceProperties", "old")] {
        update[properties] = update["ResourceProperties"].clone();
        update[properties][property] = json!(value);
    }
}

/// A database that was closed after a restore is what a rollback goes back to.
#[tokio::test]
async fn the_same_code_needs_no_more_than_a_schema_that_is_up_to_date() {
    let (closed, empty) = (Database::migrated().await, Database::empty().await);
    for database in [&closed, &empty] {
        let close = format!("alter database {} set default_transaction_read_only = on", database.name());
        execute(&database.connect_as_superuser().await, &close).await;
    }
    for (database, new_code, status, reason) in [
        (&closed, false, "SUCCESS", "the schema was up to date"),
        (&closed, true, "FAILED", "read-only transaction"),
        (&empty, false, "FAILED", "does not exist"),
    ] {
        let cloudformation = CloudFormation::start().await;
        let mut update = request("Update", &cloudformation);
        same_code(&mut update, "Database");
        if new_code {
            versions(&mut update, "5", "4");
        }

        let answer = answer(&migrate_on(database).await, &update, &cloudformation).await;

        assert_eq!(answer.body["Status"], status, "{:#}", answer.body);
        assert!(answer.body["Reason"].as_str().unwrap_or_default().contains(reason), "{:#}", answer.body);
        let version = (status == "SUCCESS").then(|| names().pop());
        assert_eq!(answer.body["Data"]["SchemaVersion"], json!(version.flatten()));
    }
}

/// Such as the endpoint through which it answers.
#[tokio::test]
async fn an_update_that_does_not_concern_the_schema_needs_no_database() {
    for (property, status) in [("AnswersThrough", "SUCCESS"), ("Database", "FAILED")] {
        let cloudformation = CloudFormation::start().await;
        let mut update = request("Update", &cloudformation);
        same_code(&mut update, property);

        let answer = answer(&migrate_at(GONE).await, &update, &cloudformation).await;

        assert_eq!(answer.body["Status"], status, "{property}: {:#}", answer.body);
    }
}

#[tokio::test]
async fn a_rollback_changes_nothing() {
    let database = Database::empty().await;
    let cloudformation = CloudFormation::start().await;
    let mut update = request("Update", &cloudformation);
    versions(&mut update, "1", "2");

    let answer = answer(&migrate_on(&database).await, &update, &cloudformation).await;

    assert_eq!(answer.body["Reason"], "a rollback leaves the schema as it is");
    assert!(schema::dump(&database.connect().await).await.is_empty());
}

#[tokio::test]
async fn the_answer_and_the_log_say_what_was_applied_and_by_which_release() {
    let database = Database::empty().await;
    let env = Env::new().set("DATABASE_URL", database.url()).set("RELEASE_NAME", "1.4.2-7-gc0ffee");
    let migrate = Launch::of("migrate").env(env).start().await.unwrap_or_else(|error| panic!("{error}"));

    for (kind, reason, applied) in [
        ("Create", format!("applied {}", names().join(", ")), names().join(", ")),
        ("Update", "the schema was up to date".to_owned(), String::new()),
    ] {
        let cloudformation = CloudFormation::start().await;
        let answer = answer(&migrate, &request(kind, &cloudformation), &cloudformation).await;

        assert_eq!((&answer.body["Status"], &answer.body["Reason"]), (&json!("SUCCESS"), &json!(reason)));
        assert_eq!(answer.body["Data"]["Release"], "1.4.2-7-gc0ffee");
        let lines: Vec<Value> =
            migrate.logs().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let last = lines.iter().rfind(|line| line["message"] == "the schema is up to date");
        let line = last.unwrap_or_else(|| panic!("{lines:#?}"));
        assert_eq!((&line["applied"], &line["schema_version"]), (&json!(applied), &json!(names().last())));
        assert_eq!((&line["level"], &line["release"]), (&json!("INFO"), &json!("1.4.2-7-gc0ffee")));
    }
    assert_eq!(run(&migrate).await["release"], "1.4.2-7-gc0ffee");
}

#[tokio::test]
async fn a_bad_setting_is_told_to_cloudformation() {
    let unknown = Env::new().set("DATABASE_URL", GONE).set("DATABASE_AUTH", PASSWORD);
    for (variable, env) in [("DATABASE_URL", Env::new()), ("DATABASE_AUTH", unknown)] {
        let migrate = Launch::of("migrate").env(env).start().await.unwrap_or_else(|error| panic!("{error}"));
        for (kind, status) in [("Create", "FAILED"), ("Update", "FAILED"), ("Delete", "SUCCESS")] {
            let cloudformation = CloudFormation::start().await;
            let answer = answer(&migrate, &request(kind, &cloudformation), &cloudformation).await;

            assert_eq!(answer.body["Status"], status, "{kind}: {:#}", answer.body);
            let reason = answer.body["Reason"].as_str().unwrap_or_default();
            assert_eq!(reason.starts_with(&format!("{variable} ")), status == "FAILED", "{reason}");
            assert_no_secret(&migrate, &answer.body);
        }
        let told = refusal(&migrate).await;
        assert!(told.starts_with(&format!("{variable} ")), "{told}");
        let logged = migrate.logs().concat();
        assert!(logged.contains(&format!(r#""cause":"{variable} "#)), "{logged}");
    }
}

#[tokio::test]
async fn an_unreachable_database_is_told_to_cloudformation() {
    for kind in ["Create", "Update"] {
        let cloudformation = CloudFormation::start().await;
        let migrate = migrate_at(GONE).await;
        let request = request(kind, &cloudformation);

        let answer = answer(&migrate, &request, &cloudformation).await;

        let body = &answer.body;
        assert_eq!(body["Status"], "FAILED", "{body:#}");
        let reason = body["Reason"].as_str().unwrap_or_default();
        assert!(reason.contains("the database is not available") && reason.contains("refused"), "{reason}");
        for field in ["StackId", "RequestId", "LogicalResourceId"] {
            assert_eq!(body[field], request[field], "{field}");
        }
        // CloudFormation needs it also of a failure: it deletes this id when it rolls back.
        assert!(body["PhysicalResourceId"].as_str().is_some_and(|id| !id.is_empty()), "{body:#}");
        assert_no_secret(&migrate, body);
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_without_the_password() {
    let database = Database::empty().await;
    let url = database.url();
    let (_, place) = url.rsplit_once('@').expect("the URL has credentials");
    let migrate = migrate_at(&format!("postgres://flag_schedules:{PASSWORD}@{place}")).await;
    let cloudformation = CloudFormation::start().await;

    let answer = answer(&migrate, &request("Create", &cloudformation), &cloudformation).await;

    assert_eq!(answer.body["Status"], "FAILED", "{:#}", answer.body);
    let reason = answer.body["Reason"].as_str().unwrap_or_default();
    assert!(reason.contains("password authentication failed"), "{reason}");
    assert_no_secret(&migrate, &answer.body);
}

#[tokio::test]
async fn a_failing_migration_is_told_to_cloudformation() {
    let database = Database::empty().await;
    execute(&database.connect().await, "create table audit_outbox (something text)").await;
    let migrate = migrate_on(&database).await;
    let cloudformation = CloudFormation::start().await;

    let answer = answer(&migrate, &request("Create", &cloudformation), &cloudformation).await;

    assert_eq!(answer.body["Status"], "FAILED", "{:#}", answer.body);
    let reason = answer.body["Reason"].as_str().unwrap_or_default();
    for part in ["create_audit_outbox", "\"audit_outbox\" already exists"] {
        assert!(reason.contains(part), "{part} is not in: {reason}");
    }
}

#[tokio::test]
async fn an_answer_is_never_larger_than_cloudformation_takes() {
    let database = Database::empty().await;
    // The reason quotes the key that stands twice; each of its characters takes six bytes of JSON.
    let tables = r"
        create table feature_flags (id uuid primary key default gen_random_uuid(), flag_key text not null);
        insert into feature_flags (flag_key) select repeat(E'\x01', 5000) from generate_series(1, 2)";
    execute(&database.connect().await, tables).await;
    let migrate = migrate_on(&database).await;
    let cloudformation = CloudFormation::start().await;

    let answer = answer(&migrate, &request("Create", &cloudformation), &cloudformation).await;

    assert_eq!(answer.body["Status"], "FAILED", "{:#}", answer.body);
    assert!(answer.body["Reason"].as_str().is_some_and(|reason| reason.contains("create_feature_flags")));
    assert!(answer.bytes <= 4096, "{} bytes", answer.bytes);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_fails_the_invocation_so_that_lambda_repeats_it() {
    let database = Database::empty().await;
    let migrate = migrate_on(&database).await;
    let refusing = CloudFormation::replying(StatusCode::FORBIDDEN).await;

    let failed = migrate.invoke(&request("Create", &refusing)).await.error();
    let taking = CloudFormation::start().await;
    let repeated = answer(&migrate, &request("Create", &taking), &taking).await;

    assert_eq!(failed.error_type, "MigrationFailed", "{failed}");
    assert!(failed.message.contains("403"), "{failed}");
    assert_no_secret(&migrate, &json!(failed.message));
    assert_eq!(repeated.body["Status"], "SUCCESS", "{:#}", repeated.body);
    assert_eq!(run(&migrate).await["applied"], json!([]));
}

#[tokio::test]
async fn an_answer_to_nobody_fails_without_telling_where_to() {
    let database = Database::empty().await;
    let migrate = migrate_on(&database).await;
    let gone = CloudFormation::start().await;
    let request = request("Create", &gone);
    drop(gone);

    let failed = migrate.invoke(&request).await.error();

    assert_eq!(failed.error_type, "MigrationFailed", "{failed}");
    assert_no_secret(&migrate, &json!(failed.message));
}
