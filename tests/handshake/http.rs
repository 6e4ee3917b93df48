//! Malformed requests, doubled requests, and requests of the wrong client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::sidecar::{Sidecar, connect_to, free_port, own_address};

/// The answer to these bytes, up to its end.
fn answers(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect_to(address);
    // The server may have answered before the last byte.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn each_hostile_request_gets_one_right_answer() {
    let mut sidecar = Sidecar::start("mysql-0");
    let long = |start: &str, length: usize, end: &str| format!("{start}{}{end}", "a".repeat(length));
    let headers: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let end = " HTTP/1.1\r\nHost: a\r\n\r\n";
    let with = |line: &str, headers: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    for (request, codes) in [
        // A header may claim a local origin: the connection decides.
        (with("POST /hold", "X-Forwarded-For: 127.0.0.1\r\nOrigin: http://localhost\r\n"), &[403][..]),
        ("POST /hold HTTP/1.1\r\nHost: 127.0.0.1:8307\r\n\r\n".to_owned(), &[403]),
        (with("POST http://127.0.0.1:8307/link", ""), &[403]),
        (with("GET /hold", "X-HTTP-Method-Override: POST\r\n"), &[404]),
        (with("DELETE /link", ""), &[405]),
        (with("CONNECT 10.0.0.1:22", ""), &[405]),
        // Names close to those of pages.
        (with("GET //status", ""), &[404]),
        (with("GET /x/../status", ""), &[404]),
        (with("GET /%73tatus", ""), &[404]),
        // Several requests in one.
        (with("GET /healthz", "") + &with("POST /link", ""), &[200]),
        (
            with("POST /readyz", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n")
                + "0\r\n\r\n"
                + &with("GET /status", ""),
            &[405],
        ),
        (with("GET /healthz", "Upgrade: h2c\r\nConnection: Upgrade\r\n"), &[200]),
        (with("POST /hold", "Expect: 100-continue\r\nContent-Length: 9\r\n"), &[403]),
        // Lengths.
        (with("GET /healthz", "Content-Length: 4\r\nContent-Length: 5\r\n") + "abcde", &[400]),
        (with("GET /healthz", "Content-Length: -1\r\n"), &[400]),
        (with("GET /healthz", "Content-Length: 18446744073709551615\r\n"), &[400, 431]),
        (with("GET /healthz", "Content-Length: 18446744073709551616\r\n"), &[400]),
        (with("POST /readyz", "Transfer-Encoding: chunked\r\n") + "ffffffffffffffff\r\n", &[405]),
        (with("GET /healthz", "Content-Length: 0\r\n"), &[200]),
        (with("GET /healthz", "Content-Length: 1000000\r\n") + &"z".repeat(1_000_000), &[200]),
        (long("GET /", 70_000, end), &[414, 431]),
        (long("", 5_000, &format!(" /{end}")), &[405]),
        (long("GET /healthz HTTP/1.1\r\nX: ", 70_000, "\r\n\r\n"), &[431]),
        (format!("GET /healthz HTTP/1.1\r\n{headers}\r\n"), &[431]),
        // Bytes that are no request.
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[400]),
        ("GET /status\r\n\r\n".to_owned(), &[400]),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n b\r\n\r\n".to_owned(), &[400]),
    ] {
        let answer = answers(sidecar.http, request.as_bytes());
        let shown = &request[..request.len().min(120)];
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{shown:?}: {answer}");
        let code = answer.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
        assert!(code.is_some_and(|code| codes.contains(&code)), "{shown:?}: {answer}");
    }
    // A page by its full URL is the same page, in the strangers' version.
    for request in ["GET http://evil.example/status HTTP/1.1\r\nHost: evil\r\n\r\n", "GET /status HTTP/1.0\r\n\r\n"] {
        let answer = answers(sidecar.http, request.as_bytes());
        assert!(answer.contains("\"ready\"") && !answer.contains("\"pod\""), "{answer}");
        assert!(answer.contains("cache-control: no-store"), "{answer}");
    }
    // Headers without end: 64 connections at once, each replaced when it is cut.
    let half = format!("GET /healthz HTTP/1.1\r\nX: {}", "a".repeat(15_000));
    let held: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = connect_to(sidecar.http);
            let _ = stream.write_all(half.as_bytes());
            stream
        })
        .collect();
    let asked = Instant::now();
    assert!(answers(sidecar.http, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").contains("alive"));
    // Beside this program's other tests. `make load` has the bar.
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    drop(held);
    assert!(sidecar.most_memory() < 20_000, "{} KiB", sidecar.most_memory());
    sidecar.is_unharmed();
}

/// The part of the output of `mysqlset link` behind `?token=`, where there is one.
fn token(sidecar: &Sidecar) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mysqlset"));
    let output = command.args(["link", "--sidecar", &sidecar.http.to_string()]).output().unwrap();
    let link = String::from_utf8(output.stdout).unwrap();
    link.trim().split_once("?token=").map(|(_, token)| token.to_owned())
}

#[test]
fn a_link_opens_its_own_sidecar_and_is_never_logged() {
    let (mut one, mut other) = (Sidecar::start("mysql-0"), Sidecar::start("mysql-1"));
    let token = token(&one).unwrap();
    let sees_all = |sidecar: &Sidecar, query: &str| {
        let request = format!("GET /status?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        answers(sidecar.http, request.as_bytes()).contains("\"pod\"")
    };
    assert!(sees_all(&one, &format!("token={token}")) && sees_all(&one, &format!("token={token}")));
    assert!(!sees_all(&other, &format!("token={token}")), "another pod's");
    let (end, proof) = token.split_once('-').unwrap();
    let longer = end.parse::<u64>().unwrap() + 60;
    for wrong in [
        format!("token={longer}-{proof}"),
        format!("token={end}-{}", &proof[1..]),
        format!("token={end}-{}", proof.to_uppercase()),
        format!("token={end}-"),
        format!("token=0{end}-{proof}x"),
        format!("token={}&token={token}", "0".repeat(10_000)),
    ] {
        assert!(!sees_all(&one, &wrong), "{wrong}");
    }
    assert!(!one.log().contains(proof) && !other.log().contains(proof), "the most detailed log contains the link");
    one.is_unharmed();
    other.is_unharmed();
}

/// Once, the sidecar tried a single time: a process that held the name at that moment kept the pod's own containers out
/// for ever.
#[test]
fn the_pods_own_socket_opens_once_its_name_is_free() {
    let host = own_address();
    let port = free_port(host);
    let name = std::os::unix::net::SocketAddr::from_abstract_name(format!("mysqlset/{port}")).unwrap();
    let taken = UnixListener::bind_addr(&name).unwrap();
    let mut sidecar = Sidecar::start_at("mysql-0", host, port);
    // The ports open before its first try.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !sidecar.log().contains("sidecar.own_pod_shut_out") {
        assert!(Instant::now() < deadline, "{}", sidecar.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(taken);
    let deadline = Instant::now() + Duration::from_secs(30);
    while token(&sidecar).is_none() {
        assert!(Instant::now() < deadline, "{}", sidecar.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(sidecar.log().contains("sidecar.own_pod_reached"), "{}", sidecar.log());
    sidecar.is_unharmed();
}
