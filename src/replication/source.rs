//! Whom a replica follows: only a primary whose data are of the replica's own set.
//!
//! A primary that has lost its volume and started anew has the same name and the same accounts, and its log would be
//! followed if nobody looked. So the receiver runs only while the primary's identity has been seen to be the replica's
//! own: it is asked at each start of the sidecar and of the server, and whenever the receiver has lost its connection;
//! then the receiver is stopped until the answer is there, before it tries again by itself. Only while no sidecar runs
//! is nobody there to stop it; the next one asks at its start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::held_back::HeldBack;
use super::primary_identity::{Identity, Primary};
use super::source_password::renew_password;
use crate::model::event::{Event, info, warn};
use crate::observe::status::Status;
use crate::server::Server;
use crate::server::refusal::Refusal;
use crate::server::status::{ReplicationStatus, Thread};
use crate::server::trouble::Recurring;
use crate::settings::Sidecar;

/// How long a receiver may take to connect after the primary was found to be the right one: a name server may lose a question,
/// which costs the server five seconds, and us as many.
const CONNECTING: Duration = Duration::from_secs(12);

/// Between two tries to mend a receiver that the primary turns away.
const RENEWAL: Duration = Duration::from_secs(30);

/// A connection that stands is asked about again after so long: it may have been lost and made anew between two looks.
const CONFIRMED: Duration = Duration::from_secs(60);

/// Watches over the receiver.
pub struct SourceWatch {
    pub primary: Primary,
    /// The receiver stands still because of us.
    held_back: bool,
    /// When the receiver was started, for the primary was the right one; until it is seen to run.
    started: Option<Instant>,
    /// When the source was last seen to be the right one, since the receiver connected.
    confirmed: Option<Instant>,
    password_renewed: Option<Instant>,
    /// What was said of the primary: its words hold positions, addresses and times that change from look to look.
    foreign: Recurring,
    silent: Recurring,
    /// When a receiver was started again that an expired account had ended.
    started_again: Option<Instant>,
    waiting: HeldBack,
}

impl SourceWatch {
    pub fn new(settings: Arc<Sidecar>) -> SourceWatch {
        let primary = Primary::new(settings);
        SourceWatch {
            primary,
            held_back: false,
            started: None,
            confirmed: None,
            password_renewed: None,
            foreign: Recurring::default(),
            silent: Recurring::default(),
            started_again: None,
            waiting: HeldBack::default(),
        }
    }

    /// After a start of the server or of the sidecar: a receiver that stands still waits for us.
    pub fn begin(&mut self) {
        (self.held_back, self.started, self.confirmed) = (true, None, None);
    }

    /// Called at each look at the server.
    pub async fn tend(&mut self, server: &mut Server, replication: &ReplicationStatus, status: &Status) -> Result<()> {
        self.primary.trust.notice(replication.receiver);
        // MariaDB's receiver ends where its account has expired, and nobody stopped it knowingly.
        if replication.receiver == Thread::Stopped
            && replication.refusal() == Some(Refusal::Expired)
            && self.started_again.is_none_or(|at| at.elapsed() > RENEWAL)
        {
            (self.started_again, self.held_back) = (Some(Instant::now()), true);
        }
        self.started = self.started.filter(|_| replication.receiver != Thread::Running);
        self.confirmed = self.confirmed.filter(|at| replication.receiver == Thread::Running && self.holds_since(*at));
        if self.confirmed.is_some()
            || self.is_connecting_on_trust(replication)
            || (replication.receiver == Thread::Stopped && !self.held_back)
        {
            // Whoever stopped it did so knowingly: it waits for nobody.
            self.tell_waiting(None, status);
            return Ok(());
        }
        let identity = self.primary.identity(server, Some(replication), status).await?;
        match &identity {
            Identity::Same | Identity::Trusted => self.let_go(server, replication).await?,
            Identity::Different(_) => self.hold_back(server, replication).await?,
            // A connection that stands was made to the right primary, or will be found out when it says who it is.
            Identity::Unknown(_) if replication.receiver == Thread::Running => {}
            Identity::Unknown(_) if self.is_on_its_way(replication) => {}
            Identity::Unknown(_) => self.hold_back(server, replication).await?,
        }
        self.tell(identity, status);
        Ok(())
    }

    fn holds_since(&self, confirmed: Instant) -> bool {
        self.primary.trust.holds(Instant::now()) || confirmed.elapsed() < CONFIRMED
    }

    /// Whether it was started a moment ago, has not been connected since, and is still looking for the primary, as we are.
    fn is_on_its_way(&self, replication: &ReplicationStatus) -> bool {
        replication.receiver == Thread::Connecting
            && self.primary.asking.is_some()
            && self.started.is_some_and(|at| at.elapsed() < CONNECTING)
    }

    fn is_connecting_on_trust(&self, replication: &ReplicationStatus) -> bool {
        replication.receiver == Thread::Connecting && self.primary.trust.holds(Instant::now())
    }

    async fn let_go(&mut self, server: &mut Server, replication: &ReplicationStatus) -> Result<()> {
        if replication.refusal() == Some(Refusal::Password)
            && self.password_renewed.is_none_or(|at| at.elapsed() > RENEWAL)
        {
            self.password_renewed = Some(Instant::now());
            info!(ReplicationTurnedAway, "the primary turns replication away: giving the server the password anew");
            // Should a step of it fail, both threads are ours to start again.
            self.held_back = true;
            renew_password(server, &self.primary.settings).await?;
        } else if replication.receiver == Thread::Stopped {
            if replication.applier == Thread::Stopped && replication.applier_error == 0 {
                server.execute(&server.dialect.start_applier()).await?;
            }
            server.execute(&server.dialect.start_receiver()).await?;
            self.started = Some(Instant::now());
            info!(ReplicationStarted, source = %self.primary.settings.source, "replication started");
        }
        self.held_back = false;
        self.confirmed = (replication.receiver == Thread::Running).then(Instant::now);
        Ok(())
    }

    async fn hold_back(&mut self, server: &mut Server, replication: &ReplicationStatus) -> Result<()> {
        // Said before: where the answer is lost, the server stops it all the same.
        self.held_back = true;
        if replication.receiver != Thread::Stopped {
            server.execute(&server.dialect.stop_receiver()).await?;
        }
        Ok(())
    }

    fn tell(&mut self, identity: Identity, status: &Status) {
        let before = status.get();
        let (foreign, silent) = match identity {
            Identity::Same | Identity::Trusted => (None, None),
            Identity::Different(why) => (Some(why), None),
            Identity::Unknown(why) => (before.foreign_source.clone(), self.held_back.then_some(why)),
        };
        match &foreign {
            Some(why) if self.foreign.is_news_of(&Event::SourceForeign.because(why)) => warn!(SourceForeign, "{why}"),
            Some(_) => {}
            None => self.foreign.clear(),
        }
        match &silent {
            Some(why) if self.silent.is_news_of(&Event::SourceSilent.because(why)) => {
                info!(SourceSilent, "replication waits until the primary says which set its data are of: {why}")
            }
            Some(_) => {}
            None => self.silent.clear(),
        }
        status.update(|snapshot| snapshot.foreign_source = foreign);
        self.tell_waiting(silent, status);
    }

    fn tell_waiting(&mut self, silent: Option<String>, status: &Status) {
        self.waiting.note(silent.is_some(), self.primary.is_mute);
        status.update(|snapshot| {
            snapshot.silent_source = silent;
            self.waiting.tell(snapshot, self.primary.settings.max_held_back);
        });
    }
}
