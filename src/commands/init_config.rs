//! `mysqlset init-config`: gives the server its id and its role's configuration.
//!
//! It reads and checks everything before it writes. The new files are complete under temporary names before the first
//! one appears. The other role's file, which an earlier life of the volume may have left, is removed.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::install;
use crate::model::event::info;
use crate::model::exit::Reason;
use crate::model::ordinal::{Role, ServerId};
use crate::server::config_files::server_id::{self, FILE as SERVER_ID_FILE};
use crate::settings::InitConfig;
use crate::sys::durable::{self, Pending};

const PRIMARY_FILES: [&str; 2] = ["primary.cnf", "master.cnf"];
const REPLICA_FILES: [&str; 3] = ["replica.cnf", "secondary.cnf", "slave.cnf"];

/// The server may run as another user than `init-config`, and refuses world-writable files.
const FILE_MODE: u32 = 0o644;

/// Runs the command.
pub fn run(settings: &InitConfig) -> Result<()> {
    if let Some(directory) = &settings.install {
        install::run(directory)?;
    }
    let role = settings.member.role();
    let role_file = RoleFile::find(&settings.config_map, role)?;
    refuse_another_server_id(settings, role_file.name)?;

    let runs_events = role == Role::Primary || says_of_events(&String::from_utf8_lossy(&role_file.content));
    let text = server_id_file(settings.server_id, runs_events);
    let server_id = Pending::write(&settings.conf_dir.join(SERVER_ID_FILE), &text, FILE_MODE)
        .map_err(|error| cannot_write(&settings.conf_dir, error))?;
    let role_config = Pending::write(&settings.conf_dir.join(role_file.name), &role_file.content, FILE_MODE)
        .map_err(|error| cannot_write(&settings.conf_dir, error))?;

    publish(&settings.conf_dir, role_file.name, [server_id, role_config])
        .map_err(|error| cannot_write(&settings.conf_dir, error))?;
    info!(
        ConfigWritten,
        pod = %settings.member,
        %role,
        server_id = %settings.server_id,
        from = %settings.config_map.join(role_file.name).display(),
        to = %settings.conf_dir.display(),
        "configuration written"
    );
    Ok(())
}

/// Refuses a later file that overrides the id, since the server takes the last value. Two pods with one server id end
/// each other's replication in turns.
fn refuse_another_server_id(settings: &InitConfig, role_file: &str) -> Result<()> {
    let own = u64::from(settings.server_id.number());
    let files = files_of_server(settings, role_file)?;
    let other = server_id::overruled_by(&files, own).map_err(|error| Reason::ConfigMap.because(error))?;
    let Some(other) = other else { return Ok(()) };
    Err(Reason::ConfigMap.error(format!(
        "{} sets server_id to {:?}, and the server reads it after {SERVER_ID_FILE}, which gives {} its own, {own}: \
         with one id, two servers of a set end each other's replication; remove the line from {}",
        other.file, other.value, settings.member, other.file
    )))
}

/// The option files that the server will read in its directory, in order.
fn files_of_server(settings: &InitConfig, role_file: &str) -> Result<Vec<PathBuf>> {
    let stale = stale_files(&settings.conf_dir, role_file);
    let entries = std::fs::read_dir(&settings.conf_dir).map_err(|error| cannot_write(&settings.conf_dir, error))?;
    let is_option_file = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cnf");
    let is_ours = |path: &PathBuf| {
        stale.contains(path) || path.file_name().is_some_and(|name| name == SERVER_ID_FILE || name == role_file)
    };
    let mut files = vec![settings.config_map.join(role_file)];
    for entry in entries {
        let path = entry.map_err(|error| cannot_write(&settings.conf_dir, error))?.path();
        if is_option_file(&path) && !is_ours(&path) {
            files.push(path);
        }
    }
    files.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    Ok(files)
}

/// The one file in the ConfigMap for a role.
struct RoleFile {
    name: &'static str,
    content: Vec<u8>,
}

impl RoleFile {
    fn find(config_map: &Path, role: Role) -> Result<RoleFile> {
        let entries = std::fs::metadata(config_map)
            .and_then(|_| std::fs::read_dir(config_map))
            .map_err(|error| Reason::ConfigMap.error(format!("config map {}: {error}", config_map.display())))?;
        drop(entries);

        let names = names_for(role);
        let found: Vec<&'static str> = names.iter().copied().filter(|name| config_map.join(name).exists()).collect();
        let name = match found[..] {
            [name] => name,
            [] => {
                return Err(Reason::ConfigMap.error(format!(
                    "config map {} holds no file for a {role}: add {}",
                    config_map.display(),
                    names.join(" or ")
                )));
            }
            _ => {
                return Err(Reason::ConfigMap.error(format!(
                    "config map {} holds {} for a {role}: keep one of them",
                    config_map.display(),
                    found.join(" and ")
                )));
            }
        };
        let path = config_map.join(name);
        let content = std::fs::read(&path)
            .map_err(|error| Reason::ConfigMap.error(format!("config map file {}: {error}", path.display())))?;
        Ok(RoleFile { name, content })
    }
}

fn names_for(role: Role) -> &'static [&'static str] {
    match role {
        Role::Primary => &PRIMARY_FILES,
        Role::Replica => &REPLICA_FILES,
    }
}

/// Turns the event scheduler off on a replica whose own file leaves it open. MySQL's is on by default since 8.0. An
/// image with a backup tool but no server program gives `clone` no way to disable copied events.
fn server_id_file(server_id: ServerId, runs_events: bool) -> Vec<u8> {
    let events = if runs_events { "" } else { "event_scheduler=OFF\n" };
    format!("# Written by mysqlset init-config at every start of the pod.\n[mysqld]\nserver-id={server_id}\n{events}")
        .into_bytes()
}

/// Whether a configuration file sets the event scheduler, in any of the forms that servers accept.
fn says_of_events(file: &str) -> bool {
    let names =
        file.lines().map(|line| line.split(['=', '#', ';']).next().unwrap_or_default().trim().replace('-', "_"));
    let mut names = names.map(|name| name.to_ascii_lowercase());
    names.any(|name| {
        let name = ["loose_", "skip_", "disable_", "enable_"]
            .iter()
            .fold(name.as_str(), |name, start| name.strip_prefix(start).unwrap_or(name));
        name == "event_scheduler"
    })
}

fn publish(conf_dir: &Path, role_file: &str, files: [Pending; 2]) -> std::io::Result<()> {
    for stale in stale_files(conf_dir, role_file) {
        if durable::remove_if_there(&stale)? {
            info!(ConfigRemoved, file = %stale.display(), "removed a role file of an earlier start");
        }
    }
    for file in files {
        file.commit()?;
    }
    durable::sync_directory(conf_dir)
}

/// Every role file but the current one, under any name that an earlier start may have used.
fn stale_files(conf_dir: &Path, current: &str) -> Vec<PathBuf> {
    let names = PRIMARY_FILES.iter().chain(&REPLICA_FILES);
    names.filter(|name| **name != current).map(|name| conf_dir.join(name)).collect()
}

fn cannot_write(conf_dir: &Path, error: std::io::Error) -> anyhow::Error {
    Reason::ConfigTarget.error(format!("cannot write the server's configuration to {}: {error}", conf_dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_event_scheduler_setting_is_recognised() {
        for file in [
            "[mysqld]\nevent_scheduler = ON\n",
            "[mysqld]\nevent-scheduler=OFF",
            "[mysqld]\nevent_scheduler\n",
            "[mysqld]\nloose-event-scheduler=ON # ours\n",
            "[mysqld]\nskip-event-scheduler\n",
        ] {
            assert!(says_of_events(file), "{file}");
        }
        for file in ["", "[mysqld]\n# event_scheduler = ON\n; event_scheduler\n", "[mysqld]\nread_only = ON\n"] {
            assert!(!says_of_events(file), "{file}");
        }
    }
}
