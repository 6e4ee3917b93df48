//! The donor's turn, held by the connection to its sidecar while a copy is fetched: each end hears that the other is there.
//!
//! The thread that answers the donor waits for nothing else, so it goes on where a disk or a server hangs. Hence it also
//! looks at whether the copy goes on, and lets the turn go where it doesn't.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::debug;

use crate::wire::frame::{self, Kind, WireError};
use crate::wire::message::{Copied, Failed, Heartbeat};

/// Held until it is given back, or dropped.
pub struct HeldTurn {
    connection: TcpStream,
    copy: Arc<Mutex<Copy>>,
    end: watch::Receiver<Option<String>>,
}

/// What the donor is told of the copy.
struct Copy {
    bytes: u64,
    moved: Instant,
    /// Nothing is said after that.
    is_whole: bool,
}

impl HeldTurn {
    /// Answers the donor's heartbeats from now on, whatever else this process does, as long as the copy has moved within
    /// `patience`.
    pub fn hold(connection: TcpStream, patience: Duration) -> io::Result<HeldTurn> {
        let copy = Arc::new(Mutex::new(Copy { bytes: 0, moved: Instant::now(), is_whole: false }));
        let (tell, end) = watch::channel(None);
        let (own, followed) = (connection.try_clone()?, copy.clone());
        std::thread::Builder::new().name("turn".into()).spawn(move || {
            let why = answer(&own, &followed, patience);
            let _ = own.shutdown(Shutdown::Both);
            tell.send_replace(Some(why));
        })?;
        Ok(HeldTurn { connection, copy, end })
    }

    /// The copy goes on: so many bytes have come.
    pub fn moved(&self, bytes: u64) {
        let mut copy = lock(&self.copy);
        (copy.bytes, copy.moved) = (bytes, Instant::now());
    }

    /// Why it is not held any more, where it isn't.
    pub fn end(&self) -> Option<String> {
        self.end.borrow().clone()
    }

    /// Waits for that.
    pub async fn ended(&self) -> String {
        let mut end = self.end.clone();
        let why = end.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| "the thread that answers the donor has failed".to_owned())
    }

    /// Lets it go, with nothing to show for it.
    pub fn let_go(&self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }

    /// Gives it back with a whole copy. That it isn't heard is the donor's concern.
    pub fn give_back(self, copied: &Copied) {
        let mut copy = lock(&self.copy);
        copy.is_whole = true;
        if let Err(error) = frame::write_control(&mut &self.connection, Kind::Copied, copied) {
            debug!("the donor does not hear that it was copied: {error}");
        }
        // What the donor still says is read to its end: closing before that could take the word back.
        let _ = self.connection.shutdown(Shutdown::Write);
    }
}

impl Drop for HeldTurn {
    fn drop(&mut self) {
        if !lock(&self.copy).is_whole {
            self.let_go();
        }
    }
}

fn lock(copy: &Mutex<Copy>) -> MutexGuard<'_, Copy> {
    copy.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until the donor says something else, or nothing any more, or there is nothing good to say.
fn answer(connection: &TcpStream, copy: &Mutex<Copy>, patience: Duration) -> String {
    loop {
        if let Err(error) = hear(connection) {
            return error.to_string();
        }
        let copy = lock(copy);
        let still = copy.moved.elapsed();
        if still > patience {
            return format!("nothing has come for {} seconds", still.as_secs());
        }
        if !copy.is_whole {
            // Where nobody hears it, what was said before is still to be read: why.
            let _ = frame::write_control(&mut &*connection, Kind::Heartbeat, &Heartbeat { bytes: copy.bytes });
        }
    }
}

/// A heartbeat of the donor's.
fn hear(mut connection: &TcpStream) -> Result<(), WireError> {
    let header = frame::read_header(&mut connection)?;
    let body = frame::read_body(&mut connection, header)?;
    match header.kind {
        Kind::Heartbeat => frame::parse::<Heartbeat>(Kind::Heartbeat, &body).map(drop),
        Kind::Failed => {
            let failed = frame::parse::<Failed>(Kind::Failed, &body)?;
            Err(WireError::Malformed(format!("the donor gave up: {}", failed.text)))
        }
        other => Err(WireError::Malformed(format!("a {other:?} message while the copy is fetched"))),
    }
}
