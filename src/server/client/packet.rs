//! Packets: three bytes of length, one of a running number, then so many bytes. One of the greatest length goes on in the
//! next.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use zeroize::Zeroizing;

use super::error::{Error, Result};

/// A packet of this length has another one behind it.
const FULL: usize = 0xff_ffff;

/// The most bytes that are taken for one packet: what the servers themselves send at most by default.
const LONGEST: usize = 16 << 20;

/// So many bytes are made room for at once, whatever length a packet claims.
const PIECE: usize = 64 << 10;

pub struct Packets<S> {
    stream: BufReader<S>,
    sequence: u8,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Packets<S> {
    pub fn new(stream: S) -> Packets<S> {
        Packets { stream: BufReader::new(stream), sequence: 0 }
    }

    /// A command begins: numbers run from 0 again.
    pub fn begin(&mut self) {
        self.sequence = 0;
    }

    pub async fn read(&mut self) -> Result<Vec<u8>> {
        let mut packet = Vec::new();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header).await?;
            self.sequence = header[3].wrapping_add(1);
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            let end = packet.len() + length;
            if end > LONGEST {
                return Err(Error::Protocol("a packet that is too long"));
            }
            while packet.len() < end {
                let begin = packet.len();
                packet.resize(end.min(begin + PIECE), 0);
                self.stream.read_exact(&mut packet[begin..]).await?;
            }
            if length < FULL {
                return Ok(packet);
            }
        }
    }

    /// Ours are never so long that they go on in another.
    pub async fn write(&mut self, packet: &[u8]) -> Result<()> {
        if packet.len() >= FULL {
            return Err(Error::Protocol("a statement that is too long"));
        }
        let length = u32::try_from(packet.len()).unwrap_or_default().to_le_bytes();
        // A statement may hold a password.
        let mut bytes = Zeroizing::new(Vec::with_capacity(packet.len() + 4));
        bytes.extend_from_slice(&[length[0], length[1], length[2], self.sequence]);
        bytes.extend_from_slice(packet);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }
}
