//! Numbers of seconds, as flags take them: no deadline lies beyond what a clock can say.

use clap::builder::RangedU64ValueParser;

/// 136 years.
const MOST: u64 = u32::MAX as u64;

/// 0 and more.
pub fn any() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(..=MOST)
}

/// 1 and more.
pub fn some() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=MOST)
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;
    use clap::{CommandFactory, Parser};

    use super::super::Cli;

    /// The sum of a moment and such a time was a panic.
    #[test]
    fn no_time_is_longer_than_a_clock_can_say() {
        let mut root = Cli::command();
        root.build();
        let mut refused = 0;
        for words in [&["clone"][..], &["sidecar"], &["drain"], &["probe", "ready"], &["probe", "alive"]] {
            let command = words.iter().fold(&root, |command, word| command.find_subcommand(word).unwrap());
            let is_time = |flag: &&clap::Arg| {
                flag.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "SECONDS"))
            };
            for flag in command.get_arguments().filter(is_time) {
                let flag = format!("--{}", flag.get_long().unwrap());
                let with = |value: &str| Cli::try_parse_from([&["mysqlset"], words, &[&flag, value]].concat());
                assert!(with("4294967295").is_ok(), "{words:?} {flag}");
                for value in ["4294967296", "18446744073709551615"] {
                    assert_eq!(with(value).unwrap_err().kind(), ErrorKind::ValueValidation, "{words:?} {flag} {value}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 20, "{refused}");
    }
}
