//! Default limits of a container break no clone. A limit that is too low is named before the first byte, with both
//! numbers.

use anyhow::Result;
use harness::logged::Said;
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;

/// A primary with this many additional tables.
fn primary(tables: usize, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let cluster = set::start(1, |manifests| {
        manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "3");
        manifests
            .server_files()
            .for_each(|file| file.push_str("innodb_flush_log_at_trx_commit = 0\nsync_binlog = 0\n"));
        change(manifests);
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    for statement in ["CREATE TABLE app.t# (id INT PRIMARY KEY);", "INSERT INTO app.t# VALUES (#);"] {
        let statements: String = (0..tables).map(|n| statement.replace('#', &n.to_string())).collect();
        cluster.sql("mysql-0", &statements)?;
    }
    Ok(cluster)
}

fn assert_same_tables(cluster: &Cluster, tables: usize) -> Result<()> {
    set::assert_same_rows(cluster, &["mysql-1"])?;
    let names: Vec<String> = (0..tables).map(|n| format!("app.t{n}")).collect();
    let checksums = |pod| cluster.sql(pod, &format!("CHECKSUM TABLE {}", names.join(", ")));
    let (expected, found) = (checksums("mysql-0")?, checksums("mysql-1")?);
    let unlike = expected.iter().zip(&found).filter(|(expected, found)| expected != found).count();
    assert_eq!((unlike, found.len()), (0, tables), "of {tables} tables");
    Ok(())
}

/// The limit of containers since containerd 2.0.
const SOFT_1024: [&str; 2] = ["-Hn 20000", "-Sn 1024"];

#[test]
fn more_tables_than_the_recipients_soft_limit_of_descriptors() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary(1500, |manifests| manifests.limit("clone", &SOFT_1024))?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    assert_same_tables(&cluster, 1500)?;
    assert_eq!(set::clones(&cluster, "mysql-1"), 1);
    let log = cluster.logs("mysql-1", "clone");
    assert!(!log.contains("was not found at"), "{log}");
    Ok(())
}

#[test]
fn more_tables_than_the_donors_soft_limit_of_descriptors() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary(1500, |manifests| manifests.limit("sidecar", &SOFT_1024))?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    assert_same_tables(&cluster, 1500)
}

#[test]
fn a_hard_limit_that_is_too_low_is_named_with_both_numbers_before_the_first_byte() -> Result<()> {
    needs!(BackupTool);
    for (container, exit_code) in [("clone", 52), ("sidecar", 21)] {
        let cluster = primary(400, |manifests| manifests.limit(container, &["-n 400"]))?;
        cluster.scale(2);
        let end = set::end_of_clone(&cluster, "mysql-1")?;
        assert_eq!(end.exit_code, exit_code, "{container}: {end:?}");
        let event = if container == "clone" { Event::ExitLimit } else { Event::RefusedLimit };
        assert!(end.message.names(event) && end.message.contains("RLIMIT_NOFILE"), "{container}: {end:?}");
        // The message has the limit. It also has the number of files, which exceeds the number of tables, and their
        // need.
        let numbers = end.message.split(|character: char| !character.is_ascii_digit());
        let numbers: Vec<u64> = numbers.filter_map(|digits| digits.parse().ok()).collect();
        let has_needs = numbers.iter().any(|files| (401..=420).contains(files) && numbers.contains(&(files + 160)));
        assert!(numbers.contains(&400) && has_needs, "{container}: {end:?}");
        assert!(!cluster.has_logged("mysql-1", "clone", Event::ReceiveBegun), "{container}");
        assert_eq!(set::state(&cluster, "mysql-1"), None, "{container}");
    }
    Ok(())
}

#[test]
fn a_low_hard_limit_suffices_for_a_small_set() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |manifests| {
        for container in ["clone", "sidecar"] {
            manifests.limit(container, &["-n 256"]);
        }
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

#[test]
fn a_large_soft_limit_is_not_passed_to_the_tool() -> Result<()> {
    needs!(Tutorial);
    // The words of the tool, after a line about its limit.
    let script = "#!/bin/sh\necho \"[Warning] descriptors: $(ulimit -Sn)\" >&2\nexec /usr/bin/mariadb-backup \"$@\"\n";
    let cluster = primary(10, |manifests| {
        for container in ["clone", "sidecar"] {
            manifests.stand_in(container, "mariadb-backup", script);
            let words = manifests.container(container).command.as_mut().expect("the command");
            words[2] = format!("ulimit -Sn 20000 && {}", words[2]);
        }
    })?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    for (pod, container) in [("mysql-0", "sidecar"), ("mysql-1", "clone")] {
        cluster.wait_for(&format!("the tool at {pod}"), PATIENCE, || {
            Ok(cluster.logs(pod, container).contains("descriptors: 16384"))
        })?;
    }
    Ok(())
}

#[test]
fn a_prepare_stays_below_a_limit_of_the_address_space() -> Result<()> {
    needs!(BackupTool);
    // In KiB. Without the check the tool gets half of the machine's memory, at most 1 GiB, and fails to map it.
    let cluster = primary(1, |manifests| manifests.limit("clone", &["-v 1300000"]))?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    assert_same_tables(&cluster, 1)?;
    assert_eq!(set::clones(&cluster, "mysql-1"), 1);
    assert!(!cluster.has_logged("mysql-1", "clone", Event::CloneAnotherBackup));
    Ok(())
}

#[test]
fn a_limit_of_file_sizes_is_raised_or_named() -> Result<()> {
    needs!(BackupTool);
    // In blocks of 512 bytes, in this shell.
    let cluster = primary(1, |manifests| manifests.limit("clone", &["-Sf 2048"]))?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    assert_same_tables(&cluster, 1)?;

    let cluster = primary(1, |manifests| manifests.limit("clone", &["-f 2048"]))?;
    cluster.scale(2);
    assert_refused(&cluster, &["12582912", "RLIMIT_FSIZE", "1048576"])
}

/// Asserts a refusal with 52, with these names and numbers, before the first byte.
fn assert_refused(cluster: &Cluster, words: &[&str]) -> Result<()> {
    let end = set::end_of_clone(cluster, "mysql-1")?;
    assert!(end.exit_code == 52 && end.is(Event::ExitLimit), "{end:?}");
    for words in words {
        assert!(end.message.contains(words), "no {words:?} in {end:?}");
    }
    assert!(!cluster.has_logged("mysql-1", "clone", Event::ReceiveBegun), "{end:?}");
    assert_eq!(set::state(cluster, "mysql-1"), None);
    Ok(())
}

#[test]
fn too_few_threads_or_too_little_memory_are_named_before_the_first_byte() -> Result<()> {
    needs!(BackupTool);
    for (limit, words) in [
        ("-p 3", &["24", "RLIMIT_NPROC 3"][..]),
        ("-p 10", &["24", "RLIMIT_NPROC 10"]),
        ("-v 50000", &["201326592", "RLIMIT_AS", "51200000"]),
        ("-d 60000", &["201326592", "RLIMIT_DATA", "61440000"]),
    ] {
        let cluster = primary(1, |manifests| manifests.limit("clone", &[limit]))?;
        cluster.scale(2);
        assert_refused(&cluster, words)?;
    }
    Ok(())
}

/// A tool without a free thread waits for one for ever.
#[test]
fn a_donor_without_threads_refuses_before_the_first_byte() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary(1, |manifests| manifests.limit("sidecar", &["-p 20"]))?;
    cluster.scale(2);
    let end = set::end_of_clone(&cluster, "mysql-1")?;
    assert!(end.message.names(Event::RefusedLimit) && end.message.contains("RLIMIT_NPROC"), "{end:?}");
    assert!(!cluster.has_logged("mysql-1", "clone", Event::ReceiveBegun), "{end:?}");
    Ok(())
}

#[test]
fn a_tool_that_runs_out_of_threads_later_ends_the_clone_with_the_limit() -> Result<()> {
    needs!(Tutorial);
    // Another program has taken the free threads between the check and the prepare.
    let script = "#!/bin/sh\ncase \"$*\" in *--prepare*) ulimit -p 7;; esac\nexec /usr/bin/mariadb-backup \"$@\"\n";
    let cluster = primary(1, |manifests| manifests.stand_in("clone", "mariadb-backup", script))?;
    cluster.scale(2);
    let end = set::end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 52, "{end:?}");
    assert!(end.is(Event::ExitLimit) && end.message.contains("RLIMIT_NPROC"), "{end:?}");
    Ok(())
}
