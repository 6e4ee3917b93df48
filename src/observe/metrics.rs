//! Collects the metrics and writes `/metrics` in Prometheus' text format (OpenMetrics).

use std::fmt::Write;
use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::datadir::journal::{ListedBy, now};
use crate::model::ordinal::Role;
use crate::observe::snapshot::Snapshot;
use crate::observe::status::Status;
use crate::protocol::message::Why;
use crate::server::status::Thread;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Counters of the donor, and gauges read from the [`Status`] at each scrape.
pub struct Metrics {
    registry: Registry,
    clones: Family<Outcome, Counter>,
    bytes: Counter,
    seconds: Counter<f64, AtomicU64>,
    refusals: Family<Reason, Counter>,
    broken: Counter,
    crowded_out: Counter,
}

impl Metrics {
    /// All metrics of a sidecar, with its status as a source.
    pub fn new(status: std::sync::Arc<Status>) -> Metrics {
        let mut registry = Registry::with_prefix("mysqlset");
        let (clones, refusals) = (Family::<Outcome, Counter>::default(), Family::<Reason, Counter>::default());
        let (bytes, seconds, broken) = (Counter::default(), Counter::<f64, AtomicU64>::default(), Counter::default());
        let crowded_out = Counter::default();
        for outcome in ["served", "failed"] {
            drop(clones.get_or_create(&Outcome { outcome }));
        }
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", info);
        registry.register("donor_clones", "Clones begun as a donor, by outcome", clones.clone());
        registry.register_with_unit("donor_sent", "Backup stream sent in clones served", Unit::Bytes, bytes.clone());
        registry.register_with_unit("donor_busy", "Time taken by clones served", Unit::Seconds, seconds.clone());
        registry.register("donor_refusals", "Requests for a clone that were refused, by reason", refusals.clone());
        registry.register("donor_broken_handshakes", "Connections that brought no request for a clone", broken.clone());
        registry.register("donor_crowded_out", "Connections closed in favour of newer ones", crowded_out.clone());
        registry.register_collector(Box::new(StatusCollector(status)));
        Metrics { registry, clones, bytes, seconds, refusals, broken, crowded_out }
    }

    /// Counts a completed clone.
    pub fn donated(&self, bytes: u64, seconds: f64) {
        self.clones.get_or_create(&Outcome { outcome: "served" }).inc();
        self.bytes.inc_by(bytes);
        self.seconds.inc_by(seconds);
    }

    /// Counts a failed clone.
    pub fn donation_failed(&self) {
        self.clones.get_or_create(&Outcome { outcome: "failed" }).inc();
    }

    /// Counts a refusal.
    pub fn refused(&self, why: Why) {
        self.refusals.get_or_create(&Reason { reason: why.into_str() }).inc();
    }

    /// Counts a connection without a valid request.
    pub fn broken_handshake(&self) {
        self.broken.inc();
    }

    /// Counts a connection that lost its place to a newer one.
    pub fn crowded_out(&self) {
        self.crowded_out.inc();
    }

    /// The text of `/metrics`.
    pub fn page(&self) -> String {
        let mut page = String::new();
        if text::encode(&mut page, &self.registry).is_err() {
            page.clear();
            let _ = writeln!(page, "# cannot write the metrics");
        }
        page
    }
}

/// Derives gauges from the snapshot at each scrape, so that they are always current.
#[derive(Debug)]
struct StatusCollector(std::sync::Arc<Status>);

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Status")
    }
}

impl Collector for StatusCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let snapshot = self.0.get();
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        gauge("server_up", "Whether the local server answers", None, flag(snapshot.server.is_some()))?;
        gauge("ready", "Whether clients may be sent here", None, flag(snapshot.ready().is_ok()))?;
        let slot = snapshot.donating_since.map_or(0, |since| now().saturating_sub(since));
        gauge("donor_slot", "Age of the clone that is being served", Some(&Unit::Seconds), slot as f64)?;
        replication(&snapshot, &mut gauge)?;
        if let Some(clone) = &snapshot.clone {
            gauge("clone_received", "Backup stream behind this pod's data", Some(&Unit::Bytes), clone.bytes as f64)?;
            gauge("clone_duration", "How long receiving the clone took", Some(&Unit::Seconds), clone.seconds)?;
            let at = clone.received_at as f64;
            gauge("clone_received_timestamp", "When the clone was received, since 1970", Some(&Unit::Seconds), at)?;
            let unproven = flag(!clone.unproven.is_empty());
            gauge("clone_unproven", "Whether the clone's prepare proved less than it should", None, unproven)?;
            let checked = flag(matches!(clone.inventory, ListedBy::Donor(_)));
            gauge(
                "clone_inventory_checked",
                "Whether the clone was compared with its donor's inventory",
                None,
                checked,
            )?;
        }
        let starts = ConstCounter::new(snapshot.server_starts);
        let help = "Starts of the server seen since the sidecar's own";
        starts.encode(encoder.encode_descriptor("server_starts_seen", help, None, MetricType::Counter)?)
    }
}

fn replication(
    snapshot: &Snapshot,
    gauge: &mut impl FnMut(&str, &str, Option<&Unit>, f64) -> Result<(), std::fmt::Error>,
) -> Result<(), std::fmt::Error> {
    if snapshot.role == Role::Replica {
        gauge(
            "replication_broken",
            "Whether replication is broken and needs help",
            None,
            flag(snapshot.broken.is_some()),
        )?;
        let fault = flag(snapshot.applier_fault.is_some());
        gauge(
            "replication_applier_fault",
            "Whether the applier stopped with an error and is still at that place",
            None,
            fault,
        )?;
        let foreign = flag(snapshot.foreign_source.is_some());
        gauge("replication_foreign_source", "Whether the primary has data of another set", None, foreign)?;
        let held_back = snapshot.held_back_since.map_or(0, |since| now().saturating_sub(since));
        let help = "How long the receiver has waited for the primary's set id";
        gauge("replication_held_back", help, Some(&Unit::Seconds), held_back as f64)?;
    }
    let Some(status) = &snapshot.replication else { return Ok(()) };
    let running = |thread: Thread| flag(thread == Thread::Running);
    gauge(
        "replication_receiver_running",
        "Whether the source's binary log is being fetched",
        None,
        running(status.receiver),
    )?;
    gauge("replication_applier_running", "Whether the relay log is being applied", None, running(status.applier))?;
    match status.lag_seconds {
        Some(lag) => gauge("replication_lag", "How far the applier is behind", Some(&Unit::Seconds), lag as f64),
        None => Ok(()),
    }
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}
