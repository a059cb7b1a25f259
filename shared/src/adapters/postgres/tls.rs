//! TLS to the database: always, unless the host is this machine; certificate and host name verified in full.
//!
//! `config` reads the URL's `sslmode` before the driver does, which knows three of its values only.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::rds_roots;
use super::settings::DatabaseSettings;

/// Makes TLS connections to the database; cheap to clone.
pub(super) type Tls = MakeRustlsConnect;

/// Why there can be no connection to the database, whatever the server does.
#[derive(Debug, Error)]
pub enum ConnectionsError {
    /// The file of `DATABASE_CA_FILE` cannot be used.
    #[error("{path}: {reason}")]
    CaFile {
        /// The path.
        path: String,
        /// Why.
        reason: String,
    },
    /// The TLS library cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The pool cannot be set up.
    #[error("the connection pool cannot be set up: {0}")]
    Pool(#[from] deadpool::managed::BuildError),
}

impl ConnectionsError {
    /// The setting to look at.
    #[must_use]
    pub fn variable(&self) -> &'static str {
        match self {
            Self::CaFile { .. } => "DATABASE_CA_FILE",
            Self::Tls(_) | Self::Pool(_) => "DATABASE_URL",
        }
    }
}

/// What makes TLS connections under these settings; nothing where they ask for none. A bad file is told all the same.
pub(super) fn connector(settings: &DatabaseSettings) -> Result<Option<Tls>, ConnectionsError> {
    let further = settings.ca_file.as_deref().map(file).transpose()?;
    if !settings.tls {
        return Ok(None);
    }
    let mut roots = further.unwrap_or_else(RootCertStore::empty);
    roots.extend(rds_roots::anchors());
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(config)))
}

/// The roots of a PEM file.
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
