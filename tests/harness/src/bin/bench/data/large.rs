//! The large database, like a shop's: half of it is incompressible.

use anyhow::{Result, ensure};

use super::run_all;
use crate::server::Server;

/// Rows of each of the two tables of documents.
pub const DOCUMENTS: u32 = 500_000;

/// Rows of the table of orders.
pub const ORDERS: u32 = 2_500_000;

const EVENTS: u32 = 2_800_000;

const LEAST_BYTES: u64 = 2_100_000_000;

/// Loaded table by table into empty ones, which InnoDB does in bulk.
const PREAMBLE: &str = "SET sql_log_bin = 0, unique_checks = 0, foreign_key_checks = 0;";

const SCHEMA: &str = "CREATE DATABASE app;
    CREATE TABLE app.documents_1 (id INT PRIMARY KEY, title VARCHAR(80), body VARBINARY(1024));
    CREATE TABLE app.documents_2 LIKE app.documents_1;
    CREATE TABLE app.orders (id INT PRIMARY KEY, customer INT, placed DATETIME, amount DECIMAL(10, 2),
        address VARCHAR(200), KEY (customer), KEY (placed));
    CREATE TABLE app.events (id INT PRIMARY KEY, at DATETIME, payload VARCHAR(400));";

pub fn fill(server: &Server) -> Result<()> {
    server.sql(&format!("{PREAMBLE} {SCHEMA}"))?;
    let documents = |table: &str| {
        format!(
            "INSERT INTO app.{table} SELECT seq, CONCAT('Document ', seq, ': ', MD5(seq)), RANDOM_BYTES(1000) \
             FROM app.seq_1_to_{DOCUMENTS};"
        )
    };
    let orders = format!(
        "INSERT INTO app.orders SELECT seq, FLOOR(RAND(seq) * 100000), '2024-01-01' + INTERVAL seq * 12 SECOND, \
         RAND(seq) * 500, CONCAT(SHA1(seq), ' ', REPEAT('Long Street ', seq % 8), seq % 1000) \
         FROM app.seq_1_to_{ORDERS};"
    );
    let events = format!(
        "INSERT INTO app.events SELECT seq, '2024-01-01' + INTERVAL seq SECOND, CONCAT('{{\"session\": \"', \
         MD5(seq), '\", \"agent\": \"', REPEAT('Some Browser/1.0 ', 1 + seq % 10), '\", \"page\": ', seq % 7919, '}}') \
         FROM app.seq_1_to_{EVENTS};"
    );
    let first = format!("{PREAMBLE} {} {}", documents("documents_1"), orders);
    let second = format!("{PREAMBLE} {} {}", documents("documents_2"), events);
    run_all(server, &[first, second])?;
    let bytes = server
        .number("SELECT SUM(file_size) FROM information_schema.innodb_sys_tablespaces WHERE name LIKE 'app/%'")?;
    println!("{:.2} GB of tables", bytes as f64 / 1e9);
    ensure!(bytes >= LEAST_BYTES, "the tables have {bytes} bytes only");
    Ok(())
}
