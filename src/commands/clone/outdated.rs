//! Decides whether a whole copy is still useful: its set may have moved on while the copy was made.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::job::CloneJob;
use crate::clone::connection::{self, Questions, Silence};
use crate::datadir::journal::{Journal, ListedBy};
use crate::model::event::warn;
use crate::model::exit::Reason;
use crate::model::host::HostPort;
use crate::model::identity::Kinship;
use crate::model::position::Position;
use crate::protocol::message::Report;
use crate::protocol::verdict::Verdict;

/// Between two questions to a silent primary.
const PAUSE: Duration = Duration::from_secs(2);

impl CloneJob<'_> {
    /// Asks the primary once more before a copy is published for a replica. While the copy was made, its log may have
    /// been purged, and the primary itself replaced.
    pub(super) fn why_useless(&self, journal: &Journal) -> Result<Option<String>> {
        let (Some(primary), Some(clone)) = (&self.from.primary, &journal.clone) else { return Ok(None) };
        // A legacy donor's primary is a legacy one too, since pods move over from the last to the first. A question
        // would end its container.
        if clone.inventory == ListedBy::LegacyStream {
            return Ok(None);
        }
        let history = self.replacing.as_ref().and_then(|old| Some(old.broken.as_ref()?.history.clone()));
        let questions = Questions { about: clone.position.clone(), history };
        let report = match self.ask_until_it_answers(primary, &questions, journal)? {
            Some(report) => report,
            None => return Ok(None),
        };
        if let Kinship::Different { own, theirs } = Kinship::of(journal.set_id.as_ref(), report.set_id.as_ref()) {
            return Err(Reason::Refused.error(format!(
                "{} gave data of set id {own}, but the primary has {theirs}: the primary has lost its data, or the \
                 donor belongs to another set",
                clone.donor_pod
            )));
        }
        if let Some(why) = self.replacing.as_ref().and_then(|old| why_to_keep(old, &report)) {
            return Err(Reason::Refused.error(why));
        }
        Ok(match report.can_be_followed() {
            Verdict::No(why) => Some(format!("replication can no longer start from the clone's position: {why}")),
            Verdict::Yes | Verdict::Unknown => None,
        })
    }

    /// Gets the primary's report. A primary that is reachable is asked until it answers; meanwhile the copy is kept
    /// unpublished. Empty for the tutorial's primary, whose data lack an identity, and for an absent one.
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
                    format!("cannot ask the primary whether it has everything in the broken replica's data: {silence}");
                return Err(Reason::Refused.error(why));
            }
            // Repeated questions would end the tutorial's containers. An absent primary leaves the copy good:
            // replication compares before it starts, and a primary that has lost its data may need this copy.
            if matches!(silence, Silence::Legacy | Silence::Unreachable(_)) {
                warn!(
                    PrimaryNotAsked,
                    %primary,
                    "cannot ask the primary whether its log still begins before the clone: {silence}"
                );
                return Ok(None);
            }
            if begun.elapsed() >= patience {
                return Err(Reason::NoDonor.error(format!(
                    "{primary} does not report whether replication can start from the copy: {silence}. The copy is \
                     whole and kept, and the next start asks again"
                )));
            }
            if !said {
                said = true;
                warn!(
                    PrimaryNotAsked,
                    %primary,
                    "waiting for the primary to report whether its log still begins before the clone: {silence}"
                );
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Accepts a report only if it answers the questions. A report that lacks its server's part leaves them open, and
/// "unknown" is not fine.
fn understood(report: Report, questions: &Questions, journal: &Journal) -> Result<Report, Silence> {
    if questions.about.is_some() && report.can_be_followed() == Verdict::Unknown {
        return Err(Silence::Mute("its server does not report whether replication can start there".to_owned()));
    }
    if journal.set_id.is_some() && report.set_id.is_none() {
        return Err(Silence::Mute("its database is still incomplete".to_owned()));
    }
    Ok(report)
}

/// Why a broken replica's data must stay: they may be the only copy of their transactions.
pub fn why_to_keep(old: &Journal, primary: &Report) -> Option<String> {
    let broken = old.broken.as_ref()?;
    let has = |position: &Position| primary.applied.as_ref().and_then(|there| there.covers(position)) == Some(true);
    let kinship = Kinship::of(old.set_id.as_ref(), primary.set_id.as_ref());
    if !matches!(kinship, Kinship::Same | Kinship::BothUnknown) {
        Some(format!("the data of {} belong to another set", primary.pod))
    } else if let Some(place) = broken.reached.iter().find(|position| matches!(position, Position::BinlogFile { .. })) {
        // A restored source that wrote on has a log of that name too, with other transactions.
        Some(format!(
            "without GTIDs it is unknown whether {} has everything up to {place}, as the broken replica does; if it \
             has, delete this volume",
            primary.pod
        ))
    } else if let Some(missing) = broken.reached.iter().find(|position| !has(position)) {
        Some(format!("{} lacks part of {missing}, which the broken replica holds", primary.pod))
    } else {
        match primary.has_history() {
            Verdict::Yes => None,
            Verdict::No(extra) => Some(format!("{} lacks {extra}, which the broken replica holds", primary.pod)),
            Verdict::Unknown => {
                Some(format!("{} does not report whether it has everything in the broken replica's data", primary.pod))
            }
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
    fn a_report_must_answer_the_questions() {
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
