//! An event of CloudFormation that cannot be read is answered all the same: otherwise the deployment would hang.

use harness::lambda::{Env, Launch};
use harness::logs::REGION;
use serde_json::{Value, json};

use super::cloudformation::CloudFormation;
use super::custom_resource::{answer, request};

#[tokio::test]
async fn an_event_that_cannot_be_read_is_refused_with_the_reason() {
    for function in ["migrate", "check-deployment"] {
        let env = Env::new().set("DATABASE_URL", "nowhere").set("AWS_REGION", REGION);
        let function = Launch::of(function).env(env).start().await.unwrap_or_else(|error| panic!("{error}"));
        for (field, value) in [
            ("StackId", Value::Null),
            ("RequestId", json!(1)),
            ("LogicalResourceId", json!([])),
            ("RequestType", Value::Null),
            ("RequestType", json!(1)),
            ("RequestType", json!("Replace")),
            ("PhysicalResourceId", json!(7)),
        ] {
            let cloudformation = CloudFormation::start().await;
            let mut request = request("Delete", &cloudformation);
            request[field] = value.clone();
            if value.is_null() {
                request.as_object_mut().unwrap().remove(field);
            }

            let answer = answer(&function, &request, &cloudformation).await.body;

            assert_eq!(answer["Status"], "FAILED", "{field}: {value}: {answer:#}");
            let reason = answer["Reason"].as_str().unwrap_or_default();
            assert!(reason.starts_with("the custom resource event cannot be read: "), "{reason}");
            assert!(answer["PhysicalResourceId"].is_string(), "{answer:#}");
            for kept in ["StackId", "RequestId", "LogicalResourceId"].iter().filter(|kept| **kept != field) {
                assert_eq!(answer[*kept], request[*kept], "{field}: {value}");
            }
        }
    }
}
