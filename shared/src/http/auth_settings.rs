//! Settings for token verification: the source of keys and the required claims.

use lambda_http::http::Uri;

use super::claim_path::ClaimPath;
use super::keys::{KeySet, KeySource};
use super::token::ClaimSettings;
use crate::config::{Lookup, SettingError, error, is_loopback, optional};

#[derive(Debug)]
pub struct AuthSettings {
    pub keys: KeySource,
    pub claims: ClaimSettings,
}

impl AuthSettings {
    /// Reads `AUTH_…`.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let keys = match (optional(lookup, "AUTH_JWKS"), optional(lookup, "AUTH_JWKS_URL")) {
            (Some(_), Some(_)) => {
                return Err(error("AUTH_JWKS", "and AUTH_JWKS_URL are both set; set one of them"));
            }
            (None, None) => {
                return Err(error(
                    "AUTH_JWKS_URL",
                    "is not set; it must be the https URL of the issuer's key set (or AUTH_JWKS the key set itself)",
                ));
            }
            (Some(json), None) => KeySource::Inline(
                KeySet::parse(json.as_bytes()).map_err(|reason| error("AUTH_JWKS", reason.to_string()))?,
            ),
            (None, Some(url)) => {
                check_key_url(&url)?;
                KeySource::Url(url)
            }
        };
        Ok(Self {
            keys,
            claims: ClaimSettings {
                issuer: optional(lookup, "AUTH_ISSUER"),
                audiences: optional(lookup, "AUTH_AUDIENCE")
                    .map_or_else(|| Ok(Vec::new()), |text| names("AUTH_AUDIENCE", &text))?,
                user_id_claim: claim(lookup, "AUTH_USER_ID_CLAIM", "sub")?,
                groups_claim: claim(lookup, "AUTH_GROUPS_CLAIM", "cognito:groups")?,
                admin_groups: admin_groups(lookup)?,
            },
        })
    }
}

fn claim(lookup: Lookup<'_>, variable: &'static str, default: &str) -> Result<ClaimPath, SettingError> {
    let text = optional(lookup, variable).unwrap_or_else(|| default.to_owned());
    ClaimPath::parse(text).ok_or_else(|| {
        error(variable, "starts with / and is no JSON Pointer (RFC 6901); write `~` as `~0` and `/` as `~1`")
    })
}

/// Separated by commas, or a JSON array for names that contain them. At least one.
fn names(variable: &'static str, text: &str) -> Result<Vec<String>, SettingError> {
    let names: Vec<String> = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|_| {
            error(variable, r#"starts with [ and is no JSON array of texts, such as ["a","b"]"#)
        })?
    } else {
        text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(error(variable, "names nothing; it must be a list such as a,b"));
    }
    Ok(names)
}

fn admin_groups(lookup: Lookup<'_>) -> Result<Vec<String>, SettingError> {
    const VARIABLE: &str = "AUTH_ADMIN_GROUPS";
    let text = optional(lookup, VARIABLE).unwrap_or_else(|| "admin,admins".to_owned());
    let groups = names(VARIABLE, &text)?;
    // Taken apart, a distinguished name would make everybody in `OU=Groups` an admin.
    if !text.starts_with('[') && groups.len() > 1 && groups.iter().any(|group| group.contains('=')) {
        return Err(error(
            VARIABLE,
            r#"looks like a name with commas, such as CN=admins,OU=Groups; write a JSON array, ["CN=admins,OU=Groups"]"#,
        ));
    }
    Ok(groups)
}

/// https only, except for a host on this machine.
fn check_key_url(url: &str) -> Result<(), SettingError> {
    let bad = |reason: &str| error("AUTH_JWKS_URL", format!("{reason}; it must be an https URL"));
    let url: Uri = url.parse().map_err(|_| bad("is not a URL"))?;
    let host = url.host().ok_or_else(|| bad("has no host"))?;
    match url.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback(host) => Ok(()),
        _ => Err(bad("is not https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<ClaimSettings, SettingError> {
        let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let lookup = |variable: &str| match variable {
            "AUTH_JWKS" => Some(keys.to_owned()),
            variable => (variable == name).then(|| value.to_owned()),
        };
        AuthSettings::read(&lookup).map(|settings| settings.claims)
    }

    #[test]
    fn names_with_commas_are_written_as_a_json_array() {
        let groups = |value: &str| read("AUTH_ADMIN_GROUPS", value).map(|claims| claims.admin_groups);
        let audiences = |value: &str| read("AUTH_AUDIENCE", value).map(|claims| claims.audiences);

        assert_eq!(groups(" ops , sre ").unwrap(), ["ops", "sre"]);
        assert_eq!(groups("").unwrap(), ["admin", "admins"]);
        assert_eq!(
            groups(r#" ["CN=flag-admins,OU=Groups,DC=corp", "ops"] "#).unwrap(),
            ["CN=flag-admins,OU=Groups,DC=corp", "ops"]
        );
        assert_eq!(groups("CN=admins").unwrap(), ["CN=admins"]);
        assert_eq!(audiences("a,b").unwrap(), ["a", "b"]);
        assert_eq!(audiences(r#"["a,b"]"#).unwrap(), ["a,b"]);
        assert_eq!(audiences("").unwrap(), [""; 0]);
        for bad in
            ["CN=flag-admins,OU=Groups,DC=corp", "ops,CN=x", ",", "[]", "[\"\"]", "[1]", "[\"a\"", "[a]"]
        {
            assert_eq!(groups(bad).unwrap_err().variable, "AUTH_ADMIN_GROUPS", "{bad}");
        }
        assert_eq!(audiences(",").unwrap_err().variable, "AUTH_AUDIENCE");
    }

    #[test]
    fn a_claim_that_cannot_be_found_is_refused_at_the_start() {
        assert_eq!(
            read("AUTH_GROUPS_CLAIM", "/realm_access/roles").unwrap().groups_claim.as_str(),
            "/realm_access/roles"
        );
        assert_eq!(read("AUTH_GROUPS_CLAIM", "/a~b").unwrap_err().variable, "AUTH_GROUPS_CLAIM");
        assert_eq!(read("AUTH_USER_ID_CLAIM", "/~").unwrap_err().variable, "AUTH_USER_ID_CLAIM");
    }

    #[test]
    fn a_key_url_is_https_but_for_this_machine() {
        assert!(check_key_url("https://issuer.example.com/.well-known/jwks.json").is_ok());
        assert!(check_key_url("http://127.0.0.1:9000/jwks").is_ok());
        for url in ["http://issuer.example.com/jwks", "ftp://issuer.example.com/jwks", "jwks.json", ""] {
            assert!(check_key_url(url).is_err(), "{url:?} was accepted");
        }
    }
}
