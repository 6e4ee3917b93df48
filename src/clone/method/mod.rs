//! The two clone methods. Each has a folder with its donor's half, its recipient's half, and their common knowledge of
//! the tool or plugin.

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

/// The answer of a method that needs time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// A method by which a donor makes a clone. The rest of the donor uses this interface and is independent of the
/// methods.
pub trait CloneMethod: Send + Sync {
    /// The backup tool, if the method uses one.
    fn tool(&self) -> Option<&BackupTool>;

    /// The account that inspects the server.
    fn account<'a>(&self, settings: &'a Sidecar) -> &'a Account;

    /// The part of the server that a copy holds.
    fn extent(&self) -> Extent;

    /// The program that copies the files.
    fn copier(&self) -> Copier;

    /// Why a copy of a replica would omit its position at its source. `None` if it records it.
    fn why_without_source(&self, storage: &Storage) -> Option<String>;

    /// Refuses if a limit of the donor's container is too low.
    fn check_limits(&self, open_files: u64) -> Result<(), Refusal>;

    /// Bytes that the recipient's volume needs besides the copy.
    fn recipients_own_room(&self) -> u64;

    /// Prepares the server. Returns the facts about it that a recipient needs, if there are any.
    fn make_ready<'a>(&'a self, server: &'a mut Server, storage: &'a Storage) -> Answer<'a, Option<plugin::Facts>>;

    /// Serves one admitted recipient. The slot is released when this returns.
    fn serve(&self, donor: &Donor, recipient: Admitted);
}
