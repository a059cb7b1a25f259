//! A minimal HTTP client for fetching key sets and responding to CloudFormation: no redirects, cookies or proxies;
//! everything is limited in time and size.

use std::io::Cursor;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lambda_http::http::Request;
use tokio::time::timeout;

use crate::error::BoxError;
use crate::ports::key_server::KeyServer;

/// For one request and its response.
const LIMIT: Duration = Duration::from_secs(3);
const MAX_ANSWER_BYTES: usize = 256 * 1024;

const USER_AGENT: &str = concat!("flag-schedules/", env!("CARGO_PKG_VERSION"));

type Body = Full<Cursor<Vec<u8>>>;

#[derive(Debug, Clone, Copy, Default)]
pub struct Https;

impl Https {
    /// Returns the body of a 2xx response; any other status is an error. Errors never contain the URL's query, which
    /// may be a secret.
    pub async fn send(self, method: &str, url: &str, body: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        // Some key servers reject requests without it.
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("user-agent", USER_AGENT)
            .body(Full::new(Cursor::new(body)))?;
        timeout(LIMIT, async {
            let response = client()?.request(request).await?;
            let status = response.status();
            if !status.is_success() {
                return Err(format!("the server answered {status}").into());
            }
            Ok(Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes().to_vec())
        })
        .await
        .map_err(|_| "no answer within the time there was")?
    }
}

fn client() -> Result<Client<HttpsConnector<HttpConnector>, Body>, BoxError> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

#[async_trait]
impl KeyServer for Https {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, BoxError> {
        self.send("GET", url, Vec::new()).await
    }
}
