//! Tables that are made, renamed and dropped while a backup is taken: the tool says so in its stream, of those that it
//! has copied and of those that it has not.

use anyhow::{Result, ensure};

use crate::needs;
use crate::pods::Cluster;
use crate::set;

/// Engines whose tables the tool has its own log of.
const ENGINES: [&str; 3] = ["Aria", "MyISAM", "CSV"];

/// A clone of it takes some ten seconds: time for statements.
fn primary_with_slow_clones() -> Result<Cluster> {
    let cluster = set::start(1, |manifests| manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "5M"))?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 15)?;
    Ok(cluster)
}

#[test]
fn what_is_dropped_and_renamed_meanwhile_does_not_break_the_clone() -> Result<()> {
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
    set::wait_for_log(&cluster, "mysql-1", "clone", "receiving pod=")?;
    for statement in [
        "CREATE TABLE app.brief (id INT PRIMARY KEY) ENGINE=Aria",
        "DROP TABLE app.brief",
        "RENAME TABLE app.renamed TO app.called",
        "DROP TABLE app.dropped",
        "DROP DATABASE gone",
    ] {
        on_primary(statement)?;
    }
    ensure!(set::clones(&cluster, "mysql-1") == 0, "the clone was over before all was said");
    cluster.wait_ready(2)?;
    let log = cluster.logs("mysql-1", "clone");
    ensure!(log.matches("receiving pod=").count() == 1, "{log}");
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

/// Of which the tool takes the new for the old, with success.
#[test]
fn whose_name_is_taken_again_meanwhile_is_there_in_the_end() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_slow_clones()?;
    let on_primary = |statement: &str| cluster.sql("mysql-0", statement);
    let make = |table: &str, row: u32| {
        let engine = if table == "reborn.inno" { "InnoDB" } else { "MyISAM" };
        on_primary(&format!("CREATE TABLE {table} (id INT) ENGINE={engine}; INSERT INTO {table} VALUES ({row})"))
    };
    on_primary("CREATE DATABASE reborn")?;
    for (row, table) in ["app.again", "app.log", "app.one", "app.other", "reborn.inno"].iter().enumerate() {
        make(table, row as u32)?;
    }

    cluster.scale(2);
    set::wait_for_log(&cluster, "mysql-1", "clone", "receiving pod=")?;
    on_primary("DROP TABLE app.again")?;
    make("app.again", 10)?;
    on_primary("RENAME TABLE app.log TO app.older_log")?;
    make("app.log", 11)?;
    on_primary("RENAME TABLE app.one TO app.third, app.other TO app.one, app.third TO app.other")?;
    on_primary("DROP DATABASE reborn; CREATE DATABASE reborn")?;
    make("reborn.inno", 12)?;
    ensure!(set::clones(&cluster, "mysql-1") == 0, "the clone was over before all was said");
    cluster.wait_ready(2)?;
    for table in ["app.again", "app.log", "app.older_log", "app.one", "app.other", "reborn.inno"] {
        let question = format!("SELECT * FROM {table}");
        assert_eq!(cluster.sql("mysql-1", &question)?, on_primary(&question)?, "{table}");
    }
    set::assert_same_rows(&cluster, &["mysql-1"])
}

/// Which the tool may have lost, with success: then another backup has it.
#[test]
fn what_is_made_and_renamed_meanwhile_is_there_in_the_end() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_slow_clones()?;
    cluster.scale(2);
    set::wait_for_log(&cluster, "mysql-1", "clone", "receiving pod=")?;
    for engine in ENGINES {
        let young = format!("CREATE TABLE app.young_{engine} (id INT NOT NULL) ENGINE={engine}");
        let renamed = format!("RENAME TABLE app.young_{engine} TO app.older_{engine}");
        let filled = format!("INSERT INTO app.older_{engine} VALUES (1), (2)");
        for statement in [young, renamed, filled] {
            cluster.sql("mysql-0", &statement)?;
        }
    }
    ensure!(set::clones(&cluster, "mysql-1") == 0, "the clone was over before all was said");
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    for engine in ENGINES {
        let question = format!("SELECT * FROM app.older_{engine}");
        assert_eq!(cluster.sql("mysql-1", &question)?, cluster.sql("mysql-0", &question)?, "{question}");
    }
    Ok(())
}
