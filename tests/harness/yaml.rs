//! YAML files of the repository as JSON, with CloudFormation's short forms (`!Ref x`) written out (`{"Ref": "x"}`).

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use crate::error::{Doing, Error, Result};
use crate::settings::workspace;

/// Reads a file by its path in the repository.
pub fn read(file: &str) -> Result<Value> {
    let text = std::fs::read_to_string(workspace().join(file)).doing(|| format!("cannot read {file}"))?;
    match Yaml::load_from_str(&text).doing(|| format!("{file} is not YAML"))?.as_slice() {
        [document] => to_json(document).doing(|| format!("cannot read {file}")),
        documents => Err(Error::new(format!("{file} has {} documents, not one", documents.len()))),
    }
}

fn to_json(node: &Yaml) -> Result<Value> {
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(items) => items.iter().map(to_json).collect::<Result<_>>()?,
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (name, value) in entries {
                let name = match to_json(name)? {
                    Value::String(name) => name,
                    other => other.to_string(),
                };
                object.insert(name, to_json(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tag, value) => {
            let name = match tag.suffix.as_str() {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            Value::Object(Map::from_iter([(name, to_json(value)?)]))
        }
        other => return Err(Error::new(format!("JSON has nothing for {other:?}"))),
    })
}
