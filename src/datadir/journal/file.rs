//! The journal's file: read, written as a whole, given to its owner, removed.

use anyhow::Result;
use serde::Deserialize;

use super::{FILE_NAME, Journal, VERSION};
use crate::datadir::ownership::Ownership;
use crate::model::exit::Reason;
use crate::protocol::text::in_one_line;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::{self, Directory, Spot, Taker};

/// A journal lists each database while its copy is published: this is enough for a million.
const LARGEST: u64 = 64 << 20;

/// Readable for the server's user and group only.
const FILE_MODE: u32 = 0o660;

/// The part that every version of the journal has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

impl Journal {
    /// Reads the journal of a directory; `None` where there is none.
    pub fn read(directory: &(impl Directory + ?Sized)) -> Result<Option<Journal>> {
        let held = match directory.spot() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            held => held.map_err(|error| disk_error(error, format!("opening {}", directory.named().display())))?,
        };
        let path = held.join(FILE_NAME);
        let text = match path.read_bounded(LARGEST) {
            Ok(Some(text)) => text,
            Ok(None) => {
                return Err(Reason::Journal.error(format!("the journal {path} is too long")));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if held_directory::is_strange(&error) => {
                return Err(Reason::Journal.error(format!("the journal is not a regular file: {error}")));
            }
            Err(error) => return Err(disk_error(error, format!("reading {path}"))),
        };
        let unreadable = |error: serde_json::Error| {
            // The parser's text quotes the file.
            let error = in_one_line(&error.to_string());
            Reason::Journal.error(format!(
                "cannot read the journal {} ({error}): the data stay untouched; \
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

    /// Replaces the journal of a directory. The change is durable on return.
    pub fn write(&self, directory: &(impl Directory + ?Sized)) -> Result<()> {
        self.replace(directory, None)
    }

    /// The same, but the file gets its owner before its name.
    pub fn write_for(&self, directory: &Spot, ownership: Ownership) -> Result<()> {
        self.replace(directory, Some(ownership.taker()))
    }

    /// Rewrites the journal where the file has another owner. An existing file keeps its owner, since it may belong to
    /// another program.
    pub fn ensure_given(&self, directory: &Spot, ownership: Ownership) -> Result<()> {
        let path = directory.join(FILE_NAME);
        let found = path.look().map_err(|error| disk_error(error, format!("looking at {path}")))?;
        if ownership.taker().has(&found) { Ok(()) } else { self.write_for(directory, ownership) }
    }

    fn replace(&self, directory: &(impl Directory + ?Sized), taker: Option<Taker>) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let directory =
            directory.spot().map_err(|error| disk_error(error, format!("opening {}", directory.named().display())))?;
        let path = directory.join(FILE_NAME);
        path.replace(&text, FILE_MODE, taker).map_err(|error| disk_error(error, format!("writing the journal {path}")))
    }

    /// Removes the journal of a directory durably, where there is one. Needs no disk space.
    pub fn remove(directory: &Spot) -> Result<()> {
        let path = directory.join(FILE_NAME);
        let removed = path.remove_if_there().and_then(|was_there| match was_there {
            true => directory.sync(),
            false => Ok(()),
        });
        removed.map_err(|error| disk_error(error, format!("removing the journal {path}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datadir::journal::{CloneRecord, ListedBy, State, Unproven, now};
    use crate::datadir::received_log::ReceivedLog;
    use crate::model::exit::reason_of;
    use crate::model::identity::SetId;
    use crate::model::position::Position;
    use crate::protocol::message::InventoryEnd;

    #[test]
    fn comes_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Journal::read(directory.path()).unwrap(), None);
        let mut journal = Journal::new(State::Published);
        journal.set_id = Some(SetId::of_random([1; 16]));
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
    fn a_journal_of_an_older_version_lacks_the_received_log() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"version":1,"state":"preparing","since":1,"clone":{"donor":"x","donor_pod":"mysql-0","tool":"x",
            "bytes":1,"seconds":1.0,"received_at":1},"prepare_attempts":1,"failed_backups":0}"#;
        std::fs::write(directory.path().join(FILE_NAME), text).unwrap();
        let journal = Journal::read(directory.path()).unwrap().unwrap();
        assert_eq!((journal.received_log, journal.memory_halvings, journal.ordinal), (None, 0, None));
        assert!(journal.clone.unwrap().unproven.is_empty());
    }

    #[test]
    fn a_journal_written_by_hand_from_the_docs_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"version": 1, "state": "complete", "since": 0, "set_id": "0123456789abcdef0123456789abcdef"}"#;
        assert!(
            include_str!("../../../docs/reference/journal.md")
                .contains(r#"{"version": 1, "state": "complete", "since": 0, "set_id": "#)
        );
        std::fs::write(directory.path().join(FILE_NAME), text).unwrap();
        assert!(Journal::read(directory.path()).unwrap().unwrap().set_id.is_some());
    }

    #[test]
    fn refuses_an_unreadable_journal() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", r#"{"version":1}"#, r#"{"version":1,"state":"wonderful","since":0}"#] {
            std::fs::write(directory.path().join(FILE_NAME), text).unwrap();
            let error = Journal::read(directory.path()).unwrap_err();
            assert_eq!(reason_of(&error), Some(Reason::Journal), "{text}");
        }
    }

    /// A volume may come from an untrusted place.
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
    fn refuses_a_newer_form() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), r#"{"version":2,"state":"levitating"}"#).unwrap();
        let error = Journal::read(directory.path()).unwrap_err();
        assert!(error.to_string().contains("newer mysqlset"), "{error}");
    }
}
