//! `make e2e` rehearsed: its script runs to its end on the harness, through a stand-in for `kubectl`. The stand-in
//! knows only the commands of the script. Only a cluster can show that they are kubectl's own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use harness::pods::{Cluster, kustomize, servers};

const NAMESPACE: &str = "rehearsal";

/// Requests for the whole cluster; all others must name their namespace.
const OF_THE_CLUSTER: [&str; 5] = ["namespace", "nodes", "persistentvolume", "one", "two"];

/// Sends its arguments, and its input where they name it. Ends with the exit code that it receives.
const KUBECTL: &str = r#"#!/bin/sh
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
case "$*" in
*/dev/stdin) set -- "$@" "$(cat)" ;;
esac
printf '%s\0' "$@" | ncat --unixsock "$KUBECTL_SOCKET" >"$answer"
tail -n +2 "$answer"
exit "$(head -n 1 "$answer")"
"#;

#[test]
fn the_pages_steps_do_what_it_says() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("kubectl");
    std::fs::write(&program, KUBECTL)?;
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
    let socket = directory.path().join("socket");
    serve(UnixListener::bind(&socket)?);
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH")?);
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/run.sh"))
        .env("PATH", path)
        .env("KUBECTL_SOCKET", socket)
        .env("E2E_TIMEOUT", "120")
        .env("E2E_NAMESPACE", NAMESPACE)
        .env("E2E_OVERLAY", servers::tested().overlay_with_passwords)
        .env_remove("E2E_IMAGE")
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("All steps did what the page says."), "{said}");
    assert!(!said.contains("SKIPPED"), "{said}");
    assert!(said.matches("  ok  ").count() > 25, "{said}");
    Ok(())
}

fn serve(listener: UnixListener) {
    std::thread::spawn(move || {
        let cluster = Mutex::default();
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let _ = answer(stream, &cluster);
        }
    });
}

/// The objects that were made so far.
#[derive(Default)]
struct Made {
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    cluster: Option<Arc<Cluster>>,
}

fn answer(mut stream: UnixStream, cluster: &Mutex<Made>) -> Result<()> {
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    let said = String::from_utf8(said)?;
    let words: Vec<&str> = said.trim_end_matches('\0').split('\0').collect();
    let (code, text) = match in_place(&words, cluster) {
        Ok(text) => (0, text),
        Err(error) => {
            eprintln!("kubectl {words:?}: {error:#}");
            (1, String::new())
        }
    };
    Ok(write!(stream, "{code}\n{text}")?)
}

fn in_place(words: &[&str], cluster: &Mutex<Made>) -> Result<String> {
    match *words {
        ["--namespace", NAMESPACE, ref words @ ..] => run(words, cluster),
        [_, what, ..] if OF_THE_CLUSTER.contains(&what) => run(words, cluster),
        _ => bail!("in no namespace, or in another"),
    }
}

/// There are two nodes. A pod that is made again is on the other one.
fn node_of(uid: u64) -> &'static str {
    if uid.is_multiple_of(2) { "one" } else { "two" }
}

fn delete_pod(cluster: &Cluster, pod: &str) -> Result<()> {
    let before = cluster.status(pod)?.uid;
    cluster.delete_pod(pod)?;
    let is_gone = || Ok(!matches!(cluster.status(pod), Ok(status) if status.uid == before));
    cluster.wait_for("the pod's end", harness::pods::PATIENCE, is_gone)
}

fn run(words: &[&str], place: &Mutex<Made>) -> Result<String> {
    let made = || place.lock().expect("what was made");
    let cluster = || made().cluster.clone().context("nothing was applied");
    match *words {
        ["create" | "label", "namespace", ..] => {}
        ["delete", "namespace", ..] => *made() = Made::default(),
        ["create", "secret", "generic", name, "--from-env-file=/dev/stdin", lines] => {
            let keys = lines.lines().map(|line| line.split_once('=').with_context(|| format!("{line} is no key")));
            let keys: BTreeMap<_, _> =
                keys.map(|key| key.map(|(key, value)| (key.into(), value.into()))).collect::<Result<_>>()?;
            made().secrets.insert(name.to_owned(), keys);
        }
        ["apply", "--kustomize", directory] => {
            let text = kustomize::run(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory))?;
            let mut manifests = servers::parse(&text)?;
            manifests.secrets = made().secrets.clone();
            let applied = Cluster::apply(None, manifests)?;
            made().cluster = Some(Arc::new(applied));
        }
        ["rollout", "status", ..] => cluster()?.wait_settled()?,
        ["scale", "statefulset", "mysql", "--replicas", count] => cluster()?.scale(count.parse()?),
        ["delete", "pod", pod, ..] => delete_pod(&*cluster()?, pod)?,
        // The pod that the script looks at, of those that could be there.
        ["drain", "one" | "two", ..] => delete_pod(&*cluster()?, "mysql-2")?,
        ["uncordon", "one" | "two"] => {}
        ["delete", "persistentvolumeclaim", ref claims @ ..] => {
            for claim in claims.iter().filter_map(|word| word.strip_prefix("data-")) {
                cluster()?.delete_unused_volume(claim)?;
            }
        }
        ["get", "nodes", ..] => return Ok("node  \nnode  \nnode  NoSchedule\n".to_owned()),
        ["get", "persistentvolumeclaim", "data-mysql-2", ..] => return Ok("volume".to_owned()),
        ["get", "persistentvolume", "volume", ..] => {}
        ["get", "persistentvolumeclaims", ..] => {
            return Ok(cluster()?.shared.claims.names()?.iter().map(|name| format!("claim/{name}\n")).collect());
        }
        ["get", "pod", pod, "--output", what] => {
            let status = cluster()?.status(pod)?;
            return Ok(match what {
                "jsonpath={.metadata.uid}" => status.uid.to_string(),
                "jsonpath={.spec.nodeName}" => node_of(status.uid).to_owned(),
                _ if what.contains("Ready") => if status.ready { "True" } else { "False" }.to_owned(),
                _ => bail!("{what} of a pod is not known here"),
            });
        }
        ["get", "pod", ref pods @ ..] => {
            let names = pods.iter().filter(|word| word.starts_with("mysql-"));
            let cluster = cluster()?;
            return Ok(names.filter(|name| cluster.status(name).is_ok()).map(|name| format!("pod/{name}\n")).collect());
        }
        ["logs", pod, "--container", container] => {
            // The log of this start only.
            let all = cluster()?.logs(pod, container);
            return Ok(all.rsplit("---- ").next().unwrap_or_default().to_owned());
        }
        ["exec", pod, "--container", container, "--", ref command @ ..] => {
            let output = cluster()?.exec(pod, container, command)?;
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            anyhow::ensure!(output.status.success(), "{error}");
            return Ok(String::from_utf8(output.stdout)?);
        }
        _ => bail!("not known here"),
    }
    Ok(String::new())
}
