//! A server that is there and denies access, and the entrypoint's temporary server, which knows no account yet.

use super::client::{Error, ServerError};
use super::refusal::Refusal;
use crate::model::event::Event;

/// Whether an error is the server's answer, as opposed to a missing one.
pub(super) fn is_answer(error: &Error) -> bool {
    !matches!(error, Error::Io(_))
}

/// Describes a denied access. MySQL asks an unknown account for a proof by any plugin, to hide which accounts exist. So
/// an unsupported plugin means as much as a denied access.
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

/// Recognises a refusal that comes with the first statement. MariaDB accepts the login of an account with an expired
/// password, and refuses each of its statements. Both servers run `init_connect` before the first one, and report its
/// failure there.
pub(super) fn refused_at_first_statement(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<ServerError>() {
        Some(answered) => match Refusal::of(answered.code.into()) {
            Some(Refusal::Expired | Refusal::InitConnect) => turned_away(Error::Server(answered.clone())),
            _ => error,
        },
        None => error,
    }
}

/// The error for the entrypoint's server of a first start or an upgrade.
pub(super) fn temporary() -> anyhow::Error {
    Event::ServerTemporary.because("networking is disabled: this is the entrypoint's temporary server").into()
}

/// The server answers but denies access.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct TurnedAway {
    text: String,
    /// The server's error number.
    pub code: Option<u16>,
    pub refusal: Option<Refusal>,
}

impl TurnedAway {
    /// Whether the account or its password is at fault, as opposed to a connection limit.
    pub fn is_stranger(&self) -> bool {
        self.refusal == Some(Refusal::Password)
    }
}

/// The innermost cause of an error.
pub(super) fn innermost(error: Error) -> anyhow::Error {
    match error {
        Error::Server(error) => error.into(),
        Error::Io(error) => error.into(),
        other => other.into(),
    }
}
