//! The sessions that a backup tool has on the server, known by the sockets of its process.
//!
//! A tool may wait for locks without end, and whoever writes waits behind it. `--ftwrl-wait-timeout` bounds only what
//! comes before XtraBackup's lock; with mariadb-backup 10.11 it would bound all stages, but first wait for a moment in
//! which nobody writes, looking once a second, and fail where none comes: so that tool isn't given it. And
//! a server notices that a client is gone only when it next reads from it: the session of a tool that was killed while
//! it waited goes on waiting, then holds the lock. So sessions that wait for too long are ended, and so are those of a
//! tool that was killed.

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

/// Between two looks at what the sessions do.
const PERIOD: Duration = Duration::from_secs(1);

/// What the states of a session that waits for a lock begin with, in every server of the family.
const WAITING: &str = "waiting for";

/// States that begin so and are no wait for a lock that others hold up.
const HARMLESS: [&str; 2] = ["waiting for next activation", "waiting for query cache"];

/// How servers that look up names call a client on this pod: what `/etc/hosts` has for 127.0.0.1 and for ::1.
const LOOPBACK: [&str; 4] = ["localhost", "localhost6", "ip6-localhost", "ip6-loopback"];

/// A tool that knows the limit itself is given the time to keep it.
const GRACE: Duration = Duration::from_secs(2);

/// Where the sessions are, and as whom they can be seen and ended: an account sees and ends its own.
#[derive(Clone)]
pub struct Sessions {
    pub server: HostPort,
    pub account: Account,
    pub tool: u32,
}

/// Ends the tool's sessions when one of them has waited for a lock for too long. Stops when dropped.
pub struct Watch {
    task: JoinHandle<()>,
    struck: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to watch.
    pub fn begin(sessions: Sessions, limit: Duration) -> Watch {
        let struck = Arc::new(AtomicBool::new(false));
        let striking = struck.clone();
        let task = Handle::current().spawn(async move {
            let state = loop {
                match sessions.wait_until_stuck(limit).await {
                    Ok(state) => break state,
                    Err(error) => debug!("the backup's waiting for locks can't be watched: {error:#}"),
                }
                sleep(PERIOD).await;
            };
            striking.store(true, Ordering::Release);
            warn!(
                BackupLockTooLong,
                state,
                limit_seconds = limit.as_secs(),
                "the backup waits too long for a lock and is ended"
            );
            sessions.end().await;
        });
        Watch { task, struck }
    }

    /// Whether a wait was ended.
    pub fn has_struck(&self) -> bool {
        self.struck.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sessions {
    /// Ends all of them.
    pub async fn end(&self) {
        if let Err(error) = self.end_all(&ports_of(self.tool, self.server.port)).await {
            warn!(DonorSessionsNotEnded, "ending the backup tool's sessions on the server: {error:#}");
        }
    }

    /// The ports that the tool's connections come from; to be taken before it is killed.
    pub fn ports(&self) -> BTreeSet<u16> {
        ports_of(self.tool, self.server.port)
    }

    /// Ends those that came from these ports.
    pub async fn end_all(&self, ports: &BTreeSet<u16>) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        let mut server = Server::connect(&self.server, &self.account).await?;
        for (id, state) in self.states(&mut server, ports).await? {
            debug!(session = id, state, "ending a session of the backup tool");
            // It may have ended by itself meanwhile.
            if let Err(error) = server.rows(&format!("KILL {id}")).await {
                debug!("{error:#}");
            }
        }
        server.close().await;
        Ok(())
    }

    /// Returns what a session waits for, once it has waited for longer than the limit.
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

/// Ends sessions that wait for a lock and whose client, on this pod, is gone: a tool's that died with the sidecar before
/// this one. All containers of a pod share its network, so a client that is still there has its socket there.
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
                "ending a session whose backup tool is gone"
            );
            let _ = connection.rows(&format!("KILL {}", text("Id"))).await;
        }
    }
    connection.close().await;
    Ok(())
}

/// The port of a client on this pod, from what the server calls its host: `127.0.0.1:58806`. Other machines have the
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
    fn a_process_is_known_by_its_connections() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap().port();
        assert!(ports_of(std::process::id(), server).is_empty());
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ports = ports_of(std::process::id(), server);
        let port = client.local_addr().unwrap().port();
        assert_eq!(ports, BTreeSet::from([port]));
        assert!(is_client_there(port, server));
        drop(client);
        // A child that another test starts right now has it too, until it becomes another program.
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_client_there(port, server) {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_client_elsewhere_is_not_ours_whatever_its_port() {
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
    fn waits_are_known_by_their_state() {
        assert!(is_wait("Waiting for backup lock") && is_wait("Waiting for table metadata lock"));
        assert!(is_wait("Waiting for global read lock") && is_wait("Waiting for table flush"));
        assert!(!is_wait("") && !is_wait("Sending data") && !is_wait("User sleep"));
    }
}
