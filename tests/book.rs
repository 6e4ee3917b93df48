//! What the README says about flags, variables, exit codes and metrics is what the program does.

mod flags;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use flags::{SECRETS, flags, name, variable};
use mysqlset::datadir::journal::{CloneRecord, ListedBy, PluginCopy};
use mysqlset::metrics::Metrics;
use mysqlset::mysql::plugin::PositionIn;
use mysqlset::mysql::status::{ReplicationStatus, Thread};
use mysqlset::ordinal::Role;
use mysqlset::position::Position;
use mysqlset::status::Status;

const README: &str = include_str!("../README.md");
const GUIDE: &str = include_str!("../k8s/README.md");

/// The exit codes that the program has.
fn exit_codes() -> BTreeSet<u8> {
    let source = include_str!("../src/exit.rs");
    let (_, reasons) = source.split_once("pub enum Reason {").expect("the enum");
    let (reasons, _) = reasons.split_once("\n}").expect("its end");
    let numbers = reasons.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse().ok());
    let mut codes: BTreeSet<u8> = numbers.collect();
    assert!(codes.len() > 10, "{codes:?}");
    codes.extend([0, mysqlset::exit::UNEXPECTED, mysqlset::exit::TERMINATED]);
    codes
}

/// The cells of the README's tables, row by row.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = README.lines().filter(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// Words of a text that begin so.
fn words_of(text: &str, start: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    let words = text.split(|character| !is_part(character));
    words.filter(|word| word.starts_with(start)).map(str::to_owned).collect()
}

/// Words of the README that begin so.
fn words(start: &str) -> BTreeSet<String> {
    words_of(README, start)
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
    names.extend(
        ["--from-env-file", "--file", "--tag", "--open", "--recv-only", "--copy-back", "--default-ulimit"]
            .map(str::to_owned),
    );
    let unknown: Vec<String> = words("--").into_iter().filter(|word| word.len() > 3 && !names.contains(word)).collect();
    assert_eq!(unknown, [""; 0].map(str::to_owned));
}

#[test]
fn every_exit_code_is_in_its_table_and_no_other() {
    let (_, section) = README.split_once("## Exit codes").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let documented = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok());
    assert_eq!(documented.collect::<BTreeSet<u8>>(), exit_codes());
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
            position: Some(Position::MariadbGtid { slave_pos: String::new() }),
            plugin: Some(PluginCopy { position_in: PositionIn::GtidExecuted, settings: BTreeMap::new() }),
            unproven: Vec::new(),
            inventory: ListedBy::LegacyStream,
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
fn every_component_and_overlay_is_in_the_readmes_tables() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s");
    for kind in ["components", "overlays"] {
        for entry in std::fs::read_dir(directory.join(kind)).expect(kind).flatten() {
            let name = format!("`{}`", entry.file_name().to_string_lossy());
            assert!(rows().any(|row| row[0].contains(&name)), "{name} is in no table");
        }
    }
}

/// An ordered set replaces no pod while one is unready: what is set for a broken pod comes with the pod that replaces it.
#[test]
fn the_guide_deletes_the_pod_that_a_variable_is_set_for() {
    let steps = GUIDE.split("```").filter(|step| step.contains("kubectl set env"));
    let steps: Vec<&str> = steps.collect();
    for variable in ["MYSQLSET_ON_BROKEN_REPLICA=clone-again", "MYSQLSET_ON_LOST_PRIMARY=recover"] {
        let step = steps.iter().find(|step| step.contains(variable)).expect(variable);
        let (_, after) = step.split_once(variable).expect("the variable");
        assert!(after.contains("kubectl delete pod mysql-"), "{step}");
    }
}

/// What was applied is deleted by what applied it, the disruption budget too; claims by the set's own label.
#[test]
fn the_guide_cleans_up_all_that_was_applied() {
    let (_, clean_up) = GUIDE.split_once("# Clean up").expect("the step");
    let (clean_up, _) = clean_up.split_once("```").expect("its end");
    assert!(clean_up.contains("kubectl delete -k k8s/overlays/mariadb-secrets\n"), "{clean_up}");
    assert!(clean_up.contains("kubectl delete pvc -l app.kubernetes.io/instance=mysql\n"), "{clean_up}");
}

/// The first block of shell that applies anything.
fn first_commands(text: &str) -> &str {
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split_once("```"));
    blocks.map(|(block, _)| block).find(|block| block.contains("kubectl")).expect("a first command")
}

/// Run as they are, with a stand-in for `kubectl` that notes what it is told.
#[test]
fn the_first_commands_install_a_closed_set_and_show_no_password() {
    let directory = tempfile::tempdir().expect("a directory");
    let stand_in = "#!/bin/sh\necho \"$*\" >>arguments\ncase \"$*\" in *stdin*) cat >>input ;; esac\n";
    let program = directory.path().join("kubectl");
    std::fs::write(&program, stand_in).expect("a stand-in");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a program");
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").expect("PATH"));
    for text in [README, GUIDE] {
        let mut shell = Command::new("sh");
        shell.args(["-euc", first_commands(text)]).current_dir(directory.path()).env("PATH", &path);
        assert!(shell.status().expect("a shell").success());
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect(name);
        let (arguments, input) = (read("arguments"), read("input"));
        let told: Vec<&str> = arguments.lines().collect();
        let secret = "create secret generic mysql-passwords --from-env-file=/dev/stdin";
        assert_eq!(told, [secret, "apply -k k8s/overlays/mariadb-secrets"]);
        let passwords: BTreeMap<&str, &str> = input.lines().filter_map(|line| line.split_once('=')).collect();
        assert!(passwords.keys().eq(["backup", "clone", "monitoring", "replication", "root"].iter()), "{passwords:?}");
        let different: BTreeSet<&&str> = passwords.values().filter(|password| password.len() == 32).collect();
        assert_eq!(different.len(), 5, "{passwords:?}");
        for name in ["arguments", "input"] {
            std::fs::remove_file(directory.path().join(name)).expect(name);
        }
    }
}

#[test]
fn the_guide_names_variables_codes_and_manifests_that_are_there() {
    let variables: BTreeSet<String> = flags().iter().map(variable).collect();
    let unknown: Vec<String> = words_of(GUIDE, "MYSQLSET_").difference(&variables).cloned().collect();
    assert_eq!(unknown, [""; 0].map(str::to_owned));

    let (_, section) = GUIDE.split_once("## What a pod says").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let codes: BTreeSet<u8> = rows.flat_map(|cell| cell.split(", ")).filter_map(|code| code.parse().ok()).collect();
    assert!(codes.len() > 10 && codes.is_subset(&exit_codes()), "{codes:?}");

    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
    let paths: BTreeSet<&str> =
        GUIDE.split(|character| !is_part(character)).filter(|word| word.starts_with("k8s/")).collect();
    assert!(paths.len() > 4, "{paths:?}");
    for path in paths {
        assert!(directory.join(path).exists(), "{path}");
    }
}
