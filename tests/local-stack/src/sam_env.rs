//! SAM CLI's file of environment variables: the settings of the local stack for functions that `sam local` runs in
//! containers. SAM hands over only variables that `template.yaml` sets too, and ignores all others without a word.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What the template sets for a deployment, and no function behind the local stack has. Empty is as good as unset.
const DEPLOYED_ONLY: [&str; 3] = ["AUTH_JWKS_URL", "DATABASE_AUTH", "DATABASE_CA_FILE"];
const BY_SAM: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY"];

/// The file for `--env-vars`, from the settings of the functions behind the local stack.
///
/// A container's `127.0.0.1` is its own. Its `localhost` is this machine too, by `add_host` in `samconfig.toml`; and it has
/// to be that name, because a database anywhere else is not spoken to without TLS.
pub fn env_vars(settings: &BTreeMap<String, String>) -> Value {
    let unset = DEPLOYED_ONLY.iter().map(|name| ((*name).to_owned(), json!("")));
    let ours = settings.iter().filter(|(name, _)| !BY_SAM.contains(&name.as_str()));
    let ours = ours.map(|(name, value)| (name.clone(), json!(value.replace("127.0.0.1", "localhost"))));
    json!({"Parameters": ours.chain(unset).collect::<Map<_, _>>()})
}
