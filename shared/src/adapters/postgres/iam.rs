//! RDS IAM authentication: a token takes the place of the password, and there is no secret anywhere.
//!
//! A token is a request that is signed and never sent: the address that would let this user in at this host. RDS checks the
//! signature and that the token is not older than fifteen minutes when a connection is opened. Signing is arithmetic on this
//! machine, so every new connection gets a token of its own. A token is as good as a password: it is never logged.

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

/// How long RDS accepts a token, at most.
const VALID_FOR: Duration = Duration::from_secs(900);
/// Finding the AWS credentials may take this long. In Lambda they are in the environment.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(2);
/// What stands for itself in a query: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Who asks for which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUser {
    /// The host, as the server's certificate names it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database role.
    pub user: String,
    /// The AWS region of the database.
    pub region: String,
}

/// Why there is no token.
#[derive(Debug, Error)]
pub enum IamTokenError {
    /// The default chain of the AWS SDK has none.
    #[error("there are no AWS credentials to sign it with")]
    NoCredentials(#[from] CredentialsError),
    /// They did not come in time.
    #[error("the AWS credentials to sign it with did not come within the time there is")]
    CredentialsTooSlow,
    /// The address or the user cannot be put into a token.
    #[error("it cannot be signed")]
    Signing(#[source] BoxError),
}

/// Gives out tokens for one user of one database.
pub(super) struct Tokens {
    subject: DatabaseUser,
    /// Built when the environment has no credentials: building it takes a tenth of a second.
    elsewhere: OnceCell<DefaultCredentialsChain>,
}

impl Tokens {
    pub(super) fn new(subject: DatabaseUser) -> Self {
        Self { subject, elsewhere: OnceCell::new() }
    }

    /// A token, signed now with the credentials as they now are.
    pub(super) async fn token(&self) -> Result<String, IamTokenError> {
        let credentials = timeout(CREDENTIALS_LIMIT, self.credentials()).await;
        let credentials = credentials.map_err(|_| IamTokenError::CredentialsTooSlow)??;
        token(&self.subject, credentials, SystemClock.now().to_utc().into())
    }

    /// The SDK's default chain. Its first link, the environment, is where Lambda puts the credentials of a function's role.
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

/// The token of a user at a time, valid for fifteen minutes.
///
/// # Errors
/// [`IamTokenError::Signing`] when host and port are no address.
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
    // In the order of Amazon's own tools, which have the signature last.
    signature.sort_by_key(|(name, _)| *name == "X-Amz-Signature");
    for (name, value) in signature {
        token.push_str(&format!("&{name}={}", utf8_percent_encode(&value, ENCODED)));
    }
    Ok(token)
}
