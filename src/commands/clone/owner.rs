//! Whose data lie here: a snapshot that was restored, or a claim that was renamed, may bring another pod's.
//!
//! ```text
//!  here         data of              done
//!  a pod        the same pod's       nothing, whatever the set is called; a journal that names none gets this pod's
//!  a replica    another replica's    taken, unless the primary says that it is of another set; where it says nothing, the
//!                                    sidecar compares before it follows
//!  a replica    the primary's        taken where the primary is of the same set; the sidecar starts replication by GTID
//!  ordinal 0    a replica's          refused: what it lacks nobody would miss
//!  ordinal 0    the primary's, which a replica's pod took and never followed with: taken back
//! ```
//!
//! Logs that are named after the former pod get this one's name: a server that does not find its log does not know which
//! transactions it wrote. Data that are taken lose the UUID of the server that they come from: two servers with one UUID end each other's
//! replication.

use anyhow::Result;

use super::logs_of_pod;
use crate::datadir::journal::{Journal, State};
use crate::datadir::layout::Layout;
use crate::model::event::info;
use crate::model::exit::Reason;
use crate::model::ordinal::{Member, Ordinal, Role};
use crate::protocol::message::Report;
use crate::sys::disk::disk_error;

/// Where MySQL keeps a server's UUID.
const UUID_FILE: &str = "auto.cnf";

/// Makes the data this pod's, or refuses them. `ask_primary` is asked only where its word is needed, and for
/// the name of the server's logs only where there are some of another pod's name.
pub fn claim(
    member: &Member,
    layout: &Layout,
    journal: Journal,
    ask_primary: impl FnOnce() -> Result<Report, String>,
    server_base: impl FnOnce() -> Result<String>,
) -> Result<Journal> {
    let own = member.ordinal;
    let former = former_owner(&journal).unwrap_or(own);
    if former != own {
        let refuse = |why: String| Err(refused(member, layout, former, &why));
        match (own.role(), former.role()) {
            // A primary's that a replica's pod has taken, and has never followed with: it comes back as it was.
            (Role::Primary, _) if journal.state == State::Complete => {}
            (Role::Primary, _) => {
                return refuse(
                    "a replica may lack what others of the set have, and replicas can't follow it; to make a primary of \
                     it give it back to its pod, and recover an empty mysql-0 from there (--on-lost-primary recover, \
                     --donor)"
                        .to_owned(),
                );
            }
            (Role::Replica, former) => match (is_of_same_set(&journal, ask_primary), former) {
                (Compared::Same, _) | (Compared::Unknown(_), Role::Replica) => {}
                (Compared::Different(why), _) | (Compared::Unknown(why), Role::Primary) => return refuse(why),
            },
        }
        // First: a start that ends here finds the former owner, and does it again.
        logs_of_pod::rename(&layout.data(), former, member, server_base)?;
        renew_identity(layout)?;
        info!(DataTaken, former = %former, own = %own, "the data are another pod's of this set: taken");
    } else {
        // A set of another name may have had them.
        logs_of_pod::rename(&layout.data(), own, member, server_base)?;
    }
    if journal.ordinal == Some(own.0) {
        return Ok(journal);
    }
    let mut journal = journal;
    journal.ordinal = Some(own.0);
    journal.write(&layout.data())?;
    Ok(journal)
}

/// A journal of an earlier version names nobody: only a primary's data are complete without a clone's story.
fn former_owner(journal: &Journal) -> Option<Ordinal> {
    let by_state = (journal.state == State::Complete).then_some(Ordinal::PRIMARY);
    journal.ordinal.map(Ordinal).or(by_state)
}

/// Whether data are of the primary's set.
enum Compared {
    Same,
    Different(String),
    Unknown(String),
}

fn is_of_same_set(journal: &Journal, ask_primary: impl FnOnce() -> Result<Report, String>) -> Compared {
    let Some(own) = &journal.set_id else { return Compared::Unknown("their journal names no set".to_owned()) };
    match ask_primary() {
        Err(why) => Compared::Unknown(format!("the primary can't be asked whether they are of its set: {why}")),
        Ok(report) => match report.set_id {
            Some(theirs) if theirs == *own => Compared::Same,
            Some(theirs) => {
                Compared::Different(format!("they are of set identity {own}, and {} of {theirs}", report.pod))
            }
            None => Compared::Unknown(format!("{} says no set identity yet", report.pod)),
        },
    }
}

fn refused(member: &Member, layout: &Layout, former: Ordinal, why: &str) -> anyhow::Error {
    Reason::OtherPod.error(format!(
        "{} holds the data of ordinal {former}, and this is {member}: {why}. Give the volume back to its pod; or empty it, \
         or delete it, to have {member} made anew",
        layout.data_dir.display()
    ))
}

fn renew_identity(layout: &Layout) -> Result<()> {
    let data = layout.data();
    let path = data.join(UUID_FILE);
    let removed = path.remove_if_there().and_then(|was_there| if was_there { data.sync() } else { Ok(()) });
    removed.map_err(|error| disk_error(error, format!("removing {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datadir::layout::Place;
    use crate::model::exit::reason_of;
    use crate::model::identity::SetId;

    fn volume() -> (tempfile::TempDir, Layout) {
        let volume = tempfile::tempdir().unwrap();
        let layout = Layout::at(volume.path(), Place::Inside);
        std::fs::write(volume.path().join(UUID_FILE), "[auto]\n").unwrap();
        (volume, layout)
    }

    fn journal(state: State, ordinal: Option<u32>, set_id: &SetId) -> Journal {
        let mut journal = Journal::new(state);
        (journal.ordinal, journal.set_id) = (ordinal, Some(set_id.clone()));
        journal
    }

    fn report(set_id: &SetId) -> Report {
        let text = format!(r#"{{"pod":"mysql-0","ordinal":0,"set_id":"{set_id}","has_data":true}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn data_are_claimed_taken_or_refused() {
        use State::{Complete, Published, Replicating};
        let (own, other) = (SetId::of_random([1; 16]), SetId::of_random([2; 16]));
        for (pod, state, ordinal, primary, taken) in [
            // The same pod's, with and without a name, and in a set of another name.
            ("mysql-0", Complete, None, None, Some(false)),
            ("other-0", Complete, Some(0), None, Some(false)),
            ("mysql-1", Replicating, None, None, Some(false)),
            ("mysql-1", Replicating, Some(1), None, Some(false)),
            // A primary's volume that once was a replica's, of a version that named nobody.
            ("mysql-0", Replicating, None, None, Some(false)),
            // Another pod's.
            ("mysql-1", Replicating, Some(2), None, Some(true)),
            ("mysql-1", Published, Some(2), None, Some(true)),
            ("mysql-1", Replicating, Some(2), Some(&own), Some(true)),
            ("mysql-1", Replicating, Some(2), Some(&other), None),
            ("mysql-1", Complete, Some(0), Some(&own), Some(true)),
            ("mysql-1", Complete, None, Some(&own), Some(true)),
            ("mysql-1", Complete, Some(0), Some(&other), None),
            ("mysql-1", Complete, Some(0), None, None),
            ("mysql-0", Replicating, Some(1), Some(&own), None),
            ("mysql-0", Complete, Some(1), None, Some(true)),
        ] {
            let (volume, layout) = volume();
            let member = Member::from_hostname(pod).unwrap();
            let ask = || primary.map(report).ok_or_else(|| "nobody listens".to_owned());
            let claimed = claim(&member, &layout, journal(state, ordinal, &own), ask, || Ok(format!("{member}-bin")));
            let has_uuid = volume.path().join(UUID_FILE).exists();
            let what = format!("{pod} {state} {ordinal:?} {primary:?}");
            match (claimed, taken) {
                (Ok(journal), Some(taken)) => {
                    assert_eq!((journal.ordinal, has_uuid), (Some(member.ordinal.0), !taken), "{what}");
                    if ordinal != journal.ordinal {
                        assert_eq!(Journal::read(volume.path()).unwrap(), Some(journal), "{what}");
                    }
                }
                (Err(error), None) => {
                    assert_eq!((reason_of(&error), has_uuid), (Some(Reason::OtherPod), true), "{what}");
                    assert_eq!(Journal::read(volume.path()).unwrap(), None, "{what}");
                }
                (claimed, _) => panic!("{what}: {claimed:?}"),
            }
        }
    }
}
