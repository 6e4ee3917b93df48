//! What the server answers to peers' questions. An answer serves everyone for a second, and so does a login: a stranger that
//! asks a thousand times a second costs the server one login a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::mysql::history::{self, Progress};
use crate::mysql::trouble::code_of;
use crate::mysql::{Server, left_out, replication_status};
use crate::position::Position;
use crate::settings::Sidecar;
use crate::wire::message::{Hello, Report};

/// For so long an answer, a login, and a login's failure serve whoever asks.
const LIFETIME: Duration = Duration::from_secs(1);

/// A peer waits five seconds for a report. It gets one without the server's part where the server takes longer.
const LIMIT: Duration = Duration::from_secs(4);

/// Answers that are kept to each kind of question: as many replicas may ask in a second.
const KEPT: usize = 16;

/// The answers, and the one connection by which they are asked for.
#[derive(Default)]
pub struct Answers {
    recent: Mutex<Recent>,
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
    /// Completes a report by what the server says to what was asked. What it does not say is left out.
    pub async fn complete(self: &Arc<Answers>, settings: &Sidecar, hello: &Hello, report: &mut Report) -> Result<()> {
        let asking = async {
            let mut recent = self.recent.lock().await;
            match recent.ask(self, settings, hello, report).await {
                // The server ends connections too: only a fresh one tells that it is away.
                Err(Failed { error, by_old_login: true }) if code_of(&error).is_none() => {
                    recent.ask(self, settings, hello, report).await
                }
                asked => asked,
            }
        };
        match timeout(LIMIT, asking).await {
            Ok(asked) => asked.map_err(|failed| failed.error),
            Err(_) => bail!("the server has not answered within {} seconds", LIMIT.as_secs()),
        }
    }

    /// A session that nobody uses would take one of the server's connections.
    async fn log_out(self: Arc<Answers>) {
        sleep(LIFETIME).await;
        let server = self.recent.lock().await.server.take();
        if let Some(server) = server {
            server.close().await;
        }
    }
}

struct Failed {
    error: anyhow::Error,
    by_old_login: bool,
}

impl Recent {
    async fn ask(
        &mut self,
        answers: &Arc<Answers>,
        settings: &Sidecar,
        hello: &Hello,
        report: &mut Report,
    ) -> Result<(), Failed> {
        // Taken out: an answer that is given up in the middle must not be taken for the next one's.
        let mut login = Login { server: self.server.take(), is_old: true, answers, settings };
        login.is_old = login.server.is_some();
        let asked = self.fill(&mut login, hello, report).await;
        let Login { server, is_old: by_old_login, .. } = login;
        if asked.as_ref().err().is_none_or(|error| code_of(error).is_some()) {
            self.server = server;
        }
        asked.map_err(|error| Failed { error, by_old_login })
    }

    async fn fill(&mut self, login: &mut Login<'_>, hello: &Hello, report: &mut Report) -> Result<()> {
        let progress = match self.progress.get(&()) {
            Some(known) => known,
            None => {
                let asked = Instant::now();
                let server = login.server(&mut self.unreachable).await?;
                let status = replication_status(server).await?;
                self.progress.put(asked, (), history::progress(server, status.as_ref()).await?)
            }
        };
        (report.applied, report.fetched) = (progress.applied, progress.fetched);
        if let Some(position) = &hello.about {
            report.cannot_follow = Some(match self.cannot_follow.get(position) {
                Some(known) => known,
                None => {
                    let asked = Instant::now();
                    let server = login.server(&mut self.unreachable).await?;
                    let why = history::why_cannot_follow(server, position).await?.unwrap_or_default();
                    self.cannot_follow.put(asked, position.clone(), why)
                }
            });
        }
        if let Some(other) = &hello.history {
            report.unknown_history = Some(match self.unknown_history.get(other) {
                Some(known) => known,
                None => {
                    let asked = Instant::now();
                    let server = login.server(&mut self.unreachable).await?;
                    let unknown = history::what_is_unknown(server, other).await?;
                    self.unknown_history.put(asked, other.clone(), unknown)
                }
            });
        }
        // Last: an account may not see it, and whoever wants a copy is told then.
        report.left_out = match self.left_out.get(&()) {
            Some(known) => known,
            None => {
                let (asked, role) = (Instant::now(), login.settings.member.role());
                let server = login.server(&mut self.unreachable).await?;
                self.left_out.put(asked, (), left_out::what(server, role).await?)
            }
        };
        Ok(())
    }
}

/// The connection, made when it is first needed.
struct Login<'a> {
    server: Option<Server>,
    is_old: bool,
    answers: &'a Arc<Answers>,
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
        tokio::spawn(self.answers.clone().log_out());
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
        self.0.retain(|(asked, ..)| asked.elapsed() < LIFETIME);
        self.0.iter().find(|(_, known, _)| known == question).map(|(.., answer)| answer.clone())
    }

    fn put(&mut self, asked: Instant, question: Q, answer: A) -> A {
        if self.0.len() >= KEPT {
            self.0.remove(0);
        }
        self.0.push((asked, question, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_a_while_and_not_without_end() {
        let mut kept = Kept::default();
        let now = Instant::now();
        for question in 0..2 * KEPT {
            kept.put(now, question, question * 10);
        }
        assert_eq!(kept.0.len(), KEPT);
        assert_eq!((kept.get(&(2 * KEPT - 1)), kept.get(&0)), (Some(20 * KEPT - 10), None));
        if let Some(earlier) = now.checked_sub(LIFETIME) {
            let mut kept = Kept::default();
            kept.put(earlier, (), 1);
            assert_eq!(kept.get(&()), None);
        }
    }
}
