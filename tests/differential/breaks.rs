//! Broken backups: cut, a bit flipped, chunks twice, missing, or in another order. The container's parser refuses every
//! break that it can detect. The digest around it detects the rest, such as one name that became another.

use harness::xbstream::{self, Chunk, Field};
use mysqlset::unpack::Format;

use crate::framed;
use crate::sample::{FORMATS, backup, unpacked};

/// The place of a field in each sample that has it.
fn each_place(field: Field, mut what: impl FnMut(Format, &[u8], &Chunk, std::ops::Range<usize>)) {
    let mut places = 0;
    for format in FORMATS {
        let stream = backup(format).concat();
        for chunk in xbstream::chunks(format, &stream) {
            if let Some(range) = chunk.find(field).filter(|range| !range.is_empty()) {
                what(format, &stream, &chunk, range);
                places += 1;
            }
        }
    }
    assert!(places > 0, "no sample has a {field:?}");
}

#[track_caller]
fn refused(format: Format, stream: &[u8], what: &str) {
    assert!(unpacked(format, stream).is_err(), "{format}: {what} was taken for a backup");
}

#[test]
fn cut_at_each_boundary_of_chunks() {
    for format in FORMATS {
        let stream = backup(format).concat();
        for chunk in xbstream::chunks(format, &stream) {
            refused(format, &stream[..chunk.at.start], &format!("a cut at {}", chunk.at.start));
        }
    }
}

/// At its first byte, and between any two of it.
fn cuts_inside(field: Field) {
    each_place(field, |format, stream, _, range| {
        for at in range {
            // The first field begins where the previous chunk ends. The test above covers that cut.
            refused(format, &stream[..at], &format!("a cut inside a {field:?}, at {at}"));
        }
    });
}

/// The outcome of each flipped bit that the parser accepts: `knows` must find it harmless. With the digest each flip is
/// refused.
fn flips_in(field: Field, mut harmless: impl FnMut(&Chunk, bool) -> bool) {
    each_place(field, |format, stream, chunk, range| {
        let good = unpacked(format, stream).unwrap();
        for (at, bit) in range.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = stream.to_vec();
            damaged[at] ^= 1 << bit;
            if let Ok(tree) = unpacked(format, &damaged) {
                assert!(harmless(chunk, tree == good), "{format}: bit {bit} of a {field:?}, at {at}, was not noticed");
                framed::must_refuse(format, stream, &damaged);
            }
        }
    });
}

fn every_flip_in(field: Field) {
    flips_in(field, |_, _| false);
}

#[test]
fn cut_inside_the_magic() {
    cuts_inside(Field::Magic);
}

#[test]
fn cut_inside_the_flags_and_the_type() {
    cuts_inside(Field::Flags);
    cuts_inside(Field::Type);
}

#[test]
fn cut_inside_a_paths_length() {
    cuts_inside(Field::PathLength);
}

#[test]
fn cut_inside_a_path() {
    cuts_inside(Field::Path);
}

#[test]
fn cut_inside_a_length() {
    cuts_inside(Field::Length);
}

#[test]
fn cut_inside_an_offset() {
    cuts_inside(Field::Offset);
}

#[test]
fn cut_inside_a_checksum() {
    cuts_inside(Field::Checksum);
}

#[test]
fn cut_inside_a_payload() {
    cuts_inside(Field::Data);
}

#[test]
fn cut_inside_a_seeks_offset() {
    cuts_inside(Field::SeekOffset);
}

#[test]
fn cut_inside_a_renames_length() {
    cuts_inside(Field::NewPathLength);
}

#[test]
fn cut_inside_a_renames_path() {
    cuts_inside(Field::NewPath);
}

#[test]
fn cut_inside_a_sparse_chunks_count() {
    cuts_inside(Field::MapCount);
}

#[test]
fn cut_inside_a_sparse_chunks_map() {
    cuts_inside(Field::Map);
}

#[test]
fn a_bit_of_the_magic() {
    every_flip_in(Field::Magic);
}

#[test]
fn a_bit_of_the_flags() {
    // A new file may be marked as rewritten. On an open file the mark means nothing.
    flips_in(Field::Flags, |chunk, same| same && chunk.kind == b'P');
}

#[test]
fn a_bit_of_the_type_may_have_an_empty_file_removed_that_never_came() {
    flips_in(Field::Type, |chunk, same| chunk.kind == b'E' && chunk.find(Field::Data).is_none() && !same);
}

#[test]
fn a_bit_of_a_paths_length() {
    every_flip_in(Field::PathLength);
}

#[test]
fn a_bit_of_a_path_makes_another_name_that_only_the_digest_knows() {
    let mut unnoticed = 0;
    flips_in(Field::Path, |_, same| {
        unnoticed += 1;
        !same
    });
    assert!(unnoticed > 0);
}

#[test]
fn a_bit_of_a_length() {
    every_flip_in(Field::Length);
}

#[test]
fn a_bit_of_an_offset() {
    every_flip_in(Field::Offset);
}

#[test]
fn a_bit_of_a_checksum() {
    every_flip_in(Field::Checksum);
}

#[test]
fn a_bit_of_a_payload() {
    every_flip_in(Field::Data);
}

#[test]
fn a_bit_of_a_seeks_offset() {
    every_flip_in(Field::SeekOffset);
}

#[test]
fn a_bit_of_a_renames_length() {
    every_flip_in(Field::NewPathLength);
}

#[test]
fn a_bit_of_a_renames_path_makes_another_name_that_only_the_digest_knows() {
    flips_in(Field::NewPath, |_, same| !same);
}

#[test]
fn a_bit_of_a_sparse_chunks_count() {
    every_flip_in(Field::MapCount);
}

#[test]
fn a_bit_of_a_sparse_chunks_map() {
    every_flip_in(Field::Map);
}

/// Each stream that has one chunk changed, with that chunk's number.
fn changed(format: Format, change: impl Fn(&mut Vec<Vec<u8>>, usize)) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let chunks = backup(format);
    (0..chunks.len()).map(move |number| {
        let mut chunks = chunks.clone();
        change(&mut chunks, number);
        (number, chunks.concat())
    })
}

#[test]
fn a_chunk_that_comes_twice() {
    for format in FORMATS {
        let stream = backup(format).concat();
        let chunks = xbstream::chunks(format, &stream);
        let good = unpacked(format, &stream).unwrap();
        for (number, damaged) in changed(format, |chunks, number| chunks.insert(number, chunks[number].clone())) {
            if let Ok(tree) = unpacked(format, &damaged) {
                let chunk = &chunks[number];
                let nothing = chunk.find(Field::Data).is_some_and(|data| data.is_empty());
                let is_done = matches!(chunk.kind, b'R' | b'D');
                let says_nothing_new = nothing || is_done || chunk.find(Field::SeekOffset).is_some();
                assert!(tree == good && says_nothing_new, "{format}: chunk {number} came twice");
            }
            framed::must_refuse(format, &stream, &damaged);
        }
    }
}

#[test]
fn a_chunk_that_is_missing() {
    for format in FORMATS {
        let stream = backup(format).concat();
        let chunks = xbstream::chunks(format, &stream);
        for (number, damaged) in changed(format, |chunks, number| drop(chunks.remove(number))) {
            let chunk = &chunks[number];
            let name = |chunk: &Chunk| chunk.find(Field::Path).map(|range| stream[range].to_vec());
            let next = chunks[number + 1..].iter().find(|next| name(next) == name(chunk));
            let more_follows = next.is_some_and(|next| next.find(Field::Offset).is_some());
            let moves = chunk.find(Field::Data).is_some_and(|data| !data.is_empty());
            if (more_follows && moves) || chunk.find(Field::SeekOffset).is_some() || chunk.kind == b'E' {
                // The end of an empty file makes that file.
                let was_all = chunk.kind == b'E' && !chunks[..number].iter().any(|before| name(before) == name(chunk));
                assert!(was_all || unpacked(format, &damaged).is_err(), "{format}: chunk {number} was not missed");
            }
            framed::must_refuse(format, &stream, &damaged);
        }
    }
}

#[test]
fn two_chunks_in_the_wrong_order() {
    for format in FORMATS {
        let stream = backup(format).concat();
        let good = unpacked(format, &stream).unwrap();
        let swap = |chunks: &mut Vec<Vec<u8>>, number: usize| {
            let other = (number + 1).min(chunks.len() - 1);
            chunks.swap(number, other);
        };
        for (number, damaged) in changed(format, swap).filter(|(_, damaged)| *damaged != stream) {
            if let Ok(tree) = unpacked(format, &damaged) {
                // Only for two files, which may interleave.
                assert!(tree == good, "{format}: chunk {number} came too late");
            }
            framed::must_refuse(format, &stream, &damaged);
        }
    }
}
