//! API Gateway as deployed: a valid token on every route, limits, an access log, and no web page that was not allowed.

use std::collections::{BTreeMap, BTreeSet};

use harness::api::ENDPOINTS;
use harness::openapi;
use hyper::Request;
use local_stack::front::cors::Cors;
use serde_json::{Value, json};

use super::deployed::{Deployed, deployed};
use super::text;

const CORS: &str = "x-amazon-apigateway-cors";

fn stage(deployed: &Deployed) -> &Value {
    let stages = deployed.all("AWS::ApiGatewayV2::Stage");
    assert_eq!(stages.len(), 1, "{:?}", stages.keys());
    stages.into_values().next().unwrap_or(&Value::Null)
}

/// Every operation of the API, which is one for each endpoint.
fn operations<'a>(deployed: &'a Deployed) -> BTreeMap<String, &'a Value> {
    let paths = openapi::entries(&deployed.properties("Api")["Body"]["paths"]);
    let of_path = |(path, operations): (&'a String, &'a Value)| {
        openapi::entries(operations).map(move |(method, operation)| (format!("{method} {path}"), operation))
    };
    let operations: BTreeMap<_, _> = paths.flat_map(of_path).collect();
    assert_eq!(operations.len(), ENDPOINTS.len(), "{:?}", operations.keys());
    operations
}

#[test]
fn every_route_wants_a_token_of_the_issuer_for_the_audience() {
    let deployed = deployed(&[]);
    for (operation, described) in operations(&deployed) {
        assert_eq!(described["security"], json!([{"AdminToken": []}]), "{operation}");
    }

    let body = &deployed.properties("Api")["Body"];
    let scheme = &body["components"]["securitySchemes"];
    let expected = json!({
        "type": "jwt",
        "identitySource": "$request.header.Authorization",
        "jwtConfiguration": {"issuer": "https://id.example.test", "audience": ["flag-admin"]},
    });
    assert_eq!(scheme["AdminToken"]["x-amazon-apigateway-authorizer"], expected);
    assert_eq!(scheme.as_object().map(serde_json::Map::len), Some(1), "another authorizer: {scheme}");
    // Neither a route nor an integration comes from anywhere else.
    for kind in ["AWS::ApiGatewayV2::Route", "AWS::ApiGateway::RestApi", "AWS::Lambda::Url"] {
        assert!(deployed.all(kind).is_empty(), "{kind}");
    }
}

/// API Gateway verifies RSA signatures only; the functions verify every token in any case.
#[test]
fn the_gateway_can_leave_the_tokens_to_the_functions() {
    let deployed = deployed(&["GatewayTokenCheck=none"]);
    for (operation, described) in operations(&deployed) {
        assert_eq!(described["security"], json!([]), "{operation}");
        assert_ne!(described["x-amazon-apigateway-integration"], Value::Null, "{operation}");
    }

    assert_eq!(deployed.properties("Api")["Body"]["components"]["securitySchemes"], json!({}));
    assert_eq!(deployed.broken_rules, Vec::<String>::new());
}

#[test]
fn the_gateway_demands_one_of_the_scopes() {
    let demanding = deployed(&["AuthGatewayScopes=flags/write,flags/admin"]);
    for (operation, described) in operations(&demanding) {
        assert_eq!(
            described["security"],
            json!([{"AdminToken": ["flags/write", "flags/admin"]}]),
            "{operation}"
        );
    }

    assert_eq!(demanding.broken_rules, Vec::<String>::new());
    for bad in [",a", "a,", "a,,b", "a b"] {
        let broken = &deployed(&[&format!("AuthGatewayScopes={bad}")]).broken_rules;
        assert!(broken.len() == 1 && broken[0].starts_with("AuthGatewayScopes "), "{bad}: {broken:?}");
    }
    let unchecked = deployed(&["AuthGatewayScopes=flags/write", "GatewayTokenCheck=none"]);
    assert_eq!(
        unchecked.broken_rules,
        ["ScopesAtTheGateway: AuthGatewayScopes needs GatewayTokenCheck jwt."]
    );
}

#[test]
fn the_gateway_admits_each_of_several_audiences() {
    let deployed = deployed(&["AuthAudience=flag-admin,flag-cli"]);
    let scheme = &deployed.properties("Api")["Body"]["components"]["securitySchemes"]["AdminToken"];
    let configured = &scheme["x-amazon-apigateway-authorizer"]["jwtConfiguration"]["audience"];

    assert_eq!(configured, &json!(["flag-admin", "flag-cli"]));
}

#[test]
fn no_web_page_may_call_unless_its_origin_is_allowed() {
    let nobody = deployed(&[]);
    let somebody = deployed(&["CorsAllowedOrigins=https://admin.example.test,https://flags.example.test"]);

    assert_eq!(nobody.properties("Api")["Body"].get(CORS), None);
    let cors = &somebody.properties("Api")["Body"][CORS];
    assert_eq!(cors["allowOrigins"], json!(["https://admin.example.test", "https://flags.example.test"]));
    assert_eq!(cors["allowMethods"], json!(["GET", "POST", "DELETE"]));
    // What the API reads, and what pages may read of its answers.
    assert_eq!(cors["allowHeaders"], json!(["authorization", "content-type", "idempotency-key"]));
    assert_eq!(cors["exposeHeaders"], json!(["location", "retry-after", "www-authenticate"]));
    assert_eq!(cors.get("allowCredentials"), None, "tokens are not cookies");
}

/// A page sends and reads every header that the description has. `Content-Type` is described by media types,
/// `Authorization` by `security`; what browsers always show needs no permission.
#[test]
fn an_allowed_web_page_may_use_every_header_that_is_described() {
    let mut sent = BTreeSet::from(["authorization".to_owned(), "content-type".to_owned()]);
    let mut read = BTreeSet::new();
    for operation in openapi::document().operations().unwrap().values() {
        let headers = operation.parameters.iter().filter(|parameter| parameter["in"] == "header");
        sent.extend(headers.map(|header| text(&header["name"]).to_lowercase()));
        for response in operation.responses.values() {
            read.extend(openapi::entries(&response["headers"]).map(|(name, _)| name.to_lowercase()));
        }
    }
    assert!(read.remove("cache-control"), "{read:?}");

    let deployed = deployed(&["CorsAllowedOrigins=https://admin.example.test"]);
    let cors = &deployed.properties("Api")["Body"][CORS];
    let allowed =
        |list: &Value| openapi::items(list).map(|name| text(name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!((allowed(&cors["allowHeaders"]), allowed(&cors["exposeHeaders"])), (sent, read.clone()));
    let described = text(&openapi::document().root()["info"]["description"]).to_lowercase();
    let (_, web_pages) = described.split_once("**web pages**").expect("the description speaks of web pages");
    assert!(web_pages.contains("`corsallowedorigins`"), "{web_pages}");
    for header in read {
        assert!(web_pages.contains(&format!("`{header}`")), "{header} is missing in {web_pages}");
    }
}

/// The local stack answers a preflight with what the template says.
#[test]
fn pages_meet_the_same_rules_on_the_local_stack() {
    let origins = ["https://admin.example.test", "https://flags.example.test"];
    let deployed = deployed(&[&format!("CorsAllowedOrigins={}", origins.join(","))]);
    let cors = &deployed.properties("Api")["Body"][CORS];
    let listed = |name: &str| {
        let values = cors[name].as_array().into_iter().flatten();
        values.map(text).collect::<Vec<_>>().join(",")
    };
    let local = Cors::allowing(origins.map(str::to_owned).to_vec());
    let preflight = |origin: &str| {
        let asked =
            Request::options("/").header("origin", origin).header("access-control-request-method", "GET");
        local.preflight(&asked.body(()).unwrap().into_parts().0).unwrap()
    };

    for origin in origins {
        let answer = preflight(origin);
        assert_eq!(answer.status(), 204);
        let header =
            |name: &str| answer.headers()[&format!("access-control-{name}")].to_str().unwrap().to_owned();
        assert_eq!(header("allow-origin"), origin);
        assert_eq!(header("allow-methods"), listed("allowMethods"));
        assert_eq!(header("allow-headers"), listed("allowHeaders"));
        assert_eq!(header("expose-headers"), listed("exposeHeaders"));
        assert_eq!(header("max-age"), cors["maxAge"].to_string().trim_matches('"'));
    }
    assert!(preflight("https://other.example.test").headers().is_empty());
}

#[test]
fn requests_are_throttled() {
    let deployed = deployed(&["ApiRateLimit=7", "ApiBurstLimit=9"]);

    let limits = &stage(&deployed)["DefaultRouteSettings"];
    assert_eq!(limits["ThrottlingRateLimit"].to_string().trim_matches('"'), "7");
    assert_eq!(limits["ThrottlingBurstLimit"].to_string().trim_matches('"'), "9");
}

#[test]
fn a_line_of_the_access_log_is_json_and_tells_no_secret() {
    let deployed = deployed(&[]);
    let settings = &stage(&deployed)["AccessLogSettings"];
    assert_eq!(settings["DestinationArn"], json!({"Fn::GetAtt": ["AccessLogGroup", "Arn"]}));
    assert_eq!(deployed.properties("AccessLogGroup")["RetentionInDays"], 90);

    // What has no value is written as `-`, so that every variable needs quotes around it.
    let format = text(&settings["Format"]).to_owned();
    let line: BTreeMap<String, String> =
        serde_json::from_str(&format).unwrap_or_else(|error| panic!("{error}: {format}"));

    for (field, variable) in [
        ("request_id", "requestId"),
        ("api_id", "apiId"),
        ("sub", "authorizer.claims.sub"),
        ("source_ip", "identity.sourceIp"),
        ("route", "routeKey"),
        ("status", "status"),
        ("latency_ms", "responseLatency"),
        ("integration_error", "integrationErrorMessage"),
        ("authorizer_error", "authorizer.error"),
    ] {
        assert_eq!(line.get(field), Some(&format!("$context.{variable}")), "{field} in {line:#?}");
    }
    let format = format.replace("$context.authorizer.claims.sub", "");
    // Headers can be logged nowhere but from the request overrides and the authorizer's claims.
    for secret in ["header", "claims", "Authorization", "querystring", "$context.path", "rawPath"] {
        assert!(!format.contains(secret), "{secret} is in {format}");
    }
}

/// The command line of SAM strips quotes that are not escaped, and every function would fail at its start.
#[test]
fn what_is_no_key_set_or_no_list_is_refused_before_anything_is_deployed() {
    let refused = |parameter: &str| deployed(&["AuthJwksUrl=", parameter]).broken_rules.clone();
    let audience = |value: &str| deployed(&[&format!("AuthAudience={value}")]).broken_rules.clone();

    for keys in [
        r#"{"keys":[{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB"}]}"#,
        "\n{ \"keys\" : [\n{\"kid\": \"1\", \"kty\": \"EC\"} ]\n}\n",
        r#"{"issuer":"x","keys":[{"kid":"1"},{"kty":"OKP"}],"more":1}"#,
    ] {
        assert_eq!(refused(&format!("AuthJwks={keys}")), Vec::<String>::new(), "{keys}");
    }
    for text in [
        "{keys:[{kty:RSA}]}",
        "{",
        "{}",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kid":"1"}]}"#,
        r#"[{"kty":"RSA"}]"#,
        r#"{"kty":"RSA"}"#,
        "https://id.example.test/jwks.json",
        r#"'{"keys":[{"kty":"RSA"}]}'"#,
    ] {
        let told = refused(&format!("AuthJwks={text}"));
        assert!(told[0].starts_with("AuthJwks must be a key set such as"), "{text}: {told:?}");
    }
    for list in ["flag-admin", "a,b", "https://api.example.test,flag-admin"] {
        assert_eq!(audience(list), Vec::<String>::new(), "{list}");
    }
    assert!(audience(r#"["a","b"]"#)[0].starts_with("AuthAudience must be names separated by commas"));
}
