//! Two servers of a set with the same server id break each other's replication. The pod with the wrong id notices.

use anyhow::Result;
use harness::logged::Said;
use harness::pods::PATIENCE;
use harness::set;
use mysqlset::model::event::Event;
use rustix::process::Signal;

#[test]
fn a_replica_whose_server_has_a_wrong_id_is_not_ready_and_reports_it() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    cluster.sql("mysql-1", "SET GLOBAL server_id = 100")?;
    cluster.signal("mysql-1", "sidecar", Signal::KILL)?;
    cluster.wait_for("mysql-1 to report it", PATIENCE, || {
        let status = cluster.status_page("mysql-1")?;
        Ok(status.names(Event::ServerIdDiffers) && status.contains("server_id 100") && status.contains("101"))
    })?;
    assert_eq!(cluster.ready_pods(), ["mysql-0"]);
    // The other replicas stay unharmed meanwhile.
    // The column is Slave_IO_Running or Replica_IO_Running.
    let status = cluster.sql("mysql-1", "SHOW REPLICA STATUS")?;
    assert_eq!(status[0][10], "No", "{status:?}");
    let log = cluster.logs("mysql-1", "sidecar");
    assert_eq!(log.count_of(Event::ServerIdDiffers), 1, "{log}");
    // The id is corrected. The replica continues at the next start of the server or the sidecar, or at the next try.
    cluster.sql("mysql-1", "SET GLOBAL server_id = 101")?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}
