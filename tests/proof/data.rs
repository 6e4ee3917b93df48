//! The data of donors, and the state of their files and logs when a copy begins.

use std::fmt;
use std::fmt::Write as _;

/// Enough tables to exhaust a program that has 1024 descriptors.
pub const TABLES: u32 = 1500;

/// Rows of half a page each, by which a table grows during a backup.
const GROWTH: u32 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// Many tables, made since the last checkpoint: their files are empty, and the log has their rows.
    Created,
    /// Many tables that were written to their files before and change during each backup. A copy without its log has
    /// old rows of them, and reads well.
    Changed,
    /// A few tables of every kind, at rest.
    Zoo,
}

impl Data {
    /// The statements that create it.
    pub fn schema(self) -> String {
        match self {
            Data::Created | Data::Changed => many_tables(),
            Data::Zoo => ZOO.to_owned(),
        }
    }

    /// Whether a server is restarted on it, which writes every page first.
    pub fn is_flushed(self) -> bool {
        self != Data::Created
    }

    /// Statements during a backup.
    pub fn changes(self) -> Option<String> {
        (self == Data::Changed).then(|| {
            let mut text = "USE app;\nSET SESSION lock_wait_timeout = 20;\nSTART TRANSACTION;\n".to_owned();
            for number in 1..=TABLES {
                let _ = writeln!(text, "UPDATE app.t{number} SET n = n + 1, text = UUID();");
            }
            let _ = writeln!(text, "INSERT INTO app.growing (data) SELECT REPEAT('g', 8000) FROM seq_1_to_{GROWTH};");
            text + "COMMIT;\n"
        })
    }

    /// Statements before each round. They let a table grow during a backup, so that prepare needs room for it.
    pub fn beginning(self) -> Option<&'static str> {
        (self == Data::Changed).then_some(
            "DROP TABLE IF EXISTS app.growing; CREATE TABLE app.growing (id INT AUTO_INCREMENT PRIMARY KEY, data LONGBLOB)",
        )
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Data::Created => "tables created",
            Data::Changed => "tables changed",
            Data::Zoo => "tables of all kinds",
        })
    }
}

fn many_tables() -> String {
    let mut text = "CREATE DATABASE app;\n".to_owned();
    for number in 1..=TABLES {
        let _ =
            writeln!(text, "CREATE TABLE app.t{number} (id INT PRIMARY KEY, n INT, text VARCHAR(50)) ENGINE=InnoDB;");
        let _ = writeln!(text, "INSERT INTO app.t{number} VALUES (1, {number}, 'as it was made');");
    }
    text
}

/// Several tables of each kind, so that each has another that could replace it. They have more than one page where
/// pages matter.
const ZOO: &str = "CREATE DATABASE zoo CHARACTER SET utf8mb3 COLLATE utf8mb3_bin;
USE zoo;
CREATE TABLE plain1 (id INT AUTO_INCREMENT PRIMARY KEY, n INT, text VARCHAR(300), KEY (n)) ENGINE=InnoDB;
INSERT INTO plain1 (n, text) SELECT seq, REPEAT(MD5(seq), 8) FROM seq_1_to_400;
CREATE TABLE plain2 (id INT AUTO_INCREMENT PRIMARY KEY, n INT, text VARCHAR(300)) ENGINE=InnoDB;
INSERT INTO plain2 (n, text) SELECT seq * 2, REPEAT(SHA1(seq), 6) FROM seq_1_to_300;
CREATE TABLE plain3 (n INT, text VARCHAR(100)) ENGINE=InnoDB;
INSERT INTO plain3 SELECT seq, 'no key' FROM seq_1_to_20;
CREATE TABLE `odd /name` (id INT PRIMARY KEY, blobs LONGBLOB) ENGINE=InnoDB;
INSERT INTO `odd /name` SELECT seq, REPEAT(CHAR(64 + seq), 60000) FROM seq_1_to_4;
CREATE TABLE zipped (id INT PRIMARY KEY, text TEXT) ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8;
INSERT INTO zipped SELECT seq, REPEAT(SHA1(seq), 40) FROM seq_1_to_200;
CREATE TABLE parts (id INT PRIMARY KEY, n INT) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 3;
INSERT INTO parts SELECT seq, seq * 3 FROM seq_1_to_90;
CREATE TABLE parts2 (id INT PRIMARY KEY, n INT) ENGINE=InnoDB PARTITION BY RANGE (id)
    (PARTITION low VALUES LESS THAN (50), PARTITION high VALUES LESS THAN MAXVALUE);
INSERT INTO parts2 SELECT seq, seq FROM seq_1_to_99;
CREATE TABLE words (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(200), FULLTEXT (text)) ENGINE=InnoDB;
INSERT INTO words (text) SELECT CONCAT('lion tiger bear number', seq) FROM seq_1_to_50;
CREATE TABLE aria1 (id INT PRIMARY KEY, n INT, text VARCHAR(200), KEY (n)) ENGINE=Aria TRANSACTIONAL=1;
INSERT INTO aria1 SELECT seq, seq, REPEAT('a', seq % 200) FROM seq_1_to_300;
CREATE TABLE aria2 (id INT PRIMARY KEY, text VARCHAR(200)) ENGINE=Aria TRANSACTIONAL=0;
INSERT INTO aria2 SELECT seq, REPEAT('b', seq % 200) FROM seq_1_to_200;
CREATE TABLE myisam1 (id INT PRIMARY KEY, n INT, text VARCHAR(200), KEY (n)) ENGINE=MyISAM;
INSERT INTO myisam1 SELECT seq, seq, REPEAT('c', seq % 200) FROM seq_1_to_300;
CREATE TABLE myisam2 (id INT PRIMARY KEY, n INT) ENGINE=MyISAM;
INSERT INTO myisam2 SELECT seq, seq * 5 FROM seq_1_to_200;
CREATE TABLE myisam3 LIKE myisam2;
INSERT INTO myisam3 SELECT seq, seq * 7 FROM seq_1_to_100;
CREATE TABLE merged (id INT NOT NULL, n INT, KEY (id)) ENGINE=MERGE UNION=(myisam2, myisam3);
CREATE TABLE csv1 (n INT NOT NULL, text VARCHAR(50) NOT NULL) ENGINE=CSV;
INSERT INTO csv1 SELECT seq, 'comma, separated' FROM seq_1_to_50;
CREATE TABLE csv2 (n INT NOT NULL) ENGINE=CSV;
INSERT INTO csv2 SELECT seq FROM seq_1_to_30;
CREATE SEQUENCE numbers;
CREATE VIEW seen AS SELECT id, n FROM plain1;
CREATE TRIGGER one BEFORE INSERT ON plain1 FOR EACH ROW SET NEW.n = NEW.n + 1;
CREATE TRIGGER two AFTER INSERT ON plain1 FOR EACH ROW SET @a = 2;
CREATE TRIGGER three BEFORE UPDATE ON aria1 FOR EACH ROW SET NEW.text = 'changed';
CREATE PROCEDURE proc1() SELECT 1;
CREATE EVENT event1 ON SCHEDULE EVERY 1 YEAR STARTS '2040-01-01' DO SET @a = 1;
SET GLOBAL innodb_optimize_fulltext_only = 1;
OPTIMIZE TABLE words;
SET GLOBAL innodb_optimize_fulltext_only = 0;
FLUSH TABLES;
";
