//! A donor that sends a real backup with an addition that a server or a tool would obey.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::Cluster;
use harness::pods::servers::tested;
use harness::proxy::{PORT, use_proxy};
use harness::set;
use harness::stand_ins::donor;
use harness::xbstream::write::{end, file, payload, seek};
use harness::xbstream::{Field, chunks};
use mysqlset::model::event::Event;
use mysqlset::protocol::data::DataWriter;
use mysqlset::protocol::frame::{self, Kind};
use mysqlset::protocol::inventory::{Inventory, encoding};
use mysqlset::unpack::Format;

const FORMAT: Format = Format::XbstreamMariaDb;

/// The settings of the server in a backup.
const SETTINGS: &[u8] = b"backup-my.cnf";

/// A primary with rows. A second pod is to be cloned through a listener of the test.
fn primary() -> Result<Cluster> {
    let cluster = set::start(1, |manifests| {
        use_proxy(manifests);
        manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "5");
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    Ok(cluster)
}

/// The tool's stream of the primary.
fn backup(cluster: &Cluster) -> Result<Vec<u8>> {
    let tool = ["mariadb-backup", "--backup", "--stream=xbstream", "--user=root", "--host=127.0.0.1"];
    let output = cluster.exec("mysql-0", "sidecar", &[&tool[..], &["--datadir=/var/lib/mysql"]].concat())?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// The stream with other settings of its server, and with more members before all others.
fn changed(stream: &[u8], settings: &dyn Fn(&str) -> String, more: &[Vec<u8>]) -> Result<Vec<u8>> {
    let (mut rest, mut old) = (Vec::new(), Vec::new());
    for chunk in chunks(FORMAT, stream) {
        let bytes = |field| chunk.find(field).map(|at| &stream[at]).unwrap_or_default();
        if bytes(Field::Path) == SETTINGS {
            old.extend_from_slice(bytes(Field::Data));
        } else {
            rest.extend_from_slice(&stream[chunk.at.clone()]);
        }
    }
    let new = file(SETTINGS, settings(std::str::from_utf8(&old)?).as_bytes());
    Ok([more.concat(), new.concat(), rest].concat())
}

/// The empty inventory that such a donor reports.
fn nothing() -> Result<Vec<u8>> {
    let nothing = Inventory { keeps_definitions: true, entries: Vec::new() };
    encoding::encode(&nothing).map_err(anyhow::Error::msg)
}

/// Sends the stream to every recipient, whole to its end mark, until the test ends.
fn serve(listener: TcpListener, stream: Vec<u8>) {
    std::thread::spawn(move || {
        for recipient in listener.incoming().flatten() {
            let send = || -> Result<()> {
                recipient.set_read_timeout(Some(Duration::from_secs(20)))?;
                donor::greet(&recipient)?;
                let offer = donor::offer(FORMAT, "mariadb-backup 10.11.19", "10.11.19-MariaDB");
                frame::write_control(&mut &recipient, Kind::Offer, &offer)?;
                let mut writer = DataWriter::new(&recipient);
                let mut bytes = stream.as_slice();
                while writer.relay_once(&mut bytes)?.is_ok_and(|count| count > 0) {}
                writer.send_inventory(&nothing()?)?;
                writer.end(None)?;
                Ok(())
            };
            // A recipient may close the connection early.
            let _ = send();
        }
    });
}

/// A library that leaves a file on the volume when it is loaded.
fn library(mark: &str) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    let (source, library) = (directory.path().join("evil.c"), directory.path().join("evil.so"));
    let text = format!(
        "#include <fcntl.h>\n__attribute__((constructor)) static void loaded(void) {{ open(\"{mark}\", O_CREAT | O_WRONLY, 0644); }}\n"
    );
    std::fs::write(&source, text)?;
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status()?;
    ensure!(compiled.success(), "cc failed");
    Ok(std::fs::read(library)?)
}

#[test]
fn a_library_in_the_stream_is_never_loaded() -> Result<()> {
    needs!(Tutorial);
    let cluster = primary()?;
    let library = library("/volume/loaded")?;
    let evil = |text: &str| format!("{text}plugin_load=evil=evil.so\nplugin_dir=.\n");
    let members = [file(b"evil.so", &library).concat()];
    serve(cluster.shared.network.listen(PORT)?, changed(&backup(&cluster)?, &evil, &members)?);
    cluster.scale(2);
    let end = set::end_of_clone_where(&cluster, "mysql-1", |end| end.exit_code != 0)?;
    assert!(end.message.contains("evil.so"), "{end:?}");
    assert_nothing_came_of_it(&cluster)
}

#[test]
fn settings_that_load_code_or_run_more_reject_that_donor() -> Result<()> {
    needs!(Tutorial);
    for (line, says) in [
        ("plugin_load=evil=evil.so", "evil=evil.so"),
        ("[mariadb-backup]\nexport", "[mariadb-backup]"),
        ("!include ibdata1", "include ibdata1"),
    ] {
        let cluster = primary()?;
        let evil = |text: &str| format!("{text}{line}\n");
        serve(cluster.shared.network.listen(PORT)?, changed(&backup(&cluster)?, &evil, &[])?);
        cluster.scale(2);
        let end = set::end_of_clone_where(&cluster, "mysql-1", |end| end.exit_code != 0)?;
        assert_eq!(end.exit_code, 21, "{line}: {end:?}");
        assert!(end.message.contains(says), "{line}: {end:?}");
        assert_nothing_came_of_it(&cluster)?;
    }
    Ok(())
}

fn assert_nothing_came_of_it(cluster: &Cluster) -> Result<()> {
    let volume = cluster.volume("mysql-1");
    assert!(!volume.join("loaded").exists(), "the library was loaded");
    assert!(!volume.join("mysql/mysql").exists(), "it was published");
    Ok(())
}

/// The settings of a newer tool, an index that lists data, and an index that is a hole.
#[test]
fn unknown_settings_are_left_out_and_an_index_is_ignored() -> Result<()> {
    needs!(Tutorial);
    let cluster = primary()?;
    let newer = |text: &str| format!("{text}something_new=1\nsomething-newer\n");
    let hole = 3000_u64 << 20;
    let members = [
        file(b"x.index", b"ibdata1\n./aria_log_control\n").concat(),
        payload(0, b"boom.index", 0, b"x"),
        seek(b"boom.index", hole),
        payload(0, b"boom.index", hole, b"x"),
        end(b"boom.index"),
    ];
    serve(cluster.shared.network.listen(PORT)?, changed(&backup(&cluster)?, &newer, &members)?);
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let log = cluster.logs("mysql-1", "clone");
    let unknown: Vec<_> =
        log.lines_of(Event::BackupSettingsUnknown).iter().map(|line| line.field("settings")).collect();
    assert_eq!(unknown, [Some("something_new, something_newer")], "{log}");
    let data = cluster.volume("mysql-1").join("mysql");
    assert!(data.join("ibdata1").exists() && data.join("aria_log_control").exists());
    assert!(["x.index", "boom.index"].iter().all(|name| !data.join(name).exists()));
    Ok(())
}

/// A hole that exceeds the room of the volume.
#[test]
fn a_hole_that_the_volume_could_not_hold_ends_the_stream() -> Result<()> {
    needs!(Tutorial);
    let cluster = primary()?;
    let hole = 1_u64 << 50;
    let members = [payload(0, b"app/hole.ibd", 0, b"x"), seek(b"app/hole.ibd", hole), end(b"app/hole.ibd")];
    serve(cluster.shared.network.listen(PORT)?, changed(&backup(&cluster)?, &|text| text.to_owned(), &members)?);
    cluster.scale(2);
    let end = set::end_of_clone_where(&cluster, "mysql-1", |end| end.exit_code != 0)?;
    assert_eq!(end.exit_code, 50, "{end:?}");
    assert!(end.message.contains("has holes of"), "{end:?}");
    assert_nothing_came_of_it(&cluster)
}

/// Places of the replica's own: directories that its server does not create by itself.
#[test]
fn directories_that_the_configuration_names_are_there_when_the_server_starts() -> Result<()> {
    let cluster = set::start(1, |manifests| {
        let replica = manifests.server_config().get_mut("replica.cnf").expect("replica.cnf");
        let places =
            "[mysqld]\nlog_bin = binlogs/mysql-bin\nrelay_log = relay/relay\nslow_query_log_file = logs/slow.log\n";
        replica.push_str(places);
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let data = cluster.volume("mysql-1").join("mysql");
    assert!(holds(&data.join("binlogs"), "mysql-bin.index") && holds(&data.join("relay"), "relay.index"));
    // That pod can donate.
    cluster.scale(3);
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-2"])
}

fn holds(directory: &Path, name: &str) -> bool {
    directory.join(name).exists()
}

/// The copy's own files lie elsewhere in the data directory.
#[test]
fn logs_and_undo_tablespaces_are_where_the_server_looks_for_them() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |manifests| {
        let replica = manifests.server_config().get_mut("replica.cnf").expect("replica.cnf");
        replica.push_str("[mysqld]\ninnodb_log_group_home_dir = redo\naria_log_dir_path = aria\n");
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let data = cluster.volume("mysql-1").join("mysql");
    assert!(holds(&data.join("redo"), "ib_logfile0") && !data.join("ib_logfile0").exists());
    Ok(())
}

#[test]
fn places_elsewhere_are_refused_before_the_first_byte() -> Result<()> {
    for line in ["log_bin = /nowhere/at/all/mysql-bin", "innodb_undo_directory = /undo"] {
        let cluster = set::start(1, |manifests| {
            let replica = manifests.server_config().get_mut("replica.cnf").expect("replica.cnf");
            replica.push_str(&format!("[mysqld]\n{line}\n"));
        })?;
        cluster.wait_ready(1)?;
        cluster.scale(2);
        let end = set::end_of_clone(&cluster, "mysql-1")?;
        assert_eq!(end.exit_code, 21, "{end:?}");
        assert!(end.message.contains(line), "{end:?}");
        assert!(!cluster.has_logged("mysql-1", "clone", Event::ReceiveBegun));
    }
    Ok(())
}

/// A slow log that is far larger than the volume of the recipient.
#[test]
fn logs_in_the_data_directory_take_no_room_of_a_clone() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    let data = cluster.volume("mysql-0").join("mysql");
    for name in ["mysql-0-slow.log", "general.log", "dump.sql", "core.17"] {
        std::fs::write(data.join(name), vec![b'x'; 200 << 20])?;
    }
    cluster.limit_volume("mysql-1", 500 << 20);
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let stays = cluster.logs("mysql-1", "clone");
    assert_eq!(set::clones(&cluster, "mysql-1"), 1, "{stays}");
    std::fs::remove_file(data.join("core.17")).context("the server leaves it alone")
}

/// An adopted primary whose system tablespace has another name.
#[test]
fn data_that_look_unusual_are_judged_by_the_configuration() -> Result<()> {
    needs!(BackupTool);
    let change = |manifests: &mut harness::pods::manifest::Manifests| {
        for role in ["primary.cnf", "replica.cnf"] {
            let config = manifests.server_config().get_mut(role).expect("the role's file");
            config.push_str("[mysqld]\ninnodb_data_file_path = sys1:12M;sys2:12M:autoextend\n");
        }
    };
    let cluster = set::start(1, change)?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(0);
    cluster.wait_ready(0)?;
    std::fs::remove_file(cluster.volume("mysql-0").join("mysql/.mysqlset.json"))?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    assert!(cluster.has_logged("mysql-0", "clone", Event::DataAdopted));
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    // Half of the data is still recognised: a file of the system tablespace is missing.
    cluster.scale(0);
    cluster.wait_ready(0)?;
    let data = cluster.volume("mysql-0").join("mysql");
    std::fs::remove_file(data.join(".mysqlset.json"))?;
    std::fs::rename(data.join("sys2"), data.join("moved"))?;
    cluster.scale(1);
    let end = set::end_of_clone_where(&cluster, "mysql-0", |end| end.exit_code != 0)?;
    assert_eq!((end.exit_code, end.message.contains("`sys2`"), tested().is_mariadb()), (30, true, true), "{end:?}");
    Ok(())
}
