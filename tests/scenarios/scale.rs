//! More pods, fewer pods, the same pods again.

use anyhow::Result;
use harness::pods::PATIENCE;
use harness::pods::manifest::VolumeMount;
use harness::pods::servers::tested;
use harness::set;
use harness::writer::Writer;
use mysqlset::model::event::Event;

#[test]
fn scaling_to_five_under_writes_gives_five_equal_servers() -> Result<()> {
    let cluster = set::start(3, |_| {})?;
    cluster.wait_ready(3)?;
    set::fill(&cluster)?;
    let writer = Writer::start(&cluster)?;
    cluster.scale(5);
    cluster.wait_ready(5)?;
    let written = writer.finish()?;
    println!("{written} rows were written meanwhile");
    assert!(written > 100);
    set::assert_same_rows(&cluster, &["mysql-0", "mysql-1", "mysql-2", "mysql-3", "mysql-4"])?;
    // The primary donated to the first replica only. Each other replica got its position from its donor's source.
    for (pod, donor) in [("mysql-1", "mysql-0"), ("mysql-3", "mysql-2"), ("mysql-4", "mysql-3")] {
        let clone = set::journal(&cluster, pod)?["clone"].clone();
        assert_eq!(clone["donor_pod"], donor);
        if tested().is_mariadb() {
            let slave_info = cluster.volume(pod).join("mysql").join(tested().left_by_its_tool("slave_info"));
            assert_eq!(slave_info.exists(), donor != "mysql-0", "{pod}: {}", slave_info.display());
        }
    }
    assert_eq!(set::journal(&cluster, "mysql-4")?["clone"]["position"]["by"], tested().position_by());

    cluster.scale(3);
    cluster.wait_ready(3)?;
    for pod in ["mysql-3", "mysql-4"] {
        assert!(cluster.volume(pod).join("mysql/ibdata1").exists(), "{pod}'s volume is gone");
    }
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    cluster.scale(5);
    cluster.wait_ready(5)?;
    set::assert_same_rows(&cluster, &["mysql-3", "mysql-4"])?;
    assert_eq!((set::clones(&cluster, "mysql-3"), set::clones(&cluster, "mysql-4")), (1, 1));
    Ok(())
}

#[test]
fn a_deleted_pod_comes_back_with_its_data_and_a_deleted_volume_is_cloned_again() -> Result<()> {
    let cluster = set::start(3, |_| {})?;
    cluster.wait_ready(3)?;
    set::fill(&cluster)?;

    let before = cluster.status("mysql-2")?.uid;
    cluster.delete_pod("mysql-2")?;
    cluster.wait_for("a new mysql-2", PATIENCE, || Ok(cluster.status("mysql-2")?.uid != before))?;
    cluster.wait_ready(3)?;
    assert_eq!(set::clones(&cluster, "mysql-2"), 1);
    assert!(cluster.has_logged("mysql-2", "clone", Event::DataComplete));
    set::assert_same_rows(&cluster, &["mysql-2"])?;

    cluster.delete_volume("mysql-2")?;
    cluster.wait_ready(3)?;
    assert_eq!(set::clones(&cluster, "mysql-2"), 2);
    set::assert_same_rows(&cluster, &["mysql-2"])?;

    // The same for the primary: its data stay, and its replicas continue from their positions.
    let writer = Writer::start(&cluster)?;
    writer.finish()?;
    let before = cluster.status("mysql-0")?.uid;
    cluster.delete_pod("mysql-0")?;
    cluster.wait_for("a new mysql-0", PATIENCE, || Ok(cluster.status("mysql-0")?.uid != before))?;
    cluster.wait_ready(3)?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])
}

#[test]
fn the_tutorials_mounts_work_too() -> Result<()> {
    with_tutorials_mounts(&[])
}

/// Directories of the storage in a volume's root are no data and no obstacle, and still exist afterwards.
#[test]
fn the_tutorials_mounts_work_on_a_volume_with_directories_of_the_storages_own() -> Result<()> {
    with_tutorials_mounts(&["lost+found", ".snapshot", ".Trash-0"])
}

fn with_tutorials_mounts(storages: &[&str]) -> Result<()> {
    // The data directory is a mount point in every container. So the stage is inside it, and publishing moves entry by
    // entry. The tutorial's roots are writable, and the backup tool's temporary files need a place.
    let cluster = set::start(0, |manifests| {
        for container in ["clone", "sidecar"] {
            let container = manifests.container(container);
            container.security_context.read_only_root_filesystem = false;
            container.env.retain(|variable| !["MYSQLSET_DATA_DIR", "MYSQLSET_SCRATCH_DIR"].contains(&&*variable.name));
            let mut mounts = std::mem::take(&mut container.volume_mounts);
            let position = mounts.iter().rposition(|mount| mount.name == "data").expect("a data mount");
            let mount = mounts.remove(position);
            mounts.retain(|mount| mount.name != "data");
            mounts.push(VolumeMount { mount_path: "/var/lib/mysql".into(), sub_path: Some("mysql".into()), ..mount });
            container.volume_mounts = mounts;
        }
    })?;
    for pod in ["mysql-0", "mysql-1", "mysql-2"] {
        for name in storages {
            std::fs::create_dir_all(cluster.volume(pod).join("mysql").join(name).join("its own"))?;
        }
    }
    cluster.scale(3);
    cluster.wait_ready(3)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    for pod in ["mysql-0", "mysql-1", "mysql-2"] {
        set::assert_no_leftovers(&cluster, pod)?;
        for name in storages {
            assert!(cluster.volume(pod).join("mysql").join(name).join("its own").is_dir(), "{pod} {name}");
        }
    }
    cluster.delete_volume("mysql-2")?;
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-2"])
}
