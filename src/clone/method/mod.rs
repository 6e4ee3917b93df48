//! The two methods by which a copy is made: each is a folder, with its donor's half, its recipient's half, and what both know
//! of the tool or plugin.

pub mod backup_tool;
pub mod clone_plugin;

use std::pin::Pin;

use crate::clone::donor::admitted::Admitted;
use crate::clone::donor::context::Donor;
use crate::clone::donor::copied_files::Copier;
use crate::protocol::message::Refusal;
use crate::server::account::Account;
use crate::server::inventory::Extent;
use crate::server::storage::Storage;
use crate::server::{Server, plugin};
use crate::settings::Sidecar;
use backup_tool::BackupTool;

/// What a method that needs time says.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// A method by which a donor makes a clone. The rest of the donor asks here and knows neither method.
pub trait CloneMethod: Send + Sync {
    /// The backup tool, where it is by one.
    fn tool(&self) -> Option<&BackupTool>;

    /// The account that looks at the server.
    fn account<'a>(&self, settings: &'a Sidecar) -> &'a Account;

    /// What of the server a copy holds.
    fn extent(&self) -> Extent;

    /// By what files are copied.
    fn copier(&self) -> Copier;

    /// Why a copy of a replica would not say where its source is; `None` where it would.
    fn why_without_source(&self, storage: &Storage) -> Option<String>;

    /// Refuses what a limit of the donor's container is too low for.
    fn check_limits(&self, open_files: u64) -> Result<(), Refusal>;

    /// Bytes that the recipient's volume needs beside the copy.
    fn recipients_own_room(&self) -> u64;

    /// Makes the server ready, and says what a recipient needs to know of it, where it needs that.
    fn make_ready<'a>(&'a self, server: &'a mut Server, storage: &'a Storage) -> Answer<'a, Option<plugin::Facts>>;

    /// Serves one admitted recipient. The slot is given back when this returns.
    fn serve(&self, donor: &Donor, recipient: Admitted);
}
