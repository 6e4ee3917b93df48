//! One function for each type of chunk.

/// On a payload: it replaces any former owner of the name. (MariaDB)
pub const REWRITE: u8 = 0x02;

fn head(flags: u8, kind: u8, path: &[u8]) -> Vec<u8> {
    [b"XBSTCK01", [flags, kind].as_slice(), &(path.len() as u32).to_le_bytes(), path].concat()
}

pub fn payload(flags: u8, path: &[u8], offset: u64, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksum = crc32fast::hash(data).to_le_bytes();
    [&head(flags, b'P', path), length.as_slice(), &offset.to_le_bytes(), &checksum, data].concat()
}

pub fn end(path: &[u8]) -> Vec<u8> {
    head(0, b'E', path)
}

/// A payload with holes; each entry of the map is a hole and the bytes behind it. (Percona)
pub fn sparse(path: &[u8], offset: u64, map: &[(u32, u32)], data: &[u8]) -> Vec<u8> {
    let map: Vec<u8> =
        map.iter().flat_map(|(hole, length)| [hole.to_le_bytes(), length.to_le_bytes()]).flatten().collect();
    let entries = (map.len() as u32 / 8).to_le_bytes();
    let length = (data.len() as u64).to_le_bytes();
    let checksum = crc32fast::hash(&[&map, data].concat()).to_le_bytes();
    [&head(0, b'S', path), entries.as_slice(), &length, &offset.to_le_bytes(), &checksum, &map, data].concat()
}

/// The next payload's place. (MariaDB)
pub fn seek(path: &[u8], offset: u64) -> Vec<u8> {
    [head(0, b'S', path), offset.to_le_bytes().to_vec()].concat()
}

/// (MariaDB)
pub fn rename(from: &[u8], to: &[u8]) -> Vec<u8> {
    [&head(0, b'R', from), (to.len() as u32).to_le_bytes().as_slice(), to].concat()
}

/// (MariaDB)
pub fn remove(path: &[u8]) -> Vec<u8> {
    head(0, b'D', path)
}

/// A whole file in one payload.
pub fn file(path: &[u8], data: &[u8]) -> Vec<Vec<u8>> {
    vec![payload(0, path, 0, data), end(path)]
}
