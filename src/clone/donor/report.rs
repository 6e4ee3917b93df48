//! What this pod is, for a peer that asks: its set, whether it has data, how far its server has come.

use std::sync::Arc;

use tracing::debug;

use super::context::Donor;
use crate::datadir::contents::Contents;
use crate::datadir::journal::{Journal, State};
use crate::model::ordinal::Role;
use crate::protocol::message::{Hello, Report};

/// Answers from the volume where the server doesn't; `None` where even that cannot be read any more, as at the sidecar's end.
pub async fn report(donor: &Arc<Donor>, hello: &Hello) -> Option<Report> {
    let of_volume = donor.clone();
    let read = tokio::task::spawn_blocking(move || report_of_volume(&of_volume)).await;
    let mut report = read.inspect_err(|failure| debug!(%failure, "the volume cannot be read")).ok()?;
    if let Err(error) = donor.answers.complete(&donor.settings, hello, &mut report).await {
        debug!("a report without the server's part: {error:#}");
    }
    Some(report)
}

/// A disk that hangs holds up nobody else.
fn report_of_volume(donor: &Donor) -> Report {
    let data_dir = &donor.settings.data_dir;
    let journal = Journal::read(data_dir).ok().flatten();
    let snapshot = donor.status.get();
    Report {
        pod: snapshot.pod,
        ordinal: donor.settings.member.ordinal.0,
        set_id: journal
            .as_ref()
            .filter(|journal| !is_unfinished(donor, journal))
            .and_then(|journal| journal.set_id.clone()),
        lineage: journal.as_ref().and_then(|journal| journal.lineage.clone()),
        has_data: journal.as_ref().is_none_or(|journal| journal.state != State::Initialising)
            && Contents::of(data_dir).map_or(true, |contents| !contents.is_empty()),
        server: snapshot.server,
        applied: None,
        fetched: None,
        cannot_follow: None,
        unknown_history: None,
        applier_fault: snapshot.applier_fault.map(|fault| format!("error {} after {}", fault.number, fault.stopped_at)),
        left_out: None,
    }
}

/// A primary that is being recovered can't be followed before it has its lineage.
fn is_unfinished(donor: &Donor, journal: &Journal) -> bool {
    donor.settings.member.role() == Role::Primary && journal.state == State::Published
}
