//! The demands on a volume: at the moment of a kill, and after the next start.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Lab;
use super::volume::{Place, Volume};

/// The last name to move: the images' entrypoints take it for the sign of a whole database.
const SIGN: &str = "mysql";

/// The depth of a look at a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// By journal, names and owners.
    AtNames,
    /// Also by a server that starts on it.
    AtRows,
}

/// The state that a kill left for the next start.
pub struct Left {
    state: Option<String>,
    record: Value,
}

impl Left {
    /// Whether the next start continues with this backup, and receives no other one.
    pub fn holds_a_backup(&self) -> bool {
        matches!(self.state.as_deref(), Some("received" | "preparing" | "prepared" | "publishing" | "published"))
    }

    /// Whether the next start must publish this backup. During prepare the tool decides that.
    fn must_be_used(&self) -> bool {
        self.holds_a_backup() && self.state.as_deref() != Some("preparing")
    }
}

/// Right after a kill the data directory is empty, or holds a whole copy, or holds a part whose move the journal
/// records.
pub fn at_the_kill(lab: &Lab, volume: &Volume) -> Result<Left> {
    let (data, state) = (volume.data()?, volume.state()?);
    let published = state.as_deref() == Some("published");
    match volume.place() {
        Place::Beside => ensure!(published != data.is_empty(), "{data:?} in a directory whose journal says {state:?}"),
        Place::Inside => {
            let may_hold_data = published || state.as_deref() == Some("publishing");
            ensure!(may_hold_data || data.is_empty(), "{data:?} in a directory whose journal says {state:?}");
            let (staged, has_sign) = (volume.staged()?, data.iter().any(|name| name == SIGN));
            ensure!(!has_sign || staged.is_empty(), "{SIGN} was moved before {staged:?}");
            ensure!(!published || has_sign, "published without {SIGN}: {data:?}");
        }
    }
    if published {
        demand_a_whole_copy(lab, volume)?;
    }
    let (state, record) = volume.clone_in_words()?.unzip();
    Ok(Left { state, record: record.unwrap_or_default() })
}

/// The next start publishes the backup that the journal records as received. A premature record might escape this
/// check: the tool would find the gap, and another backup would come. That would be luck.
pub fn of_going_on(lab: &Lab, volume: &Volume, left: &Left, look: Look) -> Result<()> {
    of_the_next_start(lab, volume, look)?;
    let (_, record) = volume.clone_in_words()?.context("no journal")?;
    let is_same = record == left.record;
    ensure!(is_same || !left.must_be_used(), "{:?} was thrown away: {}, now {record}", left.state, left.record);
    Ok(())
}

/// The next start ends in a whole copy and leaves nothing else.
pub fn of_the_next_start(lab: &Lab, volume: &Volume, look: Look) -> Result<()> {
    lab.clone_to_the_end(volume)?;
    of_a_finished_clone(lab, volume, look)
}

/// A clone that reported success.
pub fn of_a_finished_clone(lab: &Lab, volume: &Volume, look: Look) -> Result<()> {
    let state = volume.state()?;
    ensure!(state.as_deref() == Some("published"), "the journal says {state:?}");
    volume.demand_order()?;
    if look == Look::AtRows {
        lab.demand_the_donors_rows(&volume.data_dir())?;
    }
    Ok(())
}

/// Starts a server on a copy of the copy, so that the next start of `clone` finds it as the kill left it.
fn demand_a_whole_copy(lab: &Lab, volume: &Volume) -> Result<()> {
    let copy = lab.path("copy-of-the-copy");
    let (from, to) = (volume.data_dir(), copy.to_str().context("a path in UTF-8")?);
    lab.run("cp", &["-a", from.to_str().context("a path in UTF-8")?, to])?;
    let looked = lab.demand_the_donors_rows(&copy).context("published, but");
    std::fs::remove_dir_all(&copy)?;
    looked
}
