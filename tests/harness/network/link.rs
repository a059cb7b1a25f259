//! One connection through the proxy: what the client sends goes on a flight at a time, so that a fault meets all of a
//! statement or nothing of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::interceptor::{Act, Script};
use super::messages::{Frames, Message};
use crate::postgres;

/// What both directions of a connection know.
#[derive(Debug, Default)]
struct Link {
    process: AtomicI32,
    /// ReadyForQuery messages that the server owes for what it has been sent, the first for the login.
    owed: AtomicU64,
    /// The answer that ends with this ReadyForQuery is lost; 0 is none.
    lost: AtomicU64,
}

#[derive(PartialEq)]
enum After {
    GoOn,
    Cut,
}

/// Carries a connection until one side, or a rule, ends it.
pub(super) async fn run(client: TcpStream, target: SocketAddr, script: &Script) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let link = Link { owed: AtomicU64::new(1), ..Link::default() };
    tokio::select! {
        () = requests(from_client, to_server, &link, script) => {}
        () = answers(from_server, to_client, &link) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, link: &Link, script: &Script) {
    let mut frames = Frames::of_client();
    let mut flight: Vec<Message> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        frames.push(&buffer[..length]);
        while let Some(message) = frames.next() {
            let ends = message.ends_flight();
            flight.push(message);
            if ends && send(std::mem::take(&mut flight), &mut to, link, script).await == After::Cut {
                return;
            }
        }
    }
}

/// Does to a flight what the script says, and sends what is left of it.
async fn send(mut flight: Vec<Message>, to: &mut OwnedWriteHalf, link: &Link, script: &Script) -> After {
    let labels: Vec<(usize, String)> =
        flight.iter().enumerate().filter_map(|(at, message)| Some((at, message.label()?))).collect();
    let mut released = script.released.subscribe();
    let mut then = After::GoOn;
    let mut lose = false;
    for (at, label) in labels {
        let Some(act) = script.pass(&label) else { continue };
        match act {
            Act::CutBefore => return After::Cut,
            Act::CutDuring => then = After::Cut,
            Act::LoseAnswer => lose = true,
            Act::Hold => drop(released.changed().await),
            Act::HoldThenCut => {
                let _ = released.changed().await;
                return After::Cut;
            }
            Act::Terminate => terminate(link.process.load(Ordering::Relaxed), script).await,
            Act::Raise(code) => flight[at] = flight[at].raising(code),
        }
    }
    let wanted = flight.iter().filter(|message| message.wants_ready()).count() as u64;
    let owed = link.owed.fetch_add(wanted, Ordering::Relaxed) + wanted;
    if lose {
        link.lost.store(owed, Ordering::Relaxed);
    }
    let bytes: Vec<u8> = flight.into_iter().flat_map(|message| message.bytes).collect();
    match to.write_all(&bytes).await {
        Ok(()) => then,
        Err(_) => After::Cut,
    }
}

async fn terminate(process: i32, script: &Script) {
    let Ok(client) = postgres::connect(&script.superuser_url).await else { return };
    // Waits until the process has ended.
    let _ = client.execute("select pg_terminate_backend($1, 5000)", &[&process]).await;
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, link: &Link) {
    let mut frames = Frames::default();
    let mut ready = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        frames.push(&buffer[..length]);
        while let Some(message) = frames.next() {
            if let Some(process) = message.process() {
                link.process.store(process, Ordering::Relaxed);
            }
            ready += u64::from(message.kind == b'Z');
        }
        let lost = link.lost.load(Ordering::Relaxed);
        if lost == 0 && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        if lost > 0 && ready >= lost {
            return;
        }
    }
}
