//! The first packet in each direction: the server's greeting and our response.

use zeroize::Zeroizing;

use super::error::{Error, Result};
use super::fields::Fields;
use super::proof::{NONCE, Plugin};

/// The protocol's version since MySQL 3.21.
const VERSION: u8 = 10;

/// CLIENT_LONG_PASSWORD (to MariaDB: a client of MySQL's kind), CLIENT_PROTOCOL_41, CLIENT_TRANSACTIONS,
/// CLIENT_SECURE_CONNECTION.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x2000 | 0x8000;

/// CLIENT_PLUGIN_AUTH, which servers before 5.5.7 lack.
const PLUGINS: u32 = 0x8_0000;

/// The capabilities that a server must have.
const NEEDED: u32 = 0x200 | 0x8000;

/// utf8mb4_general_ci, which all servers know.
const CHARACTER_SET: u8 = 45;

/// max_allowed_packet of the client.
const LONGEST_PACKET: u32 = 16 << 20;

pub struct Greeting {
    /// The server's number for the connection.
    pub id: u32,
    pub nonce: Vec<u8>,
    /// The plugin that the server prefers.
    pub plugin: String,
    capabilities: u32,
}

impl Greeting {
    pub fn parse(packet: &[u8]) -> Result<Greeting> {
        let mut fields = Fields(packet);
        if fields.u8() != Some(VERSION) {
            return Err(Error::Protocol("no greeting"));
        }
        fields.text();
        Greeting::after_version(fields).ok_or(Error::Protocol("a short greeting"))?.checked()
    }

    fn after_version(mut fields: Fields<'_>) -> Option<Greeting> {
        let id = fields.u32()?;
        let mut nonce = fields.take(8)?.to_vec();
        fields.take(1)?;
        let low = fields.u16()?;
        // Character set and status.
        fields.take(3)?;
        let capabilities = u32::from(low) | u32::from(fields.u16()?) << 16;
        // The nonce's length, which is always the same, and a reserved part.
        fields.take(11)?;
        nonce.extend_from_slice(fields.take(NONCE - nonce.len())?);
        // A zero byte.
        fields.take(1)?;
        let plugin = String::from_utf8_lossy(fields.text()).into_owned();
        Some(Greeting { id, nonce, plugin, capabilities })
    }

    fn checked(self) -> Result<Greeting> {
        if self.capabilities & NEEDED == NEEDED { Ok(self) } else { Err(Error::Protocol("a server before MySQL 4.1")) }
    }
}

pub fn response(greeting: &Greeting, user: &str, plugin: Plugin, proof: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let plugins = greeting.capabilities & PLUGINS;
    // Allocated at its full length, since a growing buffer leaves its old content in memory.
    let mut packet = Zeroizing::new(Vec::with_capacity(64 + user.len() + proof.len() + plugin.into_str().len()));
    packet.extend_from_slice(&(CAPABILITIES | plugins).to_le_bytes());
    packet.extend_from_slice(&LONGEST_PACKET.to_le_bytes());
    packet.push(CHARACTER_SET);
    packet.extend_from_slice(&[0; 23]);
    packet.extend_from_slice(user.as_bytes());
    packet.push(0);
    packet.push(proof.len().try_into().map_err(|_| Error::Protocol("a long proof"))?);
    packet.extend_from_slice(proof);
    if plugins != 0 {
        packet.extend_from_slice(plugin.into_str().as_bytes());
        packet.push(0);
    }
    Ok(packet)
}
