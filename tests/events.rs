//! Event names: `docs/reference/events.md` lists them all, each is used, and every log line has one.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use harness::logged::Said;
use mysqlset::model::event::Event;

/// The path of the list. `WRITE=1 cargo test --test events` writes it again.
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/events.md");

const HEAD: &str = "# Events

Every line that mysqlset logs at info, warn or error has a field `event`, in text and in JSON (`--log-format json`). Alerts
and filters may rely on these names. The wording of a line may change with every version.

- A termination message (`kubectl describe pod`) begins with the name of an event: an `exit.` one, or
  `primary.first_start_interrupted` by the sidecar.
- The donor and the recipient log a refusal with the same event: a `donor.refused.` one, or why the donor is not ready.
- `/status` names why a pod is not ready in `not_ready.event`. `/readyz` shows the name in brackets.
- Trouble that stays is logged again after 10 minutes, or when its event or the server's error number (`code`) changes.

| event | meaning |
|---|---|
";

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("src").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

fn code() -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).expect("a source"));
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).into_iter().map(read).collect()
}

#[test]
fn the_reference_has_every_event() {
    let mut expected = HEAD.to_owned();
    for event in Event::ALL {
        writeln!(expected, "| `{event}` | {} |", event.meaning()).expect("a string takes all");
    }
    if std::env::var_os("WRITE").is_some() {
        fs::write(REFERENCE, &expected).expect(REFERENCE);
    }
    let found = fs::read_to_string(REFERENCE).expect(REFERENCE);
    assert_eq!(found, expected, "docs/reference/events.md is outdated: WRITE=1 cargo test --test events");
}

#[test]
fn every_log_line_has_an_event() {
    for (path, text) in code().iter().filter(|(path, _)| !path.ends_with("src/model/event.rs")) {
        for line in text.lines() {
            let imports = line.trim_start().starts_with("use tracing::") && !line.contains("tracing::field");
            let by_path = ["info", "warn", "error"].iter().any(|level| line.contains(&format!("tracing::{level}!")));
            let is_wrong = by_path
                || imports
                    && line
                        .split(|c: char| !c.is_alphanumeric() && c != '_')
                        .any(|word| ["info", "warn", "error"].contains(&word));
            assert!(!is_wrong, "{}: {line}: log with the macros of src/model/event.rs", path.display());
        }
    }
}

#[test]
fn every_event_happens_somewhere() {
    let code = code();
    let others: Vec<&String> =
        code.iter().filter(|(path, _)| !path.ends_with("src/model/event.rs")).map(|(_, text)| text).collect();
    for event in Event::ALL {
        let variant = format!("{event:?}");
        let is_used = |text: &&String| {
            text.match_indices(&variant).any(|(at, _)| {
                !text[at + variant.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
                    && !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric())
            })
        };
        assert!(others.iter().any(is_used), "{event} ({variant}) never happens");
    }
}

/// All other tests find events by this.
#[test]
fn an_event_is_found_by_its_whole_name() {
    let log = "INFO preparing event=prepare.begun tool=a b memory_bytes=9 word=\"x y\"\nINFO prepared event=prepare.begunx\nevent=prepare.done";
    let lines = log.lines_of(Event::PrepareBegun);
    assert_eq!((lines.len(), log.count_of(Event::PrepareDone)), (1, 0), "{lines:?}");
    let line = lines[0];
    assert_eq!((line.number("memory_bytes"), line.field("word"), line.field("bytes")), (Some(9.0), Some("x y"), None));
    assert!(
        " event=replication.lag".has(Event::ReplicationLag)
            && !" event=replication.lag_unknown".has(Event::ReplicationLag)
    );
    for text in
        ["donor.refused.busy: so", "(donor.refused.busy)", "\"donor.refused.busy\"", "refused, donor.refused.busy."]
    {
        assert!(text.names(Event::RefusedBusy), "{text}");
    }
    for text in ["donor.refused.busyness", "donor.refused.busy_now", "donor.refused.busy.again", "a.donor.refused.busy"]
    {
        assert!(!text.names(Event::RefusedBusy), "{text}");
    }
}
