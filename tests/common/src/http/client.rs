//! A minimal HTTP client for loopback services: one connection a request, nothing shared between tests.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::background;
use crate::error::{Doing, Error, Result};

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as text, whatever it is.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request to an `http://` address and reads the whole answer.
pub async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
    limit: Duration,
) -> Result<Answer> {
    let uri: Uri = url.parse().doing(|| format!("{url} is not an address"))?;
    let authority = uri.authority().ok_or_else(|| Error::new(format!("{url} has no host")))?.clone();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::new(body.into()));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().doing(|| format!("{path} is not a path"))?;
    let host = HeaderValue::from_str(authority.as_str()).doing(|| format!("{authority} is not a host"))?;
    request.headers_mut().insert(hyper::header::HOST, host);
    for (name, value) in headers {
        let name =
            HeaderName::from_bytes(name.as_bytes()).doing(|| format!("{name} is not a header name"))?;
        let value =
            HeaderValue::from_str(value).doing(|| format!("the value of {name} is not one of a header"))?;
        request.headers_mut().append(name, value);
    }

    let exchange = async {
        let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        background::spawn(connection);
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    };
    match tokio::time::timeout(limit, exchange).await {
        Ok(answer) => answer.doing(|| format!("no answer from {url}")),
        Err(_) => Err(Error::new(format!("no answer from {url} within {} s", limit.as_secs_f32()))),
    }
}
