//! A TCP proxy that does to connections what networks do: cut them, stall them, delay them, lose answers. It also counts
//! the round trips of PostgreSQL clients.

mod flights;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::background;
use crate::error::{Doing, Result};
use flights::Messages;

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

/// A proxy to one address, on a loopback port of its own unless told otherwise.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    flights: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts one.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn to(target: SocketAddr) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::between(any, target).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts one that listens at an address.
    ///
    /// # Errors
    /// When it is taken, or not this machine's.
    pub async fn between(address: SocketAddr, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await.doing(|| format!("cannot listen at {address}"))?;
        let address = listener.local_addr().doing(|| format!("cannot listen at {address}"))?;
        let mode = Arc::new(watch::Sender::new(Mode::default()));
        let modes = Arc::downgrade(&mode);
        let flights = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&flights);
        background::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // The proxy lives as long as its owner.
                let Some(mode) = modes.upgrade() else { break };
                background::spawn(connection(client, target, mode.subscribe(), Arc::clone(&counter)));
            }
        });
        Ok(Self { address, mode, flights })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
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
    let mut messages = Messages::default();
    let count = move |bytes: &[u8]| {
        flights.fetch_add(messages.flights_ended_by(bytes), Ordering::Relaxed);
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
