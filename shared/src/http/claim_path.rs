//! Where in a token's claims a value is.

use serde_json::Value;

/// The name of a claim; or, if it starts with `/`, a JSON Pointer (RFC 6901), such as `/realm_access/roles`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(String);

impl ClaimPath {
    /// `None` for a pointer in which a `~` is followed by neither 0 nor 1: it would point nowhere.
    #[must_use]
    pub fn parse(text: String) -> Option<Self> {
        let escapes = |part: &str| part.starts_with(['0', '1']);
        let is_pointer = text.starts_with('/');
        (!is_pointer || text.split('~').skip(1).all(escapes)).then_some(Self(text))
    }

    #[must_use]
    pub fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&self.0) }
    }

    /// Whether a text at this place is a list with spaces in between (RFC 8693 section 4.2).
    #[must_use]
    pub fn is_scope(&self) -> bool {
        let name =
            self.0.strip_prefix('/').map_or(self.0.as_str(), |path| path.rsplit('/').next().unwrap_or(path));
        ["scope", "scp"].contains(&name)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> ClaimPath {
        ClaimPath::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn a_claim_is_named_by_its_key_or_by_a_pointer() {
        let claims = json!({
            "a/b": 1, "https://example.com/roles": 2, "a": {"b": 3, "c/d": 4, "e~f": 5, "": 6}, "l": [7, {"m": 8}], "": {"x": 9},
        });

        for (name, found) in [
            ("a/b", 1),
            ("https://example.com/roles", 2),
            ("/a/b", 3),
            ("/a/c~1d", 4),
            ("/a/e~0f", 5),
            ("/a/", 6),
            ("/l/0", 7),
            ("/l/1/m", 8),
            ("//x", 9),
        ] {
            assert_eq!(path(name).find(&claims), Some(&json!(found)), "{name}");
        }
        for nothing in ["b", "/b", "/a/b/c", "/l/2", "/l/-", "/l/00", "a.b", "/A/b"] {
            assert_eq!(path(nothing).find(&claims), None, "{nothing}");
        }
    }

    #[test]
    fn a_pointer_that_escapes_nothing_is_none() {
        for text in ["/a~", "/a~2b", "/~", "/a~0~"] {
            assert_eq!(ClaimPath::parse(text.to_owned()), None, "{text}");
        }
        assert!(ClaimPath::parse("a~b".to_owned()).is_some(), "a key may have any character");
    }

    #[test]
    fn scopes_are_lists_wherever_they_are() {
        for scope in ["scope", "scp", "/scope", "/nested/scp"] {
            assert!(path(scope).is_scope(), "{scope}");
        }
        for other in ["scopes", "groups", "/scope/x", "nested/scope", "/a/scope~1", "Scope"] {
            assert!(!path(other).is_scope(), "{other}");
        }
    }
}
