//! The tar of XtraBackup 2.x: complete, or refused.

use super::*;

fn tar_member(name: &str, data: &[u8], kind: ::tar::EntryType) -> Vec<u8> {
    let mut header = ::tar::Header::new_ustar();
    header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(data.len() as u64);
    header.set_mode(0o660);
    header.set_entry_type(kind);
    if kind != ::tar::EntryType::Regular {
        header.set_link_name("ibdata1").unwrap();
    }
    header.set_cksum();
    let padding = data.len().next_multiple_of(512) - data.len();
    [header.as_bytes(), data, &vec![0; padding]].concat()
}

fn regular(name: &str, data: &[u8]) -> Vec<u8> {
    tar_member(name, data, ::tar::EntryType::Regular)
}

#[test]
fn a_tar_is_complete_or_refused() {
    let members = [regular("ibdata1", &[7; 2000]), regular("./app/t.frm", b"x"), regular("zeros", &[0; 4096])].concat();
    let whole = [members.clone(), vec![0; 1024]].concat();
    let files = files_of(Format::Tar, &whole);
    assert_eq!((files["ibdata1"].len(), &files["app/t.frm"][..], files["zeros"].len()), (2000, &b"x"[..], 4096));
    for length in (0..whole.len()).step_by(97).chain([members.len(), members.len() + 512]) {
        let (_outer, result) = unpacked(Format::Tar, &whole[..length]);
        assert!(result.is_err(), "cut at {length} of {}", whole.len());
    }
    assert!(refusal(Format::Tar, &[whole, b"garbage".repeat(100)].concat()).contains("tar"));
}

#[test]
fn a_tar_with_anything_but_plain_files_is_refused() {
    use ::tar::EntryType::{Char, Directory, Fifo, Link, Symlink};
    for kind in [Symlink, Link, Directory, Char, Fifo] {
        let stream = [tar_member("evil", b"", kind), vec![0; 1024]].concat();
        assert!(refusal(Format::Tar, &stream).contains("must be a plain file"), "{kind:?}");
    }
}

/// Counts the bytes read from a stream, because the crate reads headers into memory.
struct Counted<'a, R> {
    stream: R,
    taken: &'a mut usize,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        *self.taken += count;
        Ok(count)
    }
}

#[test]
fn long_tar_headers_take_little_memory() {
    use ::tar::EntryType::{GNULongLink, GNULongName, XHeader};
    for kind in [GNULongName, GNULongLink, XHeader] {
        let mut header = ::tar::Header::new_ustar();
        header.set_path("long").unwrap();
        header.set_entry_type(kind);
        header.set_size(3 << 30);
        header.set_cksum();
        let mut taken = 0;
        let stream = header.as_bytes().chain(io::repeat(b'x').take(3 << 30));
        let stream = Counted { stream, taken: &mut taken };
        let directory = tempfile::tempdir().unwrap();
        let error = unpack(Format::Tar, stream, directory.path()).unwrap_err();
        assert!(error.to_string().contains("header is too long"), "{kind:?}: {error}");
        assert!(taken <= 1 << 20, "{kind:?}: {taken} bytes were taken");
    }
}

#[test]
fn hostile_names_in_a_tar() {
    for name in ["../evil", "/evil", "a/../../evil", ".mysqlset.json"] {
        assert!(refusal(Format::Tar, &[regular(name, b"x"), vec![0; 1024]].concat()).contains("is refused"), "{name}");
    }
    let twice = [regular("a", b"x"), regular("a", b"y"), vec![0; 1024]].concat();
    assert!(refusal(Format::Tar, &twice).contains("comes twice"));
}
