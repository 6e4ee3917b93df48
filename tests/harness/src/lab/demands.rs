//! What is demanded of a volume: at the moment of a kill, and after the next start.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Lab;
use super::volume::{Place, Volume};

/// What moves last: the images' entrypoints take it for the sign of a whole database.
const SIGN: &str = "mysql";

/// How thoroughly a copy is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// By journal, names and owners.
    AtNames,
    /// By a server that is started on it, too.
    AtRows,
}

/// What a kill left for the next start to go on with.
pub struct Left {
    state: Option<String>,
    record: Value,
}

impl Left {
    /// Whether the next start goes on with what was received, and receives no other backup.
    pub fn holds_a_backup(&self) -> bool {
        matches!(self.state.as_deref(), Some("received" | "preparing" | "prepared" | "publishing" | "published"))
    }

    /// Whether what was received must be what is published. While it is prepared that is up to the tool.
    fn must_be_used(&self) -> bool {
        self.holds_a_backup() && self.state.as_deref() != Some("preparing")
    }
}

/// Right after a kill the data directory holds nothing, or a whole copy, or what its journal says is being moved.
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

/// The next start publishes what the journal says was received. That the tool finds out about a journal that said so
/// too early, and another backup is received, is luck.
pub fn of_going_on(lab: &Lab, volume: &Volume, left: &Left, look: Look) -> Result<()> {
    of_the_next_start(lab, volume, look)?;
    let (_, record) = volume.clone_in_words()?.context("no journal")?;
    let is_same = record == left.record;
    ensure!(is_same || !left.must_be_used(), "{:?} was thrown away: {}, now {record}", left.state, left.record);
    Ok(())
}

/// The next start ends in a whole copy, and in nothing else.
pub fn of_the_next_start(lab: &Lab, volume: &Volume, look: Look) -> Result<()> {
    lab.clone_to_the_end(volume)?;
    of_a_finished_clone(lab, volume, look)
}

/// A clone that said it was done.
pub fn of_a_finished_clone(lab: &Lab, volume: &Volume, look: Look) -> Result<()> {
    let state = volume.state()?;
    ensure!(state.as_deref() == Some("published"), "the journal says {state:?}");
    volume.demand_order()?;
    if look == Look::AtRows {
        lab.demand_the_donors_rows(&volume.data_dir())?;
    }
    Ok(())
}

/// A server is started on a copy of the copy: the next start of `clone` shall find it as the kill left it.
fn demand_a_whole_copy(lab: &Lab, volume: &Volume) -> Result<()> {
    let copy = lab.path("copy-of-the-copy");
    let (from, to) = (volume.data_dir(), copy.to_str().context("a path in UTF-8")?);
    lab.run("cp", &["-a", from.to_str().context("a path in UTF-8")?, to])?;
    let looked = lab.demand_the_donors_rows(&copy).context("published, but");
    std::fs::remove_dir_all(&copy)?;
    looked
}
