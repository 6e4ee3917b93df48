//! The start of a replica's replication, broken off at each statement that its sidecar sends to its server. The break
//! comes before the server sees it, or after its execution with the answer lost. The replica then replicates and holds
//! each row once.
//!
//! The statements are those of an undisturbed start, so a new one in `src/` becomes a new point by itself.

use anyhow::{Context, Result, ensure};
use harness::pods::manifest::Manifests;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set::{self, INNODB_TABLES};
use harness::sql_proxy::{Moment, Point, SqlProxy, shape, use_sql_proxy};
use harness::writer::Writer;
use rustix::process::Signal;

#[test]
fn a_sidecar_killed_at_each_change_after_a_clone_from_the_primary() -> Result<()> {
    let lab = Lab::start(2, |_| {})?;
    for point in around_changes(&lab.undisturbed()?) {
        lab.kill_at(&[point], &["sidecar"])?;
    }
    Ok(())
}

/// The sidecar's writes to its journal lie between two statements too, also between two that only read.
#[test]
fn a_sidecar_killed_at_each_question() -> Result<()> {
    let lab = Lab::start(2, |_| {})?;
    // On a slow server only some of them are tried.
    let every = if tested().is_quick() { 1 } else { 3 };
    for point in before_questions(&lab.undisturbed()?).into_iter().step_by(every) {
        lab.kill_at(&[point], &["sidecar"])?;
    }
    Ok(())
}

/// The start that finds a source set, but no entry in the journal, stops replication first.
#[test]
fn a_sidecar_killed_again_at_each_change_of_the_start_after() -> Result<()> {
    let lab = Lab::start(2, |_| {})?;
    let source_set = around_changes(&lab.undisturbed()?)
        .into_iter()
        .find(|point| point.shape.starts_with(tested().change_source()) && point.moment == Moment::After)
        .context("no source is set")?;
    let repeated = lab.said_after_kill_at(&source_set)?;
    ensure!(repeated.iter().any(|point| point.shape == tested().stop_replica()), "nothing was stopped: {repeated:?}");
    for point in repeated {
        lab.kill_at(&[source_set.clone(), point], &["sidecar"])?;
    }
    Ok(())
}

#[test]
fn a_sidecar_killed_at_each_change_after_a_clone_from_a_replica() -> Result<()> {
    let lab = Lab::start(3, |_| {})?;
    for point in around_changes(&lab.undisturbed()?) {
        lab.kill_at(&[point], &["sidecar"])?;
    }
    Ok(())
}

#[test]
fn a_server_killed_at_each_change() -> Result<()> {
    let lab = Lab::start(2, |_| {})?;
    for point in around_changes(&lab.undisturbed()?) {
        lab.kill_at(&[point], &["mysql"])?;
    }
    Ok(())
}

/// The tutorial's ConfigMap has no `skip_slave_start`. Such a server starts replication before its sidecar has looked.
#[test]
fn a_server_that_starts_replication_by_itself_killed_with_its_sidecar_at_each_change() -> Result<()> {
    let lab = Lab::start(2, |manifests| {
        for words in ["skip_slave_start\n", "skip_replica_start\n"] {
            manifests.server_files().for_each(|file| *file = file.replace(words, ""));
        }
    })?;
    for point in around_changes(&lab.undisturbed()?) {
        lab.kill_at(&[point], &["mysql", "sidecar"])?;
    }
    Ok(())
}

/// A set whose last pod is cloned repeatedly, with the proxy between its sidecar and its server.
struct Lab {
    cluster: Cluster,
    proxy: SqlProxy,
    pods: usize,
    replica: String,
}

impl Lab {
    fn start(pods: u32, change: impl FnOnce(&mut Manifests)) -> Result<Lab> {
        let cluster = set::start(pods, |manifests| {
            use_sql_proxy(manifests);
            set::notice_gone_replicas_soon(manifests);
            change(manifests);
        })?;
        let proxy = SqlProxy::start(&cluster)?;
        cluster.wait_ready(pods as usize)?;
        set::fill(&cluster)?;
        Ok(Lab { cluster, proxy, pods: pods as usize, replica: format!("mysql-{}", pods - 1) })
    }

    /// The sidecar's statements until both threads run, without a disturbance.
    fn undisturbed(&self) -> Result<Vec<String>> {
        self.clone_again_and(|| Ok(()))?;
        self.said()
    }

    /// The changes in the start that follows.
    fn said_after_kill_at(&self, point: &Point) -> Result<Vec<Point>> {
        self.kill_at(std::slice::from_ref(point), &["sidecar"])?;
        let points = around_changes(&self.said()?);
        let killed = points.iter().position(|met| met == point).context("the point was not met")?;
        Ok(points[killed + 1..].to_vec())
    }

    fn said(&self) -> Result<Vec<String>> {
        let said = self.proxy.statements(self.cluster.address(&self.replica)?);
        let last_change = said.iter().rposition(|statement| is_change(statement)).context("nothing was changed")?;
        // The last change is followed by one look at its result.
        Ok(said.into_iter().take(last_change + 2).collect())
    }

    fn kill_at(&self, points: &[Point], containers: &[&str]) -> Result<()> {
        self.proxy.hold_at(points);
        self.clone_again_and(|| {
            for point in points {
                self.cluster.wait_for(&format!("{point:?}"), PATIENCE, || Ok(self.proxy.holds()))?;
                self.kill(containers)?;
                self.proxy.let_go();
                println!("{containers:?} killed {:?} {} #{}", point.moment, point.shape, point.occurrence);
            }
            Ok(())
        })
        .with_context(|| format!("{containers:?} killed at {points:?}"))
    }

    fn kill(&self, containers: &[&str]) -> Result<()> {
        let restarts = |container: &str| -> Result<u32> {
            Ok(self.cluster.status(&self.replica)?.containers.get(container).map_or(0, |status| status.restarts))
        };
        let before = containers.iter().map(|container| restarts(container)).collect::<Result<Vec<u32>>>()?;
        for container in containers {
            self.cluster.signal(&self.replica, container, Signal::KILL)?;
        }
        for (container, before) in containers.iter().zip(before) {
            let has_ended = || Ok(restarts(container)? > before);
            self.cluster.wait_for(&format!("the end of {container}"), PATIENCE, has_ended)?;
        }
        Ok(())
    }

    /// The replica loses its volume, and is cloned and disturbed while the primary is written to. Afterwards it must
    /// fulfil all demands on a replica.
    fn clone_again_and(&self, disturb: impl FnOnce() -> Result<()>) -> Result<()> {
        let (cluster, replica) = (&self.cluster, self.replica.as_str());
        let writer = Writer::start_in(&INNODB_TABLES, cluster)?;
        let clones = set::clones(cluster, replica);
        cluster.delete_volume(replica)?;
        disturb()?;
        cluster.wait_for("the journal to say replicating", PATIENCE, || {
            Ok(set::state(cluster, replica).as_deref() == Some("replicating"))
        })?;
        cluster.wait_ready(self.pods)?;
        writer.finish()?;
        set::assert_same_rows_of_innodb(cluster, &[replica])?;
        self.assert_replicates()?;
        set::assert_no_leftovers(cluster, replica)?;
        ensure!(set::clones(cluster, replica) == clones + 1, "not cloned once\n{}", cluster.describe());
        Ok(())
    }

    fn assert_replicates(&self) -> Result<()> {
        let rows = self.cluster.sql(&self.replica, "SHOW REPLICA STATUS")?;
        // The source's host, and the state of the two threads. Both families have them there.
        let shown: Vec<Option<&str>> =
            [1, 10, 11].iter().map(|column| Some(rows.first()?.get(*column)?.as_str())).collect();
        ensure!(shown == [Some("mysql-0.mysql"), Some("Yes"), Some("Yes")], "{rows:?}\n{}", self.cluster.describe());
        Ok(())
    }
}

fn around_changes(said: &[String]) -> Vec<Point> {
    let changes = numbered(said).filter(|(statement, _, _)| is_change(statement));
    changes
        .flat_map(|(_, shape, occurrence)| {
            [Moment::Before, Moment::After].map(|moment| point(&shape, occurrence, moment))
        })
        .collect()
}

/// After a query all is as before the next statement.
fn before_questions(said: &[String]) -> Vec<Point> {
    let questions = numbered(said).filter(|(statement, _, _)| !is_change(statement));
    questions.map(|(_, shape, occurrence)| point(&shape, occurrence, Moment::Before)).collect()
}

fn point(shape: &str, occurrence: usize, moment: Moment) -> Point {
    Point { shape: shape.to_owned(), occurrence, moment }
}

/// Each statement with its shape, and its number among those of that shape.
fn numbered(said: &[String]) -> impl Iterator<Item = (&str, String, usize)> {
    said.iter().enumerate().map(|(number, statement)| {
        let shape = shape(statement);
        let occurrence = said[..=number].iter().filter(|said| self::shape(said) == shape).count();
        (statement.as_str(), shape, occurrence)
    })
}

/// Whether a statement changes more than its own session.
fn is_change(statement: &str) -> bool {
    !["SELECT", "SHOW", "SET SESSION"].iter().any(|harmless| statement.starts_with(harmless))
}
