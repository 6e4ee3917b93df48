//! Opens a private socket between the sidecar and the containers of its own pod.
//!
//! It is an abstract Unix socket: it has no file, and only processes in the pod's network can reach it (unix(7)).
//! IP addresses prove less, because a mesh's proxy delivers connections from outside as 127.0.0.6.

use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};

/// The name has the sidecar's HTTP port, because several pods share a namespace when they use the node's network.
fn name(port: u16) -> String {
    format!("mysqlset/{port}")
}

/// The listening socket.
pub struct Door {
    listener: UnixListener,
    /// Its owner may connect, beside our own user and root.
    data_dir: PathBuf,
}

impl Door {
    /// Opens the socket for our own user, root and the owner of the data: a sidecar run as root may serve a
    /// server run as another user.
    pub fn open(port: u16, data_dir: &Path) -> io::Result<Door> {
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(name(port))?)?;
        listener.set_nonblocking(true)?;
        Ok(Door { listener: UnixListener::from_std(listener)?, data_dir: data_dir.to_owned() })
    }

    /// The next connection of a permitted user.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let owner = std::fs::metadata(&self.data_dir).ok().map(|found| found.uid());
            if is_one_of_us(&stream, owner)? {
                return Ok(stream);
            }
        }
    }
}

/// Connects to the pod's sidecar. Fails if another user's program has taken its name.
pub async fn connect(port: u16) -> io::Result<UnixStream> {
    // A leading zero byte makes the name abstract.
    let stream = UnixStream::connect(format!("\0{}", name(port))).await?;
    if is_one_of_us(&stream, None)? {
        return Ok(stream);
    }
    Err(io::Error::new(ErrorKind::PermissionDenied, "a program of another user listens on the sidecar's socket"))
}

fn is_one_of_us(stream: &UnixStream, other: Option<u32>) -> io::Result<bool> {
    let uid = stream.peer_cred()?.uid();
    Ok(uid == geteuid().as_raw() || uid == 0 || Some(uid) == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_pods_own_processes_can_connect() {
        // Two test runs may share one network.
        let port = std::process::id() as u16;
        assert_eq!(connect(port).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let door = Door::open(port, Path::new("/")).unwrap();
        let (came, connected) = tokio::join!(door.accept(), connect(port));
        assert!(came.is_ok() && connected.is_ok());
        assert_eq!(Door::open(port, Path::new("/")).err().unwrap().kind(), ErrorKind::AddrInUse);
    }
}
