//! A server that is there and denies access, and the entrypoint's temporary server, which knows no account yet.

use super::client::{Error, ServerError};
use super::refusal::Refusal;
use crate::model::event::Event;

/// Whether an error is the server's word, and not the want of one.
pub(super) fn is_answer(error: &Error) -> bool {
    !matches!(error, Error::Io(_))
}

/// MySQL asks an account that it does not know for a proof by any plugin, so that nobody learns which accounts exist. So a
/// plugin that the client does not have says as much as an access that is denied.
pub(super) fn turned_away(error: Error) -> anyhow::Error {
    match error {
        Error::Server(error) => {
            let refusal = Refusal::of(error.code.into());
            let remedy = refusal.map(|refusal| format!(": {}", refusal.remedy())).unwrap_or_default();
            TurnedAway { text: format!("{error}{remedy}"), code: Some(error.code), refusal }.into()
        }
        Error::UnknownPlugin(_) => {
            TurnedAway { text: error.to_string(), code: None, refusal: Some(Refusal::Password) }.into()
        }
        Error::Io(_) | Error::Protocol(_) => innermost(error),
    }
}

/// MariaDB lets an account in whose password has expired, and refuses each of its statements. Both servers run
/// `init_connect` before the first one, and answer that one with its failure.
pub(super) fn refused_at_first_statement(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<ServerError>() {
        Some(answered) => match Refusal::of(answered.code.into()) {
            Some(Refusal::Expired | Refusal::InitConnect) => turned_away(Error::Server(answered.clone())),
            _ => error,
        },
        None => error,
    }
}

/// The entrypoint's server of a first start or an upgrade.
pub(super) fn temporary() -> anyhow::Error {
    Event::ServerTemporary.because("networking is disabled: this is the entrypoint's temporary server").into()
}

/// The server is there, and does not let us in.
#[derive(Debug)]
pub struct TurnedAway {
    text: String,
    /// The server's error number.
    pub code: Option<u16>,
    pub refusal: Option<Refusal>,
}

impl TurnedAway {
    /// For the account or its password, not for want of room.
    pub fn is_stranger(&self) -> bool {
        self.refusal == Some(Refusal::Password)
    }
}

impl std::fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TurnedAway {}

/// An error by its cause.
pub(super) fn innermost(error: Error) -> anyhow::Error {
    match error {
        Error::Server(error) => error.into(),
        Error::Io(error) => error.into(),
        other => other.into(),
    }
}
