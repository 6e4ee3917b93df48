//! What is known of a copy before it is made, and the refusals of a donor that looked.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::model::event::Event;
use crate::protocol::inventory::look::Look;
use crate::protocol::message::{Refusal, Why};
use crate::server::plugin;

/// What is known of a backup before it is made.
pub struct Survey {
    /// About how long it will be.
    pub bytes: u64,
    /// Of the files that are copied, on average.
    pub mean_file_bytes: u64,
    /// How many of them a backup tool has open at once.
    pub open_files: u64,
    /// The length of the longest of them.
    pub largest_file: u64,
    /// The server's variables, by their names in small letters.
    pub variables: BTreeMap<String, String>,
    /// Where the CLONE plugin makes it: what the recipient needs to know of the server.
    pub plugin: Option<plugin::Facts>,
    /// What the server holds, where the recipient asks for an inventory.
    pub look: Option<Box<Look>>,
}

/// A replica that was found unfit now may be fit later, in seconds.
const RETRY_AFTER: u64 = 5;

pub(in crate::clone) fn not_ready(event: Event, text: impl Display) -> Refusal {
    Refusal::passing(event, Why::NotReady, text, RETRY_AFTER)
}

pub(in crate::clone) fn unsupported(event: Event, text: impl Display) -> Refusal {
    Refusal::new(event, Why::Unsupported, text)
}
