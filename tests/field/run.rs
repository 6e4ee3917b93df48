//! One run in a process of its own: the caller's side and the process's side.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::pods::conditions::{self, Surroundings};

use crate::plan::{Known, Run};
use crate::record::Outcome;
use crate::{kept, scenarios};

/// The task of the process: a run, or the list of conditions.
const TASK: &str = "FIELD_TASK";

const LIST: &str = "conditions";

/// Every wait in a run ends. All together end by this limit, for a run of usual patience.
const LIMIT: Duration = Duration::from_secs(600);

/// Patience multiplies where several conditions are slow.
const LONGEST: Duration = Duration::from_secs(40 * 60);

/// The directory of logs.
pub fn place() -> PathBuf {
    kept().join("logs")
}

/// In such a process: performs its task.
pub fn asked_for() -> Option<Result<ExitCode>> {
    let task = std::env::var(TASK).ok()?;
    Some(if task == LIST { list() } else { here(&task) })
}

fn list() -> Result<ExitCode> {
    // Called first, so that a missing server is reported.
    harness::pods::servers::tested();
    for condition in conditions::ALL {
        let why = condition.why_not().unwrap_or_default().replace(['\n', '\t'], " ");
        println!("{}\t{:?}\t{why}", condition.name(), condition.subject());
    }
    Ok(ExitCode::SUCCESS)
}

fn here(task: &str) -> Result<ExitCode> {
    let run: Run = task.parse()?;
    let found = scenarios::ALL.iter().find(|(name, _)| *name == run.scenario);
    let (_, scenario) = found.with_context(|| format!("there is no scenario {:?}", run.scenario))?;
    scenario(&conditions::named(&run.conditions.join(","))?)?;
    Ok(ExitCode::SUCCESS)
}

/// A process of this program with a task, on a server.
fn process(task: &str, server: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(TASK, task).env("SERVER", server).env_remove("FIELD_CONDITION").env_remove("GTID");
    Ok(command)
}

/// Name and subject of each condition, and the reason where it is unavailable.
pub fn conditions_on(server: &str) -> Result<Vec<(String, String, Option<String>)>> {
    let output = process(LIST, server)?.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    let said = error.lines().find(|line| line.contains("is not there")).unwrap_or(error.trim());
    ensure!(output.status.success(), "{said}");
    let line = |line: &str| {
        let mut words = line.split('\t').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next().filter(|why| !why.is_empty())))
    };
    Ok(String::from_utf8(output.stdout)?.lines().filter_map(line).collect())
}

/// Makes a run and returns its outcome. A failed run keeps its log.
pub fn make(known: &Known, run: &Run) -> Result<Outcome> {
    if let Some(why) = known.why_not(run) {
        return Ok(Outcome::NotRun(why));
    }
    std::fs::create_dir_all(place())?;
    let log = place().join(format!("{}.log", run.to_string().replace('/', "+")));
    let file = File::create(&log)?;
    let mut command = process(&run.to_string(), &run.server)?;
    let mut child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
    let (began, patience) = (Instant::now(), Surroundings::under(&conditions::known(&run.conditions)?).patience);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > (LIMIT * patience).min(LONGEST) {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let seconds = began.elapsed().as_secs();
    Ok(match status {
        Some(status) if status.success() => {
            let _ = std::fs::remove_file(&log);
            Outcome::Passed(seconds)
        }
        Some(_) => Outcome::Failed(first_line(&std::fs::read_to_string(&log)?)),
        None => Outcome::Failed(format!("killed after {seconds} seconds")),
    })
}

/// The first line of an error. The other lines are the state of the whole cluster.
fn first_line(log: &str) -> String {
    let line = log.lines().find(|line| !line.is_empty()).unwrap_or("nothing was said");
    line.chars().filter(|c| !"|\t".contains(*c)).take(200).collect()
}
