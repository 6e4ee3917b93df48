//! `mysqlset`: parse, log, run, and map the outcome to an exit code. See the crate's documentation for the parts.

use std::process::ExitCode;

use clap::Parser;

use mysqlset::cli::{Cli, Command};
use mysqlset::commands::{self, Outcome};
use mysqlset::{exit, logging};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let termination_log = cli.process.termination_log.clone();
    let is_probe = matches!(cli.command, Command::Probe(_));
    match logging::start(&cli.process).and_then(|()| commands::run(cli)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Terminated) => ExitCode::from(exit::TERMINATED),
        Ok(Outcome::No(why)) => {
            // Kubernetes shows what a probe prints.
            println!("{why}");
            ExitCode::from(exit::NO)
        }
        Err(error) => {
            tracing::error!("{error:#}");
            // That is the container's, not a probe's.
            if !is_probe {
                exit::leave_termination_message(&termination_log, &format!("{error:#}"));
            }
            ExitCode::from(exit::code_of(&error))
        }
    }
}
