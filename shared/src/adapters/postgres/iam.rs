//! RDS IAM authentication: a token instead of a password, and no secret to store. A token is a presigned request that
//! is never sent; signing is local, and RDS checks signature and age (at most fifteen minutes) when a connection
//! opens, so every connection gets its own token. Tokens are as sensitive as passwords and never logged.

use std::time::{Duration, SystemTime};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::adapters::clock::SystemClock;
use crate::error::BoxError;
use crate::ports::clock::Clock;

/// The longest validity that RDS accepts.
const VALID_FOR: Duration = Duration::from_secs(900);
/// For finding AWS credentials, which are in the environment in Lambda.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(2);
/// RFC 3986's unreserved characters are not escaped.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUser {
    /// As in the server's certificate.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub region: String,
}

#[derive(Debug, Error)]
pub enum IamTokenError {
    #[error("there are no AWS credentials to sign it with")]
    NoCredentials(#[from] CredentialsError),
    #[error("the AWS credentials to sign it with did not come within the time there is")]
    CredentialsTooSlow,
    #[error("it cannot be signed")]
    Signing(#[source] BoxError),
}

pub(super) struct Tokens {
    subject: DatabaseUser,
    /// Built only if the environment has no credentials: building it takes a tenth of a second.
    elsewhere: OnceCell<DefaultCredentialsChain>,
}

impl Tokens {
    pub(super) fn new(subject: DatabaseUser) -> Self {
        Self { subject, elsewhere: OnceCell::new() }
    }

    /// Signs a new token with the current credentials.
    pub(super) async fn token(&self) -> Result<String, IamTokenError> {
        let credentials = timeout(CREDENTIALS_LIMIT, self.credentials()).await;
        let credentials = credentials.map_err(|_| IamTokenError::CredentialsTooSlow)??;
        token(&self.subject, credentials, SystemClock.now().to_utc().into())
    }

    /// The SDK's default chain, but trying its first link without building it: in Lambda, the credentials of the
    /// function's role are in the environment.
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        match EnvironmentVariableCredentialsProvider::new().provide_credentials().await {
            Err(CredentialsError::CredentialsNotLoaded(_)) => {
                let region = Region::new(self.subject.region.clone());
                let chain = DefaultCredentialsChain::builder().region(region);
                self.elsewhere.get_or_init(|| chain.build()).await.provide_credentials().await
            }
            found => found,
        }
    }
}

/// Valid for fifteen minutes from `now`. Fails if host and port do not form an address.
pub fn token(
    subject: &DatabaseUser,
    credentials: Credentials,
    now: SystemTime,
) -> Result<String, IamTokenError> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(VALID_FOR);
    let identity = credentials.into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(&subject.region)
        .name("rds-db")
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| IamTokenError::Signing(error.into()))?
        .into();
    let user = utf8_percent_encode(&subject.user, ENCODED);
    let mut token = format!("{}:{}/?Action=connect&DBUser={user}", subject.host, subject.port);
    let request =
        SignableRequest::new("GET", format!("https://{token}"), std::iter::empty(), SignableBody::Bytes(&[]))
            .map_err(|error| IamTokenError::Signing(error.into()))?;
    let signed = sign(request, &params).map_err(|error| IamTokenError::Signing(error.into()))?;
    let (_, mut signature) = signed.into_parts().0.into_parts();
    // Same order as Amazon's own tools: the signature is last.
    signature.sort_by_key(|(name, _)| *name == "X-Amz-Signature");
    for (name, value) in signature {
        token.push_str(&format!("&{name}={}", utf8_percent_encode(&value, ENCODED)));
    }
    Ok(token)
}
