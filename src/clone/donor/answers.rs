//! The server's answers to peers' questions, kept for a second.
//!
//! A thousand questions a second cost the server a few logins a second: one answer serves all peers for that second,
//! and so does one login.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::model::position::Position;
use crate::protocol::message::{Hello, Report};
use crate::server::history::{self, Progress};
use crate::server::trouble::code_of;
use crate::server::{Server, filtered_data, replication_status};
use crate::settings::Sidecar;

/// How long an answer, a login or a failed login serves every peer.
const LIFETIME: Duration = Duration::from_secs(1);

/// Limit for the server's part of a report. A peer waits five seconds; from a slower server it gets the rest of the
/// report.
const LIMIT: Duration = Duration::from_secs(4);

/// Answers kept for each kind of question: this many replicas may ask in a second.
const KEPT: usize = 16;

/// Questions asked at once. A slow server answers several replicas in parallel, each with a question of its own.
const LANES: usize = 4;

/// The kept answers, and the connections to the server.
#[derive(Default)]
pub struct Answers {
    /// The same question always goes to the same lane.
    lanes: [Arc<Mutex<Recent>>; LANES],
}

#[derive(Default)]
struct Recent {
    server: Option<Server>,
    unreachable: Option<Instant>,
    progress: Kept<(), Progress>,
    cannot_follow: Kept<Position, String>,
    unknown_history: Kept<String, String>,
    left_out: Kept<(), Option<String>>,
}

impl Answers {
    /// Fills in the server's part of a report. Fields that the server does not answer stay empty.
    pub async fn complete(&self, settings: &Arc<Sidecar>, hello: &Hello, report: &mut Report) -> Result<()> {
        let mut hasher = DefaultHasher::new();
        format!("{:?} {:?}", hello.about, hello.history).hash(&mut hasher);
        let lane = &self.lanes[hasher.finish() as usize % LANES];
        let begun = Instant::now();
        let Ok(recent) = timeout(LIMIT, lane.clone().lock_owned()).await else {
            bail!("the server was still busy with other peers' questions after {} seconds", LIMIT.as_secs());
        };
        let left = LIMIT.saturating_sub(begun.elapsed());
        let (lane, settings) = (lane.clone(), settings.clone());
        let questions = (hello.about.clone(), hello.history.clone());
        let partial = report.clone();
        // In a task of its own: the next peer needs the login even if this one leaves.
        let asking = tokio::spawn(async move {
            let mut recent = recent;
            let mut report = partial;
            let asked = timeout(left, recent.ask_again(&lane, &settings, &questions, &mut report)).await;
            let silent = || anyhow::anyhow!("the server took longer than {} seconds to answer", LIMIT.as_secs());
            (report, asked.unwrap_or_else(|_| Err(silent())))
        });
        let (completed, asked) = asking.await?;
        *report = completed;
        asked
    }
}

/// Closes an idle session: it would occupy one of the server's connections.
async fn log_out(lane: Arc<Mutex<Recent>>) {
    sleep(LIFETIME).await;
    let server = lane.lock().await.server.take();
    if let Some(server) = server {
        server.close().await;
    }
}

type Questions = (Option<Position>, Option<String>);

struct Failed {
    error: anyhow::Error,
    by_old_login: bool,
}

impl Recent {
    async fn ask_again(
        &mut self,
        lane: &Arc<Mutex<Recent>>,
        settings: &Sidecar,
        questions: &Questions,
        report: &mut Report,
    ) -> Result<()> {
        let asked = match self.ask(lane, settings, questions, report).await {
            // The server closes idle connections too: only a fresh connection can show that it is down.
            Err(Failed { error, by_old_login: true }) if code_of(&error).is_none() => {
                self.ask(lane, settings, questions, report).await
            }
            asked => asked,
        };
        asked.map_err(|failed| failed.error)
    }

    async fn ask(
        &mut self,
        lane: &Arc<Mutex<Recent>>,
        settings: &Sidecar,
        questions: &Questions,
        report: &mut Report,
    ) -> Result<(), Failed> {
        // Taken out, so that a late answer to an abandoned question is not read as the answer to the next one.
        let mut login = Login { server: self.server.take(), is_old: true, lane, settings };
        login.is_old = login.server.is_some();
        let asked = self.fill(&mut login, questions, report).await;
        let Login { server, is_old: by_old_login, .. } = login;
        if asked.as_ref().err().is_none_or(|error| code_of(error).is_some()) {
            self.server = server;
        }
        asked.map_err(|error| Failed { error, by_old_login })
    }

    async fn fill(&mut self, login: &mut Login<'_>, (about, history): &Questions, report: &mut Report) -> Result<()> {
        let progress = match self.progress.get(&()) {
            Some(known) => known,
            None => {
                let server = login.server(&mut self.unreachable).await?;
                let status = replication_status(server).await?;
                self.progress.put((), history::progress(server, status.as_ref()).await?)
            }
        };
        (report.applied, report.fetched) = (progress.applied, progress.fetched);
        if let Some(position) = about {
            report.cannot_follow = Some(match self.cannot_follow.get(position) {
                Some(known) => known,
                None => {
                    let server = login.server(&mut self.unreachable).await?;
                    let why = history::why_cannot_follow(server, position).await?.unwrap_or_default();
                    self.cannot_follow.put(position.clone(), why)
                }
            });
        }
        if let Some(other) = history {
            report.unknown_history = Some(match self.unknown_history.get(other) {
                Some(known) => known,
                None => {
                    let server = login.server(&mut self.unreachable).await?;
                    let unknown = history::what_is_unknown(server, other).await?;
                    self.unknown_history.put(other.clone(), unknown)
                }
            });
        }
        // Last: the account may lack the privilege, and a recipient hears about that in its refusal.
        report.left_out = match self.left_out.get(&()) {
            Some(known) => known,
            None => {
                let role = login.settings.member.role();
                let server = login.server(&mut self.unreachable).await?;
                self.left_out.put((), filtered_data::what(server, role).await?)
            }
        };
        Ok(())
    }
}

/// A connection that is made when it is first needed.
struct Login<'a> {
    server: Option<Server>,
    is_old: bool,
    lane: &'a Arc<Mutex<Recent>>,
    settings: &'a Sidecar,
}

impl Login<'_> {
    async fn server(&mut self, unreachable: &mut Option<Instant>) -> Result<&mut Server> {
        let server = match self.server.take() {
            Some(server) => server,
            None => self.connect(unreachable).await?,
        };
        Ok(self.server.insert(server))
    }

    async fn connect(&self, unreachable: &mut Option<Instant>) -> Result<Server> {
        if unreachable.is_some_and(|since| since.elapsed() < LIFETIME) {
            bail!("the server could not be reached a moment ago");
        }
        *unreachable = Some(Instant::now());
        let server = Server::connect(&self.settings.server, &self.settings.sql).await?;
        *unreachable = None;
        tokio::spawn(log_out(self.lane.clone()));
        Ok(server)
    }
}

/// Answers to one kind of question, the latest last.
struct Kept<Q, A>(Vec<(Instant, Q, A)>);

impl<Q, A> Default for Kept<Q, A> {
    fn default() -> Kept<Q, A> {
        Kept(Vec::new())
    }
}

impl<Q: PartialEq, A: Clone> Kept<Q, A> {
    fn get(&mut self, question: &Q) -> Option<A> {
        self.0.retain(|(came, ..)| came.elapsed() < LIFETIME);
        self.0.iter().find(|(_, known, _)| known == question).map(|(.., answer)| answer.clone())
    }

    /// The answer's second starts now, so that a slow server is not asked more often than a quick one.
    fn put(&mut self, question: Q, answer: A) -> A {
        self.put_at(Instant::now(), question, answer)
    }

    fn put_at(&mut self, came: Instant, question: Q, answer: A) -> A {
        if self.0.len() >= KEPT {
            self.0.remove(0);
        }
        self.0.push((came, question, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_a_second_and_in_bounded_number() {
        let mut kept = Kept::default();
        let now = Instant::now();
        for question in 0..2 * KEPT {
            kept.put_at(now, question, question * 10);
        }
        assert_eq!(kept.0.len(), KEPT);
        assert_eq!((kept.get(&(2 * KEPT - 1)), kept.get(&0)), (Some(20 * KEPT - 10), None));
        if let Some(earlier) = now.checked_sub(LIFETIME) {
            let mut kept = Kept::default();
            kept.put_at(earlier, (), 1);
            assert_eq!(kept.get(&()), None);
        }
    }
}
