//! Tokens in the exact shape of well-known identity providers, against functions that are set as the provider's parameter
//! file in `docs/identity/` sets them, through `template.yaml`.
//!
//! `providers/` has the tokens of each file. Times in them are seconds from now.

use std::collections::BTreeSet;
use std::process::Command;

use harness::api::{Api, list_request};
use harness::settings::{tool, workspace};
use harness::tokens::{ALGORITHMS, Keys};
use harness::{clock, yaml};
use serde_json::{Map, Value, json};

use crate::deploy::deployed::deployed;
use crate::support::{only, text, turn_on};

const FLAG: &str = "checkout-v2";
const TIMES: [&str; 4] = ["iat", "exp", "nbf", "auth_time"];

fn read(file: &str) -> Value {
    yaml::read(file).unwrap_or_else(|error| panic!("{error}"))
}

fn files(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(workspace().join(folder)).expect("a folder of the repository");
    let names = entries.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"));
    names.filter(|name| name.ends_with(".yaml")).collect()
}

/// A provider: its tokens, and the service that its parameter file deploys.
struct Provider {
    name: String,
    samples: Value,
    keys: Keys,
    api: Api,
}

impl Provider {
    async fn start(name: &str) -> Self {
        let samples = read(&format!("tests/tokens/providers/{name}.yaml"));
        let algorithm = text(&samples["header"], "alg");
        let algorithm = ALGORITHMS.into_iter().find(|known| *known == algorithm).expect("an algorithm");
        let keys = Keys::for_algorithm(algorithm);
        let parameters = read(&format!("docs/identity/{name}.yaml"));
        let gateway_checks = parameters["GatewayTokenCheck"] != "none";
        let parameters = parameters.as_object().expect("a file of parameters");
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().expect(name)))
            .collect();
        let deployed = deployed(&parameters.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(deployed.broken_rules.is_empty(), "{name}: {:?}", deployed.broken_rules);
        assert!(!gateway_checks || algorithm.starts_with("RS"), "{name}: API Gateway verifies RSA only");

        let key_set = json!({ "keys": key_set(&samples, &keys) }).to_string();
        let variables = deployed.variables("create-schedule").into_iter();
        let setup = variables.filter(|(name, _)| name.starts_with("AUTH_")).fold(
            Api::with(),
            |setup, (name, value)| {
                // What the URL would give.
                let value = if name == "AUTH_JWKS_URL" { None } else { value.as_str() };
                setup.env_everywhere(name, value)
            },
        );
        let api = setup.env_everywhere("AUTH_JWKS", Some(&key_set)).start().await;
        api.flag(FLAG, "production").await;
        Self { name: name.to_owned(), samples, keys, api }
    }

    /// The claims of the admin or the machine, with changes; null leaves one out.
    fn claims(&self, who: &str, changes: &Value) -> Map<String, Value> {
        let mut claims = self.samples[who]["claims"].as_object().cloned().expect("claims");
        claims.extend(changes.as_object().cloned().unwrap_or_default());
        claims.retain(|_, value| !value.is_null());
        claims
    }

    /// A token issued so many seconds ago.
    fn token(&self, mut claims: Map<String, Value>, ago: i64) -> String {
        let now = clock::now().timestamp() - ago;
        for time in TIMES {
            if let Some(seconds) = claims.get_mut(time) {
                *seconds = json!(now + seconds.as_i64().expect("seconds from now"));
            }
        }
        self.keys.raw_token(&self.samples["header"].to_string(), &Value::Object(claims).to_string())
    }

    async fn creates(&self, who: &str) {
        let expected = &self.samples[who];
        let created =
            self.api.create(&self.token(self.claims(who, &json!({})), 0), FLAG, "", &turn_on()).await;

        assert_eq!(created.status, 201, "{}, {who}: {created:?}", self.name);
        assert_eq!(created.json["created_by"], expected["user_id"], "{}, {who}", self.name);
        let events = self.api.events().await;
        let of_this: Vec<_> =
            events.into_iter().filter(|event| event["schedule_id"] == created.json["id"]).collect();
        let actor = &only(&of_this, "flag_schedule.created")["actor"];
        assert_eq!(actor["user_id"], expected["user_id"], "{}, {who}", self.name);
        assert_eq!(actor["email"], expected["email"], "{}, {who}", self.name);
    }

    async fn is_refused(&self, case: &str, token: &str, status: u16, cause: Option<&str>) {
        let request = list_request(FLAG, "").bearer(token);
        let answer = self.api.send(&request).await;
        let line = crate::api::logged(&self.api, "list-schedules", &answer).await;

        assert_eq!(answer.status, status, "{}, {case}: {answer:?}\n{line:#}", self.name);
        if let Some(cause) = cause {
            assert!(
                text(&line, "cause").starts_with(cause),
                "{}, {case}: expected {cause}: {line:#}",
                self.name
            );
        }
    }
}

/// The provider's key set, with the test's key in place of its own.
fn key_set(samples: &Value, keys: &Keys) -> Vec<Value> {
    let mut key = samples["key"].clone();
    let own = keys.jwk();
    for member in ["n", "e", "x", "y"] {
        if let Some(value) = own.get(member) {
            key[member] = value.clone();
        }
    }
    let others = samples["other_keys"].as_array().cloned().unwrap_or_default();
    others.into_iter().chain([key]).collect()
}

async fn each_kind_of_token_is_judged_right(name: &str) {
    let provider = Provider::start(name).await;
    let admin = |changes: &Value| provider.claims("admin", changes);
    let machine = &provider.samples["machine"];

    provider.creates("admin").await;
    if let Some(cause) = machine["refused"].as_str() {
        let status = if cause.starts_with("there is no claim") { 403 } else { 401 };
        let token = provider.token(provider.claims("machine", &json!({})), 0);
        provider.is_refused("machine", &token, status, Some(cause)).await;
    } else {
        provider.creates("machine").await;
    }
    let non_admin = provider.token(admin(&provider.samples["non_admin"]), 0);
    provider.is_refused("non-admin", &non_admin, 403, None).await;
    for who in ["admin", "machine"] {
        let lifetime = provider.samples[who]["claims"]["exp"].as_i64().expect("seconds");
        let expired = provider.token(provider.claims(who, &json!({})), lifetime + 31);
        provider.is_refused(&format!("expired {who}"), &expired, 401, Some("the token has expired")).await;
    }
    let other = provider.token(admin(&provider.samples["other_audience"]), 0);
    provider.is_refused("wrong audience", &other, 401, Some("the audience is another")).await;
    let other = provider.token(admin(&json!({"iss": "https://issuer.example.org"})), 0);
    provider.is_refused("wrong issuer", &other, 401, Some("the issuer is another")).await;
}

macro_rules! providers {
    ($($test:ident: $name:literal,)*) => {
        $(#[tokio::test]
        async fn $test() {
            each_kind_of_token_is_judged_right($name).await;
        })*

        #[test]
        fn every_parameter_file_has_its_tokens() {
            let tried: BTreeSet<_> = [$($name),*].map(|name| format!("{name}.yaml")).into();

            assert_eq!(files("docs/identity"), tried);
            assert_eq!(files("tests/tokens/providers"), tried);
        }
    };
}

providers! {
    tokens_of_auth0: "auth0",
    tokens_of_cognito: "cognito",
    tokens_of_cognito_for_people_and_machines: "cognito-machines",
    tokens_of_entra_id: "entra-id",
    tokens_of_keycloak: "keycloak",
    tokens_of_any_oidc_provider: "oidc",
    tokens_of_okta: "okta",
    tokens_of_okta_for_people_and_machines: "okta-machines",
}

#[test]
fn the_reasons_that_the_documentation_explains_are_in_the_code() {
    let read = |file: &str| std::fs::read_to_string(workspace().join(file)).unwrap();
    // There they are without the backticks, which the documentation has around the whole.
    let code = (read("shared/src/http/token.rs") + &read("shared/src/http/auth.rs")).replace('`', "");
    let document = read("docs/identity.md");
    let (_, table) = document.split_once("| `cause` | check |").expect("the table of reasons");

    let reasons: Vec<_> = table.lines().filter_map(|line| line.split('`').nth(1)).collect();
    assert!(reasons.len() > 8, "{reasons:?}");
    for reason in reasons {
        for part in reason.split(" …").map(|part| part.trim_matches([';', ' '])) {
            assert!(code.contains(part), "nothing says: {part}");
        }
    }
}

/// What the documented trigger makes of a sign-in.
fn trigger(groups: &Value, attributes: &Value) -> Value {
    const CALL: &str = "import json, sys, cognito_trigger; print(json.dumps(cognito_trigger.handler(json.load(sys.stdin), None)))";
    let event = json!({
        "version": "2",
        "triggerSource": "TokenGeneration_HostedAuth",
        "request": {
            "userAttributes": attributes,
            "groupConfiguration": {"groupsToOverride": groups, "iamRolesToOverride": [], "preferredRole": null},
            "scopes": ["openid", "email"],
        },
        "response": {"claimsAndScopeOverrideDetails": null},
    });
    let mut python = Command::new(tool("python").unwrap_or_else(|error| panic!("{error}")));
    python.args(["-B", "-c", CALL]).env("PYTHONPATH", workspace().join("docs/identity"));
    let answer = crate::deploy::output_as_json(&mut python, &event.to_string());
    assert_eq!(answer["request"], event["request"], "the event goes back as it came");
    let response = &answer["response"]["claimsAndScopeOverrideDetails"];
    assert_eq!(response["groupOverrideDetails"], event["request"]["groupConfiguration"], "the groups stay");
    response["accessTokenGeneration"].clone()
}

#[test]
fn the_trigger_gives_admins_the_scope_that_the_parameter_file_asks_for() {
    let parameters = read("docs/identity/cognito-machines.yaml");
    let (people, scope) = (read("docs/identity/cognito.yaml"), &parameters["AuthAdminGroups"]);
    let zoe = json!({"sub": "1", "email": "zoe@example.com", "email_verified": "true"});

    let granted = |claims: Value| json!({"claimsToAddOrOverride": claims, "scopesToAdd": [scope], "scopesToSuppress": []});

    let of_admin = trigger(&json!(["staff", people["AuthAdminGroups"]]), &zoe);
    assert_eq!(of_admin, granted(json!({"email": "zoe@example.com"})));
    for groups in [json!(["staff"]), json!([]), json!(null), json!(["flag-admins2"])] {
        let of_staff = trigger(&groups, &zoe);
        assert_eq!(of_staff["scopesToAdd"], json!([]), "{groups}");
        assert_eq!(of_staff["scopesToSuppress"], json!([scope]), "{groups}");
    }
    for attributes in
        [json!({"sub": "1"}), json!({"sub": "1", "email": "ceo@example.com", "email_verified": "false"})]
    {
        assert_eq!(
            trigger(&json!([people["AuthAdminGroups"]]), &attributes),
            granted(json!({})),
            "{attributes}"
        );
    }
}
