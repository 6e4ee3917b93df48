//! Who gets a clone, and who a report: from a peer's greeting to the offer or the refusal.

use std::io::Write;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_tcp_user_timeout;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{Span, debug};

use super::greeting::greet;
use super::method::{self, Way};
use super::preflight::Survey;
use super::{Donor, Turn, backup, preflight, report};
use crate::clone::legacy_stream;
use crate::clone::method::clone_plugin;
use crate::model::event::{Event, info};
use crate::observe::metrics::Metrics;
use crate::protocol::auth::{Side, Transcript};
use crate::protocol::frame::{self, Kind, WireError};
use crate::protocol::message::{Hello, Proof, Refusal, Wants, Why};
use crate::sys::connection_limit::{Origin, Place};
use crate::sys::deadline::DeadlineReader;
use crate::sys::heap;
use crate::sys::secret::Secret;

/// What is asked before an offer is asked in this time: recipients wait for 80 seconds.
const PREFLIGHT_LIMIT: Duration = Duration::from_secs(70);

/// A peer reads what was sent last in this time.
const READING_LIMIT: Duration = Duration::from_secs(1);

/// When a recipient that found us busy or not ready may come back, in seconds.
const RETRY_AFTER: u64 = 2;

/// A recipient that may have a clone, and the turn that it holds.
pub struct Admitted {
    pub stream: TcpStream,
    pub hello: Hello,
    pub said: Said,
    pub turn: Turn,
    pub survey: Survey,
}

/// What was said in a handshake whose peer has proven itself, and the secret that it proved to know, where one is set.
pub struct Said {
    transcript: Transcript,
    secret: Option<Secret>,
}

impl Said {
    pub fn new(transcript: Transcript, secret: Option<Secret>) -> Said {
        Said { transcript, secret }
    }

    /// A message with, where there is a secret, the proof that we know it too.
    fn proven(mut self, kind: Kind, message: &impl Serialize) -> Result<Vec<u8>, WireError> {
        let mut bytes = frame::write_control(&mut Vec::new(), kind, message)?;
        self.transcript.add(&bytes);
        if let Some(secret) = &self.secret {
            let proof = Proof { hmac: self.transcript.prove(secret, Side::Donor) };
            bytes.extend(frame::write_control(&mut Vec::new(), Kind::Proof, &proof)?);
        }
        Ok(bytes)
    }
}

/// How a handshake ends without a clone.
pub enum Ended {
    /// We say no, and why.
    Refused(Refusal),
    /// The peer can't be talked with.
    Broken(WireError),
}

impl From<WireError> for Ended {
    fn from(error: WireError) -> Ended {
        Ended::Broken(error)
    }
}

/// A place that may be lost, until the peer has the turn. Who has proven itself has one that no stranger takes.
struct Held<'a> {
    place: Option<Place>,
    metrics: &'a Metrics,
}

impl Held<'_> {
    /// Does what is to be done, unless the place is lost before.
    async fn keep<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let Some(place) = &mut self.place else { return Some(work.await) };
        tokio::select! {
            outcome = work => Some(outcome),
            () = place.lost() => {
                self.metrics.crowded_out();
                None
            }
        }
    }
}

/// One connection, from its first byte to its last.
pub async fn handle(donor: Arc<Donor>, mut stream: tokio::net::TcpStream, peer: IpAddr, place: Place) {
    let _ = stream.set_nodelay(true);
    limit_silence(&stream, donor.settings.peering.stall_timeout);
    let metrics = donor.metrics.clone();
    let mut place = Held { place: Some(place), metrics: &metrics };
    let Some(greeted) = place.keep(greet(&donor, &mut stream, peer)).await else { return };
    let (hello, said) = match greeted {
        Ok(Some(greeted)) => greeted,
        Ok(None) => return serve_silent(donor, stream, place).await,
        Err(ended) => {
            place.keep(end(&donor, &mut stream, None, ended)).await;
            return;
        }
    };
    if said.secret.is_some() {
        place.place = Some(donor.proven.take(Origin::Pod(hello.pod())));
    }
    if let Err(ended) = check_set(&donor, &hello) {
        place.keep(end(&donor, &mut stream, Some(said), ended)).await;
    } else if hello.wants == Wants::Report {
        place.keep(give_report(&donor, &mut stream, &hello, said)).await;
    } else {
        match take_turn(&donor, &hello) {
            Ok(turn) => {
                place.place = None;
                in_thread(stream, move |stream| give(&donor, stream, hello, said, turn)).await;
            }
            Err(refusal) => drop(place.keep(end(&donor, &mut stream, Some(said), Ended::Refused(refusal))).await),
        }
    }
}

/// A peer that says nothing has the turn, or hears a line that spoils its stream.
async fn serve_silent(donor: Arc<Donor>, mut stream: tokio::net::TcpStream, mut place: Held<'_>) {
    match legacy_stream::donor::take_turn(&donor) {
        Ok(turn) => {
            place.place = None;
            in_thread(stream, move |stream| legacy_stream::donor::serve(&donor, &stream, turn)).await;
        }
        Err(refusal) => {
            tell_refusal(&donor, &refusal, false);
            place.keep(send_last(&mut stream, Ok(legacy_stream::donor::spoiling(&refusal.text)))).await;
        }
    }
}

/// A clone is made by a thread that may wait.
async fn in_thread(stream: tokio::net::TcpStream, work: impl FnOnce(TcpStream) + Send + 'static) {
    let span = Span::current();
    let given = stream.into_std().and_then(|stream| stream.set_nonblocking(false).map(|()| stream));
    match given {
        Ok(stream) => {
            if let Err(failure) = tokio::task::spawn_blocking(move || span.in_scope(|| work(stream))).await {
                debug!(%failure, "a clone's thread failed");
            }
            heap::give_back();
        }
        Err(error) => debug!(%error, "a connection cannot be given to a thread"),
    }
}

/// What a recipient gets that has the turn.
fn give(donor: &Donor, stream: TcpStream, hello: Hello, said: Said, turn: Turn) {
    let _ = stream.set_write_timeout(Some(donor.settings.peering.stall_timeout));
    match survey(donor, &hello) {
        Ok((way, survey)) => {
            let recipient = Admitted { stream, hello, said, turn, survey };
            match way {
                Way::Tool(tool) => backup::serve(donor, tool, recipient),
                Way::Plugin => clone_plugin::donor::serve(donor, recipient),
            }
        }
        Err(refusal) => {
            // First: who is refused may come again at once.
            drop(turn);
            tell_refusal(donor, &refusal, said.secret.is_some());
            refuse(&stream, said, &refusal);
        }
    }
}

/// Ends a handshake that leads to nothing, and counts it.
async fn end(donor: &Donor, stream: &mut tokio::net::TcpStream, said: Option<Said>, ended: Ended) {
    match ended {
        Ended::Refused(refusal) => {
            tell_refusal(donor, &refusal, said.as_ref().is_some_and(|said| said.secret.is_some()));
            let bytes = match said {
                Some(said) => said.proven(Kind::Refusal, &refusal),
                None => frame::write_control(&mut Vec::new(), Kind::Refusal, &refusal),
            };
            send_last(stream, bytes).await;
        }
        Ended::Broken(error) => {
            donor.metrics.broken_handshake();
            if donor.lines.may_say() {
                info!(DonorHandshakeBroken, "a connection brought no request for a clone: {error}");
            }
            send_last(stream, Ok(Vec::new())).await;
        }
    }
}

/// What is refused takes no more than so many lines.
pub fn tell_refusal(donor: &Donor, refusal: &Refusal, is_proven: bool) {
    donor.metrics.refused(refusal.why);
    let lines = if is_proven { &donor.lines_of_peers } else { &donor.lines };
    if lines.may_say() {
        info!(= refusal.event, why = refusal.why.name(), "refused: {}", refusal.text);
    }
}

/// Sends what is the last, and waits for the peer to read it: closing with unread bytes would take it away again.
async fn send_last(stream: &mut tokio::net::TcpStream, bytes: Result<Vec<u8>, WireError>) {
    let Ok(bytes) = bytes else { return };
    let sent = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        std::io::Result::Ok(())
    };
    if !matches!(timeout(READING_LIMIT, sent).await, Ok(Ok(()))) {
        debug!("the peer did not read all that was said");
    }
}

/// Has a peer given up that takes nothing for so long, or acknowledges nothing of what it was sent: heartbeats go into a
/// buffer, whether anybody is there or not. (TCP_USER_TIMEOUT, tcp(7))
fn limit_silence(stream: &impl std::os::fd::AsFd, stall: Duration) {
    let _ = set_tcp_user_timeout(stream, u32::try_from(stall.as_millis()).unwrap_or(u32::MAX));
}

/// A refusal by a thread that may wait.
pub fn refuse(stream: &TcpStream, said: Said, refusal: &Refusal) {
    if answer(stream, said, Kind::Refusal, refusal).is_ok() {
        let_it_read(stream);
    }
}

/// Gives an admitted peer what it asked for, with the proof that we know the secret too, where there is one.
pub fn answer(mut stream: &TcpStream, said: Said, kind: Kind, message: &impl Serialize) -> Result<(), WireError> {
    stream.write_all(&said.proven(kind, message)?).map_err(WireError::Io)
}

/// Ends our side, and gives the peer a moment to read what was sent.
pub fn let_it_read(stream: &TcpStream) {
    if stream.shutdown(Shutdown::Write).is_ok() {
        let mut reader = DeadlineReader::new(stream, Instant::now() + READING_LIMIT);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
}

/// Answers who asks what this pod is. That it isn't heard is the peer's concern.
async fn give_report(donor: &Arc<Donor>, stream: &mut tokio::net::TcpStream, hello: &Hello, said: Said) {
    let Some(report) = report::report(donor, hello).await else { return };
    debug!(to = hello.pod(), "reporting");
    send_last(stream, said.proven(Kind::Report, &report)).await;
}

/// A turn for who may have a clone, where one can be made now.
pub fn take_turn(donor: &Donor, hello: &Hello) -> Result<Turn, Refusal> {
    if donor.stopping.load(Ordering::Relaxed) || donor.status.is_held() {
        return Err(passing(Event::RefusedStopping, Why::Stopping, "this sidecar is about to stop"));
    }
    let snapshot = donor.status.get();
    let fit = match hello.wants {
        Wants::Recovery => snapshot.fit_for_recovery(),
        Wants::Clone | Wants::Report => snapshot.fit_to_donate(donor.settings.max_donor_lag),
        Wants::Unknown => {
            let text = "the recipient asks for something that this donor's version doesn't know";
            return Err(Refusal::new(Event::RefusedUnknownWish, Why::Unsupported, text));
        }
    };
    fit.map_err(|cause| passing(cause.event, Why::NotReady, &cause.text))?;
    Turn::take(donor).ok_or_else(|| {
        donor.waiting.note(&hello.pod());
        passing(Event::RefusedBusy, Why::Busy, "another clone is being served")
    })
}

/// How a clone is made for a recipient, where it would be of use to it; and what is known of the backup.
pub fn survey<'a>(donor: &'a Donor, hello: &Hello) -> Result<(Way<'a>, Survey), Refusal> {
    let way = method::choose(donor, hello)?;
    let checked = Handle::current().block_on(timeout(PREFLIGHT_LIMIT, preflight::check(donor, way, hello)));
    let too_slow = |_| {
        let text = format!("this donor's server did not answer all questions in {} seconds", PREFLIGHT_LIMIT.as_secs());
        Refusal::passing(Event::RefusedSlowServer, Why::NotReady, &text, RETRY_AFTER)
    };
    Ok((way, checked.map_err(too_slow)??))
}

fn check_set(donor: &Donor, hello: &Hello) -> Result<(), Ended> {
    let own = &donor.settings.member.set;
    if &hello.set != own {
        let text = format!("this donor belongs to the set {own:?}, the recipient to {:?}", hello.set);
        return Err(refused(Event::RefusedOtherSet, Why::WrongSet, &text));
    }
    let own_id = donor.status.get().set_id;
    match (&hello.set_id, own_id) {
        (Some(theirs), Some(ours)) if *theirs != ours => {
            let text = format!("the recipient's data are of set identity {theirs}, this donor's of {ours}");
            Err(refused(Event::RefusedOtherData, Why::WrongSet, &text))
        }
        _ => Ok(()),
    }
}

pub(in crate::clone) fn refused(event: Event, why: Why, text: &str) -> Ended {
    Ended::Refused(Refusal::new(event, why, text))
}

fn passing(event: Event, why: Why, text: &str) -> Refusal {
    Refusal::passing(event, why, text, RETRY_AFTER)
}
