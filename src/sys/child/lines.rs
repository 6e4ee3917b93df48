//! A program's output as lines: whatever comes, no more of it is held than a line of ordinary length.

use std::io::BufRead;

/// What is kept of a line, in bytes.
const LIMIT: usize = 4096;

/// Reads lines. What goes beyond the limit is skipped to the line's end.
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub fn of(input: R) -> Lines<R> {
        Lines { input, line: Vec::new() }
    }

    /// The next line that is not empty, as text that can be logged; `None` at the end, or where no more can be read.
    pub fn next(&mut self) -> Option<String> {
        loop {
            self.line.clear();
            let is_last = self.read();
            let text = printable(&self.line);
            if !text.is_empty() {
                return Some(text);
            }
            if is_last {
                return None;
            }
        }
    }

    /// Reads to the end of a line; whether nothing comes after it.
    fn read(&mut self) -> bool {
        loop {
            let there = match self.input.fill_buf() {
                Ok(there) => there,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return true,
            };
            if there.is_empty() {
                return true;
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let piece = &there[..end.unwrap_or(there.len())];
            self.line.extend_from_slice(&piece[..piece.len().min(LIMIT - self.line.len())]);
            let consumed = end.map_or(there.len(), |end| end + 1);
            self.input.consume(consumed);
            if end.is_some() {
                return false;
            }
        }
    }
}

/// Bytes that are no text, or that a terminal would obey, are replaced.
fn printable(line: &[u8]) -> String {
    let replace = |character: char| if character.is_control() && character != '\t' { '\u{fffd}' } else { character };
    String::from_utf8_lossy(line).trim_end().chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<String> {
        let mut lines = Lines::of(std::io::BufReader::with_capacity(100, input));
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn lines_come_whole_and_empty_ones_do_not() {
        assert_eq!(all(b"one\n\n  \r\ntwo \nthree"), ["one", "two", "three"]);
        assert_eq!(all(b""), Vec::<String>::new());
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_its_own() {
        let long = [vec![b'x'; 3 * LIMIT], b"\nnext\n".to_vec()].concat();
        let lines = all(&long);
        assert_eq!((lines[0].len(), &*lines[1], lines.len()), (LIMIT, "next", 2));
    }

    #[test]
    fn what_has_no_end_and_is_no_text_is_held_within_bounds() {
        let garbage: Vec<u8> = (0..10_000_000u32).map(|number| 128 + (number % 100) as u8).collect();
        let mut lines = Lines::of(garbage.as_slice());
        assert!(lines.next().is_some());
        assert!(lines.line.capacity() <= 2 * LIMIT && lines.next().is_none());
        assert_eq!(all(b"\x1b[31mred\x00\n"), ["\u{fffd}[31mred\u{fffd}"]);
    }
}
