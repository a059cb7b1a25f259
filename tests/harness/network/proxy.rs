//! A TCP proxy that does to connections what networks do: cut them, stall them, delay them, lose answers. It also counts
//! the round trips of PostgreSQL clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use common::error::Result;
use common::listener::{ANY, Listener};

use super::messages::{Frames, Message};

/// What the network does at the moment; old connections obey as well as new ones.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// It works.
    #[default]
    Pass,
    /// Connections are cut, new ones as soon as they are there.
    Cut,
    /// Connections stay open, and nothing gets through; it is held until the mode changes.
    Stall,
    /// What the client sends gets through; the connection is cut when the server answers.
    LoseAnswers,
    /// Everything takes this much longer, each way.
    Delay(Duration),
}

/// A proxy to one address, on a loopback port of its own unless told otherwise. Dropping it ends its connections.
#[derive(Debug)]
pub struct Proxy {
    listener: Listener,
    mode: Arc<watch::Sender<Mode>>,
    flights: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Self {
        Self::between(ANY, target).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts one that listens at an address.
    pub async fn between(address: SocketAddr, target: SocketAddr) -> Result<Self> {
        let mode = Arc::new(watch::Sender::new(Mode::default()));
        let flights = Arc::new(AtomicU64::new(0));
        let (modes, counter) = (Arc::clone(&mode), Arc::clone(&flights));
        let carry = move |client| connection(client, target, modes.subscribe(), Arc::clone(&counter));
        Ok(Self { listener: Listener::start(address, carry).await?, mode, flights })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What the network does from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How often so far a PostgreSQL client has sent all that it had to say and waits for the server: its round trips,
    /// over all connections.
    pub fn flights(&self) -> u64 {
        self.flights.load(Ordering::Relaxed)
    }
}

async fn connection(
    client: TcpStream,
    target: SocketAddr,
    mode: watch::Receiver<Mode>,
    flights: Arc<AtomicU64>,
) {
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whichever way ends first ends the connection: what is dropped here is closed.
    let mut frames = Frames::of_client();
    let count = move |bytes: &[u8]| {
        frames.push(bytes);
        let ended = std::iter::from_fn(|| frames.next()).filter(Message::waits).count();
        flights.fetch_add(ended as u64, Ordering::Relaxed);
    };
    tokio::select! {
        () = carry(from_client, to_server, mode.clone(), false, count) => {}
        () = carry(from_server, to_client, mode.clone(), true, |_| {}) => {}
        () = cut(mode) => {}
    }
}

async fn cut(mut mode: watch::Receiver<Mode>) {
    // An error means that the proxy is gone, and with it its connections.
    let _ = mode.wait_for(|mode| *mode == Mode::Cut).await;
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    answers: bool,
    mut look: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        look(&buffer[..length]);
        let Ok(now) = mode.wait_for(|mode| *mode != Mode::Stall).await.map(|mode| *mode) else { return };
        match now {
            Mode::LoseAnswers if answers => return,
            Mode::Delay(time) => tokio::time::sleep(time).await,
            Mode::Pass | Mode::Cut | Mode::Stall | Mode::LoseAnswers => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
