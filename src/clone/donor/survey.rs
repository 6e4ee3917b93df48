//! The survey: the facts about a copy that are known before it is made, and a donor's refusals after checking them.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::model::event::Event;
use crate::protocol::inventory::server_look::Look;
use crate::protocol::message::{Refusal, Why};
use crate::server::plugin;

/// The facts about a backup that are known before it is made.
pub struct Survey {
    /// Its approximate length.
    pub bytes: u64,
    /// Average length of the copied files.
    pub mean_file_bytes: u64,
    /// Number of files that a backup tool has open at once.
    pub open_files: u64,
    /// Length of the longest copied file.
    pub largest_file: u64,
    /// The server's variables, by their names in lower case.
    pub variables: BTreeMap<String, String>,
    /// For the CLONE plugin: the facts about the server that the recipient needs.
    pub plugin: Option<plugin::Facts>,
    /// The server's tables, if the recipient asks for an inventory.
    pub look: Option<Box<Look>>,
}

/// Seconds after which a replica that is unfit now may be fit.
const RETRY_AFTER: u64 = 5;

pub(in crate::clone) fn not_ready(event: Event, text: impl Display) -> Refusal {
    Refusal::passing(event, Why::NotReady, text, RETRY_AFTER)
}

pub(in crate::clone) fn unsupported(event: Event, text: impl Display) -> Refusal {
    Refusal::new(event, Why::Unsupported, text)
}
