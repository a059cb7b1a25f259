//! One connection through the proxy: what the client sends goes on a flight at a time, so that a fault meets all of a
//! statement or nothing of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::interceptor::{Act, PREPARE, Script};
use super::messages::{Frames, Message};
use crate::postgres;

/// A message of a type and a length.
const PARSE_COMPLETE_BYTES: usize = 5;

/// What both directions of a connection know.
#[derive(Debug, Default)]
struct Link {
    process: AtomicI32,
    /// ReadyForQuery messages that the server owes for what it has been sent, the first for the login.
    owed: AtomicU64,
    /// The answer that ends with this ReadyForQuery is lost; 0 is none.
    lost: AtomicU64,
    /// The server's next answer begins with a ParseComplete that the client does not expect.
    has_parsed_for_us: AtomicBool,
}

/// What a connection has prepared: the Parse of each name.
type Prepared = HashMap<String, Message>;

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
    let mut prepared = Prepared::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        frames.push(&buffer[..length]);
        while let Some(message) = frames.next() {
            let ends = message.ends_flight();
            flight.push(message);
            if ends
                && send(std::mem::take(&mut flight), &mut prepared, &mut to, link, script).await == After::Cut
            {
                return;
            }
        }
    }
}

/// Does to a flight what the script says, and sends what is left of it.
async fn send(
    mut flight: Vec<Message>,
    prepared: &mut Prepared,
    to: &mut OwnedWriteHalf,
    link: &Link,
    script: &Script,
) -> After {
    let labels: Vec<(usize, String)> =
        flight.iter().enumerate().filter_map(|(at, message)| Some((at, label(message, prepared)?))).collect();
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
            Act::Forget => flight[at] = flight[at].binding_nothing(),
            Act::Raise(code) => {
                let name = flight[at].binds();
                let parse = name.and_then(|name| prepared.get(&name));
                match parse.and_then(|parse| flight[at].raising_instead(parse, code)) {
                    Some(instead) => {
                        flight.splice(at..=at, instead);
                        link.has_parsed_for_us.store(true, Ordering::Relaxed);
                    }
                    None => flight[at] = flight[at].raising(code),
                }
            }
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

/// What a message is about: the statement in it, or the prepared one that it binds. Takes note of what is prepared, which is
/// labelled `prepare`.
fn label(message: &Message, prepared: &mut Prepared) -> Option<String> {
    if let Some(name) = message.prepares() {
        prepared.insert(name, message.clone());
        return Some(PREPARE.to_owned());
    }
    match message.binds() {
        Some(name) => prepared.get(&name)?.label(),
        None => message.label(),
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
        let is_ours = buffer[0] == b'1' && link.has_parsed_for_us.swap(false, Ordering::Relaxed);
        let skipped = if is_ours { PARSE_COMPLETE_BYTES } else { 0 };
        if lost == 0 && to.write_all(&buffer[skipped..length]).await.is_err() {
            return;
        }
        if lost > 0 && ready >= lost {
            return;
        }
    }
}
