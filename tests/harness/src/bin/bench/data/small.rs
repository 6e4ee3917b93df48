//! Many small files: 20,000 tables.

use anyhow::{Result, ensure};

use super::run_all;
use crate::server::Server;

pub const DATABASE: &str = "small";

const TABLES: u32 = 20_000;

/// Six of InnoDB's pages: a root, two leaves, and the pages of every table.
const BYTES_OF_TABLE: u64 = 98_304;

const MODEL: &str = "CREATE DATABASE small;
    CREATE TABLE small.model (id INT PRIMARY KEY, body VARBINARY(1000));
    INSERT INTO small.model SELECT seq, RANDOM_BYTES(900) FROM small.seq_1_to_24;";

/// Without it each table would be a transaction in the binary log.
const PREAMBLE: &str = "SET sql_log_bin = 0;";

pub fn fill(server: &Server) -> Result<()> {
    server.sql(&format!("{PREAMBLE} {MODEL}"))?;
    let half = |first: u32| {
        format!(
            "{PREAMBLE}\nDELIMITER //\nBEGIN NOT ATOMIC DECLARE number INT DEFAULT {first}; \
             WHILE number < {TABLES} DO \
             EXECUTE IMMEDIATE CONCAT('CREATE TABLE small.t', number, ' LIKE small.model'); \
             EXECUTE IMMEDIATE CONCAT('INSERT INTO small.t', number, ' SELECT * FROM small.model'); \
             SET number = number + 2; END WHILE; END //\n"
        )
    };
    run_all(server, &[half(0), half(1)])?;
    let tables = server.number(&format!(
        "SELECT COUNT(*) FROM information_schema.innodb_sys_tablespaces \
         WHERE name LIKE 'small/t%' AND file_size = {BYTES_OF_TABLE}"
    ))?;
    ensure!(tables == u64::from(TABLES), "{tables} tables have {BYTES_OF_TABLE} bytes");
    Ok(())
}
