//! A program's lines in our log, at a bounded rate: a tool may write one line for each of 20,000 tables, and on a full disk
//! ten thousand a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::debug;

use super::examiner::Importance;
use crate::model::event::{info, warn};

/// Lines of one kind that tell of phases are logged so often, then once in a while.
const FIRST: u64 = 3;
const PERIOD: Duration = Duration::from_secs(10);

/// Kinds of lines that are told apart. More are logged as details.
const KINDS: usize = 64;

/// The part of a line that makes its kind, in words.
const WORDS: usize = 12;

/// Logs the lines of one program.
pub struct Teller {
    tool: String,
    kinds: BTreeMap<String, Kind>,
    lines: u64,
    told: u64,
    is_fatal_told: bool,
}

struct Kind {
    first: String,
    is_warning: bool,
    count: u64,
    told_at: Instant,
}

impl Teller {
    pub fn of(tool: &str) -> Teller {
        Teller { tool: tool.to_owned(), kinds: BTreeMap::new(), lines: 0, told: 0, is_fatal_told: false }
    }

    /// Logs a line, by what it matters and by how many of its kind there were.
    pub fn tell(&mut self, importance: Importance, line: &str) {
        self.lines += 1;
        let is_told = importance != Importance::Detail && self.is_due(importance, line);
        self.told += u64::from(is_told);
        let tool = &self.tool;
        match importance {
            _ if !is_told => debug!(%tool, "{line}"),
            Importance::Warning | Importance::Fatal => warn!(ToolWarned, %tool, "{line}"),
            Importance::Phase | Importance::Detail => info!(ToolSaid, %tool, "{line}"),
        }
    }

    fn is_due(&mut self, importance: Importance, line: &str) -> bool {
        let (key, now) = (kind_of(line), Instant::now());
        // The line that ends the program is told, whatever came before.
        let is_end = importance == Importance::Fatal && !self.is_fatal_told;
        self.is_fatal_told |= is_end;
        if let Some(kind) = self.kinds.get_mut(&key) {
            kind.count += 1;
            let is_due = !kind.is_warning && (kind.count <= FIRST || now - kind.told_at >= PERIOD);
            if is_due {
                kind.told_at = now;
            }
            return is_due || is_end;
        }
        let has_room = self.kinds.len() < KINDS;
        if has_room {
            let is_warning = matches!(importance, Importance::Warning | Importance::Fatal);
            self.kinds.insert(key, Kind { first: line.to_owned(), is_warning, count: 1, told_at: now });
        }
        has_room || is_end
    }

    /// Says how often what was said once was said, and how much was not.
    pub fn finish(self) {
        let tool = &self.tool;
        for kind in self.kinds.values().filter(|kind| kind.is_warning && kind.count > 1) {
            warn!(ToolRepeated, %tool, times = kind.count, "said so often: {}", kind.first);
        }
        let (lines, details) = (self.lines, self.lines - self.told);
        if details > 0 {
            info!(ToolEnded, %tool, lines, details, "the program's output has ended; the details are logged at debug");
        }
    }
}

/// A line without what differs between lines of one kind: numbers, paths, and names in quotes.
fn kind_of(line: &str) -> String {
    let varies = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit() || "/'`\"".contains(letter));
    line.split_whitespace().filter(|word| !varies(word)).take(WORDS).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_in_numbers_and_names_are_of_one_kind() {
        for (one, other) in [
            (
                "2026-11-29  5:30:08 0 [Warning] InnoDB: Cannot open 'app/t1012.ibd'.",
                "2026-11-29  5:30:09 0 [Warning] InnoDB: Cannot open 'shop/orders.ibd'.",
            ),
            (
                "[00] 2026-11-29 05:30:08 DDL tracking : create 5 \"./app/t1.ibd\"",
                "[00] 2026-11-29 05:30:09 DDL tracking : create 16 \"./app/x.ibd\"",
            ),
            (
                "InnoDB: IO Error: 28 during write of 16384 bytes, for file app/a.ibd(1509), returned 0",
                "InnoDB: IO Error: 28 during write of 4096 bytes, for file app/b.ibd(9), returned 4",
            ),
        ] {
            assert_eq!(kind_of(one), kind_of(other));
        }
        assert_ne!(kind_of("[Note] InnoDB: Starting shutdown"), kind_of("[Note] InnoDB: Completed initialization"));
    }

    #[test]
    fn a_flood_is_few_lines_of_the_log() {
        let (began, mut teller) = (Instant::now(), Teller::of("tool"));
        // On a busy machine the loops take longer than a period.
        let repeated = |kinds: u64| kinds * (began.elapsed().as_secs() / PERIOD.as_secs());
        for number in 0..100_000 {
            teller.tell(Importance::Warning, &format!("[Note] InnoDB: IO Error: 28 during write, file t{number}.ibd"));
            teller.tell(Importance::Phase, &format!("Read redo log up to LSN={number}"));
            teller.tell(Importance::Detail, "Streaming ./app/t.ibd");
        }
        assert!((1 + FIRST..=1 + FIRST + repeated(1)).contains(&teller.told), "{}", teller.told);
        assert_eq!(teller.lines, 300_000);
        // Each of another kind.
        let word = |number: u32| char::from_u32('a' as u32 + number % 26).unwrap().to_string();
        for number in 0..26 * 26 {
            teller.tell(Importance::Phase, &format!("{} {}", word(number), word(number / 26)));
        }
        assert!(
            teller.told <= 4 + KINDS as u64 + repeated(KINDS as u64) && teller.kinds.len() <= KINDS,
            "{}",
            teller.told
        );
    }
}
