//! Certificates made for a test: a private authority, and what it or nobody signs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::scratch::Scratch;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority that nobody trusts unless told to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    folder: Scratch,
}

/// The years in which a certificate is valid: from the first of January of the first to that of the second.
pub type Years = (i32, i32);
/// Now, whenever that is.
pub const NOW: Years = (2020, 4000);
/// Not any more.
pub const PAST: Years = (2010, 2020);
/// Not yet.
pub const FUTURE: Years = (3990, 4000);

impl Authority {
    /// Makes one, with its certificate in a file.
    pub fn new() -> Self {
        Self::named(&uuid::Uuid::new_v4().to_string())
    }

    /// Makes one of this name.
    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[], NOW);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let folder = Scratch::create(None).unwrap();
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(&certificate)
        );
        std::fs::write(file_in(&folder), pem).unwrap();
        Self { issuer: Issuer::new(params, key), certificate, folder }
    }

    /// Its certificate, for `DATABASE_CA_FILE`.
    pub fn file(&self) -> PathBuf {
        file_in(&self.folder)
    }

    /// A server with a certificate of this authority for these host names and addresses.
    pub fn server(&self, names: &[&str], years: Years) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, years).signed_by(&key, &self.issuer).unwrap().der().clone();
        server(vec![certificate, self.certificate.clone()], &key)
    }
}

/// A server with a certificate that it has signed itself.
pub fn self_signed(names: &[&str]) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = params(names, NOW).self_signed(&key).unwrap().der().clone();
    server(vec![certificate], &key)
}

fn file_in(folder: &Scratch) -> PathBuf {
    Path::join(folder.path(), "authority.pem")
}

fn params(names: &[&str], (from, to): Years) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

fn server(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}
