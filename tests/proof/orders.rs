//! Orders for a program in front of the real tool or server. The proof leaves them in a file beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::damage::{Damage, Victim};

/// Events around the real program. By default there are none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// Only the first run follows the orders; later ones run undisturbed.
    pub once: bool,
    /// The most file descriptors that the real program gets.
    pub descriptors: Option<u64>,
    /// SIGKILL for the real program.
    pub kill: Option<Kill>,
    /// SIGKILL at the same moment for the waiting parent.
    pub kill_parent: bool,
    /// A volume to fill before it starts.
    pub fill: Option<Fill>,
    /// Statements to run while the tool copies, in a file, for the server behind a socket.
    pub write: Option<Write>,
    /// Damage to its stream.
    pub stream: Option<(Victim, Damage)>,
    /// Damage to its target directory after a successful end.
    pub stage: Option<(Victim, Damage)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kill {
    AfterMicroseconds(u64),
    /// As soon as it reports that it has run out of descriptors.
    AtTheFirstFault,
}

/// A volume shrinks until only this much is free.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fill {
    pub volume: PathBuf,
    pub leave: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Write {
    pub socket: PathBuf,
    pub statements: PathBuf,
}

/// The program that the orders are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Backup,
    Prepare,
    Server,
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Of::Backup => "backup.orders",
            Of::Prepare => "prepare.orders",
            Of::Server => "server.orders",
        }
    }
}

impl Orders {
    pub fn give(&self, programs: &Path, of: Of) -> Result<()> {
        Ok(std::fs::write(programs.join(of.name()), serde_json::to_vec(self)?)?)
    }

    /// The orders for this run. Orders for a single run are removed.
    pub fn take(programs: &Path, of: Of) -> Result<Orders> {
        let path = programs.join(of.name());
        let Ok(text) = std::fs::read(&path) else { return Ok(Orders::default()) };
        let orders: Orders = serde_json::from_slice(&text).context("orders")?;
        if orders.once {
            std::fs::remove_file(&path)?;
        }
        Ok(orders)
    }

    pub fn revoke_all(programs: &Path) -> Result<()> {
        for of in [Of::Backup, Of::Prepare, Of::Server] {
            match std::fs::remove_file(programs.join(of.name())) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}
