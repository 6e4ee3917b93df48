//! Keeps the accounts that the set creates for itself. The primary's sidecar creates them before their first use, and
//! sets a password again when its file changes. The replicas get them with the rows.
//!
//! It checks existing accounts by logging in as each of them. An account that logs in and has its privileges stays as
//! it is. So a restart leaves the binary log unchanged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tracing::debug;

use crate::clone::method::backup_tool::BackupTool;
use crate::clone::method::clone_plugin;
use crate::model::event::{Event, info, warn};
use crate::protocol::auth;
use crate::protocol::clone_secret::{CloneSecret, Keys};
use crate::server::account::{Account, ManagedAccount, Purpose};
use crate::server::dialect::{Dialect, Statement};
use crate::server::refusal::Refusal;
use crate::server::trouble::{Recurring, Trouble, code_of};
use crate::server::{Server, TurnedAway};
use crate::settings::Sidecar;
use crate::sys::secret::{Password, Secret};

/// ER_OPTION_PREVENTS_STATEMENT: MariaDB's strict_password_validation refuses a hash as a password.
const NO_HASHES: u16 = 1290;

/// ER_NOT_VALID_PASSWORD.
const TOO_WEAK: u16 = 1819;

/// Accounts are checked again after this time, since one may have been locked or dropped, or may have expired.
const SEEN: Duration = Duration::from_secs(60);

/// Between two looks at the passwords.
const PERIOD: Duration = Duration::from_secs(2);

/// Why an account is checked again soon. The pod may be ready meanwhile: replicas connect only to a ready primary, so
/// its readiness must not wait for one.
#[derive(Debug, thiserror::Error)]
enum Later {
    /// MySQL with semi-synchronous replication: a change waits for ever for a replica, and blocks every login
    /// meanwhile.
    #[error(
        "replication is semi-synchronous and no replica is connected to acknowledge a change: the change follows once \
         one connects"
    )]
    NoReplica,
    /// Reading the account's state failed; why.
    #[error("its privileges are unknown: {0}")]
    Unseen(String),
}

/// Creates the accounts and keeps them at their passwords.
pub struct Accounts {
    settings: Arc<Sidecar>,
    /// Passwords that were seen to work, by user.
    seen: BTreeMap<String, Secret>,
    /// Whether the CLONE plugin makes the copies. It needs an account.
    has_plugin: bool,
    looked: Option<Instant>,
    /// When `seen` was last emptied.
    forgotten: Instant,
    trouble: Recurring,
}

impl Accounts {
    pub fn new(settings: Arc<Sidecar>) -> Accounts {
        Accounts {
            settings,
            seen: BTreeMap::new(),
            has_plugin: false,
            looked: None,
            forgotten: Instant::now(),
            trouble: Recurring::default(),
        }
    }

    /// Called at each start of the server, which may be on other data, before the pod is called ready.
    pub async fn begin(&mut self, server: &mut Server) -> Result<()> {
        (self.seen, self.forgotten) = (BTreeMap::new(), Instant::now());
        if let Some(first) = server.dialect.too_old_to_keep_accounts(&server.version)
            && !self.settings.managed.is_empty()
        {
            return Err(Event::AccountServerTooOld.error(format!(
                "--manage-accounts needs {first} or later, and this server is {}: create the accounts by hand and \
                 remove the flag",
                server.version
            )));
        }
        // The search takes a moment, and the installed tool stays the same.
        let tool = BackupTool::find().ok();
        self.has_plugin = clone_plugin::copies_server(self.settings.peering.method, tool.as_ref(), &server.version);
        self.looked = Some(Instant::now());
        if self.plugin_account().is_none() {
            self.drop_plugin_account(server).await;
        }
        match self.keep_all(server).await {
            Err(error) if error.is::<Later>() => {
                self.tell(&error);
                Ok(())
            }
            kept => kept,
        }
    }

    /// Called at each look at the primary's server. Connected clients go on where setting a changed password fails. The
    /// failure is logged once, and the change is tried again.
    pub async fn tend(&mut self, server: &mut Server) {
        if self.looked.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        self.looked = Some(Instant::now());
        if self.forgotten.elapsed() >= SEEN {
            (self.seen, self.forgotten) = (BTreeMap::new(), Instant::now());
        }
        match self.keep_all(server).await {
            Ok(()) => self.trouble.clear(),
            Err(error) => self.tell(&error),
        }
    }

    fn tell(&mut self, error: &anyhow::Error) {
        let trouble = Trouble::of(error);
        if self.trouble.is_news(&trouble) {
            warn!(AccountNotKept, code = trouble.code, "{}", trouble.cause);
        }
    }

    /// Continues with the other accounts when one fails.
    async fn keep_all(&mut self, server: &mut Server) -> Result<()> {
        let (mut first, plugin, settings) = (Ok(()), self.plugin_account(), self.settings.clone());
        let is_for_replicas = |managed: &&ManagedAccount| managed.purpose == Purpose::Replication;
        let replication = settings.managed.iter().find(is_for_replicas);
        let mut may_have_replicas: Option<bool> = None;
        // The replication account comes last: until it exists, the set has had no replica.
        let others = settings.managed.iter().filter(|managed| !is_for_replicas(managed)).chain(&plugin);
        for managed in others.chain(replication) {
            let (user, password) = (&managed.account.user, managed.account.password.current());
            if self.seen.get(user) == Some(&password) {
                continue;
            }
            let may_have = match (may_have_replicas, replication) {
                (Some(known), _) => known,
                (None, None) => false,
                (None, Some(replication)) => {
                    server.value(&Dialect::knows_user(&replication.account.user)).await?.is_some()
                }
            };
            may_have_replicas = Some(may_have);
            match keep(managed, &password, &settings, may_have, server).await {
                Ok(()) => drop(self.seen.insert(user.clone(), password)),
                Err(error) if first.as_ref().err().is_none_or(|first: &anyhow::Error| first.is::<Later>()) => {
                    first = Err(error.context(format!("keeping the account {user:?}")));
                }
                Err(_) => {}
            }
        }
        first
    }

    /// Drops the account of an earlier start under other flags. Without a secret its password is public. A sidecar that
    /// lacks the privilege to look for the account cannot have made it.
    async fn drop_plugin_account(&self, server: &mut Server) {
        let user = &self.settings.plugin_user;
        if !server.dialect.has_clone_plugin() {
            return;
        }
        match server.value(&Dialect::knows_user(user)).await {
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => return debug!("cannot look for the account {user:?}: {error:#}"),
        }
        if server.lacks_acknowledging_replicas().await.unwrap_or(true) {
            return warn!(AccountNotDropped, "the unused account {user:?} stays for now: {}", Later::NoReplica);
        }
        for statement in server.dialect.drop_account(Purpose::Plugin, user) {
            if let Err(error) = server.execute(&statement).await {
                return warn!(AccountNotDropped, "cannot drop the unused account {user:?}: {error:#}");
            }
        }
        info!(AccountDropped, account = user, "account dropped: the CLONE plugin makes no copies");
    }

    /// The account that the CLONE plugin needs. Set only where this pod serves recipients.
    fn plugin_account(&self) -> Option<ManagedAccount> {
        let secret = self.settings.peering.secret.as_ref().map(CloneSecret::now);
        if !self.has_plugin || (secret.is_none() && !self.settings.donate_to_anyone) {
            return None;
        }
        let password = auth::password_of_plugin(secret.as_ref().map(Keys::own), &self.settings.member.set);
        let user = self.settings.plugin_user.clone();
        let account = Account { user, password: Password::fixed(password.reveal()), socket: None };
        Some(ManagedAccount { purpose: Purpose::Plugin, account })
    }
}

async fn keep(
    managed: &ManagedAccount,
    password: &Secret,
    settings: &Sidecar,
    may_have_replicas: bool,
    server: &mut Server,
) -> Result<()> {
    let ManagedAccount { purpose, account } = managed;
    match look_at(managed, settings).await? {
        Seen::AsItShouldBe => return Ok(()),
        Seen::InitConnectFails(why) => {
            if lacks_acknowledgement(server).await? {
                return Err(Later::NoReplica.into());
            }
            exempt_if_possible(managed, settings, server).await;
            return Err(Later::Unseen(why).into());
        }
        Seen::ToBeMade => {}
    }
    let hosts = match purpose {
        Purpose::Root => server.column(server.dialect.hosts_of_root()).await?,
        _ => server.dialect.hosts(*purpose),
    };
    // One character of each kind, for servers whose password rules ask for them.
    let unknown = Secret::joined(&["Aa1!", Secret::new(auth::nonce()?).reveal()]);
    let statements = server.dialect.keep_account(*purpose, &account.user, &hosts, password, &unknown);
    let unlogged = match server.dialect.log_session(false) {
        Some(statement) if lacks_acknowledgement(server).await? => {
            let is_new = server.value(&Dialect::knows_user(&account.user)).await?.is_none();
            if !is_new || may_have_replicas {
                return Err(Later::NoReplica.into());
            }
            // Later replicas get the account with their copy.
            server.execute(&statement).await?;
            server.dialect.log_session(true)
        }
        _ => None,
    };
    let made = execute_all(server, statements).await;
    if made.is_ok() {
        exempt_if_possible(managed, settings, server).await;
    }
    if let Some(statement) = unlogged {
        server.execute(&statement).await?;
    }
    let kept = match made {
        Err(error) if code_of(&error) == Some(NO_HASHES) => {
            keep_strictly(managed, password, &unknown, settings, server).await
        }
        kept => kept,
    };
    kept.map_err(|error| too_weak_in_words(error, &account.user))?;
    info!(AccountKept, account = account.user, "account created or updated");
    Ok(())
}

/// Whether a change would wait for ever for a missing replica. (On MariaDB such a wait can be ended.)
async fn lacks_acknowledgement(server: &mut Server) -> Result<bool> {
    Ok(server.dialect.log_session(false).is_some() && server.lacks_acknowledging_replicas().await?)
}

/// Tolerates a failure: the sidecar's own account may lack the privilege to pass on, and most accounts can do without
/// it.
async fn exempt_if_possible(managed: &ManagedAccount, settings: &Sidecar, server: &mut Server) {
    if let Err(error) = exempt(managed, settings, server).await {
        debug!("cannot exempt the account {:?} from init_connect and max_connections: {error:#}", managed.account.user);
    }
}

/// The CLONE plugin's account must have a secret as its password, since the privilege allows ending other sessions.
async fn exempt(managed: &ManagedAccount, settings: &Sidecar, server: &mut Server) -> Result<()> {
    if managed.purpose == Purpose::Plugin && settings.peering.secret.is_none() {
        return Ok(());
    }
    execute_all(server, server.dialect.exempt_account(managed.purpose, &managed.account.user)).await
}

async fn execute_all(server: &mut Server, statements: Vec<Statement>) -> Result<()> {
    for statement in statements {
        server.execute_without_replicas(&statement).await?;
    }
    Ok(())
}

/// Lets the account set its own password: that works for every account, and keeps the password out of the binary log.
async fn keep_strictly(
    managed: &ManagedAccount,
    password: &Secret,
    unknown: &Secret,
    settings: &Sidecar,
    server: &mut Server,
) -> Result<()> {
    let ManagedAccount { purpose, account } = managed;
    if *purpose == Purpose::Root {
        return Err(Event::AccountNotKept
            .because(
                "strict_password_validation refuses to set root's password by its hash: set it by hand to the content \
                 of --root-password-file",
            )
            .into());
    }
    let (dialect, user) = (server.dialect, &account.user);
    execute_all(server, dialect.open_account_strictly(*purpose, user, unknown)).await?;
    exempt_if_possible(managed, settings, server).await;
    let itself = Account { password: Password::fixed(unknown.reveal()), ..account.clone() };
    let mut itself = Server::connect(&settings.server, &itself).await?;
    let set = itself.execute_without_replicas(&Dialect::set_own_password(password)).await;
    let own_host = itself.value("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', -1)").await;
    itself.close().await;
    set?;
    let own_host = own_host?.context("the server reports no current user")?;
    // The other hosts' passwords stand in the binary log.
    for host in dialect.hosts(*purpose).iter().filter(|host| **host != own_host) {
        server.execute_without_replicas(&Dialect::drop_account_at(user, host)).await?;
    }
    execute_all(server, dialect.grants(*purpose, user, &own_host)).await
}

/// Adds the remedy, since the server's password plugins leave out what they would accept.
fn too_weak_in_words(error: anyhow::Error, user: &str) -> anyhow::Error {
    if code_of(&error) != Some(TOO_WEAK) {
        return error;
    }
    let text = format!(
        "the server's password validation (simple_password_check, validate_password) refuses the password of {user:?} \
         (error \
         {TOO_WEAK}): give it a longer one in its Secret, with small and capital letters, digits and other characters"
    );
    Event::AccountNotKept.because(text).into()
}

/// The state in which an account was found.
enum Seen {
    AsItShouldBe,
    /// It is missing, has another password, has expired, or lacks a privilege.
    ToBeMade,
    /// Its password works, but init_connect fails with this text, so its privileges stay unknown.
    InitConnectFails(String),
}

/// Logs in as the account. Root may be allowed from this pod only, so the socket is used where there is one.
async fn look_at(managed: &ManagedAccount, settings: &Sidecar) -> Result<Seen> {
    let mut account = managed.account.clone();
    if managed.purpose == Purpose::Root {
        account.socket = settings.sql.socket.clone();
    }
    match Server::connect(&settings.server, &account).await {
        Ok(mut let_in) => {
            let grants = let_in.column("SHOW GRANTS").await;
            let created = let_in.column(Dialect::show_own_account()).await;
            let has_all = let_in.dialect.has_privileges(managed.purpose, &grants?);
            let_in.close().await;
            // People use root too, so its expiry is theirs to decide.
            let lasts = managed.purpose == Purpose::Root || created?.iter().any(|text| Dialect::never_expires(text));
            Ok(if has_all && lasts { Seen::AsItShouldBe } else { Seen::ToBeMade })
        }
        Err(error) => match error.downcast_ref::<TurnedAway>().and_then(|away| away.refusal) {
            Some(Refusal::Password | Refusal::Expired) => Ok(Seen::ToBeMade),
            Some(Refusal::InitConnect) => Ok(Seen::InitConnectFails(format!("{error:#}"))),
            // SQL from the sidecar cannot mend that.
            Some(Refusal::Limit | Refusal::Locked) => Err(Later::Unseen(format!("{error:#}")).into()),
            _ => Err(error),
        },
    }
}
