//! `template.yaml` as CloudFormation would carry it out: transformed by SAM's own translator, for given parameters.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use harness::settings::{tool, workspace};
use serde_json::{Map, Value};

use super::functions::pascal_case;
use super::template::list;
use super::{output_as_json, text};

/// A database by secrets, instead of by IAM.
pub const BY_SECRET: [&str; 8] = [
    "DatabaseAuthentication=secret",
    "DatabaseApiSecret=flags/api",
    "DatabaseReaderSecret=flags/reader",
    "DatabaseProcessorSecret=flags/processor",
    "DatabaseMigrateSecret=flags/migrate",
    "DatabaseHost=",
    "DatabaseName=",
    "DatabaseResourceId=",
];
/// In a VPC of its own.
pub const IN_VPC: [&str; 5] = [
    "VpcSubnetIds=subnet-a,subnet-b",
    "VpcSecurityGroupIds=sg-functions,sg-more",
    "CreateVpcEndpoints=yes",
    "VpcId=vpc-0a",
    "VpcRouteTableIds=rtb-a,rtb-b",
];

/// A deployment.
#[derive(Debug)]
pub struct Deployed {
    resources: Map<String, Value>,
    /// The constraints and rules that the parameters break: CloudFormation would not begin.
    pub broken_rules: Vec<String>,
}

/// What is deployed with the least parameters, which `deployed.py` has, and these, each `Name=value`. Found out once, for it takes a second.
pub fn deployed(changes: &[&str]) -> Arc<Deployed> {
    static KNOWN: Mutex<BTreeMap<String, Arc<Deployed>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(known.entry(changes.join("\n")).or_insert_with(|| Arc::new(find_out(changes))))
}

fn find_out(changes: &[&str]) -> Deployed {
    let python = tool("python").unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(python);
    command.arg(workspace().join("tests/deploy/deployed.py")).args(changes);
    let output = output_as_json(&mut command, &super::yaml("template.yaml").to_string());
    let broken = list(&output["BrokenRules"]).into_iter().map(|rule| text(rule).to_owned()).collect();
    let resources = output["Resources"].as_object().cloned().unwrap_or_default();
    assert!(!resources.is_empty(), "nothing is deployed");
    Deployed { resources, broken_rules: broken }
}

impl Deployed {
    /// Whether there is a resource of this id.
    pub fn has(&self, id: &str) -> bool {
        self.resources.contains_key(id)
    }

    /// A resource with all its attributes.
    pub fn resource(&self, id: &str) -> &Value {
        self.resources.get(id).unwrap_or_else(|| panic!("there is no {id}"))
    }

    /// The properties of a resource.
    pub fn properties(&self, id: &str) -> &Value {
        &self.resource(id)["Properties"]
    }

    /// The ids of all resources.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.resources.keys().map(String::as_str)
    }

    /// The types of all resources.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.resources.values().filter_map(|resource| resource["Type"].as_str())
    }

    /// The properties of all resources of a type, by their ids.
    pub fn all(&self, kind: &str) -> BTreeMap<&str, &Value> {
        let of_kind = self.resources.iter().filter(|(_, resource)| resource["Type"] == kind);
        of_kind.map(|(id, resource)| (id.as_str(), &resource["Properties"])).collect()
    }

    /// The properties of all alarms, by their ids; composite ones too.
    pub fn alarms(&self) -> BTreeMap<&str, &Value> {
        let kinds = ["AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"];
        kinds.iter().flat_map(|kind| self.all(kind)).collect()
    }

    /// The properties of a function, by its folder's name.
    pub fn function(&self, name: &str) -> &Value {
        self.properties(&format!("{}Function", pascal_case(name)))
    }

    /// The environment variables of a function.
    pub fn variables(&self, name: &str) -> BTreeMap<&str, &Value> {
        let variables = self.function(name)["Environment"]["Variables"].as_object();
        variables.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect()
    }

    /// The properties of a function's role.
    pub fn role(&self, name: &str) -> &Value {
        self.properties(text(&self.function(name)["Role"]["Fn::GetAtt"][0]))
    }

    /// The statements of a function's role.
    pub fn statements(&self, name: &str) -> Vec<&Value> {
        let policies = list(&self.role(name)["Policies"]).into_iter();
        policies.flat_map(|policy| list(&policy["PolicyDocument"]["Statement"])).collect()
    }
}
