//! A TCP server on this machine: accepts connections and hands each to a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::background;
use crate::error::{Doing, Result};

/// A free port of the loopback interface.
pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The server. Dropping it closes it and all its connections.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    cuts: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens at an address; `serve` is one connection, from its start to its end.
    pub async fn start<F>(
        address: SocketAddr,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.doing(|| format!("cannot listen at {address}"))?;
        let address = listener.local_addr().doing(|| format!("cannot listen at {address}"))?;
        let (connections, cuts) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(()));
        let (count, cut) = (Arc::clone(&connections), cuts.clone());
        let task = background::spawn(async move {
            // Connections live in this set, so that they end with this task.
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.set_nodelay(true);
                let (connection, mut cut) = (serve(stream), cut.subscribe());
                open.spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        _ = cut.changed() => {}
                    }
                });
                while open.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, connections, cuts, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Cuts all connections; new ones are accepted.
    pub fn cut_connections(&self) {
        self.cuts.send_replace(());
    }

    /// Closes it, and waits for its end: from then on connections to its address are refused.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}
