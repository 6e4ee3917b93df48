//! The demo's screen: titles, events with the seconds since the start, and proofs.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

pub struct Narrator {
    lines: Sender<Line>,
    thread: Option<JoinHandle<()>>,
    started: Instant,
}

struct Line {
    text: String,
    style: &'static str,
    /// Receives a signal once the text is on the screen.
    written: Option<Sender<()>>,
}

const TITLE: &str = "1";
const PLAIN: &str = "";
const EVENT: &str = "2";
const PROVEN: &str = "32";
const FAILED: &str = "31";

impl Narrator {
    pub fn start() -> Narrator {
        let (lines, received) = channel::<Line>();
        let coloured = std::io::stdout().is_terminal();
        let thread = std::thread::spawn(move || {
            for line in received {
                write(&line, coloured);
                if let Some(written) = line.written {
                    let _ = written.send(());
                }
            }
        });
        Narrator { lines, thread: Some(thread), started: Instant::now() }
    }

    /// Takes a cluster's events, as they happen.
    pub fn events(&self) -> Sender<String> {
        let (events, received) = channel::<String>();
        let (lines, started) = (self.lines.clone(), self.started);
        std::thread::spawn(move || {
            for event in received {
                let seconds = started.elapsed().as_secs_f64();
                let text = format!("{seconds:8.2} s  {event}");
                let _ = lines.send(Line { text, style: EVENT, written: None });
            }
        });
        events
    }

    pub fn title(&self, text: &str) {
        self.say(format!("\n── {text}"), TITLE);
    }

    pub fn line(&self, text: &str) {
        self.say(format!("            {text}"), PLAIN);
    }

    pub fn table(&self, text: &str) {
        self.say(format!("\n{text}"), PLAIN);
    }

    pub fn proven(&self, text: &str) {
        self.say(format!("{:8.2} s  ✓ {text}", self.started.elapsed().as_secs_f64()), PROVEN);
    }

    pub fn failed(&self, text: &str) {
        self.say(format!("\n✗ Not true: {text}"), FAILED);
    }

    fn say(&self, text: String, style: &'static str) {
        let (written, seen) = channel();
        if self.lines.send(Line { text, style, written: Some(written) }).is_ok() {
            let _ = seen.recv();
        }
    }
}

impl Drop for Narrator {
    fn drop(&mut self) {
        let (closed, _) = channel();
        self.lines = closed;
        // An event listener may still hold a sender: then the thread would never end, and it is left alone.
        if let Some(thread) = self.thread.take().filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}

fn write(line: &Line, coloured: bool) {
    let mut out = std::io::stdout().lock();
    let _ = if coloured && !line.style.is_empty() {
        writeln!(out, "\x1b[{}m{}\x1b[0m", line.style, line.text)
    } else {
        writeln!(out, "{}", line.text)
    };
    let _ = out.flush();
}
