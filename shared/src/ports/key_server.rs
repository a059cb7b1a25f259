//! Where JSON Web Key Sets are fetched from.

use async_trait::async_trait;

use crate::error::BoxError;

#[async_trait]
pub trait KeyServer: Send + Sync {
    /// The body at this URL. Bounded in time and size.
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, BoxError>;
}
