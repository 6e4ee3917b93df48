//! A donor: a real server with its data in a certain state, and a sidecar beside it.

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::comparison::Contents;
use crate::data::Data;
use crate::orders::{Of, Orders, Write};
use crate::process::{Process, wait_for};
use crate::recipient::{Limits, limited, program};
use crate::server::{self, Server};
use crate::tool;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Donor {
    sidecar: Option<Process>,
    server: Server,
    pub address: Ipv4Addr,
    pub data: Data,
    directory: PathBuf,
    /// The contents of a donor with constant rows.
    contents: Option<Contents>,
}

impl Donor {
    pub fn start(data: Data, address: Ipv4Addr, directory: &Path) -> Result<Donor> {
        let path = directory.join("data");
        server::install(&path)?;
        let options: Vec<String> = ["--log-bin=mysql-bin", "--sync-binlog=0", "--server-id=100", "--ssl=0"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("--bind-address={address}")])
            .collect();
        let place = directory.join("server");
        let mut server = Server::start(&path, &place, &options)?;
        let schema = directory.join("schema.sql");
        std::fs::write(&schema, data.schema())?;
        server.sql(&format!("source {}", schema.display()))?;
        if data.is_flushed() {
            server.stop()?;
            server = Server::start(&path, &place, &options)?;
        }
        if let Some(changes) = data.changes() {
            std::fs::write(directory.join("changes.sql"), changes)?;
        }
        tool::install(&directory.join("programs"), "mariadb-backup", Path::new("/usr/bin/mariadb-backup"))?;
        let directory = directory.to_owned();
        let mut donor = Donor { sidecar: None, server, address, data, directory, contents: None };
        donor.contents()?.demand_readable()?;
        donor.start_sidecar(None)?;
        Ok(donor)
    }

    /// Starts a sidecar in place of the running one.
    pub fn start_sidecar(&mut self, limits: Option<Limits>) -> Result<()> {
        self.sidecar = None;
        let mut command = limited(&program(), limits);
        command.args(["sidecar", "--hostname", "mysql-0", "--donate-to-anyone", "--data-dir"]).arg(self.data_dir());
        command.args(["--server-host", &self.address.to_string(), "--scratch-dir"]).arg(self.scratch()?);
        command.args(["--clone-listen", &format!("{}:3307", self.address)]);
        command.args(["--http-listen", &format!("{}:8307", self.address)]);
        let path = std::env::var("PATH")?;
        command.env("PATH", format!("{}:{path}", self.programs().display()));
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut sidecar = Process::start(&mut command)?;
        wait_for("a donor's sidecar to be ready", PATIENCE, || {
            if let Some(status) = sidecar.wait_until(Instant::now())? {
                bail!("the sidecar ended with {status}: {}", self.last_words());
            }
            Ok(self.is_ready().then_some(()))
        })?;
        self.sidecar = Some(sidecar);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let mut answer = String::new();
        let Ok(mut stream) = TcpStream::connect((self.address, 8307)) else { return false };
        let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: mysql-0\r\nConnection: close\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
    }

    /// Puts the data in a round's initial state, and sets the orders of its tool.
    pub fn begin(&mut self, orders: Orders) -> Result<()> {
        std::fs::write(self.log(), "")?;
        if let Some(beginning) = self.data.beginning() {
            self.server.sql(beginning)?;
            self.server.flush()?;
        }
        self.order(orders)
    }

    /// Sets the orders of its tool. The rows stay those of the backup that was made before.
    pub fn order(&mut self, mut orders: Orders) -> Result<()> {
        Orders::revoke_all(&self.programs())?;
        if self.data.changes().is_some() {
            let (socket, statements) = (self.server.socket().to_owned(), self.directory.join("changes.sql"));
            orders.write = Some(Write { socket, statements });
        }
        orders.give(&self.programs(), Of::Backup)
    }

    /// Its current contents.
    pub fn contents(&mut self) -> Result<Contents> {
        if let Some(contents) = &self.contents {
            return Ok(contents.clone());
        }
        let contents = Contents::of(&self.server).context("the donor's contents")?;
        if self.data.changes().is_none() {
            self.contents = Some(contents.clone());
        }
        Ok(contents)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The place for a file that is left out of its data directory meanwhile.
    pub fn aside(&self) -> PathBuf {
        self.directory.join("aside")
    }

    fn scratch(&self) -> Result<PathBuf> {
        let scratch = self.directory.join("scratch");
        std::fs::create_dir_all(&scratch)?;
        Ok(scratch)
    }

    fn programs(&self) -> PathBuf {
        self.directory.join("programs")
    }

    pub fn log(&self) -> PathBuf {
        self.directory.join("sidecar.log")
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }
}
