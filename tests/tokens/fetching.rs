//! How a key set is fetched: within limits of time and size, from the address that was configured and no other.

use std::time::Duration;

use common::listener::{ANY, Listener};
use flag_schedules::adapters::https::Https;
use flag_schedules::ports::key_server::KeyServer as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::support::LIMIT;

/// What a server sends once a request has come.
#[derive(Clone)]
enum Sends {
    /// This, and then the end.
    All(Vec<u8>),
    /// This, and then nothing more, without an end.
    ThenNothing(Vec<u8>),
    /// This, and then a byte at a time, without an end.
    ThenDrips(Vec<u8>),
}

/// A server on this machine, and its address.
async fn server(sends: Sends) -> (String, Listener) {
    let connection = move |mut stream: TcpStream| {
        let sends = sends.clone();
        async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let (Sends::All(first) | Sends::ThenNothing(first) | Sends::ThenDrips(first)) = &sends;
            // A client that has had enough goes away.
            let _ = stream.write_all(first).await;
            match sends {
                Sends::All(_) => {}
                Sends::ThenNothing(_) => std::future::pending().await,
                Sends::ThenDrips(_) => {
                    while stream.write_all(b" ").await.is_ok() {
                        sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
    };
    let listener = Listener::start(ANY, connection).await.unwrap();
    (format!("http://{}/jwks.json", listener.address()), listener)
}

/// What is fetched from a server that sends this.
async fn fetched(sends: Sends) -> Result<Vec<u8>, String> {
    let (url, _server) = server(sends).await;
    let fetched = timeout(LIMIT, Https.fetch(&url)).await.expect("a fetch has an end");
    fetched.map_err(|error| error.to_string())
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}").into_bytes()
}

#[tokio::test]
async fn a_2xx_answer_up_to_256_kib_is_what_is_fetched() {
    let most = "x".repeat(256 * 1024);
    let more = format!("{most}x");
    let length = |body: &str| format!("content-length: {}\r\n", body.len());
    let chunked = format!("{:x}\r\n{more}\r\n0\r\n\r\n", more.len());

    let small = fetched(Sends::All(answer("200 OK", "content-length: 2\r\n", "{}"))).await;
    let largest = fetched(Sends::All(answer("200 OK", &length(&most), &most))).await;
    let too_large = [
        answer("200 OK", &length(&more), &more),
        answer("200 OK", "", &more),
        answer("200 OK", "transfer-encoding: chunked\r\n", &chunked),
        answer("200 OK", "content-length: 99999999999999\r\n", &more),
    ];

    assert_eq!(small, Ok(b"{}".to_vec()));
    assert_eq!(largest.map(|body| body.len()), Ok(256 * 1024));
    for answer in too_large {
        let head = String::from_utf8_lossy(&answer[..60]).into_owned();
        assert!(fetched(Sends::All(answer)).await.is_err(), "{head}");
    }
}

#[tokio::test]
async fn a_server_that_answers_nobody_without_a_user_agent_is_told_one() {
    let connection = |mut stream: TcpStream| async move {
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
        let asks = request.contains("\r\nuser-agent: flag-schedules/");
        let answer = if asks {
            answer("200 OK", "content-length: 2\r\n", "{}")
        } else {
            answer("403 Forbidden", "", "")
        };
        let _ = stream.write_all(&answer).await;
    };
    let listener = Listener::start(ANY, connection).await.unwrap();

    let fetched =
        timeout(LIMIT, Https.fetch(&format!("http://{}/jwks.json", listener.address()))).await.unwrap();

    assert_eq!(fetched.map_err(|error| error.to_string()), Ok(b"{}".to_vec()));
}

#[tokio::test]
async fn an_answer_that_is_no_success_or_no_http_is_an_error() {
    for (status, headers) in [
        ("304 Not Modified", ""),
        ("401 Unauthorized", ""),
        ("404 Not Found", ""),
        ("500 Internal Server Error", ""),
        ("503 Service Unavailable", "retry-after: 1\r\n"),
    ] {
        let body = r#"{"keys":[]}"#;
        let headers = format!("content-length: {}\r\n{headers}", body.len());
        let refused = fetched(Sends::All(answer(status, &headers, body))).await.unwrap_err();
        assert!(refused.contains(&status[..3]), "{status}: {refused}");
    }
    for garbage in
        [&b""[..], b"SSH-2.0-OpenSSH\r\n", &[0xff; 4096], b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"]
    {
        assert!(fetched(Sends::All(garbage.to_vec())).await.is_err(), "{garbage:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let headers = format!("location: http://{}/\r\ncontent-length: 0\r\n", trap.local_addr().unwrap());

    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        assert!(fetched(Sends::All(answer(status, &headers, ""))).await.is_err(), "{status}");
    }

    let visited = timeout(Duration::ZERO, trap.accept()).await;
    assert!(visited.is_err(), "somebody came: {visited:?}");
}

#[tokio::test]
async fn a_server_that_is_slow_in_any_way_is_given_up() {
    let head = answer("200 OK", "content-length: 1000\r\n", "{");
    let slow = [
        ("no answer at all", Sends::ThenNothing(Vec::new())),
        ("half a head", Sends::ThenNothing(b"HTTP/1.1 200 OK\r\nconte".to_vec())),
        ("half a body", Sends::ThenNothing(head.clone())),
        ("a byte at a time", Sends::ThenDrips(head)),
    ];

    let all = slow.map(|(case, sends)| async move { (case, fetched(sends).await) });
    for (case, fetched) in futures_util::future::join_all(all).await {
        assert_eq!(fetched, Err("no answer within the time there was".to_owned()), "{case}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_or_speaks_no_tls_is_an_error() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let (plain, _server) = server(Sends::All(answer("200 OK", "content-length: 2\r\n", "{}"))).await;

    for url in [format!("http://{address}/"), format!("https://{address}/"), plain.replace("http:", "https:")]
    {
        let fetched = timeout(LIMIT, Https.fetch(&url)).await.expect("a fetch has an end");
        assert!(fetched.is_err(), "{url}: {fetched:?}");
    }
}
