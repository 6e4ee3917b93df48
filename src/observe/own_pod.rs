//! The way to the sidecar that only the containers of its own pod have: an abstract Unix socket, which lies in no file and can
//! be reached from within the pod's network alone (unix(7)). Addresses prove less: a mesh's proxy delivers what comes from
//! outside from 127.0.0.6.

use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};

/// Named by the sidecar's HTTP port: with the node's network several pods share theirs.
fn name(port: u16) -> String {
    format!("mysqlset/{port}")
}

/// Where the sidecar is reached.
pub struct Door {
    listener: UnixListener,
    /// Whose owner may come beside our own user and root.
    data_dir: PathBuf,
}

impl Door {
    /// Opens it, for our own user, root, and the data's owner: a sidecar that runs as root keeps a server that does not.
    pub fn open(port: u16, data_dir: &Path) -> io::Result<Door> {
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(name(port))?)?;
        listener.set_nonblocking(true)?;
        Ok(Door { listener: UnixListener::from_std(listener)?, data_dir: data_dir.to_owned() })
    }

    /// The next connection of somebody who may come.
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

/// Connects to the sidecar beside us. Another program that took its name is not asked anything.
pub async fn connect(port: u16) -> io::Result<UnixStream> {
    // A name that begins with a zero is an abstract one.
    let stream = UnixStream::connect(format!("\0{}", name(port))).await?;
    if is_one_of_us(&stream, None)? {
        return Ok(stream);
    }
    Err(io::Error::new(ErrorKind::PermissionDenied, "another user's program has the sidecar's name"))
}

fn is_one_of_us(stream: &UnixStream, other: Option<u32>) -> io::Result<bool> {
    let uid = stream.peer_cred()?.uid();
    Ok(uid == geteuid().as_raw() || uid == 0 || Some(uid) == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_in_the_pod_comes_in_and_nobody_listens_where_nobody_is() {
        // Tests of two trees may run side by side in one network.
        let port = std::process::id() as u16;
        assert_eq!(connect(port).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let door = Door::open(port, Path::new("/")).unwrap();
        let (came, connected) = tokio::join!(door.accept(), connect(port));
        assert!(came.is_ok() && connected.is_ok());
        assert_eq!(Door::open(port, Path::new("/")).err().unwrap().kind(), ErrorKind::AddrInUse);
    }
}
