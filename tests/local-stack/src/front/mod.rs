//! What listens on the local stack's port: API Gateway, Lambda's invoke API, and the API explorer at `/docs`.
//!
//! It listens on the loopback interface only, and invokes the functions wherever they run.

mod api_gateway;
pub mod authorizer;
pub mod cors;
pub mod explorer;
mod invoke;
pub mod routing;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use common::Result;
use common::http::server::{Reply, Server};
use hyper::Request;
use hyper::body::Incoming;

pub use api_gateway::Gateway;
pub use explorer::Explorer;
use invoke::Lambda;

/// The server. Dropping it closes it and all its connections.
#[derive(Debug)]
pub struct Front(Server);

impl Front {
    /// Starts it on a port, 0 for a free one. `lambda` is the address at which functions are invoked, such as
    /// `http://127.0.0.1:34567`.
    pub async fn start(port: u16, lambda: String, gateway: Gateway, explorer: Explorer) -> Result<Self> {
        let behind = Arc::new((Lambda(lambda), gateway, explorer));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let server = Server::start_at(address, move |request| {
            let behind = Arc::clone(&behind);
            async move {
                let (lambda, gateway, explorer) = &*behind;
                Ok::<_, Infallible>(answer(lambda, gateway, explorer, request).await)
            }
        });
        Ok(Self(server.await?))
    }

    /// Its address, such as `http://127.0.0.1:9000`.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Closes it, and waits for its end.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

async fn answer(
    lambda: &Lambda,
    gateway: &Gateway,
    explorer: &Explorer,
    request: Request<Incoming>,
) -> Reply {
    let (asked, sent) = request.into_parts();
    if let Some(function) = invoke::function_of(&asked) {
        return lambda.forward(function, sent).await;
    }
    match explorer.answer(&asked) {
        Some(page) => page,
        None => gateway.answer(lambda, asked, sent).await,
    }
}
