//! Decides whether a recipient gets the slot now, and by which method its clone is made.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::context::{Donor, Slot};
use super::method;
use super::preflight;
use super::survey::Survey;
use crate::clone::method::CloneMethod;
use crate::model::event::{Event, info};
use crate::protocol::message::{Hello, Refusal, Wants, Why};

/// Time for all questions before an offer: recipients wait for 80 seconds.
const PREFLIGHT_LIMIT: Duration = Duration::from_secs(70);

/// Seconds after which a recipient may come back that found the donor busy or not ready.
const RETRY_AFTER: u64 = 2;

/// Takes the donor slot for a recipient, if a clone may start now.
pub fn take_slot(donor: &Donor, hello: &Hello) -> Result<Slot, Refusal> {
    if donor.stopping.load(Ordering::Relaxed) || donor.status.is_held() {
        return Err(passing(Event::RefusedStopping, Why::Stopping, "this donor's server or sidecar is about to stop"));
    }
    let snapshot = donor.status.get();
    let fit = match hello.wants {
        Wants::Recovery => snapshot.fit_for_recovery(),
        Wants::Clone | Wants::Report => snapshot.fit_to_donate(donor.settings.max_donor_lag),
        Wants::Unknown => {
            let text = "this donor's version does not know the recipient's request";
            return Err(Refusal::new(Event::RefusedUnknownWish, Why::Unsupported, text));
        }
    };
    fit.map_err(|cause| passing(cause.event, Why::NotReady, &cause.text))?;
    Slot::take(donor).ok_or_else(|| {
        donor.waiting.note(&hello.pod());
        passing(Event::RefusedBusy, Why::Busy, "another clone is being served")
    })
}

/// Chooses the clone method for a recipient and checks everything that can be known before the copy starts.
pub fn survey<'a>(donor: &'a Donor, hello: &Hello) -> Result<(Box<dyn CloneMethod + 'a>, Survey), Refusal> {
    let method = method::choose(donor, hello)?;
    let checked = Handle::current().block_on(timeout(PREFLIGHT_LIMIT, preflight::check(donor, &*method, hello)));
    let too_slow = |_| {
        let text = format!(
            "this donor's server took longer than {} seconds to answer the questions before a clone",
            PREFLIGHT_LIMIT.as_secs()
        );
        Refusal::passing(Event::RefusedSlowServer, Why::NotReady, &text, RETRY_AFTER)
    };
    Ok((method, checked.map_err(too_slow)??))
}

fn passing(event: Event, why: Why, text: &str) -> Refusal {
    Refusal::passing(event, why, text, RETRY_AFTER)
}

/// Counts a refusal, and logs it within the limit on lines.
pub fn tell_refusal(donor: &Donor, refusal: &Refusal, is_proven: bool) {
    donor.metrics.refused(refusal.why);
    let lines = if is_proven { &donor.lines_of_peers } else { &donor.lines };
    if lines.may_say() {
        info!(= refusal.event, why = refusal.why.into_str(), "refused: {}", refusal.text);
    }
}
