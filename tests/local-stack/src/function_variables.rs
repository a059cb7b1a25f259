//! What the functions of the local stack are started with: behind `cargo lambda watch`, and by `sam local` in containers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::endpoints::ROLES;

/// What the template sets for a deployment, and no function behind the local stack has. Empty is as good as unset.
const DEPLOYED_ONLY: [&str; 3] = ["AUTH_JWKS_URL", "DATABASE_AUTH", "DATABASE_CA_FILE"];
const BY_SAM: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY"];
/// Left to the template's default: a tick by hand is to end.
const LEFT_OUT: &str = "TICK_WATCH";

#[derive(Debug, Clone, Default)]
pub struct FunctionVariables {
    pub common: BTreeMap<String, String>,
    /// The database, as each function signs in.
    pub database_urls: BTreeMap<&'static str, String>,
}

impl FunctionVariables {
    pub fn of(&self, function: &str) -> BTreeMap<String, String> {
        let mut variables = self.common.clone();
        variables
            .extend(self.database_urls.get(function).map(|url| ("DATABASE_URL".to_owned(), url.clone())));
        variables
    }

    /// The file for `sam local --env-vars`. SAM hands over only variables that `template.yaml` sets too, and ignores all
    /// others without a word.
    ///
    /// A container's `127.0.0.1` is its own. Its `localhost` is this machine too, by `add_host` in `samconfig.toml`; and it has
    /// to be that name, because a database anywhere else is not spoken to without TLS.
    pub fn sam_env(&self) -> Value {
        let unset = DEPLOYED_ONLY.iter().map(|name| ((*name).to_owned(), json!("")));
        let ours =
            self.common.iter().filter(|(name, _)| !BY_SAM.contains(&name.as_str()) && *name != LEFT_OUT);
        let ours = ours.map(|(name, value)| (name.clone(), json!(in_a_container(value))));
        let mut file = Map::new();
        file.insert("Parameters".to_owned(), ours.chain(unset).collect());
        for (function, url) in &self.database_urls {
            file.insert(logical_id(function), json!({"DATABASE_URL": in_a_container(url)}));
        }
        Value::Object(file)
    }
}

/// The addresses of a database for the functions, given the one of a role.
pub fn database_urls(address: impl Fn(&str) -> String) -> BTreeMap<&'static str, String> {
    ROLES.iter().map(|(function, role)| (*function, address(role))).collect()
}

/// Its name in the template: `list-schedules` is `ListSchedulesFunction` there.
fn logical_id(function: &str) -> String {
    let words = function.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.chain(["Function".to_owned()]).collect()
}

fn in_a_container(value: &str) -> String {
    value.replace("127.0.0.1", "localhost")
}
