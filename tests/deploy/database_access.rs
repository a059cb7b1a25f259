//! How the functions get at the database: no password under IAM, one secret for each role otherwise.

use std::str::FromStr;

use harness::api::FUNCTIONS;

use super::deployed::{BY_SECRET, deployed};
use super::text;

/// The role that a function signs in as, and the parameter with its secret.
fn role_of(function: &str) -> (&'static str, &'static str) {
    match function {
        "schedule-processor" => ("flag_schedules_processor", "flags/processor"),
        "verify-trail" => ("flag_schedules_reader", "flags/reader"),
        "migrate" => ("flag_schedules_migrate", "flags/migrate"),
        "list-schedules" => ("flag_schedules_reader", "flags/reader"),
        _ => ("flag_schedules_api", "flags/api"),
    }
}

#[test]
fn under_iam_every_function_signs_in_as_its_own_role_without_a_password() {
    let deployed = deployed(&[]);
    for function in FUNCTIONS {
        let variables = deployed.variables(function);
        assert_eq!(text(variables["DATABASE_AUTH"]), "iam", "{function}");
        let url = text(variables["DATABASE_URL"]);
        let config = tokio_postgres::Config::from_str(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(config.get_user(), Some(role_of(function).0), "{function}");
        assert_eq!(config.get_password(), None, "{function}");
        assert_eq!((config.get_dbname(), config.get_ports()), (Some("flags"), &[5432][..]), "{function}");
        assert_eq!(
            config.get_hosts(),
            [tokio_postgres::config::Host::Tcp("db.example.test".to_owned())],
            "{function}"
        );
    }
}

#[test]
fn with_secrets_every_function_reads_the_url_of_its_own_role() {
    let deployed = deployed(&BY_SECRET);
    for function in FUNCTIONS {
        let variables = deployed.variables(function);
        assert_eq!(variables.get("DATABASE_AUTH"), None, "{function}");
        let reference = format!("{{{{resolve:secretsmanager:{}:SecretString:url}}}}", role_of(function).1);
        assert_eq!(text(variables["DATABASE_URL"]), reference, "{function}");
    }
}

/// As in a stack of an earlier release, before the reader is created.
#[test]
fn without_a_reader_the_function_that_lists_signs_in_as_the_api() {
    for (function, role, secret) in [
        ("list-schedules", "flag_schedules_api", "flags/api"),
        ("migrate", "flag_schedules_migrate", "flags/migrate"),
    ] {
        let by_iam = deployed(&["DatabaseReaderUser="]);
        let by_secret = deployed(&[&BY_SECRET[..], &["DatabaseReaderSecret="]].concat());

        let url = text(by_iam.variables(function)["DATABASE_URL"]);
        assert!(url.starts_with(&format!("postgres://{role}@")), "{function}: {url}");
        let url = text(by_secret.variables(function)["DATABASE_URL"]);
        assert_eq!(url, format!("{{{{resolve:secretsmanager:{secret}:SecretString:url}}}}"), "{function}");
        assert_eq!(by_secret.broken_rules, Vec::<String>::new());
    }
}

#[test]
fn no_secret_is_in_an_environment_but_by_reference() {
    for (changes, references) in [(&[][..], 0), (&BY_SECRET[..], 1)] {
        let deployed = deployed(changes);
        for function in FUNCTIONS {
            let values = deployed.variables(function);
            let found: Vec<_> =
                values.iter().filter(|(_, value)| value.to_string().contains("{{resolve:")).collect();
            assert_eq!(found.len(), references, "{function}: {found:?}");
            let telling = |name: &&&str| {
                ["PASSWORD", "SECRET", "TOKEN", "PRIVATE"].iter().any(|word| name.contains(word))
            };
            assert_eq!(values.keys().find(telling), None, "{function}");
        }
    }
}

#[test]
fn a_private_certificate_authority_comes_by_a_layer() {
    let layer = "arn:aws:lambda:eu-central-1:123456789012:layer:database-ca:1";
    let (with, without) = (deployed(&[&format!("DatabaseCaLayerArn={layer}")]), deployed(&[]));
    for function in FUNCTIONS {
        assert_eq!(with.function(function)["Layers"], serde_json::json!([layer]), "{function}");
        // Lambda unpacks layers there.
        assert_eq!(text(with.variables(function)["DATABASE_CA_FILE"]), "/opt/database-ca.pem", "{function}");
        assert_eq!(without.function(function)["Layers"], serde_json::json!([]), "{function}");
        assert_eq!(without.variables(function).get("DATABASE_CA_FILE"), None, "{function}");
    }
}

#[test]
fn what_is_missing_is_told_before_anything_is_deployed() {
    assert_eq!(deployed(&[]).broken_rules, Vec::<String>::new());
    assert_eq!(deployed(&BY_SECRET).broken_rules, Vec::<String>::new());
    let without =
        ["DatabaseHost=", "DatabaseName=", "DatabaseResourceId=", "AuthJwksUrl=", "CreateVpcEndpoints=yes"];
    assert_eq!(
        deployed(&without).broken_rules,
        [
            "DatabaseByIam: DatabaseAuthentication iam needs DatabaseHost.",
            "DatabaseByIam: DatabaseAuthentication iam needs DatabaseName.",
            "DatabaseByIam: DatabaseAuthentication iam needs DatabaseResourceId.",
            "EndpointsInVpc: CreateVpcEndpoints needs VpcId.",
            "EndpointsInVpc: CreateVpcEndpoints needs VpcSubnetIds.",
            "EndpointsInVpc: CreateVpcEndpoints needs VpcSecurityGroupIds.",
            "EndpointsInVpc: CreateVpcEndpoints needs VpcRouteTableIds.",
            "OneKeySet: Give either AuthJwksUrl or AuthJwks.",
        ]
    );
    assert_eq!(
        deployed(&[r#"AuthJwks={"keys":[{"kty":"RSA"}]}"#, "DatabaseAuthentication=secret"]).broken_rules,
        [
            "DatabaseBySecret: DatabaseAuthentication secret needs DatabaseApiSecret.",
            "DatabaseBySecret: DatabaseAuthentication secret needs DatabaseProcessorSecret.",
            "DatabaseBySecret: DatabaseAuthentication secret needs DatabaseMigrateSecret.",
            "OneKeySet: Give either AuthJwksUrl or AuthJwks.",
        ]
    );
}
