//! What stands in the way again and again, said once. It is recognised by its event and the server's error number: texts
//! hold addresses, positions and other things that change.

use std::time::{Duration, Instant};

use super::access_denied::TurnedAway;
use super::client::ServerError;
use crate::model::event::{Cause, Event, event_of};
use crate::model::exit::reason_of;

/// After so long the same trouble is said again: a log that was rotated has it too.
const REMINDER: Duration = Duration::from_secs(600);

/// What an error of a look at a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub cause: Cause,
    /// The server's error number.
    pub code: Option<u16>,
}

impl Trouble {
    pub fn of(error: &anyhow::Error) -> Trouble {
        let code = code_of(error);
        let is_io =
            || error.chain().any(|cause| cause.is::<std::io::Error>() || cause.is::<tokio::time::error::Elapsed>());
        let event = match event_of(error).or_else(|| reason_of(error).map(crate::model::exit::Reason::event)) {
            Some(event) => event,
            None if error.is::<TurnedAway>() => Event::ServerTurnsAway,
            None if code.is_some() => Event::ServerRefused,
            None if is_io() => Event::ServerSilent,
            None => Event::SidecarTrouble,
        };
        Trouble { cause: event.because(format!("{error:#}")), code }
    }
}

/// The server's number of an error that it answered.
pub fn code_of(error: &anyhow::Error) -> Option<u16> {
    let away = || error.downcast_ref::<TurnedAway>().and_then(|away| away.code);
    error.chain().find_map(|cause| cause.downcast_ref::<ServerError>()).map(|error| error.code).or_else(away)
}

/// The latest trouble that was said.
#[derive(Debug, Default)]
pub struct Recurring {
    said: Option<(Event, Option<u16>, String, Instant)>,
}

impl Recurring {
    /// Whether it is to be said: it is another than the last, or that was long ago.
    pub fn is_news(&mut self, trouble: &Trouble) -> bool {
        // What has no name yet is told apart by its words, without numbers.
        let words = match trouble.cause.event {
            Event::SidecarTrouble => trouble.cause.text.chars().filter(|c| !c.is_ascii_digit()).collect(),
            _ => String::new(),
        };
        let (event, code) = (trouble.cause.event, trouble.code);
        let is_known = self.said.as_ref().is_some_and(|(said, number, before, at)| {
            (*said, *number, before) == (event, code, &words) && at.elapsed() < REMINDER
        });
        if !is_known {
            self.said = Some((event, code, words, Instant::now()));
        }
        !is_known
    }

    /// The same for what has no number: each event once, whatever its words are just now.
    pub fn is_news_of(&mut self, cause: &Cause) -> bool {
        self.is_news(&Trouble { cause: cause.clone(), code: None })
    }

    /// It is over.
    pub fn clear(&mut self) {
        self.said = None;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    fn refused(code: u16, message: &str) -> anyhow::Error {
        let error = ServerError { code, message: message.to_owned(), state: "HY000".to_owned() };
        anyhow::Error::new(error).context("looking")
    }

    #[test]
    fn a_number_that_changes_is_no_news() {
        let mut recurring = Recurring::default();
        let is_news = |recurring: &mut Recurring, error: &anyhow::Error| recurring.is_news(&Trouble::of(error));
        assert!(is_news(&mut recurring, &refused(1236, "at 4711")));
        assert!(!is_news(&mut recurring, &refused(1236, "at 4712")));
        assert!(is_news(&mut recurring, &refused(1045, "at 4712")));
        assert!(is_news(&mut recurring, &anyhow!("17 of 20 came")));
        assert!(!is_news(&mut recurring, &anyhow!("18 of 20 came")));
        assert!(is_news(&mut recurring, &anyhow!("18 of 20 went")));
        recurring.clear();
        assert!(is_news(&mut recurring, &anyhow!("18 of 20 went")));
    }

    #[test]
    fn an_event_is_said_once_whatever_its_words_are() {
        let mut recurring = Recurring::default();
        let silent = |text: &str| Event::SourceSilent.because(text);
        assert!(recurring.is_news_of(&silent("no answer in 3 seconds")));
        assert!(!recurring.is_news_of(&silent("connection refused")));
        assert!(!recurring.is_news_of(&silent("no answer in 3 seconds")));
        assert!(recurring.is_news_of(&Event::SourceForeign.because("0-100-7")));
        assert!(!recurring.is_news_of(&Event::SourceForeign.because("0-100-8")));
        recurring.clear();
        assert!(recurring.is_news_of(&silent("connection refused")));
    }

    #[test]
    fn errors_have_names() {
        let silent = Err::<(), _>(std::io::Error::other("refused")).context("connecting").unwrap_err();
        for (error, event, code) in [
            (refused(1290, "x"), Event::ServerRefused, Some(1290)),
            (silent, Event::ServerSilent, None),
            (crate::model::exit::Reason::NoPosition.error("x"), Event::ExitNoPosition, None),
            (anyhow::Error::new(Event::ReplicationLag.because("x")), Event::ReplicationLag, None),
            (anyhow!("x"), Event::SidecarTrouble, None),
        ] {
            let trouble = Trouble::of(&error);
            assert_eq!((trouble.cause.event, trouble.code), (event, code), "{error:#}");
        }
    }
}
