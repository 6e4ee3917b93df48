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
//! **By the CLONE plugin.** Where the donor has no backup tool that fits its server, and both servers have MySQL's
//! CLONE plugin, a plugin offer comes in the offer's place, and no data after it: the recipient's own server fetches
//! the copy from the donor's, under an account whose password both know by the secret, while this connection says that
//! both ends are still there.
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
//! **The inventory** ([`crate::protocol::inventory`]) lists what the donor's server held both before the copy was begun and after it
//! had ended: before the tool is started or the plugin offer is sent, and after the tool has ended or `copied` has come. A
//! recipient that was offered one must get it, or there is no copy: it comes behind all data, and no data come behind it.
//! A donor whose server does not answer then says `failed`.
//!
//! A recipient whose hello asks for a report gets that in the offer's place, and nothing after it but the donor's proof.
//! Once it has proven itself the recipient says nothing more, but for a copy by the plugin that it is there, and that it
//! has all: what else comes from it, its end included, ends the clone.
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
//! Another kind, another byte than 0 in the header's middle, a length of 0 or beyond the kind's limit, a message where
//! it doesn't belong: the connection is of no use any more. Lengths are looked at before memory is taken. What the
//! messages hold is written at their types ([`message`]).
//!
//! **The end.** A connection that ends without an end frame, at whatever point, brought nothing. The end frame says how
//! many bytes the stream had, plain, and the XXH3-128 of what the digest covers of them (32 hexadecimal digits, the
//! canonical form of the hash); what came must be so long and have that digest. It is sent only after the backup tool has ended with success.
//!
//! The inventory is no part of the stream. The end frame has its length and its XXH3-128 beside the stream's, in a member
//! of their own: `"inventory": {"bytes": …, "digest": …}`. The recipient keeps both in its journal, and so knows what it
//! stored again after a restart.
//!
//! **What the digest covers** ([`digest`]). `whole`: every byte of the stream, in order. `heads`, of an xbstream only:
//! every byte but the data of its payload and sparse chunks (`P`, and Percona's `S`; see [`crate::unpack::xbstream`]). Their
//! CRC-32 is in the chunk's head, which is covered, and the recipient compares it: so each byte is covered by the
//! digest, or by a checksum that is.
//!
//! **Heartbeats** come when nothing else was sent for `heartbeat_seconds` of the offer, until the end; from a plugin
//! offer on the recipient answers each, as long as its copy moves. Neither side has a limit on how long a clone takes,
//! both on how long the other may be silent: a recipient's is at least twice what the offer says, of which up to a minute
//! counts. The handshake has limits: 5 seconds for the recipient's hello, and as long for its proof; 20 for the donor's
//! challenge, 80 for all; for a report 5, and 5 for connecting.
//!
//! **Proof** ([`auth`]). Where the donor has a secret, the recipient's proof is HMAC-SHA-256(secret, "mysqlset clone 1
//! recipient" ‖ T), T being the SHA-256 of both prefaces, the recipient's first, and of the frames before it (hello,
//! challenge; headers and bodies), and the donor's is HMAC-SHA-256(secret, "mysqlset clone 1 donor" ‖ T′), T′ being the same with the recipient's proof and the offer,
//! report or refusal. A refusal before the recipient's proof, or of it, comes without one: the primary-loss guard
//! believes no "wrong set" of those. The nonces of both sides are in hello and challenge, so no proof is good for a second connection; the secret
//! never crosses the wire. A recipient that has a secret takes nothing from a donor that doesn't ask for proof. What
//! follows is neither encrypted nor authenticated. The password of the plugin offer's account is "Aa1!" and, in
//! hexadecimal, HMAC-SHA-256(secret, "mysqlset clone plugin 1" ‖ set), the secret being empty where there is none.
//!
//! # An older and a newer peer
//!
//! Both use the lower of the two highest versions; where that is below one's lowest, there is no clone. The donor sends
//! its preface as soon as it has the recipient's, whatever that says, and the recipient sees by it that trying again is of
//! no use. A hello comes before the recipient knows which versions the donor speaks: it begins as it does here in all of
//! them.
//!
//! Within a version, messages grow: whoever reads a JSON object ignores members that it doesn't know, and takes one that
//! is missing as the table says. A donor does only what the hello has named; a recipient takes no offer of what it did
//! not name, and a donor refuses, as `unsupported`, a hello that `wants` what it doesn't know. So a member or a name can
//! be added without a new version, and a change of what is there can't.
//!
//! **The tutorial's peers** know nothing of this. Its donor answers the preface with the first chunk of a backup,
//! "XBSTCK01" in place of "MYSQLSET": a recipient that may take such a stream connects anew and says nothing. Its
//! recipient says nothing: a donor that may give to such a one sends the bare stream once it has waited for 3 seconds,
//! and a line that is no chunk behind it where it failed.
//!
//! | in the hello | in the offer | missing means | |
//! |---|---|---|---|
//! | `formats` | `format` | – | container formats, by name |
//! | `members` | `members` | none is compressed | how the tool itself compresses members: `zstd`, `lz4` |
//! | `digests` | `digest` | `whole` | what a digest may cover beside the whole: `heads` |
//! | `packing` | `packing` | no `Z` frame | how frames may be packed: `zstd`; with any, the plugin may compress |
//! | `inventory` | `inventory` | none comes | how an inventory is encoded: `tables-1`. A recipient takes no offer without one |
//! | `plugin_server` | a plugin offer | no plugin | the version of the recipient's own server |
//! | – | `expected_bytes` | not known | about how long the stream will be; for people only |
//! | – | `files` | not known | how many files prepare will keep open; a recipient whose limit is too low ends before the first byte |
//! | `wants` | – | a clone | what is asked for: `clone`, `recovery`, `report` |
//! | `free_bytes`, `tool_series`, `page_size` | – | not compared | what the recipient has: room, a tool, a page size |
//! | `keyring` | – | no | whether it reaches the keys of encrypted data |
//! | `set_id` | `set_id`, `lineage` | no identity | whose data the recipient had, and whose these are |
//! | `about`, `history` | – | nothing to say of it | of a report: a position, and transactions, to be compared |

pub mod auth;
pub mod clone_secret;
pub mod data;
pub mod digest;
pub mod frame;
pub mod inventory;
pub mod message;
pub mod packing;
pub mod preface;
pub mod text;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
