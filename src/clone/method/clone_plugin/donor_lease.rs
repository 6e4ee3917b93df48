//! The donor's turn, held by the connection to its sidecar while a copy is fetched: each end hears that the other is there.
//!
//! The thread that answers the donor waits for nothing else, so it goes on where a disk or a server hangs. Hence it also
//! looks at whether the copy goes on, and lets the turn go where it doesn't.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::protocol::data::DataReader;
use crate::protocol::frame::{self, Kind, WireError};
use crate::protocol::message::{Copied, End, Failed, Heartbeat};

/// Said where nobody knows why.
const FAILED: &str = "the thread that answers the donor has failed";

/// Held until it is given back, or dropped.
pub struct HeldTurn {
    connection: TcpStream,
    copy: Arc<Mutex<Copy>>,
    end: watch::Receiver<Option<Over>>,
}

/// How it came to be held no more.
#[derive(Clone)]
enum Over {
    Lost(String),
    /// It was given back, and this is the first frame of the donor's answer.
    Answered(Vec<u8>),
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
            let over = answer(&own, &followed, patience);
            if matches!(over, Over::Lost(_)) {
                let _ = own.shutdown(Shutdown::Both);
            }
            tell.send_replace(Some(over));
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
        match &*self.end.borrow() {
            Some(Over::Lost(why)) => Some(why.clone()),
            Some(Over::Answered(_)) | None => None,
        }
    }

    /// Waits for that.
    pub async fn ended(&self) -> String {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await.ok().and_then(|over| over.clone()) {
            Some(Over::Lost(why)) => why,
            Some(Over::Answered(_)) | None => FAILED.to_owned(),
        }
    }

    /// Lets it go, with nothing to show for it.
    pub fn let_go(&self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }

    /// Gives it back with a whole copy, and takes the donor's answer: what the copy must hold, written to `inventory`, and
    /// the end mark.
    pub fn give_back(self, copied: &Copied, inventory: impl Write + Send + 'static) -> Result<End, WireError> {
        {
            let mut copy = lock(&self.copy);
            (copy.is_whole, copy.moved) = (true, Instant::now());
            // Where nobody hears it, what was said before is still to be read: why.
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
fn answer(connection: &TcpStream, copy: &Mutex<Copy>, patience: Duration) -> Over {
    loop {
        let heard = match hear(connection) {
            Ok(heard) => heard,
            Err(error) => return Over::Lost(error.to_string()),
        };
        let copy = lock(copy);
        match heard {
            Heard::Heartbeat => {}
            Heard::Answer(_, first) if copy.is_whole => return Over::Answered(first),
            Heard::Answer(kind, _) => return Over::Lost(format!("a {kind:?} message while the copy is fetched")),
        }
        let still = copy.moved.elapsed();
        if still > patience {
            let what = if copy.is_whole { "no list of what the copy must hold" } else { "nothing" };
            return Over::Lost(format!("{what} has come for {} seconds", still.as_secs()));
        }
        if !copy.is_whole {
            // Where nobody hears it, what was said before is still to be read: why.
            let _ = frame::write_control(&mut &*connection, Kind::Heartbeat, &Heartbeat { bytes: copy.bytes });
        }
    }
}

/// What a donor says.
enum Heard {
    Heartbeat,
    /// The first frame of what it says of a copy that is there.
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
        other => Err(WireError::Malformed(format!("a {other:?} message while the copy is fetched"))),
    }
}
