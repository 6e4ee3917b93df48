//! The output of mysqlset, found by the names of its events: in log lines, refusals, termination messages and pages.
//!
//! Other texts have no event: a server's message, a tool's, a path or a table's name is searched as it is.

use mysqlset::model::event::Event;

/// A log, or another text, that names events.
pub trait Said {
    /// The log's lines with this event.
    fn lines_of(&self, event: Event) -> Vec<Line<'_>>;

    /// The number of these lines.
    fn count_of(&self, event: Event) -> usize {
        self.lines_of(event).len()
    }

    /// Whether there is one.
    fn has(&self, event: Event) -> bool {
        self.count_of(event) > 0
    }

    /// Whether there is one that quotes a text too.
    fn has_with(&self, event: Event, text: &str) -> bool {
        self.lines_of(event).iter().any(|line| line.text.contains(text))
    }

    /// Whether the event's name is anywhere in the text, as a refusal's is in a message.
    fn names(&self, event: Event) -> bool;

    /// The number of streams that arrived incomplete or damaged.
    fn broken_streams(&self) -> usize {
        let is_broken = |line: &Line<'_>| line.field("kind") == Some("broken");
        self.lines_of(Event::ReceiveSetback).into_iter().filter(is_broken).count()
    }
}

impl<T: AsRef<str> + ?Sized> Said for T {
    fn lines_of(&self, event: Event) -> Vec<Line<'_>> {
        self.as_ref().lines().filter_map(|line| Line::of(line, event)).collect()
    }

    fn names(&self, event: Event) -> bool {
        let (text, name) = (self.as_ref(), event.name());
        let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
        text.match_indices(name).any(|(at, _)| {
            let goes_before = text[..at].ends_with(|before: char| is_of_name(before) || before == '.');
            let rest = &text[at + name.len()..];
            let goes_on = rest.strip_prefix('.').unwrap_or(rest).starts_with(is_of_name);
            !goes_before && !goes_on
        })
    }
}

/// A line of a log in text: its message, the event, then the other fields.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub text: &'a str,
    fields: &'a str,
}

impl<'a> Line<'a> {
    fn of(text: &'a str, event: Event) -> Option<Line<'a>> {
        let mark = format!(" event={event}");
        let behind = text.match_indices(&mark).map(|(at, _)| &text[at + mark.len()..]);
        let fields = behind.into_iter().find(|rest| rest.is_empty() || rest.starts_with(' '))?;
        Some(Line { text, fields })
    }

    /// A field's value, without its quotes.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.fields.split_once(&format!(" {name}="))?;
        match value.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => value.split(' ').next(),
        }
    }

    /// The same for a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.field(name)?.parse().ok()
    }
}
