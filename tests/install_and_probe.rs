//! `mysqlset install` and `mysqlset probe`, run as in containers. The scenarios probe real servers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::logged::Said;
use mysqlset::model::event::Event;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_mysqlset");

/// The exit code and the output.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn install(program: &Path, to: &Path) -> (Option<i32>, String, String) {
    run(Command::new(program).arg("install").arg("--to").arg(to))
}

/// An HTTP server that answers its connections with these, one by one.
fn answering(answers: Vec<Vec<u8>>) -> SocketAddr {
    saying(answers, true)
}

/// A server of anything, which sends its text at once, or after a request.
fn saying(answers: Vec<Vec<u8>>, when_asked: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut connection, _) = listener.accept().unwrap();
            if when_asked {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    connection.read_exact(&mut byte).unwrap();
                    asked.extend(byte);
                }
            }
            connection.write_all(&answer).unwrap();
            let _ = connection.shutdown(std::net::Shutdown::Write);
            let _ = connection.read_to_end(&mut Vec::new());
        }
    });
    address
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn ready(sidecar: SocketAddr, more: &[&str]) -> (Option<i32>, String, String) {
    run(Command::new(BINARY).args(["probe", "ready", "--sidecar", &sidecar.to_string()]).args(more))
}

fn alive(server: SocketAddr) -> (Option<i32>, String, String) {
    let port = server.port().to_string();
    run(Command::new(BINARY).args(["probe", "alive", "--timeout", "2", "--server-port", &port]))
}

/// A closed port, which stays reserved from other tests while this is held.
fn closed() -> (OwnedFd, SocketAddr) {
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = getsockname(&held).unwrap().try_into().unwrap();
    (held, address)
}

#[test]
fn an_installed_program_replaces_itself_while_it_runs() {
    let directory = TempDir::new().unwrap();
    let (code, _, log) = install(Path::new(BINARY), directory.path());
    assert_eq!(code, Some(0), "{log}");
    let installed = directory.path().join("mysqlset");
    assert!(std::fs::read(&installed).unwrap() == std::fs::read(BINARY).unwrap());
    assert_eq!(std::fs::metadata(&installed).unwrap().permissions().mode() & 0o7777, 0o755);

    // It runs from the file that is about to be replaced.
    let (code, _, log) = install(&installed, directory.path());
    assert_eq!(code, Some(0), "{log}");
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["mysqlset"]);
}

#[test]
fn a_failed_install_prints_one_line_with_the_remedy() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("nowhere");
    let (code, _, log) = install(Path::new(BINARY), &missing);
    assert_eq!(code, Some(13));
    assert!(log.has_with(Event::ExitInstallTarget, missing.to_str().unwrap()), "{log}");
    assert!(!missing.exists());
}

#[test]
fn ready_repeats_the_sidecars_answer() {
    assert_eq!(ready(answering(vec![http("200 OK", "ready\n")]), &[]).0, Some(0));
    let (code, answer, _) = ready(answering(vec![http("503 Service Unavailable", "not ready: so\n")]), &[]);
    assert_eq!((code, answer.as_str()), (Some(1), "not ready: so\n"));
}

#[test]
fn ready_may_depend_on_the_lag() {
    let replica = |lag: u32| {
        let status = format!("{{\"role\": \"replica\", \"replication\": {{\"lag_seconds\": {lag}}}}}");
        answering(vec![http("200 OK", "ready\n"), http("200 OK", &status)])
    };
    assert_eq!(ready(replica(30), &["--max-lag", "30"]).0, Some(0));
    let (code, answer, _) = ready(replica(31), &["--max-lag", "30"]);
    assert_eq!((code, answer.contains("31")), (Some(1), true), "{answer}");
}

/// An unintelligible status may hide a served clone.
#[test]
fn drain_waits_on_a_malformed_status() {
    let drain = |status: &[u8]| {
        let answer =
            [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", status.len()).as_bytes(), status].concat();
        let sidecar = answering(vec![answer; 20]).to_string();
        run(Command::new(BINARY).args(["drain", "--drain-timeout", "1", "--sidecar", &sidecar])).0
    };
    assert_eq!(drain(b"{\"donating\": false}"), Some(0));
    for status in [
        "[".repeat(500_000),
        r#"{"donating":"#.repeat(50_000),
        format!(r#"{{"donating": false, "x": "{}"}}"#, "x".repeat(2 << 20)),
        r#"{"donating": "false"}"#.to_owned(),
        r#"{"donating": 0}"#.to_owned(),
        r#"{"donating": false, "donating": true}"#.to_owned(),
        r#"{"donating": false, "x": 1e999}"#.to_owned(),
        r#"{"donating": false, "x": "\ud800"}"#.to_owned(),
        r#"{"donating": false} x"#.to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        assert_eq!(drain(status.as_bytes()), Some(1), "{}", &status[..status.len().min(60)]);
    }
    assert_eq!(drain(b"{\"donating\": false, \"x\": \"\xff\"}"), Some(1));
}

#[test]
fn a_starting_sidecar_or_server_is_asked_again() {
    let unavailable = |words: &str| http("503 Service Unavailable", words);
    let patience = ["--while-starting", "20"];
    let coming_up = vec![unavailable("not ready yet: so\n"), http("200 OK", "ready\n")];
    assert_eq!(ready(answering(coming_up), &patience).0, Some(0));
    let was_ready = vec![unavailable("not ready: so\n"), http("200 OK", "ready\n")];
    assert_eq!(ready(answering(was_ready), &patience), (Some(1), "not ready: so\n".to_owned(), String::new()));

    let (held, away) = closed();
    let begins = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        listen(&held, 1).unwrap();
        let (mut connection, _) = TcpListener::from(held).accept().unwrap();
        connection.write_all(b"\x17\x00\x00\x00\xff\x10\x04#08004Too many connections").unwrap();
    });
    let port = away.port().to_string();
    let words = ["probe", "alive", "--server-port", &port, "--while-starting", "20"];
    let (code, answer, _) = run(Command::new(BINARY).args(words));
    assert_eq!(code, Some(0), "{answer}");
    begins.join().unwrap();
}

#[test]
fn an_absent_or_foreign_sidecar_is_not_ready() {
    let (_held, closed) = closed();
    for sidecar in [closed, answering(vec![b"SSH-2.0-x\r\n".to_vec()])] {
        let (code, answer, log) = ready(sidecar, &[]);
        assert_eq!(code, Some(1), "{log}");
        assert!(answer.contains("127.0.0.1:") && answer.lines().count() == 1, "{answer}");
    }
}

#[test]
fn a_server_that_denies_access_is_alive() {
    // ERR 1040 instead of a greeting: length, sequence, 0xff, code, SQL state, text.
    let text = b"\xff\x10\x04#08004Too many connections";
    let packet = [&[text.len() as u8, 0, 0, 0], text.as_slice()].concat();
    let (code, answer, _) = alive(saying(vec![packet], false));
    assert_eq!(code, Some(0), "{answer}");
}

#[test]
fn an_absent_or_silent_server_is_dead_and_the_containers_message_stays() {
    let directory = TempDir::new().unwrap();
    let message = directory.path().join("message");
    std::fs::write(&message, "the server's own").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_held, away) = closed();
    for server in [away, silent.local_addr().unwrap()] {
        let port = server.port().to_string();
        let mut command = Command::new(BINARY);
        command.args(["probe", "alive", "--timeout", "1", "--server-port", &port, "--termination-log"]).arg(&message);
        let (code, answer, _) = run(command.stdin(Stdio::null()));
        assert_eq!((code, answer.lines().count()), (Some(1), 1), "{answer}");
    }
    assert_eq!(std::fs::read_to_string(&message).unwrap(), "the server's own");
}
