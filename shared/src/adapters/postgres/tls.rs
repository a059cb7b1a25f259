//! TLS to the database: required unless the host is this machine; certificate and host name are fully verified.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::rds_roots;
use super::settings::DatabaseSettings;

/// Cheap to clone.
pub(super) type Tls = MakeRustlsConnect;

/// Faults that prevent any connection, whatever the server does.
#[derive(Debug, Error)]
pub enum ConnectionsError {
    #[error("{path}: {reason}")]
    CaFile { path: String, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the connection pool cannot be set up: {0}")]
    Pool(#[from] deadpool::managed::BuildError),
}

impl ConnectionsError {
    /// The setting to correct.
    #[must_use]
    pub fn variable(&self) -> &'static str {
        match self {
            Self::CaFile { .. } => "DATABASE_CA_FILE",
            Self::Tls(_) | Self::Pool(_) => "DATABASE_URL",
        }
    }
}

/// `None` if the settings do not ask for TLS; a bad CA file is an error all the same.
pub(super) fn connector(settings: &DatabaseSettings) -> Result<Option<Tls>, ConnectionsError> {
    let custom = settings.ca_file.as_deref().map(file).transpose()?;
    if !settings.tls {
        return Ok(None);
    }
    let mut roots = custom.unwrap_or_else(RootCertStore::empty);
    roots.extend(rds_roots::anchors());
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(config)))
}

fn file(path: &str) -> Result<RootCertStore, ConnectionsError> {
    let unusable = |reason: String| ConnectionsError::CaFile { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it; it must be a PEM file".to_owned()));
    }
    Ok(roots)
}
