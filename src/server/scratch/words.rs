//! What a private server says when it fails: the lines that the server itself marks as errors.

use crate::model::exit::Reason;
use crate::sys::child::{Ended, Examine};

/// The mark of a line of a server's log that tells of an error, in both families.
const MARK: &str = "[ERROR]";

/// The longest that one line is quoted, in characters.
const LONGEST: usize = 600;

/// The end of a server in words, with its errors.
pub fn of(ended: &Ended) -> String {
    let hint = if ended.was_killed() { " (out of memory?)" } else { "" };
    match ended.lines.reason() {
        Some(reason) => format!("{}{hint}: {}", ended.in_words(), shortened(unmarked(reason))),
        None => format!("{}{hint}, and named no error", ended.in_words()),
    }
}

/// The first and the last error of a log: the first is the cause, the last is what the server gave up for.
pub fn errors<'a>(lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut errors = lines.filter_map(|line| line.split_once(MARK)).map(|(_, text)| shortened(text.trim()));
    let first = errors.next()?;
    match errors.filter(|error| !is_farewell(error)).last() {
        Some(last) if last != first => Some(format!("{first} … {last}")),
        _ => Some(first),
    }
}

/// The servers' last error says no more than that there was one.
fn is_farewell(error: &str) -> bool {
    error.ends_with("Aborting")
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// A line without what stands before its mark.
fn unmarked(line: &str) -> &str {
    line.split_once(MARK).map_or(line, |(_, text)| text.trim())
}

/// A full volume is not the server's fault, nor is a limit, nor what killed it from outside: the kernel for its memory, most
/// likely.
pub fn reason_of(ended: &Ended, otherwise: Reason) -> Reason {
    let is_from_outside = ended.met_limit() || ended.may_have_outgrown() || ended.was_interrupted();
    match ended.lines.is_about_space() {
        _ if is_from_outside => Reason::Limit,
        true => Reason::DiskFull,
        false => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_error_are_told_and_no_other_line() {
        let log = [
            "2026-11-29  5:33:02 0 [Note] InnoDB: an error that is none",
            "2026-11-29  5:33:02 0 [ERROR] InnoDB: The Auto-extending data file './ibdata1' is of a different size",
            "2026-11-29  5:33:02 0 [ERROR] Plugin 'InnoDB' registration as a STORAGE ENGINE failed.",
            "2026-11-29  5:33:02 0 [ERROR] Unknown/unsupported storage engine: InnoDB",
            "2026-11-29  5:33:02 0 [ERROR] Aborting",
        ];
        let told = errors(log.into_iter()).unwrap();
        assert_eq!(
            told,
            "InnoDB: The Auto-extending data file './ibdata1' is of a different size … \
             Unknown/unsupported storage engine: InnoDB"
        );
        assert_eq!(
            errors(["2026 [ERROR] [MY-010119] [Server] Aborting"].into_iter()).unwrap(),
            "[MY-010119] [Server] Aborting"
        );
        assert_eq!(errors(["[Note] error"].into_iter()), None);
    }
}
