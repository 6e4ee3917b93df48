//! Draws a progress line at the bottom of a terminal, and prints log lines above it.

use std::io::{self, Stderr, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::sys::held_directory;

/// Moves to the start of the line and clears it. (ECMA-48)
const WIPE: &[u8] = b"\r\x1b[K";

/// Whether standard error is a terminal that people read.
static IS_DRAWN_ON: AtomicBool = AtomicBool::new(false);

static SCREEN: LazyLock<Mutex<Screen<Stderr>>> = LazyLock::new(|| Mutex::new(Screen::new(io::stderr())));

/// Allows progress lines from now on.
pub fn allow_drawing() {
    IS_DRAWN_ON.store(true, Ordering::Relaxed);
}

/// Whether progress lines are drawn. Otherwise progress belongs in the log.
pub fn is_drawn_on() -> bool {
    IS_DRAWN_ON.load(Ordering::Relaxed)
}

/// Draws a line in place of the previous one. Errors of the terminal are ignored.
pub fn draw(line: &str) {
    let _ = screen().draw(line);
}

/// Removes the line.
pub fn clear() {
    let _ = screen().draw("");
}

fn screen() -> MutexGuard<'static, Screen<Stderr>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A writer for log lines, above the progress line.
pub struct Above;

impl Write for Above {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(text) {
            // Shows the name of a held directory instead of its descriptor.
            Ok(words) => screen().write_above(held_directory::in_words(words).as_bytes())?,
            Err(_) => screen().write_above(text)?,
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        screen().output.flush()
    }
}

struct Screen<W> {
    output: W,
    drawn: String,
}

impl<W: Write> Screen<W> {
    fn new(output: W) -> Screen<W> {
        Screen { output, drawn: String::new() }
    }

    fn draw(&mut self, line: &str) -> io::Result<()> {
        if self.drawn.is_empty() && line.is_empty() {
            return Ok(());
        }
        line.clone_into(&mut self.drawn);
        self.output.write_all(&[WIPE, line.as_bytes()].concat())
    }

    fn write_above(&mut self, text: &[u8]) -> io::Result<()> {
        if self.drawn.is_empty() {
            return self.output.write_all(text);
        }
        self.output.write_all(&[WIPE, text, self.drawn.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The final content of a terminal.
    fn shown(written: &[u8]) -> Vec<String> {
        let text = String::from_utf8(written.to_vec()).unwrap();
        text.split('\n').map(|line| line.rsplit("\r\x1b[K").next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn log_lines_stand_above_the_drawn_one() {
        let mut screen = Screen::new(Vec::new());
        screen.write_above(b"first\n").unwrap();
        screen.draw("receiving 10 %").unwrap();
        screen.draw("receiving 20 %").unwrap();
        screen.write_above(b"second\n").unwrap();
        assert_eq!(shown(&screen.output), ["first", "second", "receiving 20 %"]);
        screen.draw("").unwrap();
        screen.write_above(b"third\n").unwrap();
        assert_eq!(shown(&screen.output), ["first", "second", "third", ""]);
    }

    #[test]
    fn without_a_drawn_line_only_text_is_written() {
        let mut screen = Screen::new(Vec::new());
        screen.draw("").unwrap();
        screen.write_above(b"text\n").unwrap();
        assert_eq!(screen.output, b"text\n");
    }
}
