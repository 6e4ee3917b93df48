//! A stand-in for a MySQL server, of any version. It lets every client in, and answers the queries of a primary's
//! sidecar.
//!
//! A packet is a length (3 bytes, little-endian), a number, and a body. (MySQL's source code documentation,
//! "Client/Server Protocol".)

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Result, bail};

const CAPABILITIES: u32 = 0x0000_0001 | 0x0000_0200 | 0x0000_2000 | 0x0000_8000 | 0x0008_0000;
const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
const COM_PING: u8 = 14;
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];
const VAR_STRING: u8 = 0xfd;

/// Serves until the process ends.
pub fn start(listener: TcpListener, version: &str) {
    let version = version.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let version = version.clone();
            // An unknown statement ends the connection.
            std::thread::spawn(move || Connection { stream, number: 0 }.serve(&version));
        }
    });
}

/// Rows below names of columns.
struct Table(Vec<&'static str>, Vec<Vec<String>>);

fn answer(query: &str, version: &str) -> Result<Option<Table>> {
    let one = |value: &str| Ok(Some(Table(vec!["value"], vec![vec![value.to_owned()]])));
    let none = || Ok(Some(Table(vec!["none"], Vec::new())));
    let pairs = |pairs: &[(&str, &str)]| {
        let rows = pairs.iter().map(|(name, value)| vec![(*name).to_owned(), (*value).to_owned()]);
        Ok(Some(Table(vec!["Variable_name", "Value"], rows.collect())))
    };
    // From 8.0.23 on; 8.4 has dropped the old words.
    let says_replica = !version.starts_with('5');
    match query {
        _ if query.starts_with("SET ") => Ok(None),
        "SELECT VERSION()" => one(version),
        "SELECT @@GLOBAL.log_bin" => one("1"),
        "SELECT @@GLOBAL.gtid_executed" | "SELECT @@GLOBAL.gtid_purged" => one(""),
        _ if query.starts_with("SELECT @@") => {
            let names = query.trim_start_matches("SELECT ").split(',');
            let value = |name: &str| if name.contains("socket") { "" } else { "28800" }.to_owned();
            let row: Vec<String> = names.map(value).collect();
            Ok(Some(Table(vec!["value"; row.len()], vec![row])))
        }
        "SHOW GLOBAL STATUS LIKE 'Uptime'" => pairs(&[("Uptime", "1000")]),
        "SHOW REPLICA STATUS" if says_replica => none(),
        "SHOW SLAVE STATUS" if !says_replica => none(),
        _ if query.starts_with("SHOW GLOBAL VARIABLES WHERE ") => {
            pairs(&[("datadir", "/var/lib/mysql/"), ("innodb_data_file_path", "ibdata1:12M:autoextend")])
        }
        _ if is_about_tablespaces(query, version) => tablespaces(query, version),
        "SELECT 1 FROM information_schema.INNODB_METRICS LIMIT 1" => one("1"),
        "SHOW GLOBAL VARIABLES" => pairs(&[("datadir", "/var/lib/mysql/"), ("innodb_page_size", "16384")]),
        "SHOW PROCESSLIST" => none(),
        "SHOW MASTER STATUS" | "SHOW BINARY LOG STATUS" => none(),
        // The suffix of its version gives it an encrypted table. InnoDB's own flag shows that, or the column of newer
        // versions.
        _ if asks_for_encrypted_tables(query, version) && version.ends_with("-encrypted") => one("app/secret"),
        _ if asks_for_encrypted_tables(query, version) => none(),
        _ => bail!("what is {query:?}"),
    }
}

/// The views of this version.
fn is_about_tablespaces(query: &str, version: &str) -> bool {
    let views: &[&str] = if version.starts_with('5') {
        &["INNODB_SYS_DATAFILES ", "INNODB_SYS_TABLES ", "INNODB_SYS_INDEXES "]
    } else {
        &["INNODB_DATAFILES ", "INNODB_TABLESPACES WHERE S"]
    };
    views.iter().any(|view| query.contains(&format!("FROM information_schema.{view}")))
}

/// A version with `lacking` has a table that every stand-in for a tool omits, and a discarded one.
fn tablespaces(query: &str, version: &str) -> Result<Option<Table>> {
    let rows: &[&[&str]] = match query {
        _ if !version.contains("lacking") => &[],
        _ if query.contains("DATAFILES ") => &[&["1007", "./app/lost.ibd"], &["1008", "./app/discarded.ibd"]],
        _ if query.contains("INNODB_SYS_TABLES ") => &[&["7", "1007", "app/lost"], &["8", "1008", "app/discarded"]],
        _ if query.contains("INNODB_SYS_INDEXES ") => &[&["8"]],
        _ if query.contains("STATE = 'discarded'") => &[&["1008"]],
        _ => &[],
    };
    let columns = if query.contains("INNODB_SYS_TABLES ") { 3 } else { 1 + usize::from(query.contains("PATH")) };
    let rows = rows.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect());
    Ok(Some(Table(vec!["column"; columns], rows.collect())))
}

/// The query that this version understands.
fn asks_for_encrypted_tables(query: &str, version: &str) -> bool {
    let known = match version {
        _ if version.starts_with("5.6") => return false,
        _ if version.starts_with("5.7") => "INNODB_SYS_TABLESPACES WHERE FLAG & 8192",
        _ => "INNODB_TABLESPACES WHERE ENCRYPTION = 'Y'",
    };
    query == format!("SELECT NAME FROM information_schema.{known} LIMIT 1")
}

struct Connection {
    stream: TcpStream,
    number: u8,
}

impl Connection {
    fn serve(mut self, version: &str) -> Result<()> {
        self.greet(version)?;
        loop {
            let command = self.read()?;
            match command.first() {
                Some(&COM_QUERY) => match answer(std::str::from_utf8(&command[1..])?, version) {
                    Ok(None) => self.send(OK)?,
                    Ok(Some(table)) => self.send_table(&table)?,
                    // ER_PARSE_ERROR.
                    Err(error) => {
                        let text = error.to_string();
                        self.send(&[&[0xff, 0x28, 0x04, b'#'], b"42000".as_slice(), text.as_bytes()].concat())?;
                    }
                },
                Some(&COM_PING) => self.send(OK)?,
                Some(&COM_QUIT) | None => return Ok(()),
                Some(other) => bail!("command {other}"),
            }
        }
    }

    fn greet(&mut self, version: &str) -> Result<()> {
        let [low, high] = [CAPABILITIES as u16, (CAPABILITIES >> 16) as u16].map(u16::to_le_bytes);
        let nonce = [b'n'; 20];
        let greeting = [
            &[10],
            version.as_bytes(),
            &[0, 1, 0, 0, 0],
            &nonce[..8],
            &[0],
            &low,
            &[45, 2, 0],
            &high,
            &[21],
            &[0; 10],
            &nonce[8..],
            &[0],
            b"mysql_native_password\0".as_slice(),
        ];
        self.send(&greeting.concat())?;
        self.read()?;
        self.send(OK)
    }

    fn send_table(&mut self, Table(columns, rows): &Table) -> Result<()> {
        self.send(&[columns.len() as u8])?;
        for column in columns {
            let mut definition = Vec::new();
            for text in ["def", "", "", "", column, ""] {
                definition.extend(text_of(text));
            }
            definition.extend([0x0c, 45, 0, 0, 4, 0, 0, VAR_STRING, 0, 0, 0, 0, 0]);
            self.send(&definition)?;
        }
        self.send(EOF)?;
        for row in rows {
            self.send(&row.iter().flat_map(|text| text_of(text)).collect::<Vec<u8>>())?;
        }
        self.send(EOF)
    }

    fn read(&mut self) -> Result<Vec<u8>> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        let mut body = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
        self.stream.read_exact(&mut body)?;
        self.number = header[3].wrapping_add(1);
        Ok(body)
    }

    fn send(&mut self, body: &[u8]) -> Result<()> {
        let length = (body.len() as u32).to_le_bytes();
        self.stream.write_all(&[&length[..3], &[self.number], body].concat())?;
        self.number = self.number.wrapping_add(1);
        Ok(())
    }
}

/// A text of less than 251 bytes with its length before it.
fn text_of(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}
