//! Clones over links that are slower than a disk: compressed, limited, and with progress reports.

use anyhow::{Context, Result, ensure};
use harness::logged::{Line, Said};
use harness::needs;
use harness::pods::Cluster;
use harness::pods::manifest::Manifests;
use harness::set;
use mysqlset::model::event::Event;

fn clone_with(variables: &[(&str, &str, &str)], megabytes: u32) -> Result<Cluster> {
    clone_after(megabytes, |manifests| {
        for (container, name, value) in variables {
            manifests.set_env(container, name, value);
        }
    })
}

fn clone_after(megabytes: u32, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let cluster = set::start(1, change)?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, megabytes)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    Ok(cluster)
}

#[test]
fn frames_are_packed_where_both_ends_ask_for_it() -> Result<()> {
    needs!(BackupTool);
    const PACKING: &str = "MYSQLSET_WIRE_COMPRESSION";
    for (recipient, donor, is_packed) in [("auto", "on", true), ("off", "on", false), ("on", "off", false)] {
        let cluster = clone_with(&[("clone", PACKING, recipient), ("sidecar", PACKING, donor)], 1)?;
        let (bytes, sent, _) = set::served(&cluster)?;
        ensure!((sent < bytes / 2) == is_packed, "{recipient}, {donor}: {sent} of {bytes} bytes were sent");
        ensure!(is_packed || sent > bytes, "{recipient}, {donor}: {sent} of {bytes} bytes were sent");
    }
    Ok(())
}

#[test]
fn a_donor_keeps_its_rate_and_the_recipient_reports_its_progress() -> Result<()> {
    needs!(BackupTool);
    const RATE: u64 = 2 << 20;
    let cluster = clone_with(&[("sidecar", "MYSQLSET_RATE_LIMIT", "2M")], 8)?;
    let (bytes, sent, seconds) = set::served(&cluster)?;
    let rate = sent as f64 / seconds;
    ensure!(rate < 1.1 * RATE as f64, "{rate} bytes a second were sent, {RATE} are allowed");
    ensure!(seconds > 10.5, "a clone of {sent} bytes in {seconds} s says nothing of its progress");
    let log = cluster.logs("mysql-1", "clone");
    let mut progress = log.lines_of(Event::Progress);
    progress.retain(|line| line.field("phase") == Some("receiving"));
    let line = progress.iter().find(|line| line.field("percent").is_some());
    let line = line.with_context(|| format!("no progress was reported:\n{log}"))?;
    // The donor's estimate, and the final size, to which its log adds.
    let value = |name: &str| line.number(name).with_context(|| format!("no {name} in {}", line.text));
    let (percent, right) = (value("percent")?, value("bytes")? * 100.0 / bytes as f64);
    ensure!((percent - right).abs() <= right / 2.0, "{percent} %, {right} % of {bytes} bytes: {}", line.text);
    // At most one line in ten seconds.
    ensure!(progress.len() as f64 <= seconds / 10.0 + 1.0, "{} lines in {seconds} s:\n{log}", progress.len());
    // Frames are compressed only where both ends ask for it.
    ensure!(sent > bytes, "{sent} of {bytes} bytes were sent");
    Ok(())
}

#[test]
fn a_slow_prepare_reports_its_progress() -> Result<()> {
    needs!(BackupTool);
    let cluster = clone_after(1, |manifests| {
        let slow = "#!/bin/sh\ncase \"$*\" in *--prepare*) sleep 11;; esac\nexec /usr/bin/mariadb-backup \"$@\"\n";
        manifests.stand_in("clone", "mariadb-backup", slow);
    })?;
    let log = cluster.logs("mysql-1", "clone");
    let tells = |line: &Line<'_>| line.field("phase") == Some("preparing") && line.number("seconds") >= Some(10.0);
    ensure!(log.lines_of(Event::Progress).iter().any(tells), "{log}");
    Ok(())
}

/// As in a container with `tty: true`.
#[test]
fn on_a_terminal_one_line_is_drawn_again_and_again() -> Result<()> {
    const WIPE: &str = "\r\x1b[K";
    needs!(BackupTool);
    let cluster = clone_after(8, |manifests| {
        manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "8M");
        let command = ["script", "--quiet", "--return", "--command", "/mysqlset/mysqlset clone", "/dev/null"];
        manifests.container("clone").command = Some(command.map(str::to_owned).into());
        manifests.container("clone").args = None;
    })?;
    let log = cluster.logs("mysql-1", "clone");
    let drawn: Vec<&str> = log.split(WIPE).filter(|text| text.starts_with("receiving ")).collect();
    ensure!(drawn.len() > 2 && drawn.iter().any(|line| line.contains(" of about ")), "{log:?}");
    // The drawn line is wiped before the last line.
    let plain = without_colours(&log);
    ensure!(plain.lines().last().is_some_and(|line| line.has(Event::ClonePublished)), "{log:?}");
    ensure!(!plain.has(Event::Progress), "{log:?}");
    Ok(())
}

/// A text of a terminal without the sequences `ESC [ … m`.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_owned();
    let is_of_sequence = |character: char| character.is_ascii_digit() || character == ';';
    pieces
        .fold(first, |plain, piece| plain + piece.trim_start_matches(is_of_sequence).strip_prefix('m').unwrap_or(piece))
}

#[test]
fn a_slow_link_turns_packing_on() -> Result<()> {
    needs!(BackupTool);
    let auto = |container| (container, "MYSQLSET_WIRE_COMPRESSION", "auto");
    let cluster = clone_with(&[auto("clone"), auto("sidecar"), ("sidecar", "MYSQLSET_RATE_LIMIT", "6M")], 60)?;
    let (bytes, sent, _) = set::served(&cluster)?;
    let log = cluster.logs("mysql-0", "sidecar");
    ensure!(log.has(Event::DonorPacking), "{sent} of {bytes} bytes were sent\n{log}");
    ensure!(sent < bytes * 3 / 4, "{sent} of {bytes} bytes were sent");
    Ok(())
}
