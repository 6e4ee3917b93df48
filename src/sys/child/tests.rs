//! Real programs, started and waited for: what they said, and that none is left over.

use std::time::Instant;

use super::short::output_within;
use super::*;

fn shell(script: &str) -> Running {
    Running::start(Command::new("sh").args(["-c", script]), "sh", Stdio::null()).unwrap()
}

#[test]
fn the_reason_is_a_known_line_or_the_status_alone() {
    let ended =
        shell("echo '[ERROR] no such thing' >&2; for i in $(seq 500); do echo line $i >&2; done; exit 3").wait();
    assert_eq!(ended.unwrap().why(), "ended with 3: [ERROR] no such thing");
    let ended = shell("echo 'Error in my_thread_global_end(): 1 threads' >&2; exit 3").wait().unwrap();
    assert_eq!(ended.why(), "ended with 3");
}

/// Counts lines, and ends the program at one of them.
#[derive(Default)]
struct Until {
    end: &'static str,
    lines: u64,
}

impl Examine for Until {
    fn examine(&mut self, line: &str) -> Importance {
        self.lines += 1;
        if line.contains(self.end) { Importance::Fatal } else { Importance::Detail }
    }

    fn reason(&self) -> Option<&str> {
        None
    }

    fn is_about_limit(&self) -> bool {
        false
    }
}

fn examined(script: &str, end: &'static str) -> Ended<Until> {
    let examiner = Until { end, lines: 0 };
    let mut command = Command::new("sh");
    Running::examined(command.args(["-c", script]), "sh", Stdio::null(), examiner).unwrap().wait().unwrap()
}

#[test]
fn every_line_is_examined_and_not_only_the_last() {
    let ended = examined("for i in $(seq 5000); do echo line $i; done >&2", "never");
    assert_eq!((ended.lines.lines, ended.was_stopped, ended.in_words()), (5000, false, "ended with 0".to_owned()));
}

/// As mariadb-backup does on a full disk, with what it started.
#[test]
fn a_line_ends_a_program_that_would_go_on_for_ever() {
    let started = Instant::now();
    let ended =
        examined("(while :; do echo 'IO Error: 28' >&2; done) & while :; do echo 'IO Error: 28' >&2; done", "28");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(ended.was_stopped && !ended.was_killed() && !ended.was_interrupted() && !ended.may_have_outgrown());
    assert_eq!(ended.in_words(), "was stopped");
}

#[test]
fn a_program_that_was_killed_was_interrupted_and_one_that_crashed_was_not() {
    for (signal, is_interrupted) in [("KILL", true), ("TERM", true), ("SEGV", false), ("ABRT", false)] {
        let ended = examined(&format!("kill -{signal} $$"), "never");
        assert_eq!(ended.was_interrupted(), is_interrupted, "{signal}");
    }
    assert!(!examined("exit 1", "never").was_interrupted());
}

#[test]
fn a_dropped_child_is_gone_with_its_children() {
    let marker = tempfile::NamedTempFile::new().unwrap();
    let script = format!("sleep 1000 & echo $! > {}; wait", marker.path().display());
    let running = shell(&script);
    let deadline = Instant::now() + Duration::from_secs(10);
    let grandchild = loop {
        let text = std::fs::read_to_string(marker.path()).unwrap();
        if text.ends_with('\n') {
            break text.trim().to_owned();
        }
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    };
    let pid = running.child.id();
    drop(running);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(!is_owned(pid));
    // The grandchild belongs to whoever reaps orphans here; it dies at least, if not before our return.
    let deadline = Instant::now() + Duration::from_secs(10);
    let is_dead = |state: &str| state.is_empty() || state.contains(") Z ") || state.contains(") X ");
    while !is_dead(&std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default()) {
        assert!(Instant::now() < deadline, "the grandchild lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_short_command_is_owned_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; while [ -e {0} ]; do sleep 0.01; done", marker.display());
    let running = std::thread::spawn(move || output(Command::new("sh").args(["-c", &script])));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !marker.exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = std::fs::read_to_string(&marker).unwrap().trim().parse().unwrap();
    assert!(is_owned(pid));
    std::fs::remove_file(&marker).unwrap();
    assert!(running.join().unwrap().unwrap().status.success());
    assert!(!is_owned(pid));
}

#[test]
fn a_child_ends_with_its_thread_where_it_was_told_to() {
    let child = std::thread::spawn(|| {
        let mut command = Command::new("sleep");
        end_with_this_thread(command.arg("1000"));
        command.spawn().unwrap()
    });
    let status = child.join().unwrap().wait().unwrap();
    assert!(is_kill(status), "{status}");
}

#[test]
fn a_child_that_does_not_end_is_killed_at_the_limit() {
    let deadline = Instant::now() + Duration::from_millis(50);
    let ended = shell("sleep 1000").wait_while(|| Instant::now() < deadline).unwrap();
    assert!(ended.was_killed());
}

#[test]
fn commands_side_by_side_answer_in_their_order_and_are_all_waited_for() {
    let shell_command = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    };
    // The first one waits for the second.
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("there");
    let slow = format!("for i in $(seq 500); do [ -e {} ] && echo slow && exit; sleep 0.01; done", there.display());
    let quick = format!("touch {}; echo quick", there.display());
    let outputs = outputs(&mut [shell_command(&slow), shell_command(&quick)]).unwrap();
    let said: Vec<_> = outputs.iter().map(|output| String::from_utf8_lossy(&output.stdout)).collect();
    assert_eq!(said, ["slow\n", "quick\n"]);

    let marker = directory.path().join("marker");
    let last = format!("sleep 0.1; touch {}", marker.display());
    let error = super::outputs(&mut [Command::new("/no/such/program"), shell_command(&last)]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(marker.exists());
}

#[test]
fn a_child_that_computes_for_ever_and_gets_no_further_is_killed() {
    let patience = Duration::from_millis(400);
    let ended = |script: &str| {
        let running = Running::start(Command::new("sh").args(["-c", script]), "sh", Stdio::null()).unwrap();
        running.wait_while_moving(patience).unwrap()
    };
    let hung = ended("while :; do :; done");
    assert!(hung.in_words().contains("it hung"), "{}", hung.in_words());
    assert!(!hung.was_killed() && !hung.was_interrupted() && !hung.may_have_outgrown());
    let moving = ended("for i in 1 2 3 4 5 6 7 8; do echo $i >&2; sleep 0.1; done");
    assert!(moving.status.success(), "{}", moving.in_words());
    // One whose output is read instead of waited for.
    let running = Running::start(Command::new("sh").args(["-c", "sleep 1000"]), "sh", Stdio::piped()).unwrap();
    let mut running = running.killed_at_standstill(patience).unwrap();
    std::io::Read::read_to_end(&mut running.take_stdout().unwrap(), &mut Vec::new()).unwrap();
    let hung = running.wait().unwrap();
    assert!(hung.in_words().contains("it hung"), "{}", hung.in_words());
}

#[test]
fn a_short_command_that_does_not_end_is_killed_with_all_that_it_started() {
    for script in ["echo begun; sleep 1000", "sleep 1000 & exit 0", "exec >&- 2>&-; sleep 1000"] {
        let began = Instant::now();
        let error = output_within(Command::new("sh").args(["-c", script]), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("did not end within 1 seconds, and was killed"), "{script}: {error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{script}");
    }
    let error = output_within(&mut Command::new("yes"), Duration::from_secs(60)).unwrap_err();
    assert!(error.to_string().contains("without end"), "{error}");
    // Both pipes are read side by side.
    let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; exit 3";
    let output = output(Command::new("sh").args(["-c", script])).unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len(), output.status.code()), (300_000, 300_000, Some(3)));
}

#[test]
fn a_process_that_is_left_behind_is_waited_for_for_a_moment_only() {
    let began = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("setsid sh -c 'echo $$ >{}; exec sleep 1000' & sleep 0.5; exit 0", file.display());
    let running = Running::start(Command::new("sh").args(["-c", &script]), "sh", Stdio::null()).unwrap();
    let error = running.wait().unwrap_err();
    // Ours it is no more, and nobody else's.
    let left = Pid::from_raw(std::fs::read_to_string(file).unwrap().trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(left, Signal::KILL).unwrap();
    assert!(error.to_string().contains("left behind") && began.elapsed() < Duration::from_secs(60), "{error}");
}
