//! The same routes in the template, in the OpenAPI description, on the local stack and in the sample events.

use std::collections::{BTreeMap, BTreeSet};

use harness::api::{ACROSS_FLAGS, ENDPOINTS, SCHEDULE, SCHEDULES};
use harness::settings::workspace;
use serde_json::Value;

use super::template::functions;
use super::{text, yaml};

/// Method and path.
type Route = (String, String);

fn route(method: &str, path: &str) -> Route {
    (method.to_uppercase(), path.to_owned())
}

/// What the template tells API Gateway, with the function that answers.
fn deployed() -> BTreeMap<Route, String> {
    let mut routes = BTreeMap::new();
    for (name, function) in functions() {
        for event in function.events("HttpApi") {
            assert_eq!(event["ApiId"]["Ref"], "Api", "{name}");
            let before = routes.insert(route(text(&event["Method"]), text(&event["Path"])), name.clone());
            assert_eq!(before, None, "two functions answer {event}");
        }
    }
    routes
}

#[test]
fn the_template_has_the_routes_of_the_contract() {
    let expected = BTreeMap::from([
        (route("POST", SCHEDULES), "create-schedule".to_owned()),
        (route("GET", SCHEDULES), "list-schedules".to_owned()),
        (route("GET", SCHEDULE), "list-schedules".to_owned()),
        (route("GET", ACROSS_FLAGS), "list-schedules".to_owned()),
        (route("DELETE", SCHEDULE), "cancel-schedule".to_owned()),
    ]);

    assert_eq!(deployed(), expected);
}

#[test]
fn the_description_describes_what_is_deployed() {
    const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let description = yaml("docs/openapi.yaml");
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().into_iter().flatten() {
        let methods =
            item.as_object().into_iter().flatten().filter(|(key, _)| METHODS.contains(&key.as_str()));
        for (method, operation) in methods {
            described.insert(route(method, path));
            assert_eq!(path_parameters(&description, item, operation), names_in(path), "{method} {path}");
        }
    }

    assert_eq!(described, deployed().into_keys().collect());
}

#[test]
fn the_local_stack_leads_where_api_gateway_does() {
    let local = ENDPOINTS.map(|(method, path, function)| (route(method, path), function.to_owned()));

    assert_eq!(BTreeMap::from(local), deployed());
}

#[test]
fn the_sample_events_are_for_what_is_deployed() {
    let mut sampled = BTreeSet::new();
    let folder = std::fs::read_dir(workspace().join("events")).expect("there are sample events");
    for entry in folder {
        let path = entry.expect("a folder of the repository can be read").path();
        let file = path.display();
        let read = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let event: Value = serde_json::from_str(&read).unwrap_or_else(|error| panic!("{file}: {error}"));
        let Some((method, pattern)) = event["routeKey"].as_str().and_then(|key| key.split_once(' ')) else {
            continue;
        };
        sampled.insert(route(method, pattern));
        assert_eq!(event["requestContext"]["http"]["method"], method, "{file}");
        let parameters = event["pathParameters"].as_object().into_iter().flatten();
        let filled = parameters.fold(pattern.to_owned(), |path, (name, value)| {
            path.replace(&format!("{{{name}}}"), text(value))
        });
        assert_eq!(event["rawPath"], filled.as_str(), "{file}");
    }

    assert_eq!(sampled, deployed().into_keys().collect());
}

/// The path parameters that an operation describes, those of its path included.
fn path_parameters(description: &Value, item: &Value, operation: &Value) -> BTreeSet<String> {
    let lists = [item, operation].into_iter().filter_map(|holder| holder["parameters"].as_array());
    lists
        .flatten()
        .map(|parameter| match parameter["$ref"].as_str() {
            Some(reference) => description.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
            None => parameter,
        })
        .filter(|parameter| parameter["in"] == "path")
        .map(|parameter| text(&parameter["name"]).to_owned())
        .collect()
}

fn names_in(path: &str) -> BTreeSet<String> {
    let parts = path.split('{').skip(1);
    parts.filter_map(|part| part.split_once('}')).map(|(name, _)| name.to_owned()).collect()
}
