//! Holds the donor slot through the connection to its sidecar while a copy is fetched. Heartbeats tell each end that
//! the other is alive.
//!
//! The thread that answers the donor waits for nothing else, so it keeps going when a disk or a server hangs. Therefore
//! it also checks that the copy makes progress, and releases the slot if it stalls.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::protocol::data::DataReader;
use crate::protocol::frame::{self, Kind, WireError};
use crate::protocol::message::{Copied, End, Failed, Heartbeat};

/// The reason when the thread's own is lost.
const FAILED: &str = "the thread that answers the donor failed";

/// A slot that is held until it is given back or dropped.
pub struct DonorLease {
    connection: TcpStream,
    copy: Arc<Mutex<CopyUnderWay>>,
    end: watch::Receiver<Option<Over>>,
}

/// How the slot ended.
#[derive(Clone)]
enum Over {
    Lost(String),
    /// The slot was given back; the first frame of the donor's answer.
    Answered(Vec<u8>),
}

/// The state of the copy that the donor hears about.
struct CopyUnderWay {
    bytes: u64,
    moved: Instant,
    /// Ends the heartbeats.
    is_whole: bool,
}

impl DonorLease {
    /// Answers the donor's heartbeats from now on, independently of the rest of this process, while the copy keeps
    /// moving within `patience`.
    pub fn hold(connection: TcpStream, patience: Duration) -> io::Result<DonorLease> {
        let copy = Arc::new(Mutex::new(CopyUnderWay { bytes: 0, moved: Instant::now(), is_whole: false }));
        let (tell, end) = watch::channel(None);
        let (own, followed) = (connection.try_clone()?, copy.clone());
        std::thread::Builder::new().name("lease".into()).spawn(move || {
            let over = answer(&own, &followed, patience);
            if matches!(over, Over::Lost(_)) {
                let _ = own.shutdown(Shutdown::Both);
            }
            tell.send_replace(Some(over));
        })?;
        Ok(DonorLease { connection, copy, end })
    }

    /// Records the copy's progress in bytes.
    pub fn moved(&self, bytes: u64) {
        let mut copy = lock(&self.copy);
        (copy.bytes, copy.moved) = (bytes, Instant::now());
    }

    /// Why the slot was lost, if it was.
    pub fn end(&self) -> Option<String> {
        match &*self.end.borrow() {
            Some(Over::Lost(why)) => Some(why.clone()),
            Some(Over::Answered(_)) | None => None,
        }
    }

    /// Waits until the slot is lost.
    pub async fn ended(&self) -> String {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await.ok().and_then(|over| over.clone()) {
            Some(Over::Lost(why)) => why,
            Some(Over::Answered(_)) | None => FAILED.to_owned(),
        }
    }

    /// Releases the slot when there is no copy.
    pub fn let_go(&self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }

    /// Gives the slot back with a complete copy and receives the donor's answer: the inventory, written to `inventory`,
    /// and the end mark.
    pub fn give_back(self, copied: &Copied, inventory: impl Write + Send + 'static) -> Result<End, WireError> {
        {
            let mut copy = lock(&self.copy);
            (copy.is_whole, copy.moved) = (true, Instant::now());
            // Errors are ignored: the donor's last message, still unread, tells why.
            let _ = frame::write_control(&mut &self.connection, Kind::Copied, copied);
        }
        let first = match Handle::current().block_on(self.over()) {
            Over::Answered(first) => first,
            Over::Lost(why) => return Err(WireError::Malformed(why)),
        };
        let mut answer = DataReader::new(first.as_slice().chain(&self.connection));
        answer.collect_inventory(inventory);
        answer.finish()
    }

    async fn over(&self) -> Over {
        let mut end = self.end.clone();
        let over = end.wait_for(Option::is_some).await.ok().and_then(|over| over.clone());
        over.unwrap_or_else(|| Over::Lost(FAILED.to_owned()))
    }
}

impl Drop for DonorLease {
    fn drop(&mut self) {
        if !lock(&self.copy).is_whole {
            self.let_go();
        }
    }
}

fn lock(copy: &Mutex<CopyUnderWay>) -> MutexGuard<'_, CopyUnderWay> {
    copy.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers heartbeats until the donor sends something else, falls silent, or the copy stalls.
fn answer(connection: &TcpStream, copy: &Mutex<CopyUnderWay>, patience: Duration) -> Over {
    loop {
        let heard = match hear(connection) {
            Ok(heard) => heard,
            Err(error) => return Over::Lost(error.to_string()),
        };
        let copy = lock(copy);
        match heard {
            Heard::Heartbeat => {}
            Heard::Answer(_, first) if copy.is_whole => return Over::Answered(first),
            Heard::Answer(kind, _) => {
                return Over::Lost(format!("unexpected {kind:?} message while the copy is fetched"));
            }
        }
        let still = copy.moved.elapsed();
        if still > patience {
            let what = if copy.is_whole { "no inventory" } else { "nothing" };
            return Over::Lost(format!("{what} has arrived for {} seconds", still.as_secs()));
        }
        if !copy.is_whole {
            // Errors are ignored: the donor's last message, still unread, tells why.
            let _ = frame::write_control(&mut &*connection, Kind::Heartbeat, &Heartbeat { bytes: copy.bytes });
        }
    }
}

/// A message from the donor.
enum Heard {
    Heartbeat,
    /// The first frame of its answer to a finished copy.
    Answer(Kind, Vec<u8>),
}

fn hear(mut connection: &TcpStream) -> Result<Heard, WireError> {
    let header = frame::read_header(&mut connection)?;
    let body = frame::read_body(&mut connection, header)?;
    match header.kind {
        Kind::Heartbeat => frame::parse::<Heartbeat>(Kind::Heartbeat, &body).map(|_| Heard::Heartbeat),
        kind @ (Kind::Inventory | Kind::End) => {
            let first = [&frame::header_bytes(kind, body.len()), body.as_slice()].concat();
            Ok(Heard::Answer(kind, first))
        }
        Kind::Failed => {
            let failed = frame::parse::<Failed>(Kind::Failed, &body)?;
            Err(WireError::Malformed(format!("the donor gave up: {}", failed.text)))
        }
        other => Err(WireError::Malformed(format!("unexpected {other:?} message while the copy is fetched"))),
    }
}
