//! Whether a copy is still of use when it is whole: its set may have moved on while it was made.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::job::Copying;
use crate::clone::connection::{self, Questions, Silence};
use crate::datadir::journal::{Journal, ListedBy};
use crate::model::event::warn;
use crate::model::exit::Reason;
use crate::model::host::HostPort;
use crate::model::position::Position;
use crate::protocol::message::Report;

/// Between two questions to a primary that does not answer.
const PAUSE: Duration = Duration::from_secs(2);

impl Copying<'_> {
    /// Asks the primary once more before a copy is published for a replica: its log may have been purged, and itself
    /// replaced, while the copy was made.
    pub(super) fn why_useless(&self, journal: &Journal) -> Result<Option<String>> {
        let (Some(primary), Some(clone)) = (&self.from.primary, &journal.clone) else { return Ok(None) };
        // The primary of a legacy donor is one too: pods are moved over from the last to the first, and a question would end its
        // container.
        if clone.inventory == ListedBy::LegacyStream {
            return Ok(None);
        }
        let history = self.replacing.as_ref().and_then(|old| Some(old.broken.as_ref()?.history.clone()));
        let questions = Questions { about: clone.position.clone(), history };
        let report = match self.ask_until_it_answers(primary, &questions, journal)? {
            Some(report) => report,
            None => return Ok(None),
        };
        if let (Some(theirs), Some(ours)) = (&report.set_id, &journal.set_id)
            && theirs != ours
        {
            return Err(Reason::Refused.error(format!(
                "{} gave data of set identity {ours}, but the primary's are of {theirs}: it has lost its data, or the \
                 donor belongs to another set",
                clone.donor_pod
            )));
        }
        if let Some(why) = self.replacing.as_ref().and_then(|old| why_to_keep(old, &report)) {
            return Err(Reason::Refused.error(why));
        }
        let cannot = report.cannot_follow.filter(|why| !why.is_empty());
        Ok(cannot.map(|why| format!("replication can't start from the clone's position any more: {why}")))
    }

    /// What the primary says. One that is there is asked until it answers: its copy is kept meanwhile, and not published.
    /// `None` of the tutorial's primary, whose data have no identity, and of one that is away.
    fn ask_until_it_answers(
        &self,
        primary: &HostPort,
        questions: &Questions,
        journal: &Journal,
    ) -> Result<Option<Report>> {
        let (begun, patience) = (Instant::now(), self.settings.give_up_after);
        let mut said = false;
        loop {
            let answer = connection::ask_primary(&self.settings.member, &self.settings.peering, primary, questions);
            let silence = match answer.and_then(|report| understood(report, questions, journal)) {
                Ok(report) => return Ok(Some(report)),
                Err(silence) => silence,
            };
            if self.replacing.is_some() {
                let why =
                    format!("the primary can't be asked whether it has all that the broken replica has: {silence}");
                return Err(Reason::Refused.error(why));
            }
            // One question after the other would end the tutorial's containers. And a primary that is away says nothing against
            // the copy: replication compares before it starts, and a primary that has lost its data may need this one.
            if matches!(silence, Silence::Bare | Silence::Unreachable(_)) {
                warn!(PrimaryNotAsked, %primary, "the primary can't be asked whether its log still begins before the clone: {silence}");
                return Ok(None);
            }
            if begun.elapsed() >= patience {
                return Err(Reason::NoDonor.error(format!(
                    "{primary} does not say whether replication can start from the copy, which is whole and kept: {silence}. The \
                     next start asks again"
                )));
            }
            if !said {
                said = true;
                warn!(PrimaryNotAsked, %primary, "the primary is waited for, which can't be asked whether its log still begins before the clone: {silence}");
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// A report that answers what was asked. A report without its server's part does not: "unknown" is not fine.
fn understood(report: Report, questions: &Questions, journal: &Journal) -> Result<Report, Silence> {
    if questions.about.is_some() && report.cannot_follow.is_none() {
        return Err(Silence::Mute("its server does not say whether replication can start there".to_owned()));
    }
    if journal.set_id.is_some() && report.set_id.is_none() {
        return Err(Silence::Mute("its database is not complete yet".to_owned()));
    }
    Ok(report)
}

/// Why a broken replica's data must stay: nobody else may have what they hold.
pub fn why_to_keep(old: &Journal, primary: &Report) -> Option<String> {
    let broken = old.broken.as_ref()?;
    let has = |position: &Position| primary.applied.as_ref().and_then(|there| there.covers(position)) == Some(true);
    if primary.set_id != old.set_id {
        Some(format!("the data of {} are another set's", primary.pod))
    } else if let Some(place) = broken.reached.iter().find(|position| matches!(position, Position::BinlogFile { .. })) {
        // A source that was restored and wrote on has a log of that name too, with other transactions.
        Some(format!(
            "only GTIDs tell whether {} has all of {place}, which the broken replica holds; if it has, delete this volume",
            primary.pod
        ))
    } else if let Some(missing) = broken.reached.iter().find(|position| !has(position)) {
        Some(format!("{} does not have all of {missing}, which the broken replica holds", primary.pod))
    } else {
        match primary.unknown_history.as_deref() {
            Some("") => None,
            Some(extra) => Some(format!("{} does not have {extra}, which the broken replica holds", primary.pod)),
            None => Some(format!("{} does not say whether it has all that the broken replica holds", primary.pod)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::datadir::journal::State;
    use crate::model::identity::SetId;

    #[test]
    fn a_report_that_leaves_open_what_was_asked_is_no_answer() {
        let set_id = SetId::of_random([1; 16]);
        let mut journal = Journal::new(State::Prepared);
        journal.set_id = Some(set_id.clone());
        let about = Some(Position::MariadbGtid { slave_pos: "0-100-7".into() });
        let is_answer = |cannot_follow: Option<&str>, set_id: Option<&SetId>| {
            let mut report = json!({ "pod": "mysql-0", "ordinal": 0, "has_data": true, "set_id": set_id });
            if let Some(why) = cannot_follow {
                report["cannot_follow"] = why.into();
            }
            let report = serde_json::from_value(report).unwrap();
            understood(report, &Questions { about: about.clone(), history: None }, &journal).is_ok()
        };
        assert!(is_answer(Some(""), Some(&set_id)) && is_answer(Some("it was purged"), Some(&set_id)));
        assert!(!is_answer(None, Some(&set_id)), "its server does not answer");
        assert!(!is_answer(Some(""), None), "it is being recovered");
    }
}
