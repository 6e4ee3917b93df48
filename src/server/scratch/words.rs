//! Explains a private server's failure, by the log lines that the server itself marks as errors.

use crate::model::exit::Reason;
use crate::sys::child::{Ended, Examine};

/// The mark of an error in a server's log, in both families.
const MARK: &str = "[ERROR]";

/// The longest quote of one line, in characters.
const LONGEST: usize = 600;

/// The end of a server in words, with its errors.
pub fn of(ended: &Ended) -> String {
    let hint = if ended.was_killed() { " (out of memory?)" } else { "" };
    match ended.lines.reason() {
        Some(reason) => format!("{}{hint}: {}", ended.in_words(), shortened(unmarked(reason))),
        None => format!("{}{hint}, and named no error", ended.in_words()),
    }
}

/// The first and the last error of a log: the first is the cause, the last is why the server gave up.
pub fn errors<'a>(lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut errors = lines.filter_map(|line| line.split_once(MARK)).map(|(_, text)| shortened(text.trim()));
    let first = errors.next()?;
    match errors.filter(|error| !is_farewell(error)).last() {
        Some(last) if last != first => Some(format!("{first} … {last}")),
        _ => Some(first),
    }
}

/// The servers' last error only announces the end.
fn is_farewell(error: &str) -> bool {
    error.ends_with("Aborting")
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// The part of a line after its mark.
fn unmarked(line: &str) -> &str {
    line.split_once(MARK).map_or(line, |(_, text)| text.trim())
}

/// The reason for an end. A full volume, a limit and a kill from outside clear the server of blame. A kill from outside
/// most likely comes from the kernel, for its memory.
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
    fn only_the_first_and_the_last_error_are_quoted() {
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
