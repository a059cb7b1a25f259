//! The database that `DATABASE_URL` names, wherever it is; only for looking whether it is there, and for the demo flags.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::{Error, Result, settings};
use local_stack::postgres::without_password;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Connects: on this machine without TLS, elsewhere with a verified certificate, as the service does.
pub async fn connect(url: &str) -> Result<Client> {
    let place = without_password(url);
    let cause = match tokio::time::timeout(Duration::from_secs(10), open(url)).await {
        Ok(Ok(client)) => return Ok(client),
        Ok(Err(cause)) => cause,
        Err(_) => "no answer within ten seconds".into(),
    };
    Err(Error::because(format!("cannot reach the database of DATABASE_URL ({place})"), cause))
}

async fn open(url: &str) -> std::result::Result<Client, Cause> {
    let mut config: Config = known_ssl_mode(url).parse()?;
    if config.get_hosts().iter().all(is_local) {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        return Ok(client);
    }
    config.ssl_mode(SslMode::Require);
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let of_rds = settings::workspace().join("shared/src/adapters/postgres/rds-roots/roots.pem");
    for file in [Some(of_rds), settings::get("DATABASE_CA_FILE").map(PathBuf::from)].into_iter().flatten() {
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The driver knows three values of `sslmode` only; certificates are verified here whatever it says.
fn known_ssl_mode(url: &str) -> String {
    url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require")
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        Host::Unix(_) => true,
    }
}
