//! How an empty primary judges a peer that claims to belong to another set.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use harness::logged::Said;
use harness::pods::Cluster;
use harness::pods::conditions::bridge;
use harness::set;
use mysqlset::model::event::Event;
use mysqlset::protocol::auth::{Side, Transcript, nonce};
use mysqlset::protocol::frame::{self, Kind, WireError};
use mysqlset::protocol::message::{Challenge, Proof, Refusal, Why};
use mysqlset::protocol::preface;
use mysqlset::sys::secret::Secret;
use serde::Serialize;

const SECRET: &str = "between all pods";

/// The moment at which a peer says it, and its knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// In place of the challenge.
    AtOnce,
    /// After the asker's proof, without a proof of its own.
    Unproven,
    /// After the asker's proof, with a proof from another secret.
    WithAnotherSecret,
    /// Like a sidecar of another set with the same secret.
    Proven,
    /// Like a sidecar without a secret.
    WithoutASecret,
}

/// A pod that is to be first in its set finds one peer behind its service.
fn empty_primary_beside(says: Says, secret: Option<&str>) -> Result<(Cluster, Stranger)> {
    let cluster = set::start(0, |manifests| {
        manifests.set_env("clone", "MYSQLSET_SERVICE", &bridge().to_string());
        if let Some(secret) = secret {
            manifests.set_env("clone", "MYSQLSET_CLONE_SECRET", secret);
        }
    })?;
    let stranger = Stranger::start(cluster.shared.network.listen(3307)?, says)?;
    cluster.scale(1);
    Ok((cluster, stranger))
}

#[test]
fn with_a_secret_only_a_proven_peer_reports_another_set() -> Result<()> {
    for says in [Says::AtOnce, Says::Unproven, Says::WithAnotherSecret] {
        let (cluster, _stranger) = empty_primary_beside(says, Some(SECRET))?;
        let end = set::end_of_clone(&cluster, "mysql-0")?;
        assert_eq!(end.exit_code, 35, "{says:?}: {end:?}");
        assert!(end.message.contains(&bridge().to_string()), "{says:?}: {end:?}");
        assert!(end.message.names(Event::RefusedOtherSet), "{says:?}: {end:?}");
        assert!(!cluster.volume("mysql-0").join("mysql").exists(), "{says:?}");
    }
    let (cluster, _stranger) = empty_primary_beside(Says::Proven, Some(SECRET))?;
    cluster.wait_for_event("mysql-0", "clone", Event::DataNew)
}

/// Without a secret no peer can prove its set. Otherwise another set behind the same service would block this one's
/// first start.
#[test]
fn without_a_secret_any_peer_reports_another_set() -> Result<()> {
    let (cluster, _stranger) = empty_primary_beside(Says::WithoutASecret, None)?;
    cluster.wait_for_event("mysql-0", "clone", Event::DataNew)
}

/// Answers on a thread of its own, until it is dropped.
struct Stranger(Arc<AtomicBool>);

impl Stranger {
    fn start(listener: TcpListener, says: Says) -> Result<Stranger> {
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = stopped.clone();
        listener.set_nonblocking(true)?;
        std::thread::spawn(move || {
            while !seen.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((asker, _)) => drop(answer(&asker, says)),
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
                }
            }
        });
        Ok(Stranger(stopped))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One handshake, up to the refusal.
fn answer(mut asker: &TcpStream, says: Says) -> Result<(), WireError> {
    asker.set_nonblocking(false).map_err(WireError::Io)?;
    let mut said = Transcript::begin(preface::OWN, preface::OWN);
    preface::receive(&mut asker)?;
    hear(asker, &mut said, Kind::Hello)?;
    preface::send(&mut asker)?;
    let refusal = Refusal::new(Event::RefusedOtherSet, Why::WrongSet, "this donor belongs to another set");
    if says == Says::AtOnce {
        return say(asker, &mut said, Kind::Refusal, &refusal);
    }
    let nonce = nonce().map_err(|error| WireError::Malformed(error.to_string()))?;
    let proof = says != Says::WithoutASecret;
    say(asker, &mut said, Kind::Challenge, &Challenge { nonce, proof })?;
    if proof {
        hear(asker, &mut said, Kind::Proof)?;
    }
    say(asker, &mut said, Kind::Refusal, &refusal)?;
    let known = match says {
        Says::Proven => SECRET,
        Says::WithAnotherSecret => "another secret",
        Says::AtOnce | Says::Unproven | Says::WithoutASecret => return Ok(()),
    };
    let hmac = said.prove(&Secret::new(known), Side::Donor);
    say(asker, &mut said, Kind::Proof, &Proof { hmac })
}

fn hear(mut asker: &TcpStream, said: &mut Transcript, kind: Kind) -> Result<(), WireError> {
    let header = frame::read_header(&mut asker)?;
    if header.kind != kind {
        return Err(WireError::Malformed(format!("{:?} where a {kind:?} belongs", header.kind)));
    }
    let body = frame::read_body(&mut asker, header)?;
    said.add(&frame::header_bytes(kind, body.len()));
    said.add(&body);
    Ok(())
}

fn say(mut asker: &TcpStream, said: &mut Transcript, kind: Kind, message: &impl Serialize) -> Result<(), WireError> {
    said.add(&frame::write_control(&mut asker, kind, message)?);
    Ok(())
}
