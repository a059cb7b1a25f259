//! The least that an HTTP function on Lambda can be: the floor of the cold starts. Never deployed.

use lambda_http::{Error, Request, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_: Request| Ok::<_, Error>("hello, world"))).await
}
