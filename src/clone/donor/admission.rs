//! Admission: decides, from a peer's greeting, whether it receives a clone, a report or a refusal.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::{Span, debug};

use super::admitted::{Admitted, READING_LIMIT, refuse};
use super::context::{Donor, Slot};
use super::greeting::{Ended, greet, refused};
use super::report;
use super::slot::{survey, take_slot, tell_refusal};
use crate::clone::legacy_stream;
use crate::model::event::{Event, info};
use crate::model::identity::Kinship;
use crate::observe::metrics::Metrics;
use crate::protocol::frame::{self, Kind, WireError};
use crate::protocol::handshake::donor::Said;
use crate::protocol::message::{Hello, Wants, Why};
use crate::sys::connection_limit::{Origin, Place};
use crate::sys::heap;

/// A connection place that may be lost until the peer holds the slot. A stranger can never take the place of a proven
/// peer.
struct Held<'a> {
    place: Option<Place>,
    metrics: &'a Metrics,
}

impl Held<'_> {
    /// Runs `work`, unless the place is lost first.
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

/// Handles one connection, from its first byte to its last.
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
    if said.is_proven() {
        place.place = Some(donor.proven.take(Origin::Pod(hello.pod())));
    }
    if let Err(ended) = check_set(&donor, &hello) {
        place.keep(end(&donor, &mut stream, Some(said), ended)).await;
    } else if hello.wants == Wants::Report {
        place.keep(give_report(&donor, &mut stream, &hello, said)).await;
    } else {
        match take_slot(&donor, &hello) {
            Ok(slot) => {
                place.place = None;
                in_thread(stream, move |stream| give(&donor, stream, hello, said, slot)).await;
            }
            Err(refusal) => drop(place.keep(end(&donor, &mut stream, Some(said), Ended::Refused(refusal))).await),
        }
    }
}

/// Gives a silent peer the legacy stream, or a line that spoils its stream.
async fn serve_silent(donor: Arc<Donor>, mut stream: tokio::net::TcpStream, mut place: Held<'_>) {
    match legacy_stream::donor::take_slot(&donor) {
        Ok(slot) => {
            place.place = None;
            in_thread(stream, move |stream| legacy_stream::donor::serve(&donor, &stream, slot)).await;
        }
        Err(refusal) => {
            tell_refusal(&donor, &refusal, false);
            place.keep(send_last(&mut stream, Ok(legacy_stream::donor::spoiling(&refusal.text)))).await;
        }
    }
}

/// Runs a clone in a thread that may block.
async fn in_thread(stream: tokio::net::TcpStream, work: impl FnOnce(TcpStream) + Send + 'static) {
    let span = Span::current();
    let given = stream.into_std().and_then(|stream| stream.set_nonblocking(false).map(|()| stream));
    match given {
        Ok(stream) => {
            if let Err(failure) = tokio::task::spawn_blocking(move || span.in_scope(|| work(stream))).await {
                debug!(%failure, "the thread of a clone failed");
            }
            heap::give_back();
        }
        Err(error) => debug!(%error, "cannot hand a connection to a thread"),
    }
}

/// Serves a recipient that holds the slot.
fn give(donor: &Donor, stream: TcpStream, hello: Hello, said: Said, slot: Slot) {
    let _ = stream.set_write_timeout(Some(donor.settings.peering.stall_timeout));
    match survey(donor, &hello) {
        Ok((method, survey)) => method.serve(donor, Admitted { stream, hello, said, slot, survey }),
        Err(refusal) => {
            // First: a refused recipient may come again at once.
            drop(slot);
            tell_refusal(donor, &refusal, said.is_proven());
            refuse(&stream, said, &refusal);
        }
    }
}

/// Ends a handshake that leads to no clone, and counts it.
async fn end(donor: &Donor, stream: &mut tokio::net::TcpStream, said: Option<Said>, ended: Ended) {
    match ended {
        Ended::Refused(refusal) => {
            tell_refusal(donor, &refusal, said.as_ref().is_some_and(Said::is_proven));
            let bytes = match said {
                Some(said) => said.answer(Kind::Refusal, &refusal),
                None => frame::encode(Kind::Refusal, &refusal),
            };
            send_last(stream, bytes).await;
        }
        Ended::Broken(error) => {
            donor.metrics.broken_handshake();
            if donor.lines.may_say() {
                info!(DonorHandshakeBroken, "connection ended before a clone request: {error}");
            }
            send_last(stream, Ok(Vec::new())).await;
        }
    }
}

/// Sends the last message and waits for the peer to read it: closing with unread bytes would discard the message.
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
        debug!("the peer left before it had read the whole answer");
    }
}

/// Drops a peer that accepts or acknowledges nothing for `stall`. Heartbeats go into a buffer even if the peer is gone.
/// (TCP_USER_TIMEOUT, tcp(7))
fn limit_silence(stream: &impl std::os::fd::AsFd, stall: Duration) {
    let _ = set_tcp_user_timeout(stream, u32::try_from(stall.as_millis()).unwrap_or(u32::MAX));
}

/// Sends a report about this pod. A peer that stops listening is no error here.
async fn give_report(donor: &Arc<Donor>, stream: &mut tokio::net::TcpStream, hello: &Hello, said: Said) {
    let Some(report) = report::report(donor, hello).await else { return };
    debug!(to = hello.pod(), "reporting");
    send_last(stream, said.answer(Kind::Report, &report)).await;
}

fn check_set(donor: &Donor, hello: &Hello) -> Result<(), Ended> {
    let own = &donor.settings.member.set;
    if &hello.set != own {
        let text = format!("this donor belongs to the set {own:?}, the recipient to {:?}", hello.set);
        return Err(refused(Event::RefusedOtherSet, Why::WrongSet, &text));
    }
    let own_id = donor.status.get().set_id;
    match Kinship::of(own_id.as_ref(), hello.set_id.as_ref()) {
        Kinship::Different { own, theirs } => {
            let text = format!("the recipient's data has set id {theirs}, this donor's has {own}");
            Err(refused(Event::RefusedOtherData, Why::WrongSet, &text))
        }
        // An empty volume gives a recipient no set id yet.
        Kinship::Same | Kinship::OneUnknown | Kinship::BothUnknown => Ok(()),
    }
}
