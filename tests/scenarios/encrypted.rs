//! A set whose data are encrypted. The pods hold the keys, by a plugin in the servers' configuration.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::manifest::volume::{SecretVolume, Volume};
use harness::pods::manifest::{Manifests, VolumeMount};
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;
use rustix::process::Signal;

const TABLES: &str = "CREATE DATABASE enc; USE enc;
    CREATE TABLE one (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(200)) ENCRYPTED=YES ENCRYPTION_KEY_ID=1;
    CREATE TABLE two (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(200)) ENCRYPTED=YES ENCRYPTION_KEY_ID=2;
    CREATE TABLE plain (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(200)) ENCRYPTED=NO;
    CREATE TABLE packed (id INT PRIMARY KEY, t TEXT) ENCRYPTED=YES PAGE_COMPRESSED=1;
    CREATE TABLE zipped (id INT PRIMARY KEY, t TEXT) ENCRYPTED=YES ROW_FORMAT=COMPRESSED;
    CREATE TABLE part (id INT PRIMARY KEY) ENCRYPTED=YES PARTITION BY HASH (id) PARTITIONS 3;
    CREATE TABLE words (id INT PRIMARY KEY, t TEXT, FULLTEXT (t)) ENCRYPTED=YES;
    CREATE TABLE aria (id INT, t VARCHAR(200)) ENGINE=Aria ROW_FORMAT=PAGE;
    INSERT INTO one (t) SELECT CONCAT('marker-of-one-', seq) FROM seq_1_to_3000;
    INSERT INTO two (t) SELECT CONCAT('marker-of-two-', seq) FROM seq_1_to_3000;
    INSERT INTO plain (t) SELECT CONCAT('marker-of-plain-', seq) FROM seq_1_to_3000;
    INSERT INTO packed SELECT seq, REPEAT('p', 3000) FROM seq_1_to_200;
    INSERT INTO zipped SELECT seq, REPEAT('z', 3000) FROM seq_1_to_200;
    INSERT INTO part SELECT seq FROM seq_1_to_100;
    INSERT INTO words SELECT seq, CONCAT('some words ', seq) FROM seq_1_to_100;
    INSERT INTO aria SELECT seq, CONCAT('marker-of-aria-', seq) FROM seq_1_to_3000;";

const CHECKSUMS: &str =
    "CHECKSUM TABLE enc.one, enc.two, enc.plain, enc.packed, enc.zipped, enc.part, enc.words, enc.aria";

/// All data that MariaDB encrypts.
const SETTINGS: &str = "
    plugin_load_add = file_key_management
    loose_file_key_management_encryption_algorithm = AES_CTR
    innodb_encrypt_tables = ON
    innodb_encryption_threads = 2
    innodb_encryption_rotate_key_age = 1
    innodb_encrypt_log = ON
    aria_encrypt_tables = ON
    encrypt_binlog = ON
    encrypt_tmp_files = ON
    encrypt_tmp_disk_tables = ON
";

/// The path of the Secret with the keys.
const KEYS: &str = "/keys";

fn keys(digit: char) -> String {
    let key = |last: char| [digit.to_string().repeat(63), last.to_string()].concat();
    format!("1;{}\n2;{}\n", key('1'), key('2'))
}

/// Encrypted servers. Replicas have their keys from a file of this name.
fn encrypt(manifests: &mut Manifests, replicas_keys: &str) {
    for (file, text) in manifests.server_config().iter_mut() {
        let name = if file == "replica.cnf" { replicas_keys } else { "right" };
        text.push_str(&format!("{SETTINGS}\nfile_key_management_filename = {KEYS}/{name}\n"));
    }
    let files = [("right", 'a'), ("wrong", 'b')].map(|(name, digit)| (name.to_owned(), keys(digit)));
    manifests.secrets.insert("keys".to_owned(), BTreeMap::from(files));
    let secret = SecretVolume { secret_name: "keys".to_owned(), default_mode: 0o444, items: Vec::new() };
    let volume =
        Volume { name: "keys".to_owned(), empty_dir: None, config_map: None, image: None, secret: Some(secret) };
    manifests.stateful_set.spec.template.spec.volumes.push(volume);
    for name in ["clone", "sidecar", "mysql"] {
        let mount =
            VolumeMount { name: "keys".to_owned(), mount_path: KEYS.to_owned(), sub_path: None, read_only: true };
        manifests.container(name).volume_mounts.push(mount);
    }
    manifests.set_env("clone", "MYSQLSET_KEYRING", "true");
}

/// A primary with encrypted data, without replicas.
fn start(change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let cluster = set::start(1, change)?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.sql("mysql-0", TABLES)?;
    // The server encrypts the pages of the system tablespace and the undo logs in the background.
    let rest = "SELECT COUNT(*) FROM information_schema.INNODB_TABLESPACES_ENCRYPTION
        WHERE MIN_KEY_VERSION = 0 AND NAME <> 'enc/plain'";
    cluster.wait_for("all to be encrypted", PATIENCE, || Ok(cluster.value("mysql-0", rest)? == "0"))?;
    Ok(cluster)
}

fn assert_same(cluster: &Cluster, pod: &str) -> Result<()> {
    set::assert_same_rows(cluster, &[pod])?;
    assert_eq!(cluster.sql(pod, CHECKSUMS)?, cluster.sql("mysql-0", CHECKSUMS)?);
    Ok(())
}

/// Whether a file of a pod's data directory holds a text.
fn holds(cluster: &Cluster, pod: &str, file: &str, text: &str) -> Result<bool> {
    let bytes = std::fs::read(cluster.volume(pod).join("mysql").join(file))?;
    Ok(bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn encrypted_data_are_cloned_proven_and_rehearsed() -> Result<()> {
    needs!(KeyPlugin);
    let cluster = start(|manifests| encrypt(manifests, "right"))?;
    // Clones of the primary and of a replica.
    cluster.scale(3);
    cluster.wait_ready(3)?;
    assert_eq!(set::journal(&cluster, "mysql-2")?["clone"]["donor_pod"], "mysql-1");
    for pod in ["mysql-1", "mysql-2"] {
        let log = cluster.logs(pod, "clone");
        for event in [Event::PrepareDone, Event::InventoryWhole, Event::RehearsalDone] {
            assert!(log.has(event), "{event}: {log}");
        }
        let rehearsed = log.lines_of(Event::RehearsalDone);
        assert!(rehearsed.iter().all(|line| line.field("not_readable") == Some("0")), "{log}");
        assert_same(&cluster, pod)?;
        set::assert_no_leftovers(&cluster, pod)?;
        // The one table with a readable marker is unencrypted. It shows that the other markers would be found.
        for (file, marker, is_there) in [
            ("enc/plain.ibd", "marker-of-plain-", true),
            ("enc/one.ibd", "marker-of-one-", false),
            ("enc/two.ibd", "marker-of-two-", false),
            ("enc/aria.MAD", "marker-of-aria-", false),
            ("ib_logfile0", "marker-of-", false),
        ] {
            assert_eq!(holds(&cluster, pod, file, marker)?, is_there, "{pod}: {file}");
        }
    }
    Ok(())
}

#[test]
fn a_clone_of_encrypted_data_killed_in_prepare_or_rehearsal_ends_whole() -> Result<()> {
    needs!(KeyPlugin);
    let cluster = start(|manifests| encrypt(manifests, "right"))?;
    set::fill_much(&cluster, 20)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    let stage = cluster.volume("mysql-1").join(".mysqlset-mysql-stage");
    let is_preparing = || set::state(&cluster, "mysql-1").as_deref() == Some("preparing");
    let is_rehearsing = || stage.join("run/pid").exists();
    let phases: [(&str, &dyn Fn() -> bool); 2] = [("preparing", &is_preparing), ("prepared", &is_rehearsing)];
    for (state, is_met) in phases {
        let deadline = Instant::now() + PATIENCE;
        let is_found = || {
            let log = cluster.logs("mysql-1", "clone");
            log.lines_of(Event::CloneResumed).iter().any(|line| line.field("state") == Some(state))
        };
        while !is_found() {
            ensure!(Instant::now() < deadline, "no {state}\n{}", cluster.describe());
            cluster.delete_volume("mysql-1")?;
            while !is_met() && set::state(&cluster, "mysql-1").as_deref() != Some("replicating") {
                ensure!(Instant::now() < deadline, "no {state}\n{}", cluster.describe());
                std::thread::sleep(Duration::from_micros(200));
            }
            // The rehearsal's server can load only the plugin that the pod's configuration names.
            let plugins = std::fs::read_dir(stage.join("run/plugins")).into_iter().flatten().flatten();
            let names: Vec<_> = plugins.map(|plugin| plugin.file_name()).collect();
            assert!(names.iter().all(|name| name == "file_key_management.so"), "{names:?}");
            let _ = cluster.signal("mysql-1", "clone", Signal::KILL);
            cluster.wait_ready(2)?;
        }
        assert_same(&cluster, "mysql-1")?;
        set::assert_no_leftovers(&cluster, "mysql-1")?;
    }
    Ok(())
}

/// The end of a clone that cannot read its copy, with these servers' settings.
fn refused(replicas_keys: &str, settings: &str) -> Result<(i32, String)> {
    let cluster = start(|manifests| {
        encrypt(manifests, replicas_keys);
        manifests.server_files().for_each(|file| file.push_str(settings));
        manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "5");
    })?;
    cluster.scale(2);
    let end = set::end_of_clone(&cluster, "mysql-1")?;
    let log = cluster.logs("mysql-1", "clone");
    assert!(!cluster.volume("mysql-1").join("mysql/ibdata1").exists(), "published: {log}");
    println!("{replicas_keys}{settings}: {}: {}", end.exit_code, end.message);
    assert_eq!(end.message.trim().lines().count(), 1, "{}", end.message);
    Ok((end.exit_code, end.message))
}

#[test]
fn wrong_keys_publish_nothing_and_are_reported_in_one_line() -> Result<()> {
    needs!(KeyPlugin);
    let (code, message) = refused("wrong", "")?;
    assert!(code == 41 && message.contains("check that the keys here are the donor's"), "{code}: {message}");
    // Recovery then reads no encrypted data. Prepare, or else the rehearsal, meets the cipher in the tables.
    let (code, message) = refused("wrong", "innodb_encrypt_log = OFF\naria_encrypt_tables = OFF\n")?;
    assert!([41, 44].contains(&code), "{code}: {message}");
    Ok(())
}

#[test]
fn a_missing_file_with_keys_is_named_before_the_first_byte() -> Result<()> {
    needs!(KeyPlugin);
    let (code, message) = refused("none", "")?;
    assert!(code == 21 && message.contains("file_key_management_filename = /keys/none"), "{code}: {message}");
    Ok(())
}
