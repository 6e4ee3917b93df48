//! Incomplete streams: they are never published, and the next whole stream is.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::logged::Said;
use harness::needs;
use harness::pods::{Cluster, PATIENCE};
use harness::processes::tools_below;
use harness::proxy::{Fault, PORT, Proxy, use_proxy};
use harness::set;
use harness::stand_ins::donor;
use harness::stand_ins::recipient::{ask_for_a_clone, greet};
use harness::xbstream::write::file;
use mysqlset::model::event::Event;
use mysqlset::protocol::data::DataWriter;
use mysqlset::protocol::frame::{self, Kind};
use mysqlset::unpack::Format;

/// One pod with data, and a second that is to be cloned through the proxy.
fn primary_with_data(change: impl FnOnce(&mut harness::pods::manifest::Manifests)) -> Result<Cluster> {
    let cluster = set::start(1, |manifests| {
        use_proxy(manifests);
        change(manifests);
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    Ok(cluster)
}

/// The required state after the fault was seen and mended.
fn recovers(cluster: &Cluster, proxy: &Proxy) -> Result<()> {
    assert!(set::state(cluster, "mysql-1").is_none_or(|state| state == "receiving"), "published from a broken stream");
    proxy.set(Fault::None);
    cluster.wait_ready(2)?;
    set::assert_same_rows(cluster, &["mysql-1"])?;
    assert_eq!(set::clones(cluster, "mysql-1"), 1);
    set::assert_no_leftovers(cluster, "mysql-1")
}

#[test]
fn a_truncated_stream_is_never_published() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_data(|_| {})?;
    let proxy = Proxy::start(&cluster, "mysql-0", Fault::CutAfter(5_000_000))?;
    cluster.scale(2);
    cluster.wait_for_broken_stream("mysql-1", 0)?;
    proxy.set(Fault::CutAfter(40));
    let before = proxy.connections();
    cluster.wait_for("another try", PATIENCE, || Ok(proxy.connections() > before + 1))?;
    recovers(&cluster, &proxy)
}

#[test]
fn a_flipped_bit_is_never_published() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_data(|_| {})?;
    let proxy = Proxy::start(&cluster, "mysql-0", Fault::FlipAt(3_333_333))?;
    cluster.scale(2);
    cluster.wait_for_broken_stream("mysql-1", 0)?;
    recovers(&cluster, &proxy)
}

#[test]
fn a_silent_network_is_given_up_and_tried_again() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_data(|manifests| {
        for container in ["clone", "sidecar"] {
            manifests.set_env(container, "MYSQLSET_STALL_TIMEOUT", "2");
        }
    })?;
    let proxy = Proxy::start(&cluster, "mysql-0", Fault::SilenceAfter(5_000_000))?;
    cluster.scale(2);
    cluster.wait_for_broken_stream("mysql-1", 0)?;
    recovers(&cluster, &proxy)
}

#[test]
fn a_hostile_stream_writes_nothing_outside_its_stage() -> Result<()> {
    needs!(BackupTool);
    for path in ["../../../var/lib/evil", "/var/lib/evil", "d/../../evil", ".mysqlset.json", "mysql/../../../evil"] {
        let cluster = primary_with_data(|_| {})?;
        let listener = cluster.shared.network.listen(PORT)?;
        cluster.scale(2);
        let (recipient, _) = listener.accept()?;
        offer_hostile_backup(&recipient, path)?;
        drop((recipient, listener));
        cluster.wait_for_event_with("mysql-1", "clone", Event::ReceiveSetback, path)?;
        for place in ["evil", "mysql/evil", "mysql/.mysqlset.json", ".mysqlset-mysql-stage/evil"] {
            assert!(!cluster.volume("mysql-1").join(place).exists(), "{path} wrote {place}");
        }
        let proxy = Proxy::start(&cluster, "mysql-0", Fault::None)?;
        recovers(&cluster, &proxy)?;
    }
    Ok(())
}

/// A complete donor, except for its stream: a good member, then one with a bad name.
fn offer_hostile_backup(mut stream: &TcpStream, path: &str) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    donor::greet(stream)?;
    let offer = donor::offer(Format::XbstreamMariaDb, "mariadb-backup 10.11.19", "10.11.19-MariaDB");
    frame::write_control(&mut stream, Kind::Offer, &offer)?;
    let mut writer = DataWriter::new(stream);
    for name in ["ibdata1", path] {
        let bytes = file(name.as_bytes(), b"evil").concat();
        let mut bytes = bytes.as_slice();
        // The recipient may close the connection as soon as it has seen the name.
        while writer.relay_once(&mut bytes)?.is_ok_and(|count| count > 0) {}
    }
    Ok(())
}

#[test]
fn a_recipient_that_goes_leaves_no_child_and_the_next_clone_works() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 60)?;
    let sidecar = cluster.pid("mysql-0", "sidecar")?;

    let recipient = ask_for_a_clone(&cluster)?;
    let mut other = cluster.connect("mysql-0", 3307)?;
    let refused = greet(&mut other).err().context("a second clone was offered")?;
    assert!(refused.to_string().names(Event::RefusedBusy), "{refused}");
    let tool_runs = || Ok(!tools_below(sidecar).is_empty());
    cluster.wait_for("the backup tool to run", PATIENCE, tool_runs)?;

    drop(recipient);
    cluster.wait_for("the backup tool to be gone", Duration::from_secs(10), || Ok(tools_below(sidecar).is_empty()))?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    assert_eq!(cluster.pid("mysql-0", "sidecar")?, sidecar);
    set::assert_no_leftovers(&cluster, "mysql-0")
}

/// Another program fills the volume, when half of the backup has come or nearly all of it.
#[test]
fn a_full_disk_is_named_and_nothing_is_published() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_data(|_| {})?;
    let proxy = Proxy::start(&cluster, "mysql-0", Fault::None)?;
    for held_at in [100_000, 2_000_000, 9_000_000, 17_500_000] {
        proxy.set(Fault::HoldAfter(held_at));
        cluster.scale(1);
        cluster.wait_ready(1)?;
        if cluster.volume("mysql-1").exists() {
            cluster.delete_unused_volume("mysql-1")?;
        }
        cluster.limit_volume("mysql-1", 300 << 20);
        let receiving = || cluster.times_logged("mysql-1", "clone", Event::ReceiveBegun);
        let before = receiving();
        cluster.scale(2);
        cluster.wait_for("the clone to begin", PATIENCE, || Ok(receiving() > before))?;
        let filler = cluster.volume("mysql-1").join("filler");
        set::fill_up(&filler)?;
        proxy.set(Fault::None);
        let end = set::end_of_clone_where(&cluster, "mysql-1", |end| end.exit_code != 0)?;
        assert_eq!(end.exit_code, 50, "{held_at}: {end:?}");
        assert!(end.is(Event::ExitDiskFull) && end.message.contains("No space left on device"), "{held_at}: {end:?}");
        assert!(!cluster.volume("mysql-1").join("mysql/mysql").exists());
        std::fs::remove_file(&filler)?;
        cluster.wait_ready(2)?;
        set::assert_same_rows(&cluster, &["mysql-1"])?;
        set::assert_no_leftovers(&cluster, "mysql-1")?;
    }
    Ok(())
}
