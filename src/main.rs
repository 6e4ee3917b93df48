//! `mysqlset`: parse, log, run, and map the outcome to an exit code. See the crate's documentation for the parts.

use std::process::ExitCode;

use clap::Parser;

use mysqlset::cli::{Cli, Command};
use mysqlset::commands::{Outcome, ending};
use mysqlset::model::exit;
use mysqlset::observe::logging;
use mysqlset::sys::{core_files, name_service, umask};

fn main() -> ExitCode {
    umask::bear();
    core_files::leave_none();
    let has_names = name_service::use_built_in();
    let cli = Cli::parse();
    let termination_log = cli.process.termination_log.clone();
    // They run in a container beside its own program.
    let is_visitor = matches!(cli.command, Command::Probe(_) | Command::Drain(_));
    let started = logging::start(&cli.process.log, cli.process.log_format);
    if !has_names {
        name_service::tell_of_glibc();
    }
    match started.and_then(|()| cli.run()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Terminated) => ExitCode::from(exit::TERMINATED),
        Ok(Outcome::No(why)) => {
            // Kubernetes shows what a probe or a hook prints.
            println!("{why}");
            ExitCode::from(exit::NO)
        }
        Err(error) => {
            // The message is the container's own.
            ending::tell(&error, (!is_visitor).then_some(termination_log.as_path()));
            ExitCode::from(exit::code_of(&error))
        }
    }
}
