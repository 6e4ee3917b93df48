//! Tables that are made, renamed and dropped during a backup. The tool records these statements in its stream, both for
//! tables that it has copied and for the others.

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;

/// Engines whose tables have a log of their own in the tool.
const ENGINES: [&str; 3] = ["Aria", "MyISAM", "CSV"];

/// A clone of this primary takes some ten seconds, which leaves time for statements.
fn primary_with_slow_clones() -> Result<Cluster> {
    primary_with_slow_clones_and("4")
}

/// With one thread, the tool copies InnoDB's tables first.
fn primary_with_slow_clones_and(tool_threads: &str) -> Result<Cluster> {
    let cluster = set::start(1, |manifests| {
        manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "5M");
        manifests.set_env("sidecar", "MYSQLSET_TOOL_THREADS", tool_threads);
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 15)?;
    Ok(cluster)
}

#[test]
fn drops_and_renames_during_a_backup_do_not_break_the_clone() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_slow_clones()?;
    let on_primary = |statement: &str| cluster.sql("mysql-0", statement);
    on_primary("CREATE DATABASE gone")?;
    on_primary("CREATE TABLE gone.a (id INT PRIMARY KEY) ENGINE=Aria")?;
    let partitions = "ENGINE=MyISAM PARTITION BY HASH (id) PARTITIONS 3";
    on_primary(&format!("CREATE TABLE app.dropped (id INT PRIMARY KEY) {partitions}"))?;
    on_primary(&format!("CREATE TABLE app.renamed (id INT PRIMARY KEY) {partitions}"))?;
    on_primary("INSERT INTO app.renamed VALUES (1), (2), (3)")?;

    cluster.scale(2);
    cluster.wait_for_event("mysql-1", "clone", Event::ReceiveBegun)?;
    for statement in [
        "CREATE TABLE app.brief (id INT PRIMARY KEY) ENGINE=Aria",
        "DROP TABLE app.brief",
        "RENAME TABLE app.renamed TO app.called",
        "DROP TABLE app.dropped",
        "DROP DATABASE gone",
    ] {
        on_primary(statement)?;
    }
    ensure!(set::clones(&cluster, "mysql-1") == 0, "the clone ended before the statements did");
    cluster.wait_ready(2)?;
    let log = cluster.logs("mysql-1", "clone");
    ensure!(log.count_of(Event::ReceiveBegun) == 1, "{log}");
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    for question in ["SHOW DATABASES", "SHOW TABLES IN app", "SELECT * FROM app.called ORDER BY id"] {
        assert_eq!(cluster.sql("mysql-1", question)?, on_primary(question)?, "{question}");
    }
    let left: Vec<_> = std::fs::read_dir(cluster.volume("mysql-1").join("mysql/app"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    let is_left = |name: &String| ["brief", "dropped", "renamed"].iter().any(|gone| name.starts_with(gone));
    ensure!(!left.iter().any(is_left) && !cluster.volume("mysql-1").join("mysql/gone").exists(), "{left:?}");
    Ok(())
}

/// The tool copies InnoDB's own files. By then the server logs such statements.
fn wait_for_a_backup(cluster: &Cluster) -> Result<()> {
    let copied = cluster.volume("mysql-1").join(".mysqlset-mysql-stage/data/ibdata1");
    cluster.wait_for("a backup that has begun", PATIENCE, || Ok(copied.exists()))
}

/// Tables with a row each, statements while they are copied, and the tables that must exist in the end.
fn assert_copied(made: &[&str], meanwhile: &str, tables: &[&str]) -> Result<()> {
    let cluster = primary_with_slow_clones_and("1")?;
    let on_primary = |statement: &str| cluster.sql("mysql-0", statement);
    on_primary("CREATE DATABASE reborn")?;
    for (row, table) in made.iter().enumerate() {
        on_primary(&format!("CREATE TABLE {table} (id INT) ENGINE=MyISAM; INSERT INTO {table} VALUES ({row})"))?;
    }
    cluster.scale(2);
    wait_for_a_backup(&cluster)?;
    on_primary(meanwhile)?;
    ensure!(set::clones(&cluster, "mysql-1") == 0, "the clone ended before the statements did");
    cluster.wait_ready(2)?;
    for table in tables {
        let question = format!("SELECT * FROM {table}");
        assert_eq!(cluster.sql("mysql-1", &question)?, on_primary(&question)?, "{table}");
    }
    set::assert_same_rows(&cluster, &["mysql-1"])
}

/// The tool would lose the table, and end with success.
#[test]
fn a_table_that_is_made_again_during_a_backup_is_in_the_copy() -> Result<()> {
    needs!(BackupTool);
    let again =
        "DROP TABLE app.again; CREATE TABLE app.again (id INT) ENGINE=MyISAM; INSERT INTO app.again VALUES (10)";
    assert_copied(&["app.again"], again, &["app.again"])
}

#[test]
fn a_database_that_is_made_again_during_a_backup_is_in_the_copy() -> Result<()> {
    needs!(BackupTool);
    let again = "DROP DATABASE reborn; CREATE DATABASE reborn; CREATE TABLE reborn.inno (id INT); INSERT INTO reborn.inno VALUES (10)";
    assert_copied(&["reborn.inno"], again, &["reborn.inno"])
}

/// Each table would have the other's rows.
#[test]
fn tables_that_swap_their_names_meanwhile_have_their_rows() -> Result<()> {
    needs!(BackupTool);
    let swap = "RENAME TABLE app.one TO app.third, app.other TO app.one, app.third TO app.other";
    assert_copied(&["app.one", "app.other"], swap, &["app.one", "app.other"])
}

/// The table in use is made again under the name that the older one had.
#[test]
fn a_table_that_is_rotated_meanwhile_has_its_rows() -> Result<()> {
    needs!(BackupTool);
    let rotate = "RENAME TABLE app.log TO app.older; CREATE TABLE app.log (id INT) ENGINE=MyISAM; INSERT INTO app.log VALUES (10)";
    assert_copied(&["app.log"], rotate, &["app.log", "app.older"])
}

/// The tool may have lost them and still end with success. Then another backup has them.
#[test]
fn tables_made_and_renamed_during_a_backup_are_in_the_copy() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_slow_clones()?;
    cluster.scale(2);
    cluster.wait_for_event("mysql-1", "clone", Event::ReceiveBegun)?;
    for engine in ENGINES {
        let young = format!("CREATE TABLE app.young_{engine} (id INT NOT NULL) ENGINE={engine}");
        let renamed = format!("RENAME TABLE app.young_{engine} TO app.older_{engine}");
        let filled = format!("INSERT INTO app.older_{engine} VALUES (1), (2)");
        for statement in [young, renamed, filled] {
            cluster.sql("mysql-0", &statement)?;
        }
    }
    ensure!(set::clones(&cluster, "mysql-1") == 0, "the clone ended before the statements did");
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    for engine in ENGINES {
        let question = format!("SELECT * FROM app.older_{engine}");
        assert_eq!(cluster.sql("mysql-1", &question)?, cluster.sql("mysql-0", &question)?, "{question}");
    }
    Ok(())
}

/// Runs statements while the tables of `odd` are copied, whose names have to be encoded. In its log the tool encodes
/// them twice, and so finds none of them. There is no rehearsal that could notice.
fn assert_odd_names_copied(meanwhile: &str) -> Result<Cluster> {
    let cluster = set::start(1, |manifests| {
        manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "5M");
        manifests.set_env("sidecar", "MYSQLSET_TOOL_THREADS", "1");
        manifests.set_env("clone", "MYSQLSET_REHEARSAL", "off");
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 15)?;
    let on_primary = |statement: &str| cluster.sql("mysql-0", statement);
    on_primary("CREATE DATABASE odd")?;
    for (table, engine) in [("a-b", "Aria"), ("c-d", "MyISAM"), ("e-f", "InnoDB")] {
        on_primary(&format!(
            "CREATE TABLE odd.`{table}` (id INT) ENGINE={engine}; INSERT INTO odd.`{table}` VALUES (1)"
        ))?;
    }
    cluster.scale(2);
    wait_for_a_backup(&cluster)?;
    on_primary(meanwhile)?;
    ensure!(set::clones(&cluster, "mysql-1") == 0, "the clone ended before the statements did");
    cluster.wait_ready(2)?;
    let tables = on_primary("SHOW TABLES IN odd")?;
    assert_eq!(cluster.sql("mysql-1", "SHOW TABLES IN odd")?, tables);
    for table in tables.iter().map(|row| format!("SELECT id FROM odd.`{}` ORDER BY id", row[0])) {
        assert_eq!(cluster.sql("mysql-1", &table)?, on_primary(&table)?, "{table}");
    }
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    Ok(cluster)
}

#[test]
fn a_table_of_an_odd_name_that_is_made_meanwhile_has_its_rows() -> Result<()> {
    needs!(BackupTool);
    let cluster =
        assert_odd_names_copied("CREATE TABLE odd.`g-h` (id INT) ENGINE=Aria; INSERT INTO odd.`g-h` VALUES (2)")?;
    let log = cluster.logs("mysql-1", "clone");
    ensure!(log.has_with(Event::CloneAnotherBackup, "odd/g@002dh.frm has no .MAD file"), "{log}");
    Ok(())
}

#[test]
fn tables_of_odd_names_that_are_changed_meanwhile_have_their_rows() -> Result<()> {
    needs!(BackupTool);
    for meanwhile in [
        "ALTER TABLE odd.`c-d` ENGINE=Aria",
        "ALTER TABLE odd.`e-f` ENGINE=Aria",
        "TRUNCATE odd.`a-b`; INSERT INTO odd.`a-b` VALUES (7)",
        "DROP TABLE odd.`a-b`; CREATE TABLE odd.`a-b` (id INT) ENGINE=Aria; INSERT INTO odd.`a-b` VALUES (8)",
    ] {
        assert_odd_names_copied(meanwhile).map_err(|error| error.context(meanwhile))?;
    }
    Ok(())
}
