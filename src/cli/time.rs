//! Times, as flags take them: `30s`, `5min`, or a bare number of seconds. No deadline lies beyond what a clock can say.

use std::time::Duration;

/// 136 years.
const MOST: u64 = u32::MAX as u64;

/// Digits of the longest number. Together with [`LONGEST_TEXT`] it keeps the library from adding beyond 64 bits, where it
/// panics.
const MOST_DIGITS: usize = 10;

/// In bytes. Three numbers with their units fit.
const LONGEST_TEXT: usize = 40;

/// 0 and more.
pub fn any(text: &str) -> Result<Duration, String> {
    // The library ignores spaces inside a number.
    let mut numbers = text.split(|c: char| !c.is_ascii_digit() && !c.is_whitespace());
    let is_long = |number: &str| number.chars().filter(char::is_ascii_digit).count() > MOST_DIGITS;
    if text.len() > LONGEST_TEXT || numbers.any(is_long) {
        return Err(format!("it must be {MOST} seconds at most, in numbers of {MOST_DIGITS} digits at most"));
    }
    // To the library it is a month. In a size the letter means MiB, and in other programs minutes.
    if text.contains('M') {
        return Err("it must be a time like 30s, 5min or 1h 30min: M is no unit".to_owned());
    }
    let time = text.parse().map(Duration::from_secs).or_else(|_| humantime::parse_duration(text));
    match time {
        Ok(time) if time.subsec_nanos() == 0 && time.as_secs() <= MOST => Ok(time),
        Ok(_) => Err(format!("it must be a whole number of seconds, {MOST} at most")),
        Err(error) => Err(format!("it must be a time like 30s, 5min or 1h 30min: {error}")),
    }
}

/// A second and more.
pub fn some(text: &str) -> Result<Duration, String> {
    any(text).and_then(|time| if time.is_zero() { Err("it must be 1s or more".to_owned()) } else { Ok(time) })
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;
    use clap::{CommandFactory, Parser};

    use super::super::Cli;
    use super::{any, some};

    #[test]
    fn a_bare_number_is_in_seconds() {
        let seconds = |text| any(text).map(|time| time.as_secs());
        assert_eq!([seconds("90"), seconds("90s"), seconds("1min 30s")], [Ok(90), Ok(90), Ok(90)]);
        assert_eq!((seconds("0"), seconds("0s"), seconds("1h")), (Ok(0), Ok(0), Ok(3600)));
        assert!(some("0").is_err() && some("0s").is_err() && some("1").is_ok());
    }

    /// The sum of a moment and such a time was a panic.
    #[test]
    fn no_time_is_longer_than_a_clock_can_say() {
        let mut root = Cli::command();
        root.build();
        let mut refused = 0;
        for words in [&["clone"][..], &["sidecar"], &["drain"], &["probe", "ready"], &["probe", "alive"]] {
            let command = words.iter().fold(&root, |command, word| command.find_subcommand(word).unwrap());
            let is_time = |flag: &&clap::Arg| {
                flag.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "TIME"))
            };
            for flag in command.get_arguments().filter(is_time) {
                let flag = format!("--{}", flag.get_long().unwrap());
                let with = |value: &str| Cli::try_parse_from([&["mysqlset"], words, &[&flag, value]].concat());
                for value in ["4294967295", "4294967295s", "30", "30s", "5min", "1h 30min"] {
                    assert!(with(value).is_ok(), "{words:?} {flag} {value}");
                }
                for value in [
                    "4294967296",
                    "18446744073709551615",
                    "18446744073709551615s 1000ms",
                    "584542046090years 19767615s 1000ms",
                    "1844674407 3709551615s 1000ms",
                    "2M",
                    "137years",
                    "500ms",
                    "30 bananas",
                    "",
                    "s",
                ] {
                    assert_eq!(with(value).unwrap_err().kind(), ErrorKind::ValueValidation, "{words:?} {flag} {value}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 70, "{refused}");
    }
}
