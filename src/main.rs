//! The program: parses the arguments, starts the log, runs the subcommand and maps its outcome to an exit code. The
//! crate's documentation lists the parts.

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
    // Probes and drain run inside another program's container; completions and manual pages are for a person.
    let is_visitor =
        matches!(cli.command, Command::Probe(_) | Command::Drain(_) | Command::Completions(_) | Command::Man(_));
    let started = logging::start(&cli.process.log, cli.process.log_format);
    if !has_names {
        name_service::tell_of_glibc();
    }
    match started.and_then(|()| cli.run()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Terminated) => ExitCode::from(exit::TERMINATED),
        Ok(Outcome::No(why)) => {
            // Kubernetes shows the output of a probe or a hook.
            println!("{why}");
            ExitCode::from(exit::NO)
        }
        Err(error) => {
            // A termination message belongs to the container's own program.
            ending::tell(&error, (!is_visitor).then_some(termination_log.as_path()));
            ExitCode::from(exit::code_of(&error))
        }
    }
}
