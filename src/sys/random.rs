//! Random bytes from the kernel.

use anyhow::{Context, Result};
use rustix::rand::{GetRandomFlags, getrandom};

/// Fills an array with unpredictable bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut buffer = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut buffer[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("asking the kernel for random bytes"),
        }
    }
    Ok(buffer)
}
