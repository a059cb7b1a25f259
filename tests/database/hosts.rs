//! Several hosts in `DATABASE_URL`: whatever is wrong with the first, the next one is used, and is the first to be asked
//! from then on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::api::Api;
use harness::background;
use harness::database::Database;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{text, turn_on};

/// Nobody listens there.
const REFUSING: &str = "127.0.0.1:1";
/// A call that asks a host which does not answer takes longer.
const SOON: Duration = Duration::from_secs(1);

/// A host that is of no use. It ends when this is dropped.
struct Host {
    address: SocketAddr,
    asked: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Host {
    /// Accepts connections, and does this with each.
    async fn doing<F>(with: fn(TcpStream) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let task = background::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                background::spawn(with(client));
            }
        });
        Self { address, asked, task }
    }

    /// Reads what comes and never answers.
    async fn silent() -> Self {
        Self::doing(|mut client| async move { while client.read_u8().await.is_ok() {} }).await
    }

    /// A standby, for clients without TLS: lets everybody in, and every transaction is read-only.
    async fn standby() -> Self {
        Self::doing(|client| async move { drop(standby(client).await) }).await
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn standby(mut client: TcpStream) -> std::io::Result<()> {
    const READY: &[u8] = b"Z\0\0\0\x05I";
    let length = client.read_u32().await?;
    client.read_exact(&mut vec![0; length as usize - 4]).await?;
    client.write_all(&[b"R\0\0\0\x08\0\0\0\0", READY].concat()).await?;
    loop {
        client.read_u8().await?;
        let length = client.read_u32().await?;
        client.read_exact(&mut vec![0; length as usize - 4]).await?;
        // One column, one row with "on", the end of the statement.
        let column = b"T\0\0\0\x1d\0\x01read\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        let answer = [&column[..], b"D\0\0\0\x0c\0\x01\0\0\0\x02on", b"C\0\0\0\x09SHOW\0", READY].concat();
        client.write_all(&answer).await?;
    }
}

/// An address at which a connection is neither accepted nor refused, for as long as the rest of this lives.
async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // Nobody accepts: once the queue is full, the system drops what else comes.
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the queue never becomes full");
    }
    (address, listener, waiting)
}

/// The service on a database that is the last of these hosts.
async fn behind(hosts: &[&str], parameters: &str) -> Api {
    let database = Database::migrated().await;
    let url = database.url();
    let (login, rest) = url.rsplit_once('@').unwrap();
    let url = format!("{login}@{},{rest}{parameters}", hosts.join(","));
    let api = Api::with().database(database).env_everywhere("DATABASE_URL", Some(&url)).start().await;
    api.flag("a", "production").await;
    api
}

/// Checks that a read works, and again at once on a new connection.
async fn assert_found(api: &Api, case: &str) {
    let first = api.list(&api.admin(), "a", "").await;
    assert_eq!(first.status, 200, "{case}: {first:?}");
    api.settle().await;
    assert!(api.database.terminate_connections().await > 0, "{case}: it had a connection");
    let next = api.list(&api.admin(), "a", "").await;
    assert_eq!(next.status, 200, "{case}: {next:?}");
    assert!(next.after < SOON, "{case}: the host that answered is asked first: {next:?}");
}

#[tokio::test]
async fn a_host_that_accepts_and_never_answers_is_passed_over_once() {
    let silent = Host::silent().await;
    let api = behind(&[&silent.address.to_string()], "").await;

    assert_found(&api, "silent").await;

    assert_eq!(silent.asked(), 1, "it was not asked again");
}

#[tokio::test]
async fn a_host_that_drops_or_refuses_connections_is_passed_over() {
    let (hole, _listener, _waiting) = black_hole().await;

    assert_found(&behind(&[&hole.to_string()], "").await, "a black hole").await;
    assert_found(&behind(&[REFUSING], "").await, "refusing").await;
    assert_found(&behind(&[REFUSING, &hole.to_string()], "").await, "refusing, then a black hole").await;
}

#[tokio::test]
async fn a_standby_is_passed_over_where_writes_are_asked_for() {
    let standby = Host::standby().await;
    let api = behind(&[&standby.address.to_string()], "?target_session_attrs=read-write").await;

    assert_found(&api, "a standby").await;

    assert_eq!(standby.asked(), 1, "it was not asked again");
}

#[tokio::test]
async fn every_function_finds_the_host_that_works() {
    let silent = Host::silent().await;
    let api = behind(&[&silent.address.to_string()], "").await;
    let admin = api.admin();

    let created = api.create(&admin, "a", "", &turn_on()).await;
    assert_eq!(created.status, 201, "{created:?}");
    let cancelled = api.cancel(&admin, "a", text(&created.json, "id"), "").await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    api.tick().await.value();
    let migrated = api.function("migrate").await.invoke(&json!({})).await.value();
    assert_eq!(migrated["applied"], json!([]), "{migrated:#}");
}

#[tokio::test]
async fn with_no_host_that_answers_the_call_ends_in_time() {
    let (one, other) = (Host::silent().await, Host::silent().await);
    let (one, other) = (one.address.to_string(), other.address.to_string());
    let api = Api::with()
        .env_everywhere("DATABASE_URL", Some(&format!("postgres://service:p@{one},{other}/flags")))
        .start()
        .await;

    let refused = api.list(&api.admin(), "a", "").await;

    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.after < Duration::from_secs(7), "{refused:?}");
}
