//! TLS in front of a real PostgreSQL. The server from PyPI is built without TLS, so this stands before it: it answers
//! PostgreSQL's SSLRequest, makes a real handshake with a real certificate, and hands on what comes in plain.
//!
//! It can also ask for a token as RDS does, a password in clear inside of TLS, keeps what it was given, and logs in to the
//! real server itself.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::listener::{ANY, Listener};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// "May I speak TLS?" and "give up what another connection does", where a start-up message has the protocol's version.
const SSL_REQUEST: u32 = 80_877_103;
const CANCEL_REQUEST: u32 = 80_877_102;
/// What an authentication message asks for, or says.
const OK: u32 = 0;
const CLEARTEXT_PASSWORD: u32 = 3;

/// The front; it ends when this is dropped.
pub struct Front {
    listener: Listener,
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Front {
    /// Before the server at `target`, which asks for passwords itself.
    pub async fn before(target: SocketAddr, tls: ServerConfig) -> Self {
        Self::start(target, tls, None).await
    }

    /// Before the server at `target`, in which the role that comes has `password`: whoever comes is asked for a token.
    pub async fn asking_for_tokens(target: SocketAddr, tls: ServerConfig, password: &str) -> Self {
        Self::start(target, tls, Some(password.into())).await
    }

    async fn start(target: SocketAddr, tls: ServerConfig, password: Option<Arc<str>>) -> Self {
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let given = Arc::clone(&tokens);
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let connection = move |client| {
            let (acceptor, given, password) = (acceptor.clone(), Arc::clone(&given), password.clone());
            async move {
                // A client that refuses the certificate ends the connection; that is its right.
                let _ = serve(client, target, &acceptor, password.as_deref(), &given).await;
            }
        };
        Self { listener: Listener::start(ANY, connection).await.unwrap(), tokens }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.listener.address().port()
    }

    /// The tokens that it was given so far.
    pub fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap().clone()
    }
}

async fn serve(
    mut client: TcpStream,
    target: SocketAddr,
    acceptor: &TlsAcceptor,
    password: Option<&str>,
    tokens: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let request = startup(&mut client).await?;
    if code(&request) != SSL_REQUEST {
        return Err(io::Error::other("a client did not ask for TLS"));
    }
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(target).await?;
    if let Some(password) = password {
        let request = startup(&mut client).await?;
        server.write_all(&request).await?;
        if code(&request) != CANCEL_REQUEST {
            client.write_all(&message(b'R', &CLEARTEXT_PASSWORD.to_be_bytes())).await?;
            let token = read(&mut client, b'p').await?;
            tokens.lock().unwrap().push(String::from_utf8_lossy(&token).trim_end_matches('\0').to_owned());
            log_in(&mut server, password).await?;
            client.write_all(&message(b'R', &OK.to_be_bytes())).await?;
        }
    }
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}

/// Shows a server a password in its own way, until it says OK.
async fn log_in(server: &mut TcpStream, password: &str) -> io::Result<()> {
    let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    read(server, b'R').await?;
    let first = scram.message();
    let length = u32::try_from(first.len()).expect("a short text").to_be_bytes();
    let first = [SCRAM_SHA_256.as_bytes(), b"\0", &length, first].concat();
    server.write_all(&message(b'p', &first)).await?;
    scram.update(&read(server, b'R').await?[4..])?;
    server.write_all(&message(b'p', scram.message())).await?;
    scram.finish(&read(server, b'R').await?[4..])?;
    let said = read(server, b'R').await?;
    if said != OK.to_be_bytes() { Err(io::Error::other("the server did not let us in")) } else { Ok(()) }
}

/// Reads a message without a tag: the first of a connection.
async fn startup(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.resize(length as usize, 0);
    from.read_exact(&mut whole[4..]).await?;
    Ok(whole)
}

fn code(startup: &[u8]) -> u32 {
    startup[4..8].iter().fold(0, |code, byte| code << 8 | u32::from(*byte))
}

/// Reads a message of a kind; gives what is in it.
async fn read(from: &mut (impl AsyncRead + AsyncWrite + Unpin), kind: u8) -> io::Result<Vec<u8>> {
    let found = from.read_u8().await?;
    let length = from.read_u32().await?.saturating_sub(4);
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body).await?;
    if found != kind {
        let (found, kind) = (char::from(found), char::from(kind));
        let text = String::from_utf8_lossy(&body).into_owned();
        return Err(io::Error::other(format!("expected a message {kind}, got {found}: {text}")));
    }
    Ok(body)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message").to_be_bytes();
    [&[kind], &length[..], body].concat()
}
