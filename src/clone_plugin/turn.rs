//! The donor's turn, held by the connection to its sidecar while a copy is fetched: each end hears that the other is there.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::watch;
use tracing::debug;

use crate::wire::frame::{self, Kind, WireError};
use crate::wire::message::{Copied, Failed, Heartbeat};

/// Held until it is given back, or dropped.
pub struct HeldTurn {
    connection: TcpStream,
    bytes: Arc<AtomicU64>,
    end: watch::Receiver<Option<String>>,
    thread: Option<JoinHandle<()>>,
}

impl HeldTurn {
    /// Answers the donor's heartbeats from now on, whatever else this process does.
    pub fn hold(connection: TcpStream) -> io::Result<HeldTurn> {
        let bytes = Arc::<AtomicU64>::default();
        let (tell, end) = watch::channel(None);
        let (own, counted) = (connection.try_clone()?, bytes.clone());
        let thread = std::thread::Builder::new().name("turn".into()).spawn(move || {
            let why = answer_heartbeats(&own, &counted);
            tell.send_replace(Some(why.to_string()));
        })?;
        Ok(HeldTurn { connection, bytes, end, thread: Some(thread) })
    }

    /// Takes note of how many bytes have come, for the donor.
    pub fn note(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Why the donor doesn't give any more, where it doesn't.
    pub fn end(&self) -> Option<String> {
        self.end.borrow().clone()
    }

    /// Waits for that.
    pub async fn ended(&self) -> String {
        let mut end = self.end.clone();
        let why = end.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| "nobody listens to it".to_owned())
    }

    /// Gives it back, with a word of a copy that is whole. That it isn't heard is the donor's concern.
    pub fn give_back(mut self, copied: Option<Copied>) {
        self.stop_answering();
        if let Some(copied) = copied
            && let Err(error) = frame::write_control(&mut &self.connection, Kind::Copied, &copied)
        {
            debug!("the donor does not hear that it was copied: {error}");
        }
    }

    fn stop_answering(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Read);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for HeldTurn {
    fn drop(&mut self) {
        self.stop_answering();
        let _ = self.connection.shutdown(Shutdown::Both);
    }
}

/// Until the donor says something else, or nothing any more.
fn answer_heartbeats(connection: &TcpStream, bytes: &AtomicU64) -> WireError {
    loop {
        if let Err(error) = answer_heartbeat(connection, bytes) {
            return error;
        }
    }
}

fn answer_heartbeat(mut connection: &TcpStream, bytes: &AtomicU64) -> Result<(), WireError> {
    let header = frame::read_header(&mut connection)?;
    let body = frame::read_body(&mut connection, header)?;
    match header.kind {
        Kind::Heartbeat => {
            frame::parse::<Heartbeat>(Kind::Heartbeat, &body)?;
            let bytes = bytes.load(Ordering::Relaxed);
            // Where nobody hears it, what was said before is still to be read: why.
            let _ = frame::write_control(&mut connection, Kind::Heartbeat, &Heartbeat { bytes });
            Ok(())
        }
        Kind::Failed => {
            let failed = frame::parse::<Failed>(Kind::Failed, &body)?;
            Err(WireError::Malformed(format!("the donor gave up: {}", failed.text)))
        }
        other => Err(WireError::Malformed(format!("a {other:?} message while the copy is fetched"))),
    }
}
