//! The headings of `--help`, under which flags stand together.

pub const DATA: &str = "Data and configuration";
pub const SET: &str = "The set";
pub const PORTS: &str = "Ports";
pub const TRUST: &str = "Trust";
pub const CLONES: &str = "Clones";
pub const LOSS: &str = "When data are lost or broken";
pub const SERVER: &str = "The local server";
pub const ACCOUNTS: &str = "Accounts";
pub const LIMITS: &str = "Limits";
pub const TUTORIAL: &str = "While a set moves over from the tutorial";
pub const PROCESS: &str = "Process";

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::super::Cli;

    fn assert_headings(command: &Command) {
        for flag in command.get_arguments().filter(|flag| flag.get_env().is_some()) {
            assert!(flag.get_help_heading().is_some(), "{}: --{:?}", command.get_name(), flag.get_long());
        }
        command.get_subcommands().for_each(assert_headings);
    }

    #[test]
    fn every_flag_stands_under_a_heading() {
        let mut root = Cli::command();
        root.build();
        assert_headings(&root);
        root.debug_assert();
    }
}
