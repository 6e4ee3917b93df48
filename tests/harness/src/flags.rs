//! The program's flags and variables.

use clap::{Arg, Command, CommandFactory};
use mysqlset::cli::Cli;

/// Secrets have no flag; only [`mysqlset::cli`] names their variables.
pub const SECRETS: [&str; 6] = [
    "MYSQLSET_CLONE_SECRET",
    "MYSQLSET_SQL_PASSWORD",
    "MYSQLSET_BACKUP_PASSWORD",
    "MYSQLSET_REPLICATION_PASSWORD",
    "MYSQLSET_MONITORING_PASSWORD",
    "MYSQLSET_ROOT_PASSWORD",
];

/// All flags with a variable, of all commands.
pub fn flags() -> Vec<Arg> {
    let mut command = Cli::command();
    command.build();
    flags_of(&command)
}

fn flags_of(command: &Command) -> Vec<Arg> {
    let own = command.get_arguments().filter(|flag| flag.get_env().is_some()).cloned();
    own.chain(command.get_subcommands().flat_map(flags_of)).collect()
}

pub fn name(flag: &Arg) -> String {
    format!("--{}", flag.get_long().expect("a long flag"))
}

pub fn variable(flag: &Arg) -> String {
    flag.get_env().expect("a variable").to_string_lossy().into_owned()
}
