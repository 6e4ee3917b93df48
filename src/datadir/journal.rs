//! The journal: one small file that says in which state a data directory is, and where its data came from.

mod clone_record;
mod fault;
mod set_id;
mod why;

use std::collections::BTreeSet;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::named_places::Placed;
use super::ownership::Ownership;
use crate::backup_tool::received_log::ReceivedLog;
use crate::exit::{self, Reason};
use crate::held::{self, Directory, Spot, Taker};
use crate::position::Position;
use crate::wire::text::in_one_line;
pub use clone_record::{CloneRecord, ListedBy, PluginCopy, Unproven};
pub use fault::ApplierFault;
pub use set_id::SetId;
pub use why::Why;

/// The journal's name, in a data directory and in a stage.
pub const FILE_NAME: &str = ".mysqlset.json";

/// The form of the journal that this program writes. A larger number in a file is refused.
const VERSION: u32 = 1;

/// A journal has a name for each database while its copy is published: this is enough for a million.
const LARGEST: u64 = 64 << 20;

/// Nobody but the server's user and group needs to read it.
const FILE_MODE: u32 = 0o660;

/// A data directory's state; see the drawing in [`crate::datadir`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Ordinal 0 only: the server's image is about to create, or is creating, a new database.
    Initialising,
    /// A whole database that is nobody's clone.
    Complete,
    /// A backup is arriving in the stage; whatever is there is worth nothing.
    Receiving,
    /// A whole backup is in the stage, checked and synced.
    Received,
    /// The backup tool works on the stage.
    Preparing,
    /// The backup tool is done, as far as its output tells; the copy is being proven.
    Prepared,
    /// A prepared copy is being moved into the data directory.
    Publishing,
    /// A prepared copy is in the data directory; replication was never started from it.
    Published,
    /// The server knows its source and position; replication was started, or is about to be.
    Configured,
    /// Replication ran.
    Replicating,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Initialising => "initialising",
            State::Complete => "complete",
            State::Receiving => "receiving",
            State::Received => "received",
            State::Preparing => "preparing",
            State::Prepared => "prepared",
            State::Publishing => "publishing",
            State::Published => "published",
            State::Configured => "configured",
            State::Replicating => "replicating",
        })
    }
}

/// Replication that can't go on by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenReplication {
    pub why: Why,
    /// The server's own words.
    pub text: String,
    /// When it was first seen, in seconds since 1970.
    pub since: u64,
    /// What the data hold, applied and fetched: they are replaced only by a primary's that has all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Position>,
    /// All that the server ever wrote to its binary log.
    #[serde(default)]
    pub history: String,
}

/// A history that was begun anew on a copy, when the primary was recovered. Whoever is further than the copy has
/// transactions that the set no longer has, under numbers that it gives out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    pub id: SetId,
    /// Where it begins: all that the copy held.
    pub began_at: Position,
    /// The set's identity until then, where the recovery gave it another: by file and offset no replica can follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<SetId>,
}

/// The journal's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    version: u32,
    pub state: State,
    /// When this state was entered, in seconds since 1970.
    pub since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    /// Whose data these are in their set: the pod's ordinal. Earlier versions named nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// The latest recovery of the primary that these data are known to have gone along with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneRecord>,
    /// Published only: the source that came with the data was forgotten, so what the server has is ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_forgotten: bool,
    /// Replicas: replication can't go on. Gone again when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenReplication>,
    /// Replicas: the applier stopped at an error, and has not applied beyond that place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applier_fault: Option<ApplierFault>,
    /// When these data took the place of a replica's whose replication was broken, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloned_again_at: Option<u64>,
    /// How often it was tried to prepare what is staged.
    #[serde(default)]
    pub prepare_attempts: u32,
    /// How many backups before this one could not be prepared.
    #[serde(default)]
    pub failed_backups: u32,
    /// The log that was received with what is staged, as it was before the first prepare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_log: Option<ReceivedLog>,
    /// How often the memory for a prepare was halved, because one was killed with more. Holds for the next backup too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_halvings: u32,
    /// The latest try to prepare did not begin, or was ended because we were told to stop: neither the backup nor its memory
    /// was at fault.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told_to_stop: bool,
    /// A server that may write is changing the copy's events, these among them; which is still to be told. No read-only
    /// server can start on what that one leaves when it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changing_events: Option<Vec<String>>,
    /// Publishing: the names at the copy's top. All of them must be there still, in the stage or in the data directory.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// What was put where the server's configuration had it when the copy was proven.
    #[serde(default, skip_serializing_if = "Placed::is_nothing")]
    pub placed: Placed,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What every version of the journal has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

impl Journal {
    /// A journal that has nothing to tell but its state.
    pub fn new(state: State) -> Journal {
        Journal {
            version: VERSION,
            state,
            since: now(),
            set_id: None,
            ordinal: None,
            lineage: None,
            clone: None,
            source_forgotten: false,
            broken: None,
            applier_fault: None,
            cloned_again_at: None,
            prepare_attempts: 0,
            failed_backups: 0,
            received_log: None,
            memory_halvings: 0,
            told_to_stop: false,
            changing_events: None,
            names: BTreeSet::new(),
            placed: Placed::default(),
        }
    }

    /// What is said while a backup arrives: of what was learnt from earlier ones, how much memory is too much.
    pub fn receiving(memory_halvings: u32) -> Journal {
        Journal { memory_halvings, ..Journal::new(State::Receiving) }
    }

    /// Takes note that the next prepare is to have half as much memory, where that is so. A file says what was before.
    pub fn halve_memory(&mut self, is_so: bool) {
        self.memory_halvings = self.memory_halvings.saturating_add(u32::from(is_so));
    }

    /// The same data in another state.
    pub fn entering(&self, state: State) -> Journal {
        Journal { state, since: now(), ..self.clone() }
    }

    /// Whether what it speaks for is a whole backup that is not in the data directory yet.
    pub fn has_whole_backup(&self) -> bool {
        matches!(self.state, State::Received | State::Preparing | State::Prepared | State::Publishing)
    }

    /// Whether it tells of a copy that is not published yet.
    pub fn is_of_a_clone(&self) -> bool {
        self.state == State::Receiving || self.has_whole_backup()
    }

    /// The same, where that backup is staged still: earlier versions removed it first and their journal later.
    pub fn speaks_for_a_backup(&self, layout: &Layout) -> bool {
        self.state != State::Publishing && self.has_whole_backup() && layout.staged_data().exists()
    }

    /// Reads the journal of a directory; `None` where there is none.
    pub fn read(directory: &(impl Directory + ?Sized)) -> Result<Option<Journal>> {
        let held = match directory.spot() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            held => {
                held.map_err(|error| exit::disk_error(error, format!("opening {}", directory.named().display())))?
            }
        };
        let path = held.join(FILE_NAME);
        let text = match path.read_bounded(LARGEST) {
            Ok(Some(text)) => text,
            Ok(None) => {
                return Err(Reason::Journal.error(format!("the journal {path} is too long to be one of ours")));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if held::is_strange(&error) => {
                return Err(Reason::Journal.error(format!("the journal is no file: {error}")));
            }
            Err(error) => return Err(exit::disk_error(error, format!("reading {path}"))),
        };
        let unreadable = |error: serde_json::Error| {
            // Its words quote the file's.
            let error = in_one_line(&error.to_string());
            Reason::Journal.error(format!(
                "the journal {} cannot be understood ({error}): the data are left alone; \
                 see docs/reference/journal.md",
                path
            ))
        };
        let AnyVersion { version } = serde_json::from_slice(&text).map_err(unreadable)?;
        if version > VERSION {
            return Err(Reason::Journal.error(format!(
                "the journal {path} was written by a newer mysqlset (form {version}, this one knows {VERSION}): \
                 use that version"
            )));
        }
        serde_json::from_slice(&text).map(Some).map_err(unreadable)
    }

    /// Replaces the journal of a directory; lasting when it returns.
    pub fn write(&self, directory: &(impl Directory + ?Sized)) -> Result<()> {
        self.replace(directory, None)
    }

    /// The same; it is the owner's before it has its name.
    pub fn write_for(&self, directory: &Spot, ownership: Ownership) -> Result<()> {
        self.replace(directory, Some(ownership.taker()))
    }

    /// Writes it once more where the file is not the owner's. A file that is there is never given away: it may be another's.
    pub fn ensure_given(&self, directory: &Spot, ownership: Ownership) -> Result<()> {
        let path = directory.join(FILE_NAME);
        let found = path.look().map_err(|error| exit::disk_error(error, format!("looking at {path}")))?;
        if ownership.taker().has(&found) { Ok(()) } else { self.write_for(directory, ownership) }
    }

    fn replace(&self, directory: &(impl Directory + ?Sized), taker: Option<Taker>) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let directory = directory
            .spot()
            .map_err(|error| exit::disk_error(error, format!("opening {}", directory.named().display())))?;
        let path = directory.join(FILE_NAME);
        path.replace(&text, FILE_MODE, taker)
            .map_err(|error| exit::disk_error(error, format!("writing the journal {path}")))
    }

    /// Removes the journal of a directory, where there is one, lastingly. Takes no space.
    pub fn remove(directory: &Spot) -> Result<()> {
        let path = directory.join(FILE_NAME);
        let removed = path.remove_if_there().and_then(|was_there| match was_there {
            true => directory.sync(),
            false => Ok(()),
        });
        removed.map_err(|error| exit::disk_error(error, format!("removing the journal {path}")))
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::reason_of;
    use crate::wire::message::InventoryEnd;

    #[test]
    fn comes_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Journal::read(directory.path()).unwrap(), None);
        let mut journal = Journal::new(State::Published);
        journal.set_id = Some(SetId::random().unwrap());
        journal.clone = Some(CloneRecord {
            donor: "mysql-0.mysql:3307".into(),
            donor_pod: "mysql-0".into(),
            tool: "mariadb-backup 10.11.19".into(),
            bytes: 1 << 40,
            seconds: 1.5,
            received_at: now(),
            position: Some(Position::BinlogFile { file: "mysql-bin.000003".into(), offset: 1575 }),
            plugin: None,
            unproven: vec![Unproven::PrepareEnd],
            inventory: ListedBy::Donor(InventoryEnd { bytes: 13, digest: "00ff".into() }),
        });
        journal.received_log = Some(ReceivedLog { name: "ib_logfile0".into(), bytes: 7, digest: "00ff".into() });
        journal.memory_halvings = 1;
        journal.told_to_stop = true;
        journal.changing_events = Some(vec!["app.e".into()]);
        journal.write(directory.path()).unwrap();
        assert_eq!(Journal::read(directory.path()).unwrap(), Some(journal));
    }

    /// Version 0.1.0, in the middle of a prepare.
    #[test]
    fn a_journal_of_an_older_version_says_nothing_of_the_received_log() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"version":1,"state":"preparing","since":1,"clone":{"donor":"x","donor_pod":"mysql-0","tool":"x",
            "bytes":1,"seconds":1.0,"received_at":1},"prepare_attempts":1,"failed_backups":0}"#;
        std::fs::write(directory.path().join(FILE_NAME), text).unwrap();
        let journal = Journal::read(directory.path()).unwrap().unwrap();
        assert_eq!((journal.received_log, journal.memory_halvings, journal.ordinal), (None, 0, None));
        assert!(journal.clone.unwrap().unproven.is_empty());
    }

    #[test]
    fn a_journal_that_was_written_from_the_docs_is_understood() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"version": 1, "state": "complete", "since": 0, "set_id": "0123456789abcdef0123456789abcdef"}"#;
        assert!(
            include_str!("../../docs/reference/journal.md")
                .contains(r#"{"version": 1, "state": "complete", "since": 0, "set_id": "#)
        );
        std::fs::write(directory.path().join(FILE_NAME), text).unwrap();
        assert!(Journal::read(directory.path()).unwrap().unwrap().set_id.is_some());
    }

    #[test]
    fn refuses_what_it_cannot_understand() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", r#"{"version":1}"#, r#"{"version":1,"state":"wonderful","since":0}"#] {
            std::fs::write(directory.path().join(FILE_NAME), text).unwrap();
            let error = Journal::read(directory.path()).unwrap_err();
            assert_eq!(reason_of(&error), Some(Reason::Journal), "{text}");
        }
    }

    /// A volume comes from somewhere.
    #[test]
    fn a_hostile_journal_is_refused_in_one_short_line() {
        let directory = tempfile::tempdir().unwrap();
        let whole = |more: &str| format!(r#"{{"version":1,"state":"complete","since":0{more}}}"#);
        let long = "x".repeat(1 << 20);
        for text in [
            "[".repeat(1 << 20),
            r#"{"a":"#.repeat(100_000),
            "9".repeat(1 << 20),
            whole(r#","state":"replicating""#),
            whole(&format!(r#","set_id":"{long}""#)),
            whole(r#","set_id":"\ud800""#),
            whole(r#","set_id":"a\nFORGED""#),
            whole(r#","ordinal":4294967296"#),
            whole(r#","ordinal":-1"#),
            whole(r#","lineage":[]"#),
            whole(r#","clone":{"bytes":18446744073709551616}"#),
            whole(&format!(r#","lineage":{{"id":"00","began_at":{{"by":"{long}"}}}}"#)),
            r#"{"version":1,"state":"x\nFORGED","since":0}"#.to_owned(),
            r#"{"version":1e30,"state":"complete","since":0}"#.to_owned(),
            "\u{feff}{}".to_owned(),
        ] {
            std::fs::write(directory.path().join(FILE_NAME), &text).unwrap();
            let error = format!("{:#}", Journal::read(directory.path()).unwrap_err());
            let shown = &text[..text.len().min(80)];
            assert!(error.len() < 4000 && !error.contains(char::is_control), "{shown}: {} bytes", error.len());
        }
        std::fs::write(directory.path().join(FILE_NAME), b"{\"version\":1,\"state\":\"\xff\"}").unwrap();
        assert!(Journal::read(directory.path()).is_err());
        let file = std::fs::File::create(directory.path().join(FILE_NAME)).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        assert!(Journal::read(directory.path()).is_err());
    }

    #[test]
    fn refuses_a_newer_form_by_name() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), r#"{"version":2,"state":"levitating"}"#).unwrap();
        let error = Journal::read(directory.path()).unwrap_err();
        assert!(error.to_string().contains("newer mysqlset"), "{error}");
    }
}
