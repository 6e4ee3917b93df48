//! `mysqlset man`: manual pages.

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::Man;

use crate::model::exit::Reason;

#[derive(Args, Debug)]
pub struct ManArgs {
    /// The command that the page is about, such as `clone` or `probe alive`. By default it is the program's page.
    pub command: Vec<String>,
}

impl ManArgs {
    /// Runs the command, about this command line.
    pub fn print(&self, program: Command) -> Result<()> {
        std::io::stdout().write_all(&self.page(program)?).context("writing to standard output")
    }

    fn page(&self, program: Command) -> Result<Vec<u8>> {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        let mut command = &program;
        for word in &self.command {
            command = command.find_subcommand(word).ok_or_else(|| {
                Reason::Settings
                    .error(format!("there is no command {:?}: mysqlset help lists all of them", self.command.join(" ")))
            })?;
        }
        let mut page = Vec::new();
        Man::new(command.clone()).render(&mut page).context("making the page")?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    fn page(words: &[&str]) -> Result<String> {
        let args = ManArgs { command: words.iter().map(|word| (*word).to_owned()).collect() };
        // Hyphens are escaped, since a page may break lines at bare ones.
        Ok(String::from_utf8(args.page(Cli::command())?)?.replace("\\-", "-"))
    }

    #[test]
    fn every_command_has_a_page_with_its_flags_and_their_variables() {
        let mut root = Cli::command();
        root.build();
        for words in [&[][..], &["init-config"], &["clone"], &["sidecar"], &["probe", "alive"], &["probe", "ready"]] {
            let command = words.iter().fold(&root, |command, word| command.find_subcommand(word).unwrap());
            let page = page(words).unwrap();
            for flag in command.get_arguments().filter(|flag| flag.get_env().is_some()) {
                let (name, variable) = (flag.get_long().unwrap(), flag.get_env().unwrap().to_str().unwrap());
                assert!(page.contains(&format!("--{name}")) && page.contains(variable), "{words:?} --{name}: {page}");
            }
        }
    }

    #[test]
    fn a_command_that_is_not_there_is_named() {
        let error = page(&["probe", "well"]).unwrap_err();
        assert!(error.to_string().contains("\"probe well\""), "{error}");
    }
}
