//! Effects of the pod's configuration that the rehearsal must suppress: loading libraries that a copy names, writing,
//! running files.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::pods::servers::tested;
use harness::rehearsal::{Running, Staged, odd};
use mysqlset::model::event::Event;

#[test]
fn logs_files_and_addresses_of_the_configuration_are_left_alone() -> Result<()> {
    let staged = Staged::of(odd(), 1)?;
    let outside = tempfile::tempdir()?;
    let path = |name: &str| outside.path().join(name).display().to_string();
    std::fs::write(outside.path().join("init.sql"), "DROP TABLE app.t;\n")?;
    let lines = [
        "user = mysql".to_owned(),
        format!("init_file = {}", path("init.sql")),
        format!("log_error = {}", path("error.log")),
        format!("log_bin = {}", path("binlog")),
        format!("relay_log = {}", path("relay")),
        format!("socket = {}", path("sock")),
        format!("pid_file = {}", path("pid")),
        format!("tmpdir = {}", path("")),
        "general_log = ON".to_owned(),
        format!("general_log_file = {}", path("general.log")),
        "slow_query_log = ON".to_owned(),
        "long_query_time = 0".to_owned(),
        format!("slow_query_log_file = {}", path("slow.log")),
        "event_scheduler = ON".to_owned(),
        "port = 1".to_owned(),
        "ssl_ca = /not/there".to_owned(),
        "innodb_buffer_pool_size = 100G".to_owned(),
        "server_id = 7".to_owned(),
    ];
    staged.configure(&format!("[mysqld]\n{}\n", lines.join("\n")))?;
    let ended = staged.clone(&[])?;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let left: Vec<_> = std::fs::read_dir(outside.path())?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    assert_eq!(left, ["init.sql"], "{}", ended.log);
    let server = Running::start(&staged.published(), &[])?;
    assert_eq!(server.sql("SELECT COUNT(*) FROM app.t")?.trim(), "2");
    server.stop()
}

/// A library that leaves a mark when it is loaded.
fn library(directory: &Path, mark: &Path) -> Result<()> {
    let source = directory.join("noticed.c");
    let text = format!(
        "#include <fcntl.h>\n__attribute__((constructor)) static void load(void) {{ open(\"{}\", O_CREAT | O_WRONLY, 0600); }}\n",
        mark.display()
    );
    std::fs::write(&source, text)?;
    let target = directory.join("noticed.so");
    let output = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&target).arg(&source).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn rows_that_name_libraries_load_none() -> Result<()> {
    let libraries = tempfile::tempdir()?;
    let mark = libraries.path().join("mark");
    library(libraries.path(), &mark)?;
    let mut rows = vec![
        "INSERT INTO mysql.plugin (name, dl) VALUES ('noticed', 'noticed.so')",
        "INSERT INTO mysql.func (name, ret, dl, type) VALUES ('noticed', 0, 'noticed.so', 'function')",
    ];
    if !tested().is_mariadb() {
        rows.push("INSERT INTO mysql.component (component_group_id, component_urn) VALUES (1, 'file://noticed')");
    }
    let config = format!("[mysqld]\nplugin_dir = {}\n", libraries.path().display());
    for row in rows {
        let staged = Staged::of(odd(), 1)?;
        let server = Running::start(&staged.data(), &[])?;
        server.sql(row)?;
        server.stop()?;
        staged.configure(&config)?;
        let _ = std::fs::remove_file(&mark);
        // A server with the pod's own configuration loads the library. So the test would notice that.
        let options = format!("--defaults-file={}", staged.config().join("pod.cnf").display());
        Running::start(&staged.data(), &[&options])?.stop()?;
        assert!(mark.exists(), "{row}");
        std::fs::remove_file(&mark)?;
        for name in ["auto.cnf", "multi-master.info"] {
            let _ = std::fs::remove_file(staged.data().join(name));
        }
        let ended = staged.clone(&[])?;
        assert_eq!(ended.code, Some(0), "{row}: {}", ended.log);
        assert!(ended.log.has(Event::RehearsalDone) && !mark.exists(), "{row}: {}", ended.log);
    }
    Ok(())
}
