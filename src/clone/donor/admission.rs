//! Who gets a clone, and who a report: from a peer's greeting to the offer or the refusal.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::{Span, debug};

use super::admitted::{Admitted, READING_LIMIT, Said, refuse};
use super::context::{Donor, Turn};
use super::greeting::{Ended, greet, refused};
use super::method::Way;
use super::report;
use super::slot::{survey, take_turn, tell_refusal};
use crate::clone::legacy_stream;
use crate::clone::method::backup_tool;
use crate::clone::method::clone_plugin;
use crate::model::event::{Event, info};
use crate::observe::metrics::Metrics;
use crate::protocol::frame::{self, Kind, WireError};
use crate::protocol::message::{Hello, Wants, Why};
use crate::sys::connection_limit::{Origin, Place};
use crate::sys::heap;

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
                Way::Tool(tool) => backup_tool::donor::serve(donor, tool, recipient),
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

/// Answers who asks what this pod is. That it isn't heard is the peer's concern.
async fn give_report(donor: &Arc<Donor>, stream: &mut tokio::net::TcpStream, hello: &Hello, said: Said) {
    let Some(report) = report::report(donor, hello).await else { return };
    debug!(to = hello.pod(), "reporting");
    send_last(stream, said.proven(Kind::Report, &report)).await;
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
