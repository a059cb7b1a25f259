//! `template.yaml`, read once: its functions with what `Globals` adds to them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::{text, yaml};

/// A function of the template.
#[derive(Debug)]
pub struct Function {
    /// The resource's logical id.
    pub id: String,
    /// `BuildProperties.Binary`: the program that is deployed.
    pub binary: String,
    /// The properties, with those of `Globals`.
    pub properties: Value,
    /// The whole resource.
    pub resource: Value,
}

impl Function {
    /// Its environment variables.
    pub fn variables(&self) -> Vec<&str> {
        let variables = self.properties["Environment"]["Variables"].as_object();
        variables.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// Its events of a type.
    pub fn events(&self, kind: &str) -> Vec<&Value> {
        let events = self.properties["Events"].as_object().into_iter().flatten();
        events.filter(|(_, event)| event["Type"] == kind).map(|(_, event)| &event["Properties"]).collect()
    }

    /// Whether API Gateway calls it.
    pub fn is_http(&self) -> bool {
        !self.events("HttpApi").is_empty()
    }

    /// The resources that are there before it.
    pub fn depends_on(&self) -> Vec<&str> {
        list(&self.resource["DependsOn"]).into_iter().map(text).collect()
    }
}

/// The template.
pub fn template() -> &'static Value {
    static TEMPLATE: OnceLock<Value> = OnceLock::new();
    TEMPLATE.get_or_init(|| yaml("template.yaml"))
}

/// A resource; null when there is none of this id.
pub fn resource(id: &str) -> &'static Value {
    &template()["Resources"][id]
}

/// All resources of a type, by their ids.
pub fn resources(kind: &str) -> BTreeMap<&'static str, &'static Value> {
    let all = template()["Resources"].as_object().expect("a template has resources");
    all.iter()
        .filter(|(_, resource)| resource["Type"] == kind)
        .map(|(id, resource)| (id.as_str(), resource))
        .collect()
}

/// The functions, by the program that is deployed.
pub fn functions() -> BTreeMap<String, Function> {
    let globals = &template()["Globals"]["Function"];
    let functions = resources("AWS::Serverless::Function").into_iter().map(|(id, resource)| {
        let binary = text(&resource["Metadata"]["BuildProperties"]["Binary"]).to_owned();
        let properties = merged(globals, &resource["Properties"]);
        (binary.clone(), Function { id: id.to_owned(), binary, properties, resource: resource.clone() })
    });
    let functions: Vec<_> = functions.collect();
    let count = functions.len();
    let functions: BTreeMap<_, _> = functions.into_iter().collect();
    assert_eq!(functions.len(), count, "two functions deploy the same program");
    functions
}

/// As SAM merges: maps by their keys, lists one after the other, anything else is replaced.
fn merged(global: &Value, own: &Value) -> Value {
    match (global, own) {
        (Value::Object(global), Value::Object(own)) => {
            let mut all: Map<String, Value> = global.clone();
            for (key, value) in own {
                let value = global.get(key).map_or_else(|| value.clone(), |global| merged(global, value));
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        (Value::Array(global), Value::Array(own)) => {
            Value::Array(global.iter().chain(own).cloned().collect())
        }
        (global, Value::Null) => global.clone(),
        (_, own) => own.clone(),
    }
}

/// One thing or a list of things, as a list.
pub fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(many) => many.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

#[test]
fn globals_are_merged_as_sam_does() {
    let global = json!({"a": {"x": 1, "y": 2}, "b": [1], "c": 1, "d": 1});
    let own = json!({"a": {"y": 3}, "b": [2], "c": 2, "e": 2});

    let all = merged(&global, &own);

    assert_eq!(all, json!({"a": {"x": 1, "y": 3}, "b": [1, 2], "c": 2, "d": 1, "e": 2}));
}
