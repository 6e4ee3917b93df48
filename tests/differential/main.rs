//! Compares this program's unpacking with the real `mbstream`'s, byte for byte. The streams come from the real tool,
//! and from a generator of everything that the format allows ([`legal`]). This program refuses every break ([`breaks`],
//! [`framed`], [`hostile`]); [`compared`] shows the real tool's outcome. Legal streams stay within their memory
//! ([`memory`]).
//!
//! `SEED=n` repeats a run that named it in a failure.

mod breaks;
mod compared;
mod framed;
mod generator;
mod hostile;
mod legal;
mod mbstream;
mod memory;
mod sample;
mod tree;
mod whole;

use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of this run's random trees and streams.
fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|error| panic!("SEED={text}: {error}")),
        _ => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
    }
}
