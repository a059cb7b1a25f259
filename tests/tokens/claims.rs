//! Step three: what signed claims must say. The time is a parameter, so every limit is tested to the second.

use std::sync::LazyLock;

use flag_schedules::domain::time::Timestamp;
use flag_schedules::http::claim_path::ClaimPath;
use flag_schedules::http::keys::KeySet;
use flag_schedules::http::token::{
    ClaimSettings, Identity, check_claims, check_header, check_signature, claims_at_fault,
};
use harness::tokens::Keys;
use serde_json::{Value, json};

use super::keys_of;

const NO_OBJECT: &str = "the claims are not a JSON object in base64url";
const WRONG_TYPE: &str = "the claims lack `exp` or `iat`, or one of them has the wrong type";
const EXPIRED: &str = "the token has expired";
const NOT_YET: &str = "the token is not valid yet";
const IN_THE_FUTURE: &str = "the token was issued in the future";
const TOO_LONG: &str = "the token is valid for more than 24 hours";
const ISSUER: &str = "the issuer is another";
const AUDIENCE: &str = "the audience is another";
const NOBODY: &str = "there is no user id: nobody could be held accountable";
const LONG: &str = "the user id is too long";
const CONTROL: &str = "the user id or the e-mail address has control characters";

/// 2026-02-09T09:00:00Z.
const NOW: i64 = 1_770_627_600;

static KEYS: LazyLock<(Keys, KeySet)> = LazyLock::new(|| {
    let keys = Keys::generate();
    let set = keys_of(&keys);
    (keys, set)
});

fn claim(path: &str) -> ClaimPath {
    ClaimPath::parse(path.to_owned()).unwrap()
}

fn settings() -> ClaimSettings {
    ClaimSettings {
        issuer: Some("https://id.example.test".to_owned()),
        audiences: vec!["flag-admin".to_owned()],
        user_id_claim: claim("sub"),
        groups_claim: claim("groups"),
        admin_groups: vec!["admin".to_owned(), "ops".to_owned()],
    }
}

/// A token with these claims, well signed.
fn token(claims: &str) -> String {
    let (keys, _) = &*KEYS;
    keys.raw_token(&json!({"alg": "ES256", "kid": keys.kid()}).to_string(), claims)
}

/// What step three says of these claims.
fn judge_text(claims: &str, settings: &ClaimSettings) -> Result<Identity, &'static str> {
    let token = token(claims);
    let unverified = check_header(&token).unwrap();
    let signed = check_signature(&unverified, &KEYS.1).unwrap();
    let now = Timestamp::parse("2026-02-09T09:00:00Z").unwrap();
    check_claims(&signed, settings, now).map_err(|error| error.0)
}

/// Good claims with these changes: null leaves one out, and `"null"` is a null.
fn but(changes: Value) -> String {
    let mut claims = json!({
        "iss": "https://id.example.test", "aud": "flag-admin", "sub": "admin-1", "email": "admin@example.test",
        "groups": ["admin"], "iat": NOW, "exp": NOW + 3600,
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            Value::String(null) if null == "null" => {
                claims.as_object_mut().unwrap().insert(name.clone(), Value::Null)
            }
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims.to_string()
}

fn judge(changes: Value) -> Result<Identity, &'static str> {
    judge_text(&but(changes), &settings())
}

#[test]
fn the_time_is_right_up_to_the_limits_and_not_beyond() {
    for (changes, expected) in [
        (json!({}), None),
        (json!({"exp": 1_770_627_700.5, "iat": 1_770_627_590.25}), None),
        (json!({"exp": NOW, "iat": NOW - 60}), None),
        (json!({"exp": NOW - 29, "iat": NOW - 60}), None),
        (json!({"exp": NOW - 30, "iat": NOW - 60}), Some(EXPIRED)),
        (json!({"exp": 0, "iat": 0}), Some(EXPIRED)),
        (json!({"exp": -1, "iat": -60}), Some(EXPIRED)),
        (json!({"nbf": NOW - 86_400}), None),
        (json!({"nbf": NOW + 30}), None),
        (json!({"nbf": NOW + 31}), Some(NOT_YET)),
        (json!({"nbf": 1e300}), Some(NOT_YET)),
        (json!({"iat": NOW + 30}), None),
        (json!({"iat": NOW + 31}), Some(IN_THE_FUTURE)),
        (json!({"iat": NOW, "exp": NOW + 86_400}), None),
        (json!({"iat": NOW - 1, "exp": NOW + 86_400}), Some(TOO_LONG)),
        (json!({"iat": NOW, "exp": 1e300}), Some(TOO_LONG)),
        (json!({"iat": -1e300, "exp": NOW + 10}), Some(TOO_LONG)),
        (json!({"exp": null}), Some(WRONG_TYPE)),
        (json!({"exp": "null"}), Some(WRONG_TYPE)),
        (json!({"exp": (NOW + 60).to_string()}), Some(WRONG_TYPE)),
        (json!({"exp": true}), Some(WRONG_TYPE)),
        (json!({"iat": null}), Some(WRONG_TYPE)),
        (json!({"iat": "null"}), Some(WRONG_TYPE)),
        (json!({"iat": NOW.to_string()}), Some(WRONG_TYPE)),
        (json!({"nbf": "null"}), Some(WRONG_TYPE)),
        (json!({"nbf": NOW.to_string()}), Some(WRONG_TYPE)),
    ] {
        assert_eq!(judge(changes.clone()).err(), expected, "{changes}");
    }
}

#[test]
fn the_issuer_and_the_audience_must_be_the_expected_ones() {
    for (changes, expected) in [
        (json!({"iss": null}), Some(ISSUER)),
        (json!({"iss": "null"}), Some(ISSUER)),
        (json!({"iss": ""}), Some(ISSUER)),
        (json!({"iss": "https://id.example.test/"}), Some(ISSUER)),
        (json!({"iss": "HTTPS://ID.EXAMPLE.TEST"}), Some(ISSUER)),
        (json!({"iss": ["https://id.example.test"]}), Some(WRONG_TYPE)),
        (json!({"aud": ["other", "flag-admin"]}), None),
        (json!({"aud": "flag"}), Some(AUDIENCE)),
        (json!({"aud": "flag-admin flag"}), Some(AUDIENCE)),
        (json!({"aud": []}), Some(AUDIENCE)),
        (json!({"aud": ["other"]}), Some(AUDIENCE)),
        (json!({"aud": ["flag-admin", 1]}), Some(WRONG_TYPE)),
        (json!({"aud": [["flag-admin"]]}), Some(WRONG_TYPE)),
        (json!({"aud": {"flag-admin": 1}}), Some(WRONG_TYPE)),
        (json!({"aud": null}), Some(AUDIENCE)),
        (json!({"aud": null, "client_id": "flag-admin"}), None),
        (json!({"aud": null, "client_id": "other"}), Some(AUDIENCE)),
        (json!({"aud": null, "client_id": ["flag-admin"]}), Some(WRONG_TYPE)),
        (json!({"aud": "null", "client_id": "flag-admin"}), Some(WRONG_TYPE)),
        (json!({"aud": [], "client_id": "flag-admin"}), Some(AUDIENCE)),
        (json!({"aud": "other", "client_id": "flag-admin"}), Some(AUDIENCE)),
        (json!({"client_id": "other"}), None),
    ] {
        assert_eq!(judge(changes.clone()).err(), expected, "{changes}");
    }
}

#[test]
fn issuer_and_audience_are_unchecked_when_none_is_expected() {
    let anybodys = ClaimSettings { issuer: None, audiences: Vec::new(), ..settings() };

    for changes in [json!({}), json!({"iss": null, "aud": null}), json!({"iss": "x", "aud": "y"})] {
        let judged = judge_text(&but(changes.clone()), &anybodys);
        assert_eq!(judged.map(|identity| identity.is_admin), Ok(true), "{changes}");
    }
}

#[test]
fn there_is_a_user_id_that_can_be_written_down() {
    let (longest, longer, escape) = ("ü".repeat(256), "ü".repeat(257), "\u{1b}[31madmin");
    for (changes, expected) in [
        (json!({"sub": longest}), None),
        (json!({"sub": longer}), Some(LONG)),
        (json!({"sub": "x".repeat(2_600)}), Some(LONG)),
        (json!({"sub": "' or 1=1 --"}), None),
        (json!({"email": null}), None),
        (json!({"email": "null"}), None),
        (json!({"sub": null}), Some(NOBODY)),
        (json!({"sub": "null"}), Some(NOBODY)),
        (json!({"sub": ""}), Some(NOBODY)),
        (json!({"sub": "  "}), Some(NOBODY)),
        (json!({"sub": "\u{a0}\u{3000}"}), Some(NOBODY)),
        (json!({"sub": 7}), None),
        (json!({"sub": 7.0}), Some(NOBODY)),
        (json!({"sub": 1e30}), Some(NOBODY)),
        (json!({"sub": true}), Some(NOBODY)),
        (json!({"sub": ["admin-1"]}), Some(NOBODY)),
        (json!({"sub": "admin\n"}), Some(CONTROL)),
        (json!({"sub": "admin\0"}), Some(CONTROL)),
        (json!({"sub": escape}), Some(CONTROL)),
        (json!({"sub": "admin\u{85}"}), Some(CONTROL)),
        (json!({"sub": "admin\u{7f}"}), Some(CONTROL)),
        (json!({"email": "a@example.test\r\nbcc: all"}), Some(CONTROL)),
        (json!({"email": "a@example.test\0"}), Some(CONTROL)),
        (json!({"email": 1}), Some(WRONG_TYPE)),
    ] {
        assert_eq!(judge(changes.clone()).err(), expected, "{changes}");
    }
}

#[test]
fn the_admin_is_named_as_the_token_says() {
    let other = ClaimSettings { user_id_claim: claim("username"), ..settings() };

    let usual = judge(json!({})).unwrap();
    let chosen = judge_text(&but(json!({"username": "zoe", "sub": null, "email": null})), &other).unwrap();

    assert_eq!(usual.user.user_id, "admin-1");
    assert_eq!(usual.user.email.as_deref(), Some("admin@example.test"));
    assert_eq!(chosen.user.user_id, "zoe");
    assert_eq!(chosen.user.email, None);
    assert_eq!(judge_text(&but(json!({})), &other).err(), Some(NOBODY), "sub is not the user's id there");
    assert_eq!(judge_text(&but(json!({"username": "a\tb"})), &other).err(), Some(CONTROL));
}

#[test]
fn a_user_id_that_is_an_integer_is_written_in_digits() {
    for (integer, user_id) in [
        (json!(0), "0"),
        (json!(-7), "-7"),
        (json!(9_007_199_254_740_993_u64), "9007199254740993"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(i64::MIN), "-9223372036854775808"),
    ] {
        assert_eq!(judge(json!({ "sub": integer })).unwrap().user.user_id, user_id);
    }
    // Beyond 64 bits a number is not exact, and two users would be one.
    let long = but(json!({})).replace(r#""admin-1""#, "18446744073709551616");
    assert_eq!(judge_text(&long, &settings()).err(), Some(NOBODY), "{long}");
}

#[test]
fn one_of_several_audiences_is_enough() {
    let several = ClaimSettings { audiences: vec!["a,b".to_owned(), "c".to_owned()], ..settings() };

    for (changes, expected) in [
        (json!({"aud": "c"}), None),
        (json!({"aud": "a,b"}), None),
        (json!({"aud": ["x", "c"]}), None),
        (json!({"aud": null, "client_id": "c"}), None),
        (json!({"aud": "a"}), Some(AUDIENCE)),
        (json!({"aud": "flag-admin"}), Some(AUDIENCE)),
        (json!({"aud": "x", "client_id": "c"}), Some(AUDIENCE)),
        (json!({"aud": null, "client_id": "x"}), Some(AUDIENCE)),
        (json!({"aud": null}), Some(AUDIENCE)),
    ] {
        assert_eq!(judge_text(&but(changes.clone()), &several).err(), expected, "{changes}");
    }
}

#[test]
fn claims_inside_of_others_are_found_by_a_pointer() {
    let nested = ClaimSettings {
        user_id_claim: claim("/user/id"),
        groups_claim: claim("/realm_access/roles"),
        ..settings()
    };
    let judge =
        |changes: Value| judge_text(&but(changes), &nested).map(|found| (found.user.user_id, found.is_admin));

    let user = json!({"id": "zoe"});
    for (changes, expected) in [
        (json!({"user": user, "realm_access": {"roles": ["staff", "ops"]}}), Ok(true)),
        (json!({"user": user, "realm_access": {"roles": ["staff"]}}), Ok(false)),
        (json!({"user": user, "realm_access": {"roles": {"ops": true}}}), Ok(false)),
        (json!({"user": user, "realm_access": ["ops"]}), Ok(false)),
        (json!({"user": user, "realm_access": null, "/realm_access/roles": ["ops"]}), Ok(false)),
        (json!({"user": user}), Ok(false)),
        (json!({"user": "zoe", "realm_access": {"roles": ["ops"]}}), Err(NOBODY)),
        (json!({"/user/id": "zoe", "realm_access": {"roles": ["ops"]}}), Err(NOBODY)),
    ] {
        let expected = expected.map(|is_admin| ("zoe".to_owned(), is_admin));
        assert_eq!(judge(changes.clone()), expected, "{changes}");
    }
}

#[test]
fn scopes_are_a_list_with_spaces_in_between_and_other_texts_are_not() {
    for claim_name in ["scope", "scp"] {
        let by_scope = ClaimSettings { groups_claim: claim(claim_name), ..settings() };
        for (scopes, is_admin) in [
            (json!("admin"), true),
            (json!("openid ops profile"), true),
            (json!(" openid  ops "), true),
            (json!(["openid", "ops"]), true),
            (json!(["openid ops"]), false),
            (json!("openid,ops"), false),
            (json!("openid\tops"), false),
            (json!("ops\u{a0}"), false),
            (json!("administrators OPS"), false),
            (json!(""), false),
        ] {
            let judged = judge_text(&but(json!({ claim_name: scopes })), &by_scope);
            assert_eq!(judged.map(|identity| identity.is_admin), Ok(is_admin), "{claim_name}: {scopes}");
        }
    }
}

#[test]
fn it_is_known_whether_the_claim_with_the_groups_is_there() {
    for (changes, has_groups) in [
        (json!({}), true),
        (json!({"groups": []}), true),
        (json!({"groups": "null"}), true),
        (json!({"groups": null}), false),
        (json!({"groups": null, "cognito:groups": ["admin"]}), false),
    ] {
        assert_eq!(judge(changes.clone()).unwrap().has_groups, has_groups, "{changes}");
    }
}

/// For the log, which tells what a provider forgot.
#[test]
fn it_is_known_which_claims_are_missing_or_of_another_type() {
    let unchecked = ClaimSettings { issuer: None, audiences: Vec::new(), ..settings() };
    let nested = ClaimSettings { user_id_claim: claim("/user/id"), ..settings() };
    let at_fault = |text: &str, settings: &ClaimSettings| {
        let token = token(text);
        let unverified = check_header(&token).unwrap();
        claims_at_fault(&check_signature(&unverified, &KEYS.1).unwrap(), settings).join(", ")
    };
    for (changes, settings, expected) in [
        (json!({}), settings(), ""),
        (json!({"nbf": NOW}), settings(), ""),
        (json!({"exp": null}), settings(), "no `exp`"),
        (json!({"iat": null}), settings(), "no `iat`"),
        (json!({"iss": null}), settings(), "no `iss`"),
        (json!({"iss": "null"}), settings(), "no `iss`"),
        (json!({"aud": null}), settings(), "no `aud`"),
        (json!({"aud": null, "client_id": "x"}), settings(), ""),
        (json!({"aud": "x"}), settings(), ""),
        (json!({"aud": ["x"]}), settings(), ""),
        (json!({"sub": null}), settings(), "no `sub`"),
        (json!({"sub": "null"}), settings(), "no `sub`"),
        (json!({"sub": "", "email": null, "groups": null}), settings(), ""),
        (json!({"sub": 7}), settings(), ""),
        (json!({"exp": null, "iat": null, "aud": null}), settings(), "no `exp`, no `iat`, no `aud`"),
        (json!({"iss": null, "aud": null}), unchecked.clone(), ""),
        (json!({"iss": 5, "aud": ["a", 1]}), unchecked, "`iss` has another type, `aud` has another type"),
        (json!({"exp": "1", "iat": true}), settings(), "`exp` has another type, `iat` has another type"),
        (
            json!({"nbf": "1", "client_id": []}),
            settings(),
            "`nbf` has another type, `client_id` has another type",
        ),
        (json!({"email": false, "sub": 1.5}), settings(), "`email` has another type, `sub` has another type"),
        (json!({"sub": {"a": 1}}), settings(), "`sub` has another type"),
        (json!({"user": {"id": 7}}), nested.clone(), ""),
        (json!({"user": {"id": null}}), nested.clone(), "no `/user/id`"),
        (json!({"user": {"id": []}}), nested.clone(), "`/user/id` has another type"),
        (json!({"user": {}}), nested, "no `/user/id`"),
    ] {
        assert_eq!(at_fault(&but(changes.clone()), &settings), expected, "{changes}");
    }
    assert_eq!(at_fault("[]", &settings()), "");
}

#[test]
fn an_admin_has_one_of_the_admin_groups_exactly() {
    for (groups, is_admin) in [
        (json!(["admin"]), true),
        (json!(["staff", "ops"]), true),
        (json!("ops"), true),
        (json!([1, null, ["x"], "admin"]), true),
        (json!([]), false),
        (json!(["Admin", "admin ", "administrators", ""]), false),
        (json!("admin ops"), false),
        (json!("admin,ops"), false),
        (json!([["admin"]]), false),
        (json!({"admin": true}), false),
        (json!(true), false),
        (json!("null"), false),
        (json!(null), false),
    ] {
        let judged = judge(json!({ "groups": groups })).map(|identity| identity.is_admin);
        assert_eq!(judged, Ok(is_admin), "{groups}");
    }
    let elsewhere = judge(json!({"groups": null, "cognito:groups": ["admin"], "roles": ["admin"]}));
    assert_eq!(elsewhere.map(|identity| identity.is_admin), Ok(false), "another claim is not asked");
}

#[test]
fn claims_are_one_json_object_without_a_name_twice() {
    let good = but(json!({}));
    let twice = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    for text in [
        String::new(),
        "[]".to_owned(),
        "sub=admin".to_owned(),
        format!("[{good}]"),
        format!("{good}{good}"),
        format!("\u{feff}{good}"),
        twice(r#""sub":"admin-2""#),
        twice(r#""exp":99999999999"#),
        twice(r#""\u0065xp":99999999999"#),
        twice(r#""groups":["admin"]"#),
        twice(r#""a":{"b":1,"b":2}"#),
    ] {
        assert_eq!(judge_text(&text, &settings()).err(), Some(NO_OBJECT), "{text}");
    }
}
