//! Whether a recipient gets the slot now, and by which method its clone is made.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::context::{Donor, Turn};
use super::method::{self, Way};
use super::preflight::{self, Survey};
use crate::model::event::{Event, info};
use crate::protocol::message::{Hello, Refusal, Wants, Why};

/// What is asked before an offer is asked in this time: recipients wait for 80 seconds.
const PREFLIGHT_LIMIT: Duration = Duration::from_secs(70);

/// When a recipient that found us busy or not ready may come back, in seconds.
const RETRY_AFTER: u64 = 2;

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

fn passing(event: Event, why: Why, text: &str) -> Refusal {
    Refusal::passing(event, why, text, RETRY_AFTER)
}

/// What is refused takes no more than so many lines.
pub fn tell_refusal(donor: &Donor, refusal: &Refusal, is_proven: bool) {
    donor.metrics.refused(refusal.why);
    let lines = if is_proven { &donor.lines_of_peers } else { &donor.lines };
    if lines.may_say() {
        info!(= refusal.event, why = refusal.why.name(), "refused: {}", refusal.text);
    }
}
