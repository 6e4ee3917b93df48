//! Clones: from another pod's running server to a proven copy in the stage.
//!
//! | | |
//! |---|---|
//! | [`donor`], [`recipient`] | the two ends; they meet in [`crate::protocol`] only |
//! | [`connection`] | the recipient's connection to a donor: dial, handshake, answer |
//! | [`method`] | by the backup tool, or by MySQL's CLONE plugin |
//! | [`legacy_stream`] | the tutorial's unauthenticated stream, in both directions |
//! | [`completeness`] | whether a prepared copy holds all that the donor's inventory lists |
//! | [`rehearsal`] | whether the pod's own server starts on a copy and opens its tables |

pub mod completeness;
pub mod connection;
pub mod donor;
pub mod legacy_stream;
pub mod method;
pub mod recipient;
pub mod rehearsal;
