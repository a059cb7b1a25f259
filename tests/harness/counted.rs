//! The round trips to the database that a request takes before its answer, counted on the wire.
//!
//! What is counted: how often the client has sent all that it had to say and waits for the server, see [`Proxy::flights`].

use crate::api::Api;
use crate::database::Database;
use crate::gateway::{Request, Response};
use crate::lambda::Launch;
use crate::proxy::Proxy;

/// A service whose events nobody delivers (their extension may not register), so that nothing is counted but requests.
pub struct Counted {
    api: Api,
    proxy: Proxy,
}

impl Counted {
    /// With a flag of this key.
    pub async fn start(flag: &str) -> Self {
        let database = Database::migrated().await;
        let (proxy, url) = database.behind_proxy().await;
        let undelivered = |launch: Launch| launch.refuse_extensions(500);
        let setup = Api::with().database(database).env_everywhere("DATABASE_URL", Some(&url));
        let setup = setup.launch("create-schedule", undelivered).launch("cancel-schedule", undelivered);
        let api = setup.start().await;
        api.flag(flag, "production").await;
        Self { api, proxy }
    }

    /// Sends an admin's request; gives the answer and the round trips that it took.
    pub async fn send(&self, request: Request) -> (Response, u64) {
        let before = self.proxy.flights();
        let answer = self.api.send(&request.bearer(&self.api.admin())).await;
        (answer, self.proxy.flights() - before)
    }
}
