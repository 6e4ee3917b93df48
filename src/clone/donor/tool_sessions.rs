//! Ends a backup tool's sessions on the server that wait too long or outlive the tool. The sockets of the tool's
//! process identify them.
//!
//! A tool may wait for a lock endlessly, and all writers wait behind it. `--ftwrl-wait-timeout` bounds only the stages
//! before XtraBackup's lock. With mariadb-backup 10.11 it would bound all stages, but it would first wait for a moment
//! when nobody writes. It looks once a second and fails if no such moment comes, so that tool runs without the option.
//!
//! A server notices a lost client only at its next read. If a tool is killed while it waits, its session goes on
//! waiting and then holds the lock. So the sidecar ends sessions that wait too long, and those of a killed tool.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::debug;

use crate::model::event::warn;
use crate::model::host::HostPort;
use crate::server::Server;
use crate::server::account::Account;
use crate::sys::own_address;

/// Time between two looks at the sessions.
const PERIOD: Duration = Duration::from_secs(1);

/// Beginning of the state of a session that waits for a lock, in every server of the family.
const WAITING: &str = "waiting for";

/// Beginnings of states that are harmless: they wait for no lock of another session.
const HARMLESS: [&str; 2] = ["waiting for next activation", "waiting for query cache"];

/// Names for a client on this pod on servers that resolve names: the entries of `/etc/hosts` for 127.0.0.1 and ::1.
const LOOPBACK: [&str; 4] = ["localhost", "localhost6", "ip6-localhost", "ip6-loopback"];

/// Extra time for a tool that enforces the limit itself.
const GRACE: Duration = Duration::from_secs(2);

/// The server with the sessions, and the account that sees and ends them: an account may see and end its own.
#[derive(Clone)]
pub struct ToolSessions {
    pub server: HostPort,
    pub account: Account,
    pub tool: u32,
}

/// Ends the tool's sessions when one of them has waited too long for a lock. Stops when dropped.
pub struct Watch {
    task: JoinHandle<()>,
    struck: Arc<AtomicBool>,
}

impl Watch {
    /// Starts the watch.
    pub fn begin(sessions: ToolSessions, limit: Duration) -> Watch {
        let struck = Arc::new(AtomicBool::new(false));
        let striking = struck.clone();
        let task = Handle::current().spawn(async move {
            let state = loop {
                match sessions.wait_until_stuck(limit).await {
                    Ok(state) => break state,
                    Err(error) => debug!("cannot watch whether the backup waits for locks: {error:#}"),
                }
                sleep(PERIOD).await;
            };
            striking.store(true, Ordering::Release);
            warn!(
                BackupLockTooLong,
                state,
                limit_seconds = limit.as_secs(),
                "the backup waited too long for a lock; ending it"
            );
            sessions.end().await;
        });
        Watch { task, struck }
    }

    /// Whether the watch has ended the sessions.
    pub fn has_struck(&self) -> bool {
        self.struck.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ToolSessions {
    /// Ends all sessions of the tool.
    pub async fn end(&self) {
        if let Err(error) = self.end_all(&ports_of(self.tool, self.server.port)).await {
            warn!(DonorSessionsNotEnded, "cannot end the backup tool's sessions on the server: {error:#}");
        }
    }

    /// The local ports of the tool's connections. Must be read before the tool is killed.
    pub fn ports(&self) -> BTreeSet<u16> {
        ports_of(self.tool, self.server.port)
    }

    /// Ends the sessions from these ports.
    pub async fn end_all(&self, ports: &BTreeSet<u16>) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        let mut server = Server::connect(&self.server, &self.account).await?;
        for (id, state) in self.states(&mut server, ports).await? {
            debug!(session = id, state, "ending a session of the backup tool");
            // The session may have ended by itself meanwhile.
            if let Err(error) = server.rows(&format!("KILL {id}")).await {
                debug!("{error:#}");
            }
        }
        server.close().await;
        Ok(())
    }

    /// Returns the state of a session once it has waited longer than the limit.
    async fn wait_until_stuck(&self, limit: Duration) -> Result<String> {
        let mut server = Server::connect(&self.server, &self.account).await?;
        let mut waiting: BTreeMap<String, Instant> = BTreeMap::new();
        loop {
            let states = self.states(&mut server, &self.ports()).await?;
            waiting.retain(|id, _| states.iter().any(|(session, state)| session == id && is_wait(state)));
            for (id, state) in states.into_iter().filter(|(_, state)| is_wait(state)) {
                if waiting.entry(id).or_insert_with(Instant::now).elapsed() > limit + GRACE {
                    return Ok(state);
                }
            }
            sleep(PERIOD).await;
        }
    }

    /// Id and state of each session from one of these ports.
    async fn states(&self, server: &mut Server, ports: &BTreeSet<u16>) -> Result<Vec<(String, String)>> {
        let rows = server.rows("SHOW PROCESSLIST").await?;
        let text = |row: &crate::server::NamedRow, name: &str| row.get(name).cloned().flatten().unwrap_or_default();
        let ours = rows.into_iter().filter(|row| {
            text(row, "User") == self.account.user
                && own_port(&text(row, "Host")).is_some_and(|port| ports.contains(&port))
        });
        Ok(ours.map(|row| (text(&row, "Id"), text(&row, "State"))).collect())
    }
}

/// Ends sessions that wait for a lock and whose client on this pod is gone. They belong to a tool that died with the
/// previous sidecar. All containers of a pod share its network, so a living client has its socket there.
pub async fn end_orphans(server: &HostPort, account: &Account) -> Result<()> {
    let mut connection = Server::connect(server, account).await?;
    for row in connection.rows("SHOW PROCESSLIST").await? {
        let text = |name: &str| row.get(name).cloned().flatten().unwrap_or_default();
        let is_orphan = own_port(&text("Host")).is_some_and(|port| !is_client_there(port, server.port));
        if is_orphan && text("User") == account.user && is_wait(&text("State")) {
            warn!(
                BackupSessionEnded,
                session = text("Id"),
                state = text("State"),
                "ending a session left by a backup tool that is gone"
            );
            let _ = connection.rows(&format!("KILL {}", text("Id"))).await;
        }
    }
    connection.close().await;
    Ok(())
}

/// The port of a client on this pod, from the server's name for its host: `127.0.0.1:58806`. Other machines use the
/// same ports.
fn own_port(client: &str) -> Option<u16> {
    let (host, port) = client.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_own = LOOPBACK.contains(&host) || host.parse().is_ok_and(own_address::is_own);
    is_own.then(|| port.parse().ok())?
}

fn is_client_there(local: u16, remote: u16) -> bool {
    const ESTABLISHED: &str = "01";
    let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/self/net/{table}")));
    let mut lines = tables.iter().flatten().flat_map(|table| table.lines());
    lines.any(|line| {
        let is_it = connection(line).is_some_and(|(from, to, _)| (from, to) == (local, remote));
        is_it && line.split_whitespace().nth(3) == Some(ESTABLISHED)
    })
}

fn is_wait(state: &str) -> bool {
    let state = state.to_ascii_lowercase();
    state.starts_with(WAITING) && !HARMLESS.iter().any(|harmless| state.starts_with(harmless))
}

/// Local ports of a process's TCP connections to `server_port`. (proc_pid_fd(5), proc_pid_net(5))
fn ports_of(pid: u32, server_port: u16) -> BTreeSet<u16> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let sockets: BTreeSet<String> = links
        .filter_map(|link| std::fs::read_link(link.path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")));
    let connections = tables.iter().flatten().flat_map(|table| table.lines()).filter_map(connection);
    connections
        .filter(|(_, remote, inode)| *remote == server_port && sockets.contains(*inode))
        .map(|(local, _, _)| local)
        .collect()
}

/// Local port, remote port and inode of a line: `0: 0100007F:E5B4 0100007F:0CEA 01 … inode …`.
fn connection(line: &str) -> Option<(u16, u16, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    Some((port(fields.get(1)?)?, port(fields.get(2)?)?, fields.get(9)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_identified_by_its_connections() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap().port();
        assert!(ports_of(std::process::id(), server).is_empty());
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ports = ports_of(std::process::id(), server);
        let port = client.local_addr().unwrap().port();
        assert_eq!(ports, BTreeSet::from([port]));
        assert!(is_client_there(port, server));
        drop(client);
        // A child that another test starts right now shares the socket until its exec.
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_client_there(port, server) {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_client_elsewhere_is_foreign_on_any_port() {
        assert_eq!(own_port("127.0.0.1:58806"), Some(58806));
        assert_eq!(own_port("localhost:58806"), Some(58806));
        assert_eq!(own_port("ip6-localhost:58806"), Some(58806));
        assert_eq!(own_port("::ffff:127.0.0.1:58806"), Some(58806));
        assert_eq!(own_port("2001:db8::1:58806"), None);
        assert_eq!(own_port("192.0.2.1:58806"), None);
        assert_eq!(own_port("client.example:58806"), None);
        assert_eq!(own_port("localhost"), None);
    }

    #[test]
    fn waits_are_recognised_by_their_state() {
        assert!(is_wait("Waiting for backup lock") && is_wait("Waiting for table metadata lock"));
        assert!(is_wait("Waiting for global read lock") && is_wait("Waiting for table flush"));
        assert!(!is_wait("") && !is_wait("Sending data") && !is_wait("User sleep"));
    }
}
