//! Members in turns: a waiting member must not hold a buffer that the others need.

use super::*;

/// Bytes of a chunk, and of a large buffer.
const CHUNK: usize = 1 << 20;

/// Records the room for a chunk's data in each read.
struct Watched<'a> {
    stream: &'a [u8],
    rooms: &'a mut Vec<usize>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Source for Watched<'_> {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.rooms.push(buffer.len());
        self.stream.read(buffer)
    }
}

#[test]
fn waiting_members_release_full_buffers() {
    let data = vec![7; CHUNK];
    let plain = |name: usize| payload(&format!("f{name}"), 0, &data);
    let with_map = |name: usize| sparse(&format!("f{name}"), 0, &[(0, CHUNK as u32)], &data);
    for chunk in [&plain as &dyn Fn(usize) -> Vec<u8>, &with_map] {
        let members = 0..OPEN_FILES / 4;
        let chunks = members.clone().map(chunk).chain(members.clone().map(|name| end(&format!("f{name}"))));
        let (stream, mut rooms) = (chunks.flatten().collect::<Vec<u8>>(), Vec::new());
        let stage = tempfile::tempdir().unwrap();
        let source = Watched { stream: &stream, rooms: &mut rooms };
        unpack_by(Writing::Cached, Format::XbstreamPercona, source, stage.path()).unwrap();
        assert_eq!(rooms, vec![CHUNK; members.len()]);
    }
}
