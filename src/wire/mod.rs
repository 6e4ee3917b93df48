//! The protocol between a recipient and a donor, version 1. One TCP connection, one clone.
//!
//! ```text
//!  recipient                                            donor
//!     │  preface "MYSQLSET", versions 1–1                 │
//!     │──────────────────────────────────────────────────▶│
//!     │  hello: pod, formats, members, set id             │
//!     │──────────────────────────────────────────────────▶│
//!     │                 preface "MYSQLSET", versions 1–1  │
//!     │◀──────────────────────────────────────────────────│
//!     │        challenge: nonce, whether proof is needed  │   or  refusal, and the end
//!     │◀──────────────────────────────────────────────────│
//!     │  proof: HMAC, where needed                        │
//!     │──────────────────────────────────────────────────▶│
//!     │    offer: donor, tool, format, members, set id    │   or  refusal, and the end
//!     │◀──────────────────────────────────────────────────│
//!     │                    proof: HMAC, where needed      │
//!     │◀──────────────────────────────────────────────────│
//!     │           data … heartbeat … data … data          │
//!     │◀──────────────────────────────────────────────────│
//!     │    end: bytes, digest, the tool's exit status     │   or  failed: why
//!     │◀──────────────────────────────────────────────────│
//! ```
//!
//! `members` are the compressions of a backup's members that the recipient undoes, and the one that the donor's tool
//! was told to use by its own options files. An older peer doesn't speak of them, and undoes none.
//!
//! A recipient whose hello asks for a report gets that in the offer's place, and nothing after it but the donor's proof.
//!
//! A preface is 12 bytes, all integers little-endian:
//!
//! ```text
//!  0               8         10        12
//! ┌───────────────┬─────────┬─────────┐
//! │ "MYSQLSET"    │ highest │ lowest  │   versions that the sender speaks, u16 each
//! └───────────────┴─────────┴─────────┘
//! ```
//!
//! Both use the lower of the two highest versions; where that is below one's lowest, there is no clone. The donor sends
//! its preface in any case, and the recipient sees by it that trying again is of no use.
//! Everything after the prefaces is frames:
//!
//! ```text
//!  0      1           4            8
//! ┌──────┬───────────┬────────────┬─────────────────┐
//! │ kind │ 0  0  0   │ length u32 │ length bytes    │
//! └──────┴───────────┴────────────┴─────────────────┘
//!   H hello   C challenge   P proof   O offer   A report       JSON, at most 64 KiB
//!   R refusal   B heartbeat   E end   F failed                 JSON, at most 64 KiB
//!   D data                                                     bytes of the backup stream, 1 … 1 MiB
//! ```
//!
//! JSON objects may hold members that the reader doesn't know; it ignores them. A kind that it doesn't know is an
//! error. The digest is XXH3-128 of all data bytes in order. A connection that ends without an end frame, at whatever
//! point, brought nothing.
//!
//! **Proof.** Where the donor has a secret, the recipient's proof is HMAC-SHA-256(secret, "mysqlset clone 1 recipient" ‖
//! T), T being the SHA-256 of the frames before it (hello, challenge; headers and bodies), and the donor's is
//! HMAC-SHA-256(secret, "mysqlset clone 1 donor" ‖ T′), T′ being the same with the recipient's proof and the offer or report. The
//! nonces of both sides are in hello and challenge, so no proof is good for a second connection; the secret never
//! crosses the wire. A recipient that has a secret takes nothing from a donor that doesn't ask for proof. What follows
//! is neither encrypted nor authenticated.

pub mod auth;
pub mod data;
pub mod digest;
pub mod frame;
pub mod message;
pub mod packing;
pub mod preface;
