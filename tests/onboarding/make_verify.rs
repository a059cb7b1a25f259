//! `make verify`: it prints the result, and fails with one line unless all is well.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use harness::settings::workspace;
use serde_json::json;

use super::text;

/// Runs it against a service that gives this answer; whether it succeeded, and what it printed.
fn verify(status: &str, answer: &str) -> (bool, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let length = answer.len();
    let response =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}");
    let serving = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut part = [0; 4096];
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "the request ends early: {}", String::from_utf8_lossy(&request));
            request.extend_from_slice(&part[..read]);
        }
        stream.write_all(response.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    let told = make(&url);
    let request = serving.join().unwrap();
    assert!(request.starts_with("POST /2015-03-31/functions/verify-trail/invocations "), "{request}");
    told
}

fn make(url: &str) -> (bool, String) {
    let mut make = Command::new("make");
    for name in ["MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL"] {
        make.env_remove(name);
    }
    let output = make.arg("verify").env("API_URL", url).current_dir(workspace()).output().unwrap();
    (output.status.success(), text(&output))
}

#[test]
fn findings_errors_and_unfinished_runs_fail() {
    let result = |missing: u64, complete: bool| {
        json!({
            "complete": complete, "missing_count": missing, "unknown_count": 0, "different_count": 2 * missing,
        })
        .to_string()
    };

    let (well, told) = verify("200 OK", &result(0, true));
    assert!(well && told.contains(r#""missing_count": 0"#), "{told}");
    for (status, answer, reason) in [
        ("200 OK", result(1, true), "contradict each other: 1 missing, 0 unknown, 2 different"),
        ("200 OK", result(0, false), "the time was up before everything was verified"),
        (
            "500 Internal Server Error",
            json!({"errorType": "TrailUnreadable", "errorMessage": "no such group"}).to_string(),
            "the verification failed: TrailUnreadable: no such group",
        ),
        ("502 Bad Gateway", "nothing".to_owned(), "the verification failed: nothing"),
    ] {
        let (well, told) = verify(status, &answer);
        assert!(!well && told.contains(reason), "{reason}: {told}");
    }
    let (well, told) = make("http://127.0.0.1:1");
    assert!(!well && told.contains("cannot reach http://127.0.0.1:1"), "{told}");
}
