//! What each parser of bytes from the network must do with any input. It must never panic, and that is the least.
//!
//! `make fuzz TARGET=name` feeds a parser at random. `cargo test --test corpus` feeds it what is kept in `fuzz/corpus/`, on
//! stable Rust. Each function here is a target there ([`TARGETS`]).

mod framed;
mod memory;
mod stage;
mod tar;
mod wire;
mod xbstream;

pub use framed::framed_xbstream;
pub use tar::tar;
pub use wire::{frames, messages, packed_frames, preface};
pub use xbstream::{xbstream_mariadb, xbstream_percona};

/// A name, and what is fed.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("preface", preface),
    ("messages", messages),
    ("frames", frames),
    ("packed_frames", packed_frames),
    ("xbstream_percona", xbstream_percona),
    ("xbstream_mariadb", xbstream_mariadb),
    ("framed_xbstream", framed_xbstream),
    ("tar", tar),
];
