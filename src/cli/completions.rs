//! `mysqlset completions`: what a shell needs to complete commands and flags.

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell that reads them.
    pub shell: Shell,
}

impl CompletionsArgs {
    /// Runs the command, about this command line.
    pub fn print(&self, program: Command) -> Result<()> {
        std::io::stdout().write_all(&script(self.shell, program)).context("writing to standard output")
    }
}

fn script(shell: Shell, mut program: Command) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "mysqlset", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};

    use super::super::Cli;
    use super::*;

    #[test]
    fn every_shell_gets_every_command_and_flag() {
        let mut root = Cli::command();
        root.build();
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell, Cli::command())).unwrap();
            for command in root.get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
                for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                    assert!(script.contains(flag), "{shell}: {} --{flag}", command.get_name());
                }
            }
        }
    }
}
