//! `mysqlset`: parse, log, run, and map the outcome to an exit code. See the crate's documentation for the parts.

use std::process::ExitCode;

use clap::Parser;

use mysqlset::cli::Cli;
use mysqlset::commands::{self, Outcome};
use mysqlset::{exit, logging};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let termination_log = cli.process.termination_log.clone();
    match logging::start(&cli.process).and_then(|()| commands::run(cli)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Terminated) => ExitCode::from(exit::TERMINATED),
        Ok(Outcome::No(why)) => {
            // Kubernetes shows what a probe prints. The termination message is the container's, not the probe's.
            println!("{why}");
            ExitCode::from(exit::NO)
        }
        Err(error) => {
            tracing::error!("{error:#}");
            exit::leave_termination_message(&termination_log, &format!("{error:#}"));
            ExitCode::from(exit::code_of(&error))
        }
    }
}
