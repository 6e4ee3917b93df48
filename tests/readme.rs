//! What the README and the manifests say about flags, variables, exit codes and metrics is what the program does.

#[path = "pods/mod.rs"]
mod pods;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use clap::{Arg, Command, CommandFactory, Parser};
use mysqlset::cli::Cli;
use mysqlset::datadir::journal::CloneRecord;
use mysqlset::metrics::Metrics;
use mysqlset::mysql::status::{ReplicationStatus, Thread};
use mysqlset::ordinal::Role;
use mysqlset::position::Position;
use mysqlset::status::Status;
use pods::manifest::{Container, Manifests};

const README: &str = include_str!("../README.md");

/// Secrets have no flag; only the README and [`mysqlset::settings`] name their variables.
const SECRETS: [&str; 4] =
    ["MYSQLSET_CLONE_SECRET", "MYSQLSET_SQL_PASSWORD", "MYSQLSET_BACKUP_PASSWORD", "MYSQLSET_REPLICATION_PASSWORD"];

/// Where the manifests have it in containers of other images.
const PROGRAM: &str = "/mysqlset/mysqlset";

fn must_parse<'a>(container: &str, words: impl Iterator<Item = &'a String>) -> Cli {
    let arguments = ["mysqlset".to_owned()].into_iter().chain(words.cloned());
    Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{container}: {error}"))
}

/// All flags of all commands that have a variable.
fn flags() -> Vec<Arg> {
    let mut command = Cli::command();
    command.build();
    flags_of(&command)
}

fn flags_of(command: &Command) -> Vec<Arg> {
    let own = command.get_arguments().filter(|flag| flag.get_env().is_some()).cloned();
    own.chain(command.get_subcommands().flat_map(flags_of)).collect()
}

fn name(flag: &Arg) -> String {
    format!("--{}", flag.get_long().expect("a long flag"))
}

fn variable(flag: &Arg) -> String {
    flag.get_env().expect("a variable").to_string_lossy().into_owned()
}

/// The cells of the README's tables, row by row.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = README.lines().filter(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// Words of the README that begin so.
fn words(start: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    let words = README.split(|character| !is_part(character));
    words.filter(|word| word.starts_with(start)).map(str::to_owned).collect()
}

#[test]
fn every_flag_is_in_a_table_with_its_variable_and_default() {
    for flag in flags() {
        let (name, variable) = (format!("`{}`", name(&flag)), format!("`{}`", variable(&flag)));
        let row = rows().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name} is not in the README"));
        assert_eq!(row[1], variable, "{name}");
        if let [default] = flag.get_default_values() {
            assert_eq!(row[2], format!("`{}`", default.to_string_lossy()), "{name}");
        }
        assert_eq!(variable, format!("`MYSQLSET_{}`", name[3..name.len() - 1].to_uppercase().replace('-', "_")));
    }
}

#[test]
fn the_readme_names_no_flag_or_variable_that_is_not_there() {
    let mut variables: BTreeSet<String> = flags().iter().map(variable).collect();
    variables.extend(SECRETS.map(str::to_owned));
    assert_eq!(words("MYSQLSET_"), variables);

    let mut names: BTreeSet<String> = flags().iter().map(name).collect();
    // Those of other programs.
    names.extend(["--file", "--tag", "--open", "--recv-only"].map(str::to_owned));
    let unknown: Vec<String> = words("--").into_iter().filter(|word| word.len() > 3 && !names.contains(word)).collect();
    assert_eq!(unknown, [""; 0].map(str::to_owned));
}

#[test]
fn every_exit_code_is_in_its_table_and_no_other() {
    let source = include_str!("../src/exit.rs");
    let (_, reasons) = source.split_once("pub enum Reason {").expect("the enum");
    let (reasons, _) = reasons.split_once("\n}").expect("its end");
    let numbers = reasons.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse().ok());
    let mut codes: BTreeSet<u8> = numbers.collect();
    assert!(codes.len() > 10, "{codes:?}");
    codes.extend([0, mysqlset::exit::UNEXPECTED, mysqlset::exit::TERMINATED]);

    let (_, section) = README.split_once("## Exit codes").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let documented = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok());
    assert_eq!(documented.collect::<BTreeSet<u8>>(), codes);
}

#[test]
fn every_metric_is_in_the_readme_and_no_other() {
    let status = Arc::new(Status::new("mysql-1".into(), Role::Replica));
    status.update(|snapshot| {
        snapshot.replication = Some(ReplicationStatus {
            receiver: Thread::Running,
            applier: Thread::Running,
            lag_seconds: Some(0),
            ..ReplicationStatus::default()
        });
        snapshot.clone = Some(CloneRecord {
            donor: "mysql-0.mysql:3307".into(),
            donor_pod: "mysql-0".into(),
            tool: "mariadb-backup".into(),
            bytes: 1,
            seconds: 1.0,
            received_at: 1,
            position: Position::MariadbGtid { slave_pos: String::new() },
        });
    });
    let metrics = Metrics::new(status);
    metrics.refused(mysqlset::wire::message::Why::Busy);
    let page = metrics.page();
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<String> = samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect();
    assert_eq!(words("mysqlset_"), names, "{page}");
}

#[test]
fn the_manifests_run_commands_and_set_variables_that_are_there() {
    let manifests = Manifests::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s")).unwrap();
    let spec = &manifests.stateful_set.spec.template.spec;
    let program = |container: &Container| container.command.as_ref().map(|words| words[0].clone());
    let ours = |container: &&Container| {
        container.image == "mysqlset" || program(container).is_some_and(|program| program == PROGRAM)
    };
    let containers: Vec<&Container> = spec.init_containers.iter().chain(&spec.containers).filter(ours).collect();
    assert_eq!(containers.len(), 4);
    let mut variables: BTreeSet<String> = flags().iter().map(variable).collect();
    variables.extend(SECRETS.map(str::to_owned));
    for container in containers {
        let words = container.command.iter().flatten().chain(container.args.iter().flatten());
        must_parse(&container.name, words.filter(|word| *word != PROGRAM));
        for set in &container.env {
            assert!(variables.contains(&set.name), "{} sets {}", container.name, set.name);
        }
    }
    let all = spec.init_containers.iter().chain(&spec.containers);
    let probes = all.flat_map(|container| {
        [&container.startup_probe, &container.readiness_probe, &container.liveness_probe]
            .map(|probe| (container, probe))
    });
    let mut asked = 0;
    for (container, probe) in probes {
        let Some(probe) = probe else { continue };
        if let Some(exec) = &probe.exec {
            assert_eq!(exec.command[0], PROGRAM, "{}", container.name);
            let cli = must_parse(&container.name, exec.command[1..].iter());
            let mysqlset::cli::Command::Probe(words) = cli.command else { panic!("{}: no probe", container.name) };
            assert!(words.timeout < probe.timeout_seconds, "{}: its answer comes too late", container.name);
            asked += 1;
        }
    }
    assert_eq!(asked, 3);
    let drain: u64 = flags()
        .iter()
        .find(|flag| name(flag) == "--drain-timeout")
        .and_then(|flag| flag.get_default_values()[0].to_str()?.parse().ok())
        .unwrap();
    assert!(drain < spec.termination_grace_period_seconds, "a drain may take longer than the pod's grace period");
}
