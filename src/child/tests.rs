//! Real programs, started and waited for: what they said, and that none is left over.

use std::time::Instant;

use super::*;

fn shell(script: &str) -> Running {
    Running::start(Command::new("sh").args(["-c", script]), "sh", Stdio::null()).unwrap()
}

#[test]
fn keeps_the_last_lines_and_the_status() {
    let ended = shell(
        "for i in $(seq 150); do echo line $i >&2; done; echo 'Error: no such thing' >&2
         echo '0 [Warning] InnoDB: native AIO failed: falling back' >&2; echo bye >&2; exit 3",
    );
    let ended = ended.wait().unwrap();
    assert_eq!(ended.in_words(), "ended with 3");
    assert_eq!(ended.tail.0.len(), TAIL_LINES);
    assert!(ended.tail.ends_with_line_holding("bye"));
    assert_eq!(ended.tail.complaint(), "Error: no such thing");
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
