//! The protocol between a recipient and a donor, version 1. One TCP connection, one clone.
//!
//! ```text
//!  recipient                                            donor
//!     │  preface "MYSQLSET", versions 1–1                 │
//!     │──────────────────────────────────────────────────▶│
//!     │  hello: who asks, what it can take                │
//!     │──────────────────────────────────────────────────▶│
//!     │                 preface "MYSQLSET", versions 1–1  │
//!     │◀──────────────────────────────────────────────────│
//!     │        challenge: nonce, whether proof is needed  │   or  refusal, and the end
//!     │◀──────────────────────────────────────────────────│
//!     │  proof: HMAC, where needed                        │
//!     │──────────────────────────────────────────────────▶│
//!     │    offer: who gives, and what will come           │   or  refusal, proof, and the end
//!     │◀──────────────────────────────────────────────────│
//!     │                    proof: HMAC, where needed      │
//!     │◀──────────────────────────────────────────────────│
//!     │           data … heartbeat … data … data          │
//!     │◀──────────────────────────────────────────────────│
//!     │    inventory … inventory: what the copy must hold │   or  failed: why
//!     │◀──────────────────────────────────────────────────│
//!     │    end: bytes, digests, the tool's exit status    │   or  failed: why
//!     │◀──────────────────────────────────────────────────│
//! ```
//!
//! **By the CLONE plugin.** This method serves a donor without a backup tool that fits its server, if both
//! servers have MySQL's CLONE plugin. A plugin offer replaces the offer, and no data follow it. The recipient's
//! own server fetches the copy from the donor's server, under an account whose password both ends derive from the
//! secret. Meanwhile this connection shows that both ends are alive.
//!
//! ```text
//!     │    plugin offer: server's port, account, settings │   or  refusal, proof, and the end
//!     │◀──────────────────────────────────────────────────│
//!     │                    proof: HMAC, where needed      │
//!     │◀──────────────────────────────────────────────────│
//!     │                                        heartbeat  │   or  failed: why
//!     │◀──────────────────────────────────────────────────│
//!     │  heartbeat: bytes that have come                  │   and so on
//!     │──────────────────────────────────────────────────▶│
//!     │  copied: the copy is whole                        │   or  its end
//!     │──────────────────────────────────────────────────▶│
//!     │               heartbeat … inventory … inventory   │   or  failed: why
//!     │◀──────────────────────────────────────────────────│
//!     │    end: no bytes, the inventory's digest          │
//!     │◀──────────────────────────────────────────────────│
//! ```
//!
//! **The inventory** ([`crate::protocol::inventory`]) lists what the donor's server held both before and after
//! the copy. The first look comes before the tool starts or the plugin offer is sent. The second comes after the
//! tool has ended or `copied` has arrived. The inventory follows all data, and is the last thing before the end.
//! If it was offered, a copy is void without it. A donor that cannot look at its server then sends `failed`.
//!
//! A recipient whose hello asks for a report gets that instead of an offer, followed only by the donor's proof.
//! After its proof the recipient stays silent. The exceptions are heartbeats and `copied` for a copy by the
//! plugin. Anything else from it, even the end of its connection, ends the clone.
//!
//! # Bytes
//!
//! All integers are little-endian. Each side first sends a preface of 12 bytes ([`preface`]):
//!
//! ```text
//!  0               8         10        12
//! ┌───────────────┬─────────┬─────────┐
//! │ "MYSQLSET"    │ highest │ lowest  │   versions that the sender speaks, u16 each
//! └───────────────┴─────────┴─────────┘
//! ```
//!
//! Everything after the prefaces is frames ([`frame`]):
//!
//! ```text
//!  0      1           4            8
//! ┌──────┬───────────┬────────────┬─────────────────┐
//! │ kind │ 0  0  0   │ length u32 │ length bytes    │
//! └──────┴───────────┴────────────┴─────────────────┘
//! ```
//!
//! | kind | | from | body |
//! |---|---|---|---|
//! | `H` 48 | hello | recipient | JSON, 1 byte … 64 KiB, as all that is JSON |
//! | `C` 43 | challenge | donor | JSON |
//! | `P` 50 | proof | both | JSON |
//! | `O` 4f | offer | donor | JSON |
//! | `Q` 51 | plugin offer | donor | JSON |
//! | `K` 4b | copied | recipient | JSON |
//! | `A` 41 | report | donor | JSON |
//! | `R` 52 | refusal | donor | JSON |
//! | `B` 42 | heartbeat | both | JSON |
//! | `E` 45 | end | donor | JSON |
//! | `F` 46 | failed | donor | JSON |
//! | `D` 44 | data | donor | bytes of the backup stream, 1 … 1 MiB |
//! | `Z` 5a | packed data | donor | u32 n, then a zstd frame of n bytes of the stream, n = 1 … 1 MiB; 5 bytes … 1 MiB in all |
//! | `I` 49 | inventory | donor | bytes of the encoded inventory ([`crate::protocol::inventory::encoding`]), 1 byte … 64 KiB; 32 MiB in all frames |
//!
//! Any violation ends the connection: an unknown kind, a byte other than 0 in the header's middle, a length of 0
//! or beyond the kind's limit, or a message in the wrong place. Lengths are checked before memory is allocated.
//! The types in [`message`] describe the messages.
//!
//! **The end.** A connection that ends before an end frame brought nothing. The end frame has the unpacked length
//! of the stream in bytes. It also has the XXH3-128 of the covered part (32 hexadecimal digits, the canonical
//! form of the hash). The received stream must match both. The donor sends the end frame only after the backup
//! tool has succeeded.
//!
//! The inventory is separate from the stream. The end frame has its length and its XXH3-128 in a member of their
//! own: `"inventory": {"bytes": …, "digest": …}`. The recipient keeps both in its journal, so that it can check
//! the stored inventory after a restart.
//!
//! **Coverage of the digest** ([`digest`]). `whole`: every byte of the stream, in order. `heads`, for an xbstream
//! only: every byte except the data of its payload and sparse chunks (`P`, and Percona's `S`; see
//! [`crate::unpack::xbstream`]). The CRC-32 of the data is in the chunk's head, which the digest covers, and the
//! recipient compares it. So each byte is covered by the digest, or by a checksum that the digest covers.
//!
//! **Heartbeats** follow after each silence of `heartbeat_seconds` of the offer, until the end. After a plugin
//! offer the recipient answers each one, as long as its copy makes progress. Both sides limit the other's
//! silence, and neither limits the duration of a clone. A recipient's limit is at least twice the offer's number,
//! of which up to a minute counts.
//!
//! The handshake has time limits: 5 seconds for the recipient's hello, and 5 for its proof; 20 for the donor's
//! challenge, and 80 for all; 5 for a report, and 5 for connecting.
//!
//! **Proof** ([`auth`]). It is required if the donor has a secret. Both proofs depend on a transcript T: the
//! SHA-256 of both prefaces, the recipient's first, and of all frames so far, headers and bodies.
//!
//! - The recipient's proof is HMAC-SHA-256(secret, "mysqlset clone 1 recipient" ‖ T). T has the hello and the
//!   challenge.
//! - The donor's proof is HMAC-SHA-256(secret, "mysqlset clone 1 donor" ‖ T′). T′ adds the recipient's proof and
//!   the offer, report or refusal.
//!
//! A refusal sent before the recipient's proof, or because of it, has no proof. The check for a lost primary ignores a
//! "wrong set" in such a refusal. Hello and challenge contain nonces of both sides, so a proof is valid for one
//! connection only. The secret stays off the wire. A recipient with a secret accepts nothing from a donor that
//! asks for no proof.
//!
//! The data that follow are neither encrypted nor authenticated. The password of the plugin offer's account is
//! "Aa1!" and, in hexadecimal, HMAC-SHA-256(secret, "mysqlset clone plugin 1" ‖ set). The secret is empty if
//! there is none.
//!
//! # An older and a newer peer
//!
//! Both use the lower of the two highest versions. A clone fails if that is below the lowest of either. The donor
//! always answers the recipient's preface with its own, so that the recipient learns when retries are pointless.
//! The hello precedes the donor's preface, so its beginning is the same in all versions.
//!
//! Within a version, messages grow. A reader ignores unknown members of a JSON object, and treats a missing one
//! as in the table. A donor uses only abilities named in the hello. A recipient refuses an offer of anything
//! else. A donor refuses a hello with an unknown `wants` as `unsupported`. So members and names can be added
//! within a version, while changes of existing ones need a new version. One was removed: `members`, by which a
//! tool compressed its stream's members. Such a stream is refused at its first member.
//!
//! **Legacy peers** are those of the tutorial, without this protocol. A legacy donor answers the preface with the
//! first chunk of a backup: "XBSTCK01" in place of "MYSQLSET". A recipient that may accept a legacy stream then
//! connects again and stays silent. A legacy recipient is silent from the start. A donor that may serve it waits
//! for 3 seconds and sends the legacy stream. After a failure it adds a line that is invalid as a chunk.
//!
//! | in the hello | in the offer | missing means | |
//! |---|---|---|---|
//! | `formats` | `format` | – | names of container formats |
//! | `digests` | `digest` | `whole` | coverages of a digest beside the whole: `heads` |
//! | `packing` | `packing` | no `Z` frame | packings of frames: `zstd`; with any, the plugin may compress |
//! | `inventory` | `inventory` | no inventory | encodings of an inventory: `tables-1`. A recipient accepts only offers that have one |
//! | `plugin_server` | a plugin offer | no plugin | the version of the recipient's own server |
//! | – | `expected_bytes` | unknown | the rough length of the stream, for people only |
//! | – | `files` | unknown | how many files prepare will keep open; a recipient whose limit is too low ends before the first byte |
//! | `wants` | – | a clone | the kind of request: `clone`, `recovery`, `report` |
//! | `free_bytes`, `tool_series`, `page_size` | – | not compared | the recipient's free space, tool and page size |
//! | `keyring` | – | no | whether it has access to the keys of encrypted data |
//! | `set_id` | `set_id`, `lineage` | no identity | the set of the recipient's earlier data, and of these |
//! | `about`, `history` | – | no comparison | for a report: a position and transactions to be compared |

pub mod auth;
pub mod clone_secret;
pub mod data;
pub mod digest;
pub mod frame;
pub mod handshake;
pub mod inventory;
pub mod message;
pub mod packing;
pub mod preface;
pub mod text;
pub mod verdict;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
