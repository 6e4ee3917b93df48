//! A donor's messages before its backup. The tests that play a donor make the backup themselves, unlike any tool's.

use std::net::TcpStream;

use mysqlset::protocol::digest::Coverage;
use mysqlset::protocol::frame::{self, Kind, WireError};
use mysqlset::protocol::inventory::encoding;
use mysqlset::protocol::message::{Challenge, Hello, Offer};
use mysqlset::protocol::preface;
use mysqlset::unpack::Format;

/// Receives a recipient's greeting, and asks for no proof.
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
