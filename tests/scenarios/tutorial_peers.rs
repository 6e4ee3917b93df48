//! The tutorial's pods beside ours, with their own `ncat` and `mbstream`: a running set is moved over pod by pod.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::{Cluster, PATIENCE, work_directory};
use harness::processes::tools_below;
use harness::proxy::{Fault, Proxy, use_proxy};
use harness::set;
use mysqlset::model::event::Event;

/// The tutorial's donor on pod 0, until a file says that the pod is moved over. Other files make it send less: a number
/// of bytes of the tool's stream, which breaks the tool, or a recorded stream.
const DONOR: &str = r#"
    if [ "$(hostname)" != mysql-0 ] || [ -e /volume/moved ]; then exec /mysqlset/mysqlset sidecar; fi
    export backup="mariadb-backup --backup --slave-info --stream=xbstream --host=127.0.0.1 --user=root \
        --datadir=/var/lib/mysql --target-dir=/tmp/target"
    exec ncat --listen --keep-open --send-only --max-conns=1 3307 -c '
        echo asked >> /volume/asked
        if [ -e /volume/cut ]; then $backup | head -c $(cat /volume/cut);
        elif [ -e /volume/recorded ]; then cat /volume/recorded;
        else exec $backup; fi'"#;

/// The tutorial's recipient on every pod but the first.
const RECIPIENT: &str = r#"
    [ "$(hostname)" != mysql-0 ] || exec /mysqlset/mysqlset clone
    set -ex
    [ ! -d /volume/mysql/mysql ] || exit 0
    mkdir -p /volume/mysql
    ncat --recv-only mysql-0.mysql 3307 | mbstream -x -C /volume/mysql
    mariadb-backup --prepare --target-dir=/volume/mysql"#;

fn run_script(manifests: &mut Manifests, container: &str, script: &str) {
    let container = manifests.container(container);
    container.command = Some(["sh", "-c", script].map(str::to_owned).to_vec());
    // The tutorial's containers have no probes, and write where they like.
    (container.liveness_probe, container.readiness_probe) = (None, None);
    container.security_context.read_only_root_filesystem = false;
}

/// Pod 0 belongs to the tutorial, and has rows.
fn tutorials_primary(change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let cluster = set::start(1, |manifests| {
        run_script(manifests, "clone", r#"[ "$(hostname)" = mysql-0 ] || exec /mysqlset/mysqlset clone"#);
        run_script(manifests, "sidecar", DONOR);
        change(manifests);
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    Ok(cluster)
}

fn take_unproven_stream(manifests: &mut Manifests) {
    manifests.set_env("clone", "MYSQLSET_TAKE_UNPROVEN_STREAM", "true");
}

fn follow_unproven_primary(manifests: &mut Manifests) {
    manifests.set_env("sidecar", "MYSQLSET_FOLLOW_UNPROVEN_PRIMARY", "true");
}

fn donate_unproven_stream(manifests: &mut Manifests) {
    manifests.set_env("sidecar", "MYSQLSET_DONATE_UNPROVEN_STREAM_TO_ANYONE", "true");
}

fn wait_for_readyz(cluster: &Cluster, pod: &str) -> Result<()> {
    cluster.wait_for(&format!("{pod}'s sidecar to be ready"), PATIENCE, || {
        let (code, why) = cluster.http_get(pod, 8307, "/readyz")?;
        ensure!(code == 200, "{why}");
        Ok(true)
    })
}

#[test]
fn a_set_of_the_tutorials_is_moved_over_pod_by_pod() -> Result<()> {
    needs!(Tutorial);
    let cluster = tutorials_primary(|manifests| {
        take_unproven_stream(manifests);
        follow_unproven_primary(manifests);
    })?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    wait_for_readyz(&cluster, "mysql-1")?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    // Each connection ends the tutorial's container. The clone asks once and takes the stream, and the sidecar asks
    // once.
    let asked = std::fs::read_to_string(cluster.volume("mysql-0").join("asked"))?;
    assert_eq!(asked.lines().count(), 3, "{asked}");
    let replica = set::journal(&cluster, "mysql-1")?;
    assert_eq!(replica["clone"]["donor_pod"], "mysql-0");
    assert!(replica["set_id"].is_null(), "{replica}");
    assert!(cluster.has_logged("mysql-1", "clone", Event::ReceiveUnprovenBegun));
    assert!(cluster.has_logged("mysql-1", "sidecar", Event::SourceUnproven));
    set::assert_no_leftovers(&cluster, "mysql-1")?;

    // The primary's pod starts again as one of ours.
    std::fs::write(cluster.volume("mysql-0").join("moved"), "")?;
    cluster.signal("mysql-0", "mysql", rustix::process::Signal::KILL)?;
    // By now it may have ended by itself, and started as one of ours.
    let _ = cluster.signal("mysql-0", "sidecar", rustix::process::Signal::KILL);
    cluster.wait_for("one identity", PATIENCE, || {
        let (primary, replica) = (set::journal(&cluster, "mysql-0")?, set::journal(&cluster, "mysql-1")?);
        Ok(primary["set_id"].is_string() && primary["set_id"] == replica["set_id"])
    })?;
    wait_for_readyz(&cluster, "mysql-0")?;
    wait_for_readyz(&cluster, "mysql-1")?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    wait_for_readyz(&cluster, "mysql-2")?;
    // The donor identifies itself. It is the one of the two that is fit at the moment.
    let last = set::journal(&cluster, "mysql-2")?;
    assert_eq!(last["set_id"], set::journal(&cluster, "mysql-0")?["set_id"]);
    let tool = last["clone"]["tool"].as_str().context("no tool")?;
    assert!(tool.starts_with("mariadb-backup"), "{tool}");
    set::assert_same_rows_of_innodb(&cluster, &["mysql-1", "mysql-2"])
}

#[test]
fn the_tutorials_recipient_gets_a_whole_backup_from_ours() -> Result<()> {
    needs!(Tutorial);
    let cluster = set::start(1, |manifests| {
        donate_unproven_stream(manifests);
        run_script(manifests, "clone", RECIPIENT);
        manifests.container("sidecar").readiness_probe = None;
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    wait_for_readyz(&cluster, "mysql-0")?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    // The statements of the tutorial's sidecar, in MariaDB's words.
    let info = std::fs::read_to_string(cluster.volume("mysql-1").join("mysql/xtrabackup_binlog_info"))?;
    let gtid = info.trim().rsplit('\t').next().context("no position")?;
    cluster.sql(
        "mysql-1",
        &format!(
            "SET GLOBAL gtid_slave_pos = '{gtid}';
             CHANGE MASTER TO MASTER_HOST = 'mysql-0.mysql', MASTER_USER = 'root', MASTER_USE_GTID = slave_pos;
             START SLAVE"
        ),
    )?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    wait_for_readyz(&cluster, "mysql-1")?;
    let log = cluster.logs("mysql-0", "sidecar");
    assert!(log.has(Event::DonorCloneServed) && log.has(Event::DonorUnprovenStream), "{log}");
    set::assert_no_leftovers(&cluster, "mysql-0")
}

#[test]
fn the_tutorials_recipient_is_sent_no_more_than_the_donors_rate() -> Result<()> {
    needs!(Tutorial);
    const RATE: u64 = 4 << 20;
    let cluster = set::start(1, |manifests| {
        donate_unproven_stream(manifests);
        manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "4M");
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    wait_for_readyz(&cluster, "mysql-0")?;
    let directory = work_directory()?;
    let output = pipeline(&cluster, "mbstream -x -C", &directory)?.wait_with_output()?;
    ensure!(output.status.success() && directory.join("xtrabackup_info").exists(), "{output:?}");
    cluster.wait_for_event("mysql-0", "sidecar", Event::DonorCloneServed)?;
    let (_, sent, seconds) = set::served(&cluster)?;
    ensure!(sent as f64 / seconds < 1.1 * RATE as f64, "{sent} bytes were sent in {seconds} s");
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

#[test]
fn legacy_streams_and_primaries_need_their_flags() -> Result<()> {
    needs!(Tutorial);
    let cluster = tutorials_primary(|_| {})?;
    cluster.scale(2);
    let end = set::end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.contains("--take-unproven-stream"), "{end:?}");
    assert!(set::state(&cluster, "mysql-1").is_none());
    drop(cluster);

    let cluster = tutorials_primary(take_unproven_stream)?;
    cluster.scale(2);
    cluster.wait_for("mysql-1 to report why it waits", PATIENCE, || {
        let (code, why) = cluster.http_get("mysql-1", 8307, "/readyz")?;
        Ok(code == 503 && why.contains("--follow-unproven-primary"))
    })?;
    drop(cluster);

    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    let directory = work_directory()?;
    let output = pipeline(&cluster, "mbstream -x -C", &directory)?.wait_with_output()?;
    assert_eq!(std::fs::read_dir(&directory)?.count(), 0, "{output:?}");
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Pipes the received stream to a command, whose last word is a directory.
fn pipeline(cluster: &Cluster, command: &str, directory: &Path) -> Result<std::process::Child> {
    let donor = cluster.address("mysql-0")?;
    let script = format!("ncat --recv-only {donor} 3307 | {command} {}", directory.display());
    let mut shell: Command = cluster.command("sh");
    shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The whole pipeline can be killed at once.
    Ok(std::os::unix::process::CommandExt::process_group(&mut shell, 0).spawn()?)
}

fn last_word(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_tutorials_recipient_fails_when_our_tool_is_killed_or_it_is_refused() -> Result<()> {
    needs!(Tutorial);
    let cluster = set::start(1, donate_unproven_stream)?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 60)?;
    let sidecar = cluster.pid("mysql-0", "sidecar")?;
    let (directory, other) = (work_directory()?, work_directory()?);
    let go = other.join("go");
    // More than one chunk of the tool, and less than the database.
    let held =
        format!("(head -c 25000000; while [ ! -e {} ]; do sleep 0.05; done; cat) | mbstream -x -C", go.display());
    let recipient = pipeline(&cluster, &held, &directory)?;
    let tool = || tools_below(sidecar);
    cluster.wait_for("the backup tool to be in the middle", PATIENCE, || {
        Ok(!tool().is_empty() && std::fs::read_dir(&directory)?.count() > 0)
    })?;

    // A second recipient comes too early. Its refusal has a form that its mbstream notices.
    let refused = pipeline(&cluster, "tee /dev/stderr | mbstream -x -C", &other)?.wait_with_output()?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(cluster.has_logged("mysql-0", "sidecar", Event::RefusedBusy), "{refused:?}");
    assert!(last_word(&refused).contains("no whole backup"), "{refused:?}");

    let killed: i32 = tool().first().context("the backup tool is gone")?.parse()?;
    let killed = rustix::process::Pid::from_raw(killed).context("a process")?;
    rustix::process::kill_process(killed, rustix::process::Signal::KILL)?;
    std::fs::write(&go, "")?;
    let output = recipient.wait_with_output()?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    cluster.wait_for_event_with("mysql-0", "sidecar", Event::DonorCloneFailed, "signal 9")?;
    let (_, metrics) = cluster.http_get("mysql-0", 8307, "/metrics")?;
    assert!(metrics.contains("mysqlset_donor_clones_total{outcome=\"failed\"} 1"), "{metrics}");

    // A recipient that leaves takes the tool along.
    let mut gone = pipeline(&cluster, &held.replace(&*go.to_string_lossy(), "/nowhere"), &directory)?;
    cluster.wait_for("the backup tool", PATIENCE, || Ok(!tool().is_empty()))?;
    rustix::process::kill_process_group(rustix::process::Pid::from_child(&gone), rustix::process::Signal::KILL)?;
    gone.wait()?;
    cluster.wait_for("the backup tool to go", PATIENCE, || Ok(tool().is_empty()))?;
    for directory in [directory, other] {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}

/// Records a stream, and returns the position of a file's first chunk.
fn record(cluster: &Cluster, file: &str) -> Result<usize> {
    let tool = ["mariadb-backup", "--backup", "--slave-info", "--stream=xbstream", "--user=root", "--host=127.0.0.1"];
    let output = cluster.exec("mysql-0", "sidecar", &[&tool[..], &["--datadir=/var/lib/mysql"]].concat())?;
    ensure!(output.status.success(), "the backup failed: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(cluster.volume("mysql-0").join("recorded"), &output.stdout)?;
    let head = [b"XBSTCK01\0P".as_slice(), &(file.len() as u32).to_le_bytes(), file.as_bytes()].concat();
    output.stdout.windows(head.len()).position(|window| window == head).context("no such file in the stream")
}

#[test]
fn a_broken_legacy_stream_is_never_accepted_as_whole() -> Result<()> {
    needs!(Tutorial);
    let cluster = tutorials_primary(|manifests| {
        use_proxy(manifests);
        take_unproven_stream(manifests);
        follow_unproven_primary(manifests);
        manifests.set_env("clone", "MYSQLSET_STALL_TIMEOUT", "5");
    })?;
    let volume = cluster.volume("mysql-0");
    let is_unpublished = || set::state(&cluster, "mysql-1").is_none_or(|state| state == "receiving");
    // The cause of a broken stream has no event of its own. The words show that each check notices it.
    // All files have ended and the next chunk has not begun, so mbstream accepts the stream.
    let boundary = record(&cluster, "xtrabackup_checkpoints")?;
    let proxy = Proxy::start(&cluster, "mysql-0", Fault::CutAfter(boundary as u64))?;
    cluster.scale(2);
    let cut_before_the_metadata = "the backup has no xtrabackup_checkpoints or mariadb_backup_checkpoints";
    set::wait_for_log(&cluster, "mysql-1", "clone", cut_before_the_metadata)?;
    assert!(is_unpublished());
    proxy.set(Fault::CutAfter(boundary as u64 - 7));
    set::wait_for_log(&cluster, "mysql-1", "clone", "it ends inside")?;
    assert!(is_unpublished());
    proxy.set(Fault::FlipAt(3_333_333));
    set::wait_for_log(&cluster, "mysql-1", "clone", "has checksum")?;
    assert!(is_unpublished());

    let silent = || cluster.logs("mysql-1", "clone").matches("silent for too long").count();
    let before = silent();
    proxy.set(Fault::SilenceAfter(3_333_333));
    cluster.wait_for("a stream that fell silent", PATIENCE, || Ok(silent() > before))?;
    assert!(is_unpublished());

    // The tool itself breaks in the middle, and ncat ends the connection as usual.
    proxy.set(Fault::None);
    std::fs::remove_file(volume.join("recorded"))?;
    std::fs::write(volume.join("cut"), "5000000")?;
    let broken = || cluster.logs("mysql-1", "clone").broken_streams();
    let (before, connections) = (broken(), proxy.connections());
    cluster.wait_for("two more broken streams", PATIENCE, || {
        Ok(broken() > before + 1 && proxy.connections() > connections + 3)
    })?;
    assert!(is_unpublished());
    std::fs::remove_file(volume.join("cut"))?;
    cluster.wait_ready(2)?;
    wait_for_readyz(&cluster, "mysql-1")?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    set::assert_no_leftovers(&cluster, "mysql-1")
}

#[test]
fn a_clone_secret_excludes_legacy_peers() -> Result<()> {
    for (container, flag) in [
        ("clone", "--take-unproven-stream"),
        ("sidecar", "--donate-unproven-stream-to-anyone"),
        ("sidecar", "--follow-unproven-primary"),
    ] {
        let cluster = set::start(1, |manifests| {
            let variable = format!("MYSQLSET{}", flag[1..].to_uppercase().replace('-', "_"));
            manifests.set_env(container, &variable, "true");
            manifests.set_env(container, "MYSQLSET_CLONE_SECRET", "geheim-und-sehr-lang");
        })?;
        let end = || cluster.status("mysql-0").ok()?.containers.get(container)?.last_termination.clone();
        cluster.wait_for("its end", PATIENCE, || Ok(end().is_some()))?;
        let end = end().context("an end")?;
        assert_eq!(end.exit_code, 2, "{end:?}");
        assert!(end.message.contains(flag) && !end.message.contains("geheim"), "{end:?}");
    }
    Ok(())
}
