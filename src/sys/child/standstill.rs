//! A child that hangs: for a long time it says nothing, reads nothing and writes nothing, whatever processor time it takes.
//! (mariadb-backup 10.11 prepares for ever where Aria's log is empty: it computes, and never gets further.)

use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches one child.
pub struct Standstill {
    pid: u32,
    patience: Duration,
    /// A kernel that counts nothing tells nothing.
    is_counted: bool,
    looked: Instant,
    moved: Instant,
    last: Option<Seen>,
}

/// What grows as long as a child gets further.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    lines: u64,
    /// Bytes, by the kernel's count. Empty where the kernel does not tell.
    moved: Vec<String>,
}

impl Standstill {
    pub fn of(pid: u32, patience: Duration) -> Standstill {
        let (now, own) = (Instant::now(), std::fs::read_to_string("/proc/self/io"));
        let is_counted = own.is_ok_and(|own| !bytes_in(&own).is_empty());
        Standstill { pid, patience, is_counted, looked: now, moved: now, last: None }
    }

    /// Whether it has moved within the patience, having said so many lines.
    pub fn is_moving(&mut self, lines: u64) -> bool {
        if self.last.is_none() || self.looked.elapsed() >= PERIOD.min(self.patience / 4) {
            self.looked = Instant::now();
            let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid));
            // A program with capabilities of its own is not shown to us.
            let is_hidden = io.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
            let seen = Some(Seen { lines, moved: bytes_in(&io.unwrap_or_default()) });
            if is_hidden || !self.is_counted || seen != self.last {
                (self.last, self.moved) = (seen, Instant::now());
            }
        }
        self.moved.elapsed() < self.patience
    }
}

/// The numbers of bytes, and not those of system calls: a loop may make calls that move nothing. (proc_pid_io(5))
fn bytes_in(io: &str) -> Vec<String> {
    const COUNTS: [&str; 4] = ["rchar:", "wchar:", "read_bytes:", "write_bytes:"];
    io.lines().filter(|line| COUNTS.iter().any(|count| line.starts_with(count))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_count() {
        let io = "rchar: 7\nwchar: 8\nsyscr: 9\nsyscw: 1\nread_bytes: 2\nwrite_bytes: 3\ncancelled_write_bytes: 4\n";
        assert_eq!(bytes_in(io), ["rchar: 7", "wchar: 8", "read_bytes: 2", "write_bytes: 3"]);
    }

    #[test]
    fn a_line_is_a_move_and_silence_is_none() {
        // Time passes here by setting back when it last moved: a busy machine has no say.
        let patience = Duration::from_secs(600);
        let mut child = Standstill::of(u32::MAX, patience);
        assert!(child.is_moving(0));
        let wait = |child: &mut Standstill, time: Duration| {
            child.moved -= time;
            child.looked -= time;
        };
        wait(&mut child, patience);
        assert!(child.is_moving(1));
        wait(&mut child, patience / 2);
        assert!(child.is_moving(1));
        wait(&mut child, patience / 2);
        assert!(!child.is_moving(1));
    }
}
