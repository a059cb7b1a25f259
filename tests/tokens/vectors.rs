//! Signatures that are printed in RFCs, so that the algorithms are not only tested against the library that signs for
//! the other tests.
//!
//! Of RFC 7515 and RFC 8037 the header has no `kid`, which step one asks for; step two is called without it.

use flag_schedules::http::algorithms;
use flag_schedules::http::token::{Unverified, check_header, check_signature};
use serde_json::{Value, json};

use super::key_set;

const KEY_ID: &str = "of the RFC";

struct Vector {
    rfc: &'static str,
    algorithm: &'static str,
    key: Value,
    /// The first two segments.
    message: String,
    signature: &'static str,
}

/// The payload of RFC 7515 appendix A.2 and A.3.
const JOE: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
/// The payload of RFC 7520 section 4.
const FRODO: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";

fn vectors() -> Vec<Vector> {
    let bilbo = json!({
        "kty": "RSA", "kid": "bilbo.baggins@hobbiton.example", "use": "sig", "e": "AQAB",
        "n": "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw",
    });
    vec![
        Vector {
            rfc: "RFC 7515 appendix A.2",
            algorithm: "RS256",
            key: json!({
                "kty": "RSA", "kid": KEY_ID, "e": "AQAB",
                "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            }),
            message: format!("eyJhbGciOiJSUzI1NiJ9.{JOE}"),
            signature: "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        },
        Vector {
            rfc: "RFC 7515 appendix A.3",
            algorithm: "ES256",
            key: json!({
                "kty": "EC", "crv": "P-256", "kid": KEY_ID,
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            message: format!("eyJhbGciOiJFUzI1NiJ9.{JOE}"),
            signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        },
        Vector {
            rfc: "RFC 8037 appendix A.4",
            algorithm: "EdDSA",
            key: json!({
                "kty": "OKP", "crv": "Ed25519", "kid": KEY_ID,
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
            message: "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            signature: "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        },
        Vector {
            rfc: "RFC 7520 section 4.1",
            algorithm: "RS256",
            key: bilbo.clone(),
            message: format!(
                "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{FRODO}"
            ),
            signature: "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
        },
        Vector {
            rfc: "RFC 7520 section 4.2",
            algorithm: "PS384",
            key: bilbo,
            message: format!(
                "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{FRODO}"
            ),
            signature: "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
        },
    ]
}

#[test]
fn the_signatures_printed_in_rfcs_verify_and_changed_ones_do_not() {
    for Vector { rfc, algorithm, key, message, signature } in vectors() {
        let keys = key_set(std::slice::from_ref(&key));
        let key_id = key["kid"].as_str().unwrap().to_owned();
        let judge = |message: &str| {
            let payload = message.split_once('.').unwrap().1;
            let algorithm = algorithms::named(algorithm).unwrap();
            let token = Unverified { algorithm, key_id: key_id.clone(), message, payload, signature };
            check_signature(&token, &keys).map(|_| ()).map_err(|error| error.0)
        };

        assert_eq!(judge(&message), Ok(()), "{rfc}");
        assert_eq!(judge(&format!("{message}A")), Err("the signature does not verify"), "{rfc}");
        assert_eq!(judge(&message.replace("ey", "eY")), Err("the signature does not verify"), "{rfc}");
    }
}

#[test]
fn the_header_policy_reads_the_headers_printed_in_rfcs() {
    for Vector { rfc, algorithm, key, message, signature } in vectors() {
        let token = format!("{message}.{signature}");

        match check_header(&token) {
            Ok(read) => {
                assert_eq!(
                    (Some(read.algorithm), json!(read.key_id)),
                    (algorithms::named(algorithm), key["kid"].clone()),
                    "{rfc}"
                );
                assert_eq!(read.message, message, "{rfc}");
            }
            Err(error) => {
                assert_eq!(error.0, "the header has no `kid`", "{rfc}");
                assert_eq!(key["kid"], KEY_ID, "{rfc} has a kid");
            }
        }
    }
}
