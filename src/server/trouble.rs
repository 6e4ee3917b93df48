//! Logs a lasting obstacle once. An obstacle is identified by its event and the server's error number, since texts hold
//! addresses, positions and other changing parts.

use std::time::{Duration, Instant};

use super::access_denied::TurnedAway;
use super::client::ServerError;
use crate::model::event::{Cause, Event, event_of};
use crate::model::exit::{Reason, reason_of};

/// The same obstacle is logged again after this time, so that a rotated log shows it too.
const REMINDER: Duration = Duration::from_secs(600);

/// An error from a look at a server, with its event.
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
        let event = match event_of(error).or_else(|| reason_of(error).map(Reason::event)) {
            Some(event) => event,
            None if error.is::<TurnedAway>() => Event::ServerTurnsAway,
            None if code.is_some() => Event::ServerRefused,
            None if is_io() => Event::ServerSilent,
            None => Event::SidecarTrouble,
        };
        Trouble { cause: event.because(format!("{error:#}")), code }
    }
}

/// The error number of a server's answer.
pub fn code_of(error: &anyhow::Error) -> Option<u16> {
    let away = || error.downcast_ref::<TurnedAway>().and_then(|away| away.code);
    error.chain().find_map(|cause| cause.downcast_ref::<ServerError>()).map(|error| error.code).or_else(away)
}

/// The obstacle that was logged last.
#[derive(Debug, Default)]
pub struct Recurring {
    said: Option<(Event, Option<u16>, String, Instant)>,
}

impl Recurring {
    /// Whether to log it: it differs from the last one, or that was long ago.
    pub fn is_news(&mut self, trouble: &Trouble) -> bool {
        // An unnamed obstacle is identified by its text, with digits removed.
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

    /// The same for causes that lack a number: each event once, with any text.
    pub fn is_news_of(&mut self, cause: &Cause) -> bool {
        self.is_news(&Trouble { cause: cause.clone(), code: None })
    }

    /// The obstacle is gone.
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
    fn a_changed_number_is_no_news() {
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
    fn an_event_is_logged_once_with_any_text() {
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
            (Event::ReplicationNoPosition.error("x"), Event::ReplicationNoPosition, None),
            // From reading the server's files.
            (Reason::Disk.error("x"), Event::ExitDisk, None),
            (anyhow::Error::new(Event::ReplicationLag.because("x")), Event::ReplicationLag, None),
            (anyhow!("x"), Event::SidecarTrouble, None),
        ] {
            let trouble = Trouble::of(&error);
            assert_eq!((trouble.cause.event, trouble.code), (event, code), "{error:#}");
        }
    }
}
