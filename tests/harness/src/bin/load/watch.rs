//! Observes the donor's pod during a measurement.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::pods::Cluster;
use harness::pods::network::PodNetwork;
use harness::pods::probes::http_get_by;
use mysqlset::model::event::Event;

const POD: &str = "mysql-0";

const ABOUT_STRANGERS: [Event; 4] =
    [Event::DonorHandshakeBroken, Event::DonorStrangers, Event::RefusedUnauthorised, Event::DonorAcceptFailed];

const HTTP: u16 = 8307;

/// The time for one answer; a later one counts as missing.
const LIMIT: Duration = Duration::from_secs(10);

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(200);

/// The worst values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// The time of a probe command, from its start to its end.
    pub probe: Duration,
    /// The time of `/readyz`, from another address than the throng's.
    pub readyz: Duration,
    /// The peak of the sidecar's memory.
    pub bytes: u64,
    pub descriptors: usize,
    /// Lines about strangers, in the sidecar's log.
    pub lines: usize,
}

/// Ends the watch, also when the work fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    /// Does the work, and returns the observations.
    pub fn over<T>(cluster: &Cluster, observer: &PodNetwork, work: impl FnOnce() -> Result<T>) -> Result<(T, Watch)> {
        let lines = || ABOUT_STRANGERS.iter().map(|event| cluster.times_logged(POD, "sidecar", *event)).sum::<usize>();
        // Resets the peak. (proc(5))
        std::fs::write(format!("/proc/{}/clear_refs", cluster.pid(POD, "sidecar")?), "5")?;
        let (before, stop) = (lines(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let watching = scope.spawn(|| -> Result<Watch> {
                let mut worst = Watch::default();
                while !stop.load(Ordering::Relaxed) {
                    worst.look(cluster, observer)?;
                    std::thread::sleep(PERIOD);
                }
                Ok(worst)
            });
            let over = Over(&stop);
            let outcome = work();
            drop(over);
            let seen = watching.join().map_err(|_| anyhow::anyhow!("the watch failed"))??;
            Ok((outcome?, Watch { lines: lines().saturating_sub(before), ..seen }))
        })
    }

    fn look(&mut self, cluster: &Cluster, observer: &PodNetwork) -> Result<()> {
        let asked = Instant::now();
        let answer = cluster.exec(POD, "sidecar", &["/mysqlset/mysqlset", "probe", "ready"])?;
        ensure!(answer.status.success(), "a probe says {answer:?}");
        self.probe = self.probe.max(asked.elapsed());

        let asked = Instant::now();
        let address = SocketAddr::new(cluster.address(POD)?, HTTP);
        let stream = observer.connect(address, LIMIT).context("connecting to /readyz")?;
        let (code, body) = http_get_by(stream, address, "/readyz", LIMIT).context("/readyz does not answer")?;
        ensure!(code == 200, "/readyz says {code}: {body}");
        self.readyz = self.readyz.max(asked.elapsed());

        let sidecar = cluster.pid(POD, "sidecar")?;
        let status = std::fs::read_to_string(format!("/proc/{sidecar}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        self.bytes = self.bytes.max(resident.context("no VmHWM")?.trim().parse::<u64>()? * 1024);
        self.descriptors = self.descriptors.max(std::fs::read_dir(format!("/proc/{sidecar}/fd"))?.count());
        Ok(())
    }
}
