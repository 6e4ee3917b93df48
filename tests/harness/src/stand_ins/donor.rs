//! What a donor says before its backup. The tests that act a donor make the backup themselves, as no tool would.

use std::net::TcpStream;

use mysqlset::inventory::encoding;
use mysqlset::unpack::Format;
use mysqlset::wire::digest::Coverage;
use mysqlset::wire::frame::{self, Kind, WireError};
use mysqlset::wire::message::{Challenge, Hello, Offer};
use mysqlset::wire::preface;

/// Hears a recipient's greeting, and asks for no proof.
pub fn greet(mut recipient: &TcpStream) -> Result<(), WireError> {
    preface::receive(&mut recipient)?;
    let header = frame::read_header(&mut recipient)?;
    let _: Hello = frame::parse(Kind::Hello, &frame::read_body(&mut recipient, header)?)?;
    preface::send(&mut recipient)?;
    let challenge = Challenge { nonce: "00".repeat(32), proof: false };
    frame::write_control(&mut recipient, Kind::Challenge, &challenge).map(drop)
}

/// The primary's offer, with a digest of the whole stream.
pub fn offer(format: Format, tool: &str, server: &str) -> Offer {
    Offer {
        pod: "mysql-0".into(),
        ordinal: 0,
        format,
        digest: Coverage::Whole,
        members: None,
        packing: None,
        expected_bytes: None,
        files: None,
        largest_file: None,
        inventory: Some(encoding::NAME.into()),
        tool: tool.into(),
        server: server.into(),
        set_id: None,
        lineage: None,
        heartbeat_seconds: 5,
    }
}
