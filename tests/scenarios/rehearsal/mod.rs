//! The rehearsal. A copy is published only if the pod's server starts on it and opens its tables.

mod damaged;
mod hidden;
mod kills;
mod settled;

use anyhow::Result;
use harness::logged::Said;
use harness::pods::servers::tested;
use harness::rehearsal::{Staged, digests, odd};
use harness::set;
use mysqlset::model::event::Event;

/// The copy has broken views, a discarded table, a MERGE table without its tables, and names of all kinds.
#[test]
fn whole_copies_with_odd_tables_pass_and_stay_as_they_are() -> Result<()> {
    let staged = Staged::of(odd(), 0)?;
    let before = digests(&staged.data())?;
    let ended = staged.clone(&[])?;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(staged.is_published(), "{}", ended.log);
    let not_readable = if tested().is_mariadb() { 1 } else { 2 };
    assert_eq!(ended.not_readable(), Some(not_readable), "{}", ended.log);
    let mut after = digests(&staged.published())?;
    // Logs of an earlier life are removed before the proof.
    let mut expected = before.clone();
    let is_log = |name: &std::path::Path| name.to_string_lossy().starts_with("binlog.");
    expected.retain(|name, _| !is_log(name));
    after.retain(|name, _| !is_log(name));
    assert!(before.len() > 100, "{before:?}");
    let changed: Vec<_> = expected.iter().filter(|(name, digest)| after.get(*name) != Some(digest)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(after.len(), expected.len());
    assert!(!staged.stage().exists());
    Ok(())
}

#[test]
fn a_rehearsal_can_be_switched_off() -> Result<()> {
    let staged = Staged::of(odd(), 0)?;
    std::fs::remove_file(staged.data().join("app/t.ibd"))?;
    let ended = staged.clone(&["--rehearsal", "off"])?;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.has(Event::RehearsalOff) && !ended.log.has(Event::RehearsalDone), "{}", ended.log);
    Ok(())
}

/// The clone runs as user 999, on a read-only root, by the shipped manifests.
#[test]
fn a_pods_clone_is_rehearsed() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    assert!(cluster.has_logged("mysql-1", "clone", Event::RehearsalDone), "{}", cluster.logs("mysql-1", "clone"));
    set::assert_no_leftovers(&cluster, "mysql-1")
}

#[test]
fn too_little_memory_is_refused_before_the_first_byte() -> Result<()> {
    let cluster = set::start(1, |manifests| {
        manifests.container("clone").resources.limits.memory = Some("192Mi".to_owned());
    })?;
    cluster.wait_ready(1)?;
    cluster.scale(2);
    let end = set::end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 52, "{}", end.message);
    assert!(end.is(Event::ExitLimit), "{}", end.message);
    for word in ["192 MiB", "--rehearsal off"] {
        assert!(end.message.contains(word), "{}", end.message);
    }
    assert!(!cluster.has_logged("mysql-1", "clone", Event::ReceiveBegun), "{}", cluster.logs("mysql-1", "clone"));
    Ok(())
}
