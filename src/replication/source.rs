//! Decides which primary a replica follows: only one whose data belong to the replica's own set.
//!
//! A primary that has lost its volume and started over has the same name and the same accounts, so a receiver would
//! follow its log. The receiver therefore runs only after the primary's identity was checked. The check runs at each
//! start of the sidecar and of the server, and whenever the receiver has lost its connection. Then the receiver is
//! stopped until the answer arrives, before it reconnects by itself. A gap remains while no sidecar runs; the next one
//! checks at its start.

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

/// How long a receiver may take to connect after the primary's identity was confirmed. A name server may lose a query,
/// which costs the server five seconds, and us as many.
const CONNECTING: Duration = Duration::from_secs(12);

/// Between two attempts to mend a receiver that the primary denies access.
const RENEWAL: Duration = Duration::from_secs(30);

/// A standing connection is checked again after this time: it may have been lost and remade between two looks.
const CONFIRMED: Duration = Duration::from_secs(60);

/// Watches the receiver.
pub struct SourceWatch {
    pub primary: Primary,
    /// Whether we stopped the receiver.
    held_back: bool,
    /// When we started the receiver with a confirmed primary; cleared once it runs.
    started: Option<Instant>,
    /// When the source was last confirmed, since the receiver connected.
    confirmed: Option<Instant>,
    password_renewed: Option<Instant>,
    /// The last logged cause. Its text holds positions, addresses and times that change from look to look.
    foreign: Recurring,
    silent: Recurring,
    /// When we last restarted a receiver that an expired account had ended.
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

    /// After a start of the server or of the sidecar, a stopped receiver waits for us.
    pub fn begin(&mut self) {
        (self.held_back, self.started, self.confirmed) = (true, None, None);
    }

    /// Called at each look at the server.
    pub async fn tend(&mut self, server: &mut Server, replication: &ReplicationStatus, status: &Status) -> Result<()> {
        self.primary.trust.notice(replication.receiver);
        // MariaDB's receiver ends by itself where its account has expired, so this stop was not an operator's decision.
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
            // An operator stopped the receiver on purpose.
            self.tell_waiting(None, status);
            return Ok(());
        }
        let identity = self.primary.identity(server, Some(replication), status).await?;
        match &identity {
            Identity::Same | Identity::Trusted => self.let_go(server, replication).await?,
            Identity::Different(_) => self.hold_back(server, replication).await?,
            // A standing connection was made to the right primary, or will be checked once the primary answers.
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

    /// Whether the receiver was started a moment ago and is still looking for the primary, as we are.
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
            info!(
                ReplicationTurnedAway,
                "the primary denies access to the replication account: giving this server the password again"
            );
            // Should a step fail, both threads are ours to start again.
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
        // Set first: if the answer is lost, the server stops the receiver all the same.
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
                info!(SourceSilent, "replication waits until the primary reports its set id: {why}")
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
