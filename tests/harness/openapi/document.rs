//! `docs/openapi.yaml` as data: its operations, its references resolved, its schemas ready to be asked.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use common::error::{Error, Result};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The schema of stored changes, which says in words only that they may be anything.
const STORED_UPDATES: &str = "StoredUpdates";

/// The description, with references to its own components.
#[derive(Debug)]
pub struct Document {
    root: Value,
    /// The components' schemas, closed: see [`closed`].
    components: Value,
}

/// One operation, with the parameters of its path.
#[derive(Debug)]
pub struct Operation {
    /// In capitals.
    pub method: String,
    /// Such as `/api/admin/flags/{flagKey}/schedule`.
    pub path: String,
    pub parameters: Vec<Value>,
    /// `null` when it takes none.
    pub request_body: Value,
    /// By status, each with its reference resolved.
    pub responses: BTreeMap<u16, Value>,
}

impl Document {
    pub fn new(root: Value) -> Self {
        let mut schemas = closed_children(&root["components"]["schemas"]);
        // Typed for clients; what another tool has stored may be anything, as its description says.
        schemas[STORED_UPDATES] = json!({ "unevaluatedProperties": true });
        Self { root, components: json!({ "schemas": schemas }) }
    }

    /// All operations by their `operationId`.
    pub fn operations(&self) -> Result<BTreeMap<String, Operation>> {
        let mut operations = BTreeMap::new();
        for (path, item) in entries(&self.root["paths"]) {
            for (method, operation) in entries(item).filter(|(key, _)| METHODS.contains(&key.as_str())) {
                let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
                let parameters =
                    [item, operation].into_iter().flat_map(|holder| items(&holder["parameters"]));
                let parameters =
                    parameters.map(|parameter| self.resolved(parameter).cloned()).collect::<Result<_>>()?;
                let mut responses = BTreeMap::new();
                for (status, response) in entries(&operation["responses"]) {
                    let number = status.parse();
                    let number = number.map_err(|_| Error::new(format!("{id}: {status} is no status")))?;
                    responses.insert(number, self.resolved(response)?.clone());
                }
                let (method, path) = (method.to_uppercase(), path.clone());
                let request_body = self.resolved(&operation["requestBody"])?.clone();
                operations.insert(id, Operation { method, path, parameters, request_body, responses });
            }
        }
        Ok(operations)
    }

    /// What a `$ref` stands for; anything else is itself.
    pub fn resolved<'a>(&'a self, value: &'a Value) -> Result<&'a Value> {
        let Some(reference) = value["$ref"].as_str() else { return Ok(value) };
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        self.resolved(target.ok_or_else(|| Error::new(format!("{reference} leads nowhere")))?)
    }

    /// The JSON Schema type of what a schema allows, when it names one.
    pub fn type_of<'a>(&'a self, schema: &'a Value) -> Option<&'a str> {
        self.resolved(schema).ok()?["type"].as_str()
    }

    /// A validator for a schema of the description. It also refuses what the schema does not speak of.
    pub fn validator(&self, schema: &Value) -> Result<Validator> {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": self.components,
            "allOf": [closed(schema)],
        });
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&schema).map_err(|error| Error::new(format!("not a JSON Schema: {error}")))
    }

    /// The description as it is written.
    pub fn root(&self) -> &Value {
        &self.root
    }
}

/// What is wrong with a value, by a validator, each fault with its place.
pub fn faults(validator: &Validator, value: &Value) -> Vec<String> {
    let place = |path: String| if path.is_empty() { "the whole".to_owned() } else { path };
    let faults = validator.iter_errors(value);
    faults.map(|fault| format!("{}: {fault}", place(fault.instance_path().to_string()))).collect()
}

/// The keys and values of an object; of anything else none.
pub fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The items of an array; of anything else none.
pub fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A schema of a value, closed: members that it does not speak of are refused. The description itself leaves its objects
/// open, because a later version may add members and callers must not mind; what this version sends is all described.
fn closed(schema: &Value) -> Value {
    let mut schema = closed_inside(schema);
    if let Value::Object(keywords) = &mut schema
        && !keywords.contains_key("additionalProperties")
    {
        keywords.entry("unevaluatedProperties").or_insert(json!(false));
    }
    schema
}

/// The same for the values inside only: this schema is a part of another one, which has the last word on members.
fn closed_inside(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let close = |(key, value): (&String, &Value)| {
        let value = match key.as_str() {
            "properties" => entries(value).map(|(name, value)| (name.clone(), closed(value))).collect(),
            "items" => closed(value),
            "allOf" | "anyOf" | "oneOf" => items(value).map(closed_inside).collect(),
            _ => value.clone(),
        };
        (key.clone(), value)
    };
    Value::Object(keywords.iter().map(close).collect::<Map<_, _>>())
}

fn closed_children(schemas: &Value) -> Value {
    entries(schemas).map(|(name, schema)| (name.clone(), closed_inside(schema))).collect()
}
