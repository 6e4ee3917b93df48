//! The book and the README agree with the program: flags, exit codes, alerts, metrics, states, commands.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use harness::flags::{SECRETS, flags, name, variable};
use mysqlset::datadir::journal::{CloneRecord, Journal, ListedBy, PluginCopy, State, Why};
use mysqlset::model::event::Event;
use mysqlset::model::ordinal::Role;
use mysqlset::model::position::Position;
use mysqlset::observe::metrics::Metrics;
use mysqlset::observe::status::Status;
use mysqlset::server::plugin::PositionIn;
use mysqlset::server::status::{ReplicationStatus, Thread};
use serde::de::{Deserialize, Deserializer, Visitor};

const README: &str = include_str!("../README.md");
const INSTALL: &str = include_str!("../docs/guide/install.md");
const FIRST_STEPS: &str = include_str!("../docs/guide/first-steps.md");
const OVERLAYS: &str = include_str!("../docs/guide/overlays.md");
const BROKEN_REPLICA: &str = include_str!("../docs/guide/broken-replica.md");
const FLAGS: &str = include_str!("../docs/reference/flags.md");
const EXIT_CODES: &str = include_str!("../docs/reference/exit-codes.md");
const ALERTS: &str = include_str!("../docs/reference/alerts.md");
const HEALTH: &str = include_str!("../docs/reference/health.md");
const JOURNAL: &str = include_str!("../docs/reference/journal.md");

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("pages").map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| if path.is_dir() { markdown(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// The text of all pages for users.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = markdown(&project().join("docs"));
    paths.extend(["README.md", "k8s/README.md"].map(|name| project().join(name)));
    let read = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).expect("a page"));
    paths.into_iter().map(read).collect()
}

/// The exit codes that the program has.
fn exit_codes() -> BTreeSet<u8> {
    let source = include_str!("../src/model/exit.rs");
    let (_, reasons) = source.split_once("pub enum Reason {").expect("the enum");
    let (reasons, _) = reasons.split_once("\n}").expect("its end");
    let numbers = reasons.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse().ok());
    let mut codes: BTreeSet<u8> = numbers.collect();
    assert!(codes.len() > 10, "{codes:?}");
    codes.extend([0, mysqlset::model::exit::UNEXPECTED, mysqlset::model::exit::TERMINATED]);
    codes
}

/// The cells of a page's tables, row by row.
fn rows(page: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = page.lines().filter(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// The words of a text that begin with this prefix.
fn words(text: &str, start: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    let words = text.split(|character| !is_part(character));
    words.filter(|word| word.starts_with(start)).map(str::to_owned).collect()
}

/// Every text between backquotes in the first cells of tables.
fn quoted_first(rows: impl Iterator<Item = Vec<&'static str>>) -> BTreeSet<String> {
    rows.flat_map(|row| row[0].split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The names that an enum has in JSON.
fn names_of<T: serde::de::DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_str::<T>("\"?\"") else { panic!("? is a name") };
    let (_, names) =
        error.to_string().split_once("expected one of ").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("names");
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Collects the names of a struct's fields in JSON, and no values.
struct FieldNames<'a>(&'a mut BTreeSet<String>);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("it is no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(fields.iter().map(|field| (*field).to_owned()));
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The files of a directory, without their ending.
fn stems(directory: &str) -> BTreeSet<String> {
    let paths = markdown(&project().join(directory));
    paths.iter().map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
}

#[test]
fn every_flag_is_in_a_table_with_its_variable_and_default() {
    for flag in flags() {
        let (name, variable) = (format!("`{}`", name(&flag)), format!("`{}`", variable(&flag)));
        let row = rows(FLAGS).find(|row| row[0] == name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(row[1], variable, "{name}");
        if let [default] = flag.get_default_values() {
            assert_eq!(row[2], format!("`{}`", default.to_string_lossy()), "{name}");
        }
        assert_eq!(variable, format!("`MYSQLSET_{}`", name[3..name.len() - 1].to_uppercase().replace('-', "_")));
    }
}

#[test]
fn the_pages_name_only_flags_and_variables_of_the_program() {
    let mut variables: BTreeSet<String> = flags().iter().map(variable).collect();
    variables.extend(SECRETS.map(str::to_owned));
    assert_eq!(words(FLAGS, "MYSQLSET_"), variables);
    // The tests' own.
    variables.insert("MYSQLSET_KEEP".to_owned());

    let names: BTreeSet<String> = flags().iter().map(name).collect();
    // Those of backup tools and container runtimes.
    let of_others = ["--copy-back", "--default-ulimit", "--prepare"];
    let is_known = |word: &String| names.contains(word) || of_others.contains(&word.as_str());
    for (path, text) in pages() {
        let unknown: Vec<String> = words(&text, "MYSQLSET_").difference(&variables).cloned().collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", path.display());
        let outside_blocks: String = text.split("```").step_by(2).collect();
        let is_ours = |code: &&str| {
            !code.starts_with("-- ") && ["--", "mysqlset", "init-config"].iter().any(|start| code.starts_with(start))
        };
        let flags = outside_blocks.split('`').skip(1).step_by(2).filter(is_ours);
        let flags: BTreeSet<String> = flags.flat_map(|code| words(code, "--")).filter(|word| word.len() > 3).collect();
        let unknown: Vec<&String> = flags.iter().filter(|word| !is_known(word)).collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", path.display());
    }
}

#[test]
fn every_exit_code_has_its_row_and_its_page() {
    let number = |row: Vec<&str>| row[0].trim_start_matches('[').split(']').next()?.parse().ok();
    assert_eq!(rows(EXIT_CODES).filter_map(number).collect::<BTreeSet<u8>>(), exit_codes());

    let codes: BTreeSet<String> = exit_codes().iter().filter(|code| **code > 0).map(u8::to_string).collect();
    assert_eq!(stems("docs/reference/exit-codes"), codes);
    for code in codes {
        let path = project().join(format!("docs/reference/exit-codes/{code}.md"));
        let text = std::fs::read_to_string(&path).expect("the page");
        assert!(text.starts_with(&format!("# {code}: ")), "{}", path.display());
        assert_sections(&path, &text);
        let event = text.split("Its event is `").nth(1).and_then(|rest| rest.split('`').next()).expect("its event");
        let meaning = Event::ALL.iter().find(|known| known.name() == event).expect(event).meaning();
        assert!(
            code == "143" || meaning.starts_with(&format!("{code}: ")),
            "{event} ends with another code than {code}"
        );
    }
}

fn assert_sections(path: &Path, text: &str) {
    let sections: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
    assert_eq!(sections, ["## What to do", "## What you will see", "## Why it happens"], "{}", path.display());
}

#[test]
fn every_alert_has_its_row_and_its_page() {
    let rules = include_str!("../k8s/components/monitoring/alerts.yaml");
    let rules: serde_yaml_ng::Value = serde_yaml_ng::from_str(rules).expect("the rules");
    let rules = rules["spec"]["groups"]
        .as_sequence()
        .expect("groups")
        .iter()
        .flat_map(|group| group["rules"].as_sequence().expect("rules").iter());
    let mut names = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().expect("a name");
        let page = format!("docs/reference/alerts/{name}.md");
        assert_eq!(rule["annotations"]["runbook"].as_str(), Some(page.as_str()), "{name}");
        let text = std::fs::read_to_string(project().join(&page)).expect("the page");
        assert!(text.starts_with(&format!("# {name}\n")), "{page}");
        let severity = rule["labels"]["severity"].as_str().expect("a severity");
        assert!(text.contains(&format!("Severity: {severity}.")), "{page}");
        assert_sections(Path::new(&page), &text);
        let row = format!("[{name}](alerts/{name}.md)");
        assert!(rows(ALERTS).any(|cells| cells[0] == row && cells[2] == severity), "{name} has no row");
        names.insert(name.to_owned());
    }
    assert_eq!(stems("docs/reference/alerts"), names);
}

#[test]
fn every_metric_has_its_row() {
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
    metrics.refused(mysqlset::protocol::message::Why::Busy);
    let page = metrics.page();
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<String> = samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect();
    assert_eq!(words(HEALTH, "mysqlset_"), names, "{page}");
    for (path, text) in pages() {
        let unknown: Vec<String> = words(&text, "mysqlset_").difference(&names).cloned().collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", path.display());
    }
}

#[test]
fn every_field_of_the_status_page_has_its_row() {
    let snapshot = Status::new("mysql-1".into(), Role::Replica).get();
    let snapshot = serde_json::to_value(snapshot).expect("the page");
    let mut fields: BTreeSet<String> = snapshot.as_object().expect("fields").keys().cloned().collect();
    fields.insert("not_ready".to_owned());
    let (_, section) = HEALTH.split_once("## Fields of `/status`").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    assert_eq!(quoted_first(rows(section)), fields);
}

#[test]
fn every_state_and_every_reason_of_a_broken_replica_has_its_row() {
    let (_, states) = JOURNAL.split_once("## States").expect("the section");
    let (states, _) = states.split_once("\n## ").expect("its end");
    assert_eq!(quoted_first(rows(states)), names_of::<State>());
    assert_eq!(quoted_first(rows(BROKEN_REPLICA).skip(1)), names_of::<Why>());
}

#[test]
fn every_member_of_the_journal_has_its_row() {
    let mut fields = BTreeSet::new();
    Journal::deserialize(FieldNames(&mut fields)).expect_err("no value");
    assert!(fields.len() > 10, "{fields:?}");
    let (_, section) = JOURNAL.split_once("## Members").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    assert_eq!(quoted_first(rows(section)), fields);
}

/// A word between backquotes that begins like an event must be one.
#[test]
fn the_pages_name_only_events_of_the_program() {
    let is_known = |code: &str| Event::ALL.iter().any(|event| event.name() == code);
    let groups: BTreeSet<&str> = Event::ALL.iter().filter_map(|event| event.name().split('.').next()).collect();
    let fields = ["clone.unproven", "not_ready.event"];
    let is_part = |character: char| character.is_ascii_lowercase() || "._".contains(character);
    for (path, text) in pages() {
        let codes = text.split('`').skip(1).step_by(2).filter(|code| code.contains('.') && code.chars().all(is_part));
        let codes = codes.filter(|code| code.split('.').next().is_some_and(|group| groups.contains(group)));
        let unknown: Vec<&str> =
            codes.filter(|code| !is_known(code) && !fields.contains(code) && !code.ends_with(['.', 'f'])).collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", path.display());
    }
}

#[test]
fn every_component_and_overlay_is_in_the_guides_tables() {
    for kind in ["components", "overlays"] {
        for entry in std::fs::read_dir(project().join("k8s").join(kind)).expect(kind).flatten() {
            let name = format!("`{}`", entry.file_name().to_string_lossy());
            assert!(rows(OVERLAYS).any(|row| row[0].contains(&name)), "{name} is in no table");
        }
    }
}

/// An ordered set replaces no pod while one is unready. So a broken pod's new setting takes effect only with its
/// replacement.
#[test]
fn the_pages_delete_the_pod_that_a_variable_is_set_for() {
    let mut found = BTreeSet::new();
    for (path, text) in pages() {
        for step in text.split("```").skip(1).step_by(2).filter(|step| step.contains("kubectl set env")) {
            let (_, after) = step.split_once("kubectl set env").expect("the command");
            assert!(after.contains("kubectl delete pod mysql-"), "{}: {step}", path.display());
            found.extend(words(after, "MYSQLSET_"));
        }
    }
    assert_eq!(
        Vec::from_iter(found),
        ["MYSQLSET_ON_BROKEN_REPLICA", "MYSQLSET_ON_HALF_MADE", "MYSQLSET_ON_LOST_PRIMARY"]
    );
}

/// Each applied object is deleted by the same kustomization, the disruption budget too. Claims are deleted by the set's
/// own label.
#[test]
fn the_guide_cleans_up_all_that_was_applied() {
    let (_, clean_up) = FIRST_STEPS.split_once("# Clean up").expect("the step");
    let (clean_up, _) = clean_up.split_once("```").expect("its end");
    assert!(clean_up.contains("kubectl delete -k k8s/overlays/mariadb-secrets\n"), "{clean_up}");
    assert!(clean_up.contains("kubectl delete pvc -l app.kubernetes.io/instance=mysql\n"), "{clean_up}");
}

/// The first block of shell that applies anything.
fn first_commands(text: &str) -> &str {
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split_once("```"));
    blocks.map(|(block, _)| block).find(|block| block.contains("kubectl")).expect("a first command")
}

/// The commands run unchanged, with a stand-in for `kubectl` that records its arguments.
#[test]
fn the_first_commands_install_a_closed_set_and_show_no_password() {
    let directory = tempfile::tempdir().expect("a directory");
    let stand_in = "#!/bin/sh\necho \"$*\" >>arguments\ncase \"$*\" in *stdin*) cat >>input ;; esac\n";
    let program = directory.path().join("kubectl");
    std::fs::write(&program, stand_in).expect("a stand-in");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a program");
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").expect("PATH"));
    for text in [README, INSTALL] {
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
fn the_readme_is_short() {
    assert!(README.len() <= 6000, "README.md has {} bytes: what is longer is a page of the book", README.len());
}
