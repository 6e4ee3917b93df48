//! A line at the bottom of a terminal that is drawn anew, and the log lines above it.

use std::io::{self, Stderr, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::sys::held;

/// Back to the line's beginning, and wipe it. (ECMA-48)
const WIPE: &[u8] = b"\r\x1b[K";

/// Whether standard error is a terminal on which people read.
static IS_DRAWN_ON: AtomicBool = AtomicBool::new(false);

static SCREEN: LazyLock<Mutex<Screen<Stderr>>> = LazyLock::new(|| Mutex::new(Screen::new(io::stderr())));

/// From now on lines may be drawn.
pub fn allow_drawing() {
    IS_DRAWN_ON.store(true, Ordering::Relaxed);
}

/// Whether lines are drawn; else whoever has something to say logs it.
pub fn is_drawn_on() -> bool {
    IS_DRAWN_ON.load(Ordering::Relaxed)
}

/// Draws a line in the place of the one before. A terminal that can't be written changes nothing.
pub fn draw(line: &str) {
    let _ = screen().draw(line);
}

/// Takes the line away.
pub fn clear() {
    let _ = screen().draw("");
}

fn screen() -> MutexGuard<'static, Screen<Stderr>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where log lines are written: above the line that is drawn.
pub struct Above;

impl Write for Above {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(text) {
            // A directory that is held open is called by its name.
            Ok(words) => screen().write_above(held::in_words(words).as_bytes())?,
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

    /// What a terminal shows in the end.
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
    fn without_a_drawn_line_nothing_but_text_is_written() {
        let mut screen = Screen::new(Vec::new());
        screen.draw("").unwrap();
        screen.write_above(b"text\n").unwrap();
        assert_eq!(screen.output, b"text\n");
    }
}
