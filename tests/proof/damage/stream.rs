//! Damage to a stream that stays whole and legal.

use anyhow::{Context, Result};
use harness::xbstream::{Field, chunks, files, write};
use mysqlset::unpack::Format;

use super::{Damage, Victim, harm};

/// Bytes of a member in one chunk.
const PIECE: usize = 8 << 20;

pub fn damage(stream: &[u8], victim: &Victim, damage: Damage) -> Result<Vec<u8>> {
    let members = files(Format::XbstreamMariaDb, stream);
    let name = |path: &[u8]| String::from_utf8_lossy(path).trim_start_matches("./").to_owned();
    let of_class: Vec<(&Vec<u8>, Vec<u8>)> = members
        .iter()
        .filter(|(path, _)| victim.class.has(&name(path)))
        .map(|(path, contents)| (path, contents.bytes(stream)))
        .collect();
    let count = of_class.len().max(1);
    // The search starts at the picked file and ends at the first suitable one.
    let found = (0..of_class.len()).find_map(|step| {
        let (path, bytes) = &of_class[(victim.pick as usize + step) % count];
        let other = (1..count).map(|step| &of_class[(victim.pick as usize + step) % count]).find(|(_, of)| of != bytes);
        let harmed = harm(damage, victim, bytes, other.map(|(_, bytes)| bytes.as_slice()))?;
        Some((*path, harmed, other.map(|(path, _)| *path)))
    });
    let (path, harmed, other) =
        found.with_context(|| format!("no {} in the stream that could be {damage}", victim.class))?;
    let mut replaced = vec![(path, harmed.file)];
    if let (Some(other), Some(bytes)) = (other, harmed.other) {
        replaced.push((other, Some(bytes)));
    }
    let mut damaged = Vec::with_capacity(stream.len());
    for chunk in chunks(Format::XbstreamMariaDb, stream) {
        let of = &stream[chunk.find(Field::Path).unwrap_or(0..0)];
        let Some((path, bytes)) = replaced.iter().find(|(path, _)| path.as_slice() == of) else {
            damaged.extend_from_slice(&stream[chunk.at.clone()]);
            continue;
        };
        // The end of the original member: the last data of a stream still come last.
        if let (b'E', Some(bytes)) = (chunk.kind, bytes) {
            for (number, piece) in bytes.chunks(PIECE).enumerate() {
                damaged.extend(write::payload(0, path, (number * PIECE) as u64, piece));
            }
            damaged.extend(write::end(path));
        }
    }
    Ok(damaged)
}
