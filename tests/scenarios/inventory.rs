//! A copy must contain all that the donor held before and after it, for any report of the tool.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;

/// Tables of all kinds that a backup tool knows.
const ODD_TABLES: &str = "CREATE DATABASE odd; USE odd;
    CREATE TABLE part1 (id INT PRIMARY KEY) PARTITION BY RANGE (id) SUBPARTITION BY HASH (id) SUBPARTITIONS 2
        (PARTITION `p-1 x` VALUES LESS THAN (10), PARTITION p2 VALUES LESS THAN MAXVALUE);
    CREATE TABLE fts (id INT PRIMARY KEY, t TEXT, FULLTEXT (t));
    CREATE TABLE zip1 (id INT PRIMARY KEY, t TEXT) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4;
    CREATE TABLE sp (id INT PRIMARY KEY, g POINT NOT NULL, SPATIAL INDEX (g));
    CREATE TABLE `T@T /x.#P#y` (id INT PRIMARY KEY);
    CREATE TABLE `trailing #sql` (id INT PRIMARY KEY);
    CREATE TABLE `café ☃` (id INT PRIMARY KEY);
    CREATE TABLE disc1 (id INT PRIMARY KEY); ALTER TABLE disc1 DISCARD TABLESPACE;
    CREATE TABLE plain (id INT PRIMARY KEY); CREATE TABLE other (id INT PRIMARY KEY);
    CREATE TRIGGER tr BEFORE INSERT ON plain FOR EACH ROW SET @a = 1;
    CREATE VIEW v AS SELECT * FROM plain;
    INSERT INTO part1 VALUES (1), (2), (30); INSERT INTO fts VALUES (1, 'some words'); INSERT INTO zip1 VALUES (1, 'x');
    INSERT INTO plain VALUES (1), (2); INSERT INTO other VALUES (3);
    INSERT INTO `T@T /x.#P#y` VALUES (1); INSERT INTO `café ☃` VALUES (2);";

const MARIADBS_ODD_TABLES: &str = "USE odd;
    CREATE TABLE pc1 (id INT PRIMARY KEY, t TEXT) PAGE_COMPRESSED=1; INSERT INTO pc1 VALUES (1, REPEAT('x', 9999));
    CREATE SEQUENCE sq;
    CREATE TABLE my1 (id INT) ENGINE=MyISAM; CREATE TABLE my2 (id INT) ENGINE=MyISAM; INSERT INTO my1 VALUES (1);
    CREATE TABLE mrg (id INT) ENGINE=MERGE UNION=(my1,my2);
    CREATE TABLE ar1 (id INT) ENGINE=Aria; INSERT INTO ar1 VALUES (1);
    CREATE TABLE arp (id INT) ENGINE=Aria PARTITION BY HASH (id) PARTITIONS 3; INSERT INTO arp VALUES (1), (2);
    CREATE TABLE cs (id INT NOT NULL) ENGINE=CSV; INSERT INTO cs VALUES (1);
    CREATE TABLE mem (id INT) ENGINE=MEMORY;";

const MYSQLS_ODD_TABLES: &str = "USE odd;
    CREATE TABLESPACE gts1 ADD DATAFILE 'gts1.ibd';
    CREATE TABLE ing (id INT PRIMARY KEY) TABLESPACE gts1; CREATE TABLE ing2 (id INT PRIMARY KEY) TABLESPACE gts1;
    CREATE UNDO TABLESPACE u3 ADD DATAFILE 'u3.ibu'; INSERT INTO ing VALUES (1);";

/// The error of the recipient's clone for an incomplete copy. Its event says only that prepare failed.
const LACKS: &str = "the copy lacks what the donor held before and after it: ";

fn make_odd_tables(cluster: &Cluster) -> Result<()> {
    cluster.sql("mysql-0", ODD_TABLES)?;
    let own = if tested().is_mariadb() { MARIADBS_ODD_TABLES } else { MYSQLS_ODD_TABLES };
    cluster.sql("mysql-0", own).map(drop)
}

/// For a table that was made since the server's last checkpoint, the tool copies an empty file under another name.
fn restart_the_primary(cluster: &Cluster) -> Result<()> {
    cluster.scale(0);
    cluster.wait_ready(0)?;
    cluster.scale(1);
    cluster.wait_ready(1)
}

/// The rows of each odd table that is readable.
fn odd_rows(cluster: &Cluster, pod: &str) -> Result<Vec<Vec<String>>> {
    let mut tables = vec!["part1", "fts", "zip1", "`T@T /x.#P#y`", "`café ☃`", "plain", "other", "v"];
    tables.extend(if tested().is_mariadb() { &["pc1", "my1", "mrg", "ar1", "arp", "cs"][..] } else { &["ing"] });
    tables.iter().map(|table| Ok(cluster.sql(pod, &format!("SELECT * FROM odd.{table}"))?.concat())).collect()
}

#[test]
fn odd_tables_are_proven_from_a_primary_and_from_a_restarted_replica() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    make_odd_tables(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    // A clone of the primary, and a clone of the replica whose server was restarted on a clone.
    for pod in ["mysql-1", "mysql-2"] {
        if pod == "mysql-1" {
            cluster.delete_volume(pod)?;
        } else {
            let before = cluster.status("mysql-1")?.uid;
            cluster.delete_pod("mysql-1")?;
            cluster.wait_for("a new mysql-1", PATIENCE, || Ok(cluster.status("mysql-1")?.uid != before))?;
            cluster.wait_ready(2)?;
            cluster.scale(3);
        }
        cluster.wait_settled()?;
        let log = cluster.logs(pod, "clone");
        ensure!(log.has(Event::InventoryWhole) && !log.contains(LACKS), "{log}");
        set::assert_same_rows(&cluster, &[pod])?;
        assert_eq!(odd_rows(&cluster, pod)?, odd_rows(&cluster, "mysql-0")?, "{pod}");
        assert!(set::journal(&cluster, pod)?["clone"]["inventory"]["donor"]["bytes"].as_u64() > Some(100));
        set::assert_no_leftovers(&cluster, pod)?;
    }
    Ok(())
}

/// The real tool. The script `change` on the donor's volume changes its copy before it is streamed. It ends with 0.
const CHANGING_TOOL: &str = r#"#!/bin/sh
case "$*" in
*--backup*) ;;
*) exec /usr/bin/mariadb-backup "$@" ;;
esac
copy=$(mktemp -d)
/usr/bin/mariadb-backup "$@" | mbstream -x -C "$copy"
cd "$copy" || exit 9
. /volume/change || exit 9
set --
for file in * */*; do
    [ -d "$file" ] || set -- "$@" "$file"
done
exec mbstream -c "$@"
"#;

/// The loss or change, and the recipient's message about it.
const CHANGES: [(&str, &str); 19] = [
    ("rm odd/plain.ibd", "odd/plain.ibd is missing"),
    ("rm 'odd/part1#P#p2#SP#p2sp1.ibd'", "odd/part1#P#p2#SP#p2sp1.ibd is missing"),
    ("rm odd/FTS_*_CONFIG.ibd", "_CONFIG.ibd is missing"),
    ("rm odd/FTS_*_INDEX_4.ibd", "_INDEX_4.ibd is missing"),
    ("rm odd/pc1.ibd odd/zip1.ibd", " is missing; and 1 more"),
    ("rm odd/plain.frm", "odd/plain.frm is missing"),
    ("rm odd/sq.frm", "odd/sq.frm is missing"),
    ("rm odd/v.frm", "odd/v.frm is missing"),
    ("rm odd/mem.frm", "odd/mem.frm is missing"),
    ("rm odd/part1.par", "odd/part1.par is missing"),
    ("rm odd/db.opt", "odd/db.opt is missing"),
    ("rm odd/plain.TRG", "odd/plain.TRG is missing"),
    ("rm odd/tr.TRN", "odd/tr.TRN is missing"),
    ("rm 'odd/arp#P#p1.MAD'", "odd/arp#P#p1.MAD is missing"),
    ("rm odd/my1.MYI", "odd/my1.MYI is missing"),
    ("rm odd/cs.CSV", "odd/cs.CSV is missing"),
    ("rm odd/mrg.MRG", "odd/mrg.MRG is missing"),
    ("mv odd/plain.ibd x; mv odd/other.ibd odd/plain.ibd; mv x odd/other.ibd", " lies at odd/"),
    ("truncate -s 100 odd/plain.frm", "odd/plain.frm has 100 bytes instead of "),
];

#[test]
fn tables_that_a_tool_leaves_out_are_noticed() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |manifests| manifests.stand_in("sidecar", "mariadb-backup", CHANGING_TOOL))?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    make_odd_tables(&cluster)?;
    restart_the_primary(&cluster)?;
    let change = cluster.volume("mysql-0").join("change");
    for (script, says) in CHANGES {
        std::fs::write(&change, script)?;
        if cluster.status("mysql-1").is_err() {
            cluster.scale(2);
        }
        let noticed = |message: &str| message.contains(LACKS) && message.contains(says);
        let end = set::end_of_clone_where(&cluster, "mysql-1", |end| noticed(&end.message))?;
        assert_eq!(end.exit_code, 41, "{end:?}");
        assert_eq!(set::clones(&cluster, "mysql-1"), 0, "{script}");
        ensure!(!cluster.volume("mysql-1").join("mysql/ibdata1").exists(), "{script}");
    }
    std::fs::write(&change, "")?;
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    assert_eq!(odd_rows(&cluster, "mysql-1")?, odd_rows(&cluster, "mysql-0")?);
    Ok(())
}

/// Prepare may fail on it, or repair it where its log has all of the pages.
#[test]
fn a_tablespace_that_is_cut_is_never_published() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |manifests| manifests.stand_in("sidecar", "mariadb-backup", CHANGING_TOOL))?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    restart_the_primary(&cluster)?;
    let change = cluster.volume("mysql-0").join("change");
    for script in ["truncate -s -16384 app/keyed.ibd", "truncate -s 16384 app/keyed.ibd", ": >app/keyed.ibd"] {
        std::fs::write(&change, script)?;
        let ends = || cluster.logs("mysql-1", "clone").matches("---- clone starts").count();
        let before = ends();
        cluster.scale(2);
        cluster.wait_for("two clones that failed", PATIENCE, || Ok(ends() > before + 2))?;
        assert_eq!(set::clones(&cluster, "mysql-1"), 0, "{script}\n{}", cluster.logs("mysql-1", "clone"));
    }
    std::fs::write(&change, "")?;
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

/// Statements that make, drop, rename, empty and rebuild tables, in a loop.
const DDL: &str = "CREATE TABLE ddl.made_NEXT (id INT PRIMARY KEY); INSERT INTO ddl.made_NEXT VALUES (1);
    RENAME TABLE ddl.turn TO ddl.other_turn; RENAME TABLE ddl.other_turn TO ddl.turn;
    RENAME TABLE ddl.part TO ddl.other_part; RENAME TABLE ddl.other_part TO ddl.part;
    TRUNCATE ddl.emptied; INSERT INTO ddl.emptied VALUES (NEXT);
    ALTER TABLE ddl.altered ADD COLUMN c_NEXT INT; ALTER TABLE ddl.rebuilt FORCE; OPTIMIZE TABLE ddl.rebuilt;
    CREATE OR REPLACE VIEW ddl.v AS SELECT NEXT AS n FROM ddl.turn;
    DROP TABLE ddl.made_LAST;";

#[test]
fn tables_that_change_meanwhile_are_not_missed() -> Result<()> {
    let cluster = set::start(1, |manifests| {
        manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "5M");
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 10)?;
    cluster.sql(
        "mysql-0",
        "CREATE DATABASE ddl; CREATE TABLE ddl.turn (id INT PRIMARY KEY); INSERT INTO ddl.turn VALUES (1);
         CREATE TABLE ddl.part (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3; INSERT INTO ddl.part VALUES (1);
         CREATE TABLE ddl.emptied (id INT PRIMARY KEY); CREATE TABLE ddl.altered (id INT PRIMARY KEY);
         CREATE TABLE ddl.rebuilt (id INT PRIMARY KEY, t TEXT, FULLTEXT (t)); CREATE TABLE ddl.made_0 (id INT PRIMARY KEY)",
    )?;
    let done = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| -> Result<usize> {
        let changing = scope.spawn(|| -> Result<usize> {
            let mut round = 0;
            while !done.load(Ordering::Acquire) && round < 900 {
                let (made, dropped) = ((round + 1).to_string(), round.to_string());
                cluster.sql("mysql-0", &DDL.replace("NEXT", &made).replace("LAST", &dropped))?;
                round += 1;
            }
            Ok(round)
        });
        cluster.scale(2);
        let published = cluster.wait_for_event("mysql-1", "clone", Event::ClonePublished);
        done.store(true, Ordering::Release);
        let rounds = changing.join().map_err(|_| anyhow::anyhow!("the statements panicked"))?;
        published.and(rounds)
    })?;
    let log = cluster.logs("mysql-1", "clone");
    ensure!(rounds > 10 && log.has(Event::InventoryWhole) && !log.contains(LACKS), "{rounds} rounds\n{log}");
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

/// Without the privilege the server would hide its tablespaces.
#[test]
fn an_account_without_a_privilege_is_refused_with_its_name() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |manifests| manifests.set_env("sidecar", "MYSQLSET_BACKUP_USER", "bk"))?;
    cluster.wait_ready(1)?;
    let grants = "RELOAD, LOCK TABLES, BINLOG MONITOR, SLAVE MONITOR";
    cluster.sql("mysql-0", &format!("CREATE USER bk@'127.0.0.1'; GRANT {grants} ON *.* TO bk@'127.0.0.1'"))?;
    cluster.scale(2);
    let end = set::end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    ensure!(end.message.names(Event::RefusedNoPrivilege), "{end:?}");
    ensure!(end.message.contains("\"bk\"") && end.message.contains("GRANT PROCESS"), "{end:?}");
    assert_eq!(set::clones(&cluster, "mysql-1"), 0);
    cluster.sql("mysql-0", "GRANT PROCESS ON *.* TO bk@'127.0.0.1'")?;
    cluster.wait_ready(2)
}

/// The server is asked once more after the end of the tool, and fails to answer.
#[test]
fn a_server_that_fails_to_answer_after_the_backup_fails_the_copy() -> Result<()> {
    needs!(BackupTool);
    // The script acts once: the account disappears after the tool's work.
    let tool = "#!/bin/sh\ncase \"$*\" in *--backup*) ;; *) exec /usr/bin/mariadb-backup \"$@\";; esac\n\
        /usr/bin/mariadb-backup \"$@\" || exit\n\
        mkdir /volume/once 2>/dev/null && mariadb --no-defaults -h 127.0.0.1 -u root -e \"RENAME USER bk@'127.0.0.1' TO away@'127.0.0.1'\"\n\
        exit 0\n";
    let cluster = set::start(1, |manifests| {
        manifests.stand_in("sidecar", "mariadb-backup", tool);
        manifests.set_env("sidecar", "MYSQLSET_BACKUP_USER", "bk");
    })?;
    cluster.wait_ready(1)?;
    cluster.sql("mysql-0", "CREATE USER bk@'127.0.0.1'; GRANT ALL ON *.* TO bk@'127.0.0.1'")?;
    cluster.scale(2);
    cluster.wait_for_broken_stream("mysql-1", 0)?;
    assert_eq!(set::clones(&cluster, "mysql-1"), 0);
    cluster.sql("mysql-0", "RENAME USER away@'127.0.0.1' TO bk@'127.0.0.1'")?;
    cluster.wait_ready(2)
}

/// The next start can repeat the check from the stored inventory. If that is gone, the copy counts as incomplete.
#[test]
fn an_inventory_outlasts_a_kill_and_one_that_is_lost_fails_the_check() -> Result<()> {
    needs!(BackupTool);
    for (damage, received) in [("", 1), ("rm /volume/.mysqlset-mysql-stage/inventory", 2)] {
        let tool = format!(
            "#!/bin/sh\ncase \"$*\" in *--prepare*) ;; *) exec /usr/bin/mariadb-backup \"$@\";; esac\n\
             if mkdir /volume/once 2>/dev/null; then {damage}\nsleep 1000; fi\nexec /usr/bin/mariadb-backup \"$@\"\n"
        );
        let cluster = set::start(1, |manifests| manifests.stand_in("clone", "mariadb-backup", &tool))?;
        cluster.wait_ready(1)?;
        set::fill(&cluster)?;
        cluster.scale(2);
        let once = cluster.volume("mysql-1").join("once");
        cluster.wait_for("a prepare that waits", PATIENCE, || Ok(once.exists()))?;
        cluster.signal("mysql-1", "clone", rustix::process::Signal::KILL)?;
        cluster.wait_ready(2)?;
        let log = cluster.logs("mysql-1", "clone");
        assert_eq!(log.count_of(Event::ReceiveDone), received, "{damage}\n{log}");
        assert_eq!(log.has(Event::CloneAnotherBackup), !damage.is_empty(), "{log}");
        set::assert_same_rows(&cluster, &["mysql-1"])?;
    }
    Ok(())
}

/// A server that starts on a copy without one of its tables reports the loss in its log only.
#[test]
fn a_copy_by_the_plugin_that_lacks_a_file_is_noticed() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(1, |manifests| {
        let data = "/volume/.mysqlset-mysql-stage/data";
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--skip-grant-tables*) rm -f {data}/odd/plain.ibd;; esac\nexec /usr/sbin/mysqld \"$@\"\n"
        );
        manifests.stand_in("clone", "mysqld", &script);
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    make_odd_tables(&cluster)?;
    cluster.scale(2);
    let end = set::end_of_clone_where(&cluster, "mysql-1", |end| end.message.contains(LACKS))?;
    ensure!(end.exit_code == 41 && end.message.contains("odd/plain.ibd is missing"), "{end:?}");
    assert_eq!(set::clones(&cluster, "mysql-1"), 0);
    Ok(())
}
