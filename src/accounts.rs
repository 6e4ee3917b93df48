//! The accounts that the set makes for itself: the primary's sidecar makes them before anybody needs them, and sets their
//! passwords anew whenever one that it was given changes. The replicas get them with the rows.
//!
//! What the server has is found out by trying: an account that is let in with the password that it should have, and says
//! that it has its privileges, is left alone, so that a restart writes nothing into the binary log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tracing::debug;

use crate::backup_tool::BackupTool;
use crate::clone_plugin;
use crate::event::{info, warn};
use crate::mysql::dialect::Dialect;
use crate::mysql::trouble::{Recurring, Trouble};
use crate::mysql::{Server, TurnedAway};
use crate::secret::{Password, Secret};
use crate::settings::{Account, ManagedAccount, Purpose, Sidecar};
use crate::wire::auth;

/// Between two looks at the passwords.
const PERIOD: Duration = Duration::from_secs(2);

/// Keeps them.
pub struct Accounts {
    settings: Arc<Sidecar>,
    /// The passwords that the server was seen to have, by user.
    seen: BTreeMap<String, Secret>,
    /// Whether copies are made by the CLONE plugin, which needs an account.
    has_plugin: bool,
    looked: Option<Instant>,
    trouble: Recurring,
}

impl Accounts {
    pub fn new(settings: Arc<Sidecar>) -> Accounts {
        Accounts { settings, seen: BTreeMap::new(), has_plugin: false, looked: None, trouble: Recurring::default() }
    }

    /// At a start of the server, which may be on other data: before the pod is called ready.
    pub async fn begin(&mut self, server: &mut Server) -> Result<()> {
        self.seen.clear();
        // It takes a moment, and what is installed beside us doesn't change.
        let tool = BackupTool::find().ok();
        self.has_plugin = clone_plugin::copies_server(self.settings.peering.method, tool.as_ref(), &server.version);
        self.looked = Some(Instant::now());
        if self.plugin_account().is_none() {
            self.drop_plugin_account(server).await;
        }
        self.keep_all(server).await
    }

    /// Called at each look at the primary's server. That a changed password can't be set takes nothing from those who are
    /// connected: it is said, once, and tried again.
    pub async fn tend(&mut self, server: &mut Server) {
        if self.looked.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        self.looked = Some(Instant::now());
        match self.keep_all(server).await {
            Ok(()) => self.trouble.clear(),
            Err(error) => {
                let trouble = Trouble::of(&error);
                if self.trouble.is_news(&trouble) {
                    warn!(AccountNotKept, code = trouble.code, "{}", trouble.cause);
                }
            }
        }
    }

    /// One that can't be kept doesn't keep the others from it.
    async fn keep_all(&mut self, server: &mut Server) -> Result<()> {
        let mut first = Ok(());
        let plugin = self.plugin_account();
        for managed in self.settings.managed.iter().chain(&plugin) {
            let (user, password) = (&managed.account.user, managed.account.password.current());
            if self.seen.get(user) == Some(&password) {
                continue;
            }
            match keep(managed, &password, &self.settings, server).await {
                Ok(()) => drop(self.seen.insert(user.clone(), password)),
                Err(error) => first = first.and(Err(error.context(format!("keeping the account {user:?}")))),
            }
        }
        first
    }

    /// One of an earlier start, under other flags: without a secret its password is no secret. Who may not look for it has
    /// not made it either.
    async fn drop_plugin_account(&self, server: &mut Server) {
        let user = &self.settings.plugin_user;
        if !server.dialect.has_clone_plugin() {
            return;
        }
        match server.value(&Dialect::knows_user(user)).await {
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => return debug!("whether there is an account {user:?} can't be seen: {error:#}"),
        }
        for statement in server.dialect.drop_account(Purpose::Plugin, user) {
            if let Err(error) = server.execute(&statement).await {
                return warn!(
                    AccountNotDropped,
                    "the account {user:?}, which nobody is to use any more, can't be dropped: {error:#}"
                );
            }
        }
        info!(AccountDropped, account = user, "the account is gone: no copies are made by the CLONE plugin");
    }

    /// The account that the CLONE plugin needs; none where nobody is given anything.
    fn plugin_account(&self) -> Option<ManagedAccount> {
        let secret = self.settings.peering.secret.as_ref().map(Password::current);
        if !self.has_plugin || (secret.is_none() && !self.settings.donate_to_anyone) {
            return None;
        }
        let password = auth::password_of_plugin(secret.as_ref(), &self.settings.member.set);
        let user = self.settings.plugin_user.clone();
        let account = Account { user, password: Password::fixed(password.reveal()), socket: None };
        Some(ManagedAccount { purpose: Purpose::Plugin, account })
    }
}

async fn keep(managed: &ManagedAccount, password: &Secret, settings: &Sidecar, server: &mut Server) -> Result<()> {
    let ManagedAccount { purpose, account } = managed;
    if is_as_it_should_be(managed, settings).await? {
        return Ok(());
    }
    let hosts = match purpose {
        Purpose::Root => server.column(server.dialect.hosts_of_root()).await?,
        _ => server.dialect.hosts(*purpose),
    };
    // With a character of each kind, which a server's rules for passwords may ask for.
    let unknown = Secret::new(format!("Aa1!{}", auth::nonce()?));
    for statement in server.dialect.keep_account(*purpose, &account.user, &hosts, password, &unknown) {
        server.execute(&statement).await?;
    }
    info!(AccountKept, account = account.user, "the account is there, with the password that it was given");
    Ok(())
}

/// Found out by being it. Root may be let in from here only: where there is a socket it is tried there.
async fn is_as_it_should_be(managed: &ManagedAccount, settings: &Sidecar) -> Result<bool> {
    let mut account = managed.account.clone();
    if managed.purpose == Purpose::Root {
        account.socket = settings.sql.socket.clone();
    }
    match Server::connect(&settings.server, &account).await {
        Ok(mut let_in) => {
            let grants = let_in.column("SHOW GRANTS").await;
            let has_all = let_in.dialect.has_privileges(managed.purpose, &grants?);
            let_in.close().await;
            Ok(has_all)
        }
        Err(error) if error.downcast_ref::<TurnedAway>().is_some_and(|away| away.is_stranger) => Ok(false),
        Err(error) => Err(error),
    }
}
