//! A test that hangs reports its state and ends the program. Otherwise a hang would show only as an endless run,
//! without the test's name.

use std::io::Write;
use std::sync::{Arc, Mutex, Once, Weak};
use std::time::{Duration, Instant};

use super::Shared;

/// Several times the length of the longest scenario on a busy machine.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// In seconds, for the test of this mechanism.
pub const LIMIT_VARIABLE: &str = "MYSQLSET_OVERDUE";

/// The time for the description of a cluster: the test may hang on one of its locks.
const TO_DESCRIBE: Duration = Duration::from_secs(10);

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

struct Watched {
    test: String,
    since: Instant,
    limit: Duration,
    cluster: Weak<Shared>,
}

/// From now on this test's cluster must end within a quarter of an hour, times the run's patience. A program outside
/// the tests, such as `make torture`, has unlimited time.
pub fn watch(cluster: &Arc<Shared>) {
    let current = std::thread::current();
    let Some(test) = current.name().filter(|name| *name != "main") else { return };
    let asked = std::env::var(LIMIT_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    WATCHED.lock().expect("watched").push(Watched {
        test: test.to_owned(),
        since: Instant::now(),
        limit: asked.map_or(LIMIT, Duration::from_secs) * cluster.surroundings.patience,
        cluster: Arc::downgrade(cluster),
    });
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                look();
            }
        });
    });
}

fn look() {
    let mut watched = WATCHED.lock().expect("watched");
    watched.retain(|watched| watched.cluster.upgrade().is_some_and(|cluster| !cluster.is_over()));
    let Some(overdue) = watched.iter().find(|watched| watched.since.elapsed() > watched.limit) else { return };
    say(&format!("\n{} has not ended after {} seconds\n", overdue.test, overdue.since.elapsed().as_secs()));
    if let Some(cluster) = overdue.cluster.upgrade() {
        let (done, described) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            say(&cluster.describe());
            let _ = done.send(());
        });
        let _ = described.recv_timeout(TO_DESCRIBE);
    }
    std::process::exit(1)
}

/// Writes outside the capture of a test's output.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
