//! The client side of the servers' protocol, limited to this program's needs: one statement at a time, answers as text.
//!
//! A server is a peer like any other, so its packets may be wrong or hostile. A length is trusted only once its bytes
//! have arrived, and no packet can end this process. (MySQL internals, "Client/Server Protocol"; MariaDB knowledge
//! base, "Clientserver protocol".)

mod error;
mod fields;
mod greeting;
mod packet;
mod proof;
mod public_key;

use std::io;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroizing;

use error::Result;
pub use error::{Error, ServerError};
use fields::Fields;
use greeting::Greeting;
use packet::Packets;
use proof::{Plugin, Prover, Step};
#[cfg(test)]
pub use public_key::tests::KEY as KEY_FOR_TESTS;

/// The most columns that the servers' tables have.
const MOST_COLUMNS: u64 = 4096;

/// The most bytes of an answer that is kept as a whole.
const LARGEST_ANSWER: usize = 64 << 20;

/// More packets than any plugin needs to prove a password.
const MOST_STEPS: usize = 8;

/// `COM_QUIT` and `COM_QUERY`.
const QUIT: u8 = 1;
const QUERY: u8 = 3;

/// First bytes of packets.
const OK: u8 = 0x00;
const MORE: u8 = 0x01;
const FILE: u8 = 0xfb;
const END: u8 = 0xfe;
const ERROR: u8 = 0xff;

/// A packet of [`END`] is shorter than this; a longer one is a row.
const END_BELOW: usize = 9;

/// Where a server listens.
pub enum Address<'a> {
    Tcp { host: &'a str, port: u16 },
    Socket(&'a Path),
}

/// The user of a connection.
pub struct Login<'a> {
    pub user: &'a str,
    pub password: &'a str,
}

/// A row's values; `None` is NULL.
pub type Values = Vec<Option<Vec<u8>>>;

/// An answer that is kept as a whole.
#[derive(Debug, Default)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Values>,
}

trait Wire: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Wire for T {}

/// A connection.
pub struct Client {
    packets: Packets<Box<dyn Wire>>,
    /// The server's number for it.
    pub id: u32,
    /// Called where an answer is abandoned while the server still works on it.
    pub on_giving_up: Option<Box<dyn FnOnce(u32) + Send + Sync>>,
    /// The number of columns of the rows still to come.
    columns: usize,
    /// An answer is still unread. It stays so where its reader has stopped waiting.
    busy: bool,
}

impl Client {
    /// Connects and proves the password.
    pub async fn connect(address: Address<'_>, login: &Login<'_>) -> Result<Client> {
        let (stream, is_private): (Box<dyn Wire>, bool) = match address {
            Address::Socket(path) => (Box::new(UnixStream::connect(path).await?), true),
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host, port)).await?;
                stream.set_nodelay(true)?;
                (Box::new(stream), false)
            }
        };
        Client::greet(Packets::new(stream), login, is_private).await
    }

    async fn greet(mut packets: Packets<Box<dyn Wire>>, login: &Login<'_>, is_private: bool) -> Result<Client> {
        let packet = packets.read().await?;
        if packet.first() == Some(&ERROR) {
            return Err(error_in(&packet));
        }
        let greeting = Greeting::parse(&packet)?;
        let plugin = greeting.plugin.parse().unwrap_or(Plugin::Native);
        let mut prover = Prover::new(plugin, greeting.nonce.clone(), login.password, is_private);
        packets.write(&greeting::response(&greeting, login.user, plugin, &prover.first()?)?).await?;
        for _ in 0..MOST_STEPS {
            let packet = packets.read().await?;
            match packet.first() {
                Some(&OK) => {
                    return Ok(Client { packets, id: greeting.id, on_giving_up: None, columns: 0, busy: false });
                }
                Some(&ERROR) => return Err(error_in(&packet)),
                Some(&END) => {
                    let answer = prover.switch(&packet[1..])?;
                    packets.write(&answer).await?;
                }
                Some(&MORE) => {
                    if let Step::Answer(answer) = prover.more(&packet[1..])? {
                        packets.write(&answer).await?;
                    }
                }
                _ => return Err(Error::Protocol("an unknown packet during authentication")),
            }
        }
        Err(Error::Protocol("too many requests for a proof"))
    }

    /// Sends a statement. [`Client::next`] then reads its rows, where it has any.
    pub async fn begin(&mut self, statement: &str) -> Result<Option<Vec<String>>> {
        if self.busy {
            let text = "an earlier statement of this connection was given up";
            return Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        self.busy = true;
        let answer = self.begin_answer(statement).await;
        self.note(answer)
    }

    async fn begin_answer(&mut self, statement: &str) -> Result<Option<Vec<String>>> {
        let mut packet = Zeroizing::new(Vec::with_capacity(statement.len() + 1));
        packet.push(QUERY);
        packet.extend_from_slice(statement.as_bytes());
        self.packets.begin();
        self.packets.write(&packet).await?;
        let packet = self.packets.read().await?;
        let count = match packet.first() {
            Some(&OK) => {
                self.busy = false;
                return Ok(None);
            }
            Some(&ERROR) => {
                self.busy = false;
                return Err(error_in(&packet));
            }
            Some(&FILE) => return Err(Error::Protocol("it asks for a file")),
            _ => {
                let mut fields = Fields(&packet);
                fields.number().filter(|count| (1..=MOST_COLUMNS).contains(count) && fields.0.is_empty())
            }
        };
        let count = count.ok_or(Error::Protocol("an answer with a wrong number of columns"))?;
        let mut names = Vec::new();
        for _ in 0..count {
            let packet = self.packets.read().await?;
            names.push(column_in(&packet).ok_or(Error::Protocol("a column without a name"))?);
        }
        if !is_end(&self.packets.read().await?) {
            return Err(Error::Protocol("columns without an end"));
        }
        self.columns = names.len();
        Ok(Some(names))
    }

    /// The next row; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Values>> {
        if !self.busy {
            return Ok(None);
        }
        let row = self.next_row().await;
        self.note(row)
    }

    async fn next_row(&mut self) -> Result<Option<Values>> {
        let packet = self.packets.read().await?;
        if is_end(&packet) {
            self.busy = false;
            return Ok(None);
        }
        if packet.first() == Some(&ERROR) {
            self.busy = false;
            return Err(error_in(&packet));
        }
        let mut fields = Fields(&packet);
        let values: Option<Values> = (0..self.columns).map(|_| fields.value()).collect();
        values.filter(|_| fields.0.is_empty()).map(Some).ok_or(Error::Protocol("a row with a wrong number of values"))
    }

    /// Drops the callback after a lost connection, since the server has stopped working for it.
    fn note<T>(&mut self, answer: Result<T>) -> Result<T> {
        if matches!(answer, Err(Error::Io(_) | Error::Protocol(_))) {
            self.on_giving_up = None;
        }
        answer
    }

    /// Abandons the pending answer.
    pub fn give_up(&mut self) {
        if self.busy
            && let Some(on_giving_up) = self.on_giving_up.take()
        {
            on_giving_up(self.id);
        }
    }

    /// Sends a statement, and keeps its whole answer.
    pub async fn ask(&mut self, statement: &str) -> Result<Table> {
        let Some(columns) = self.begin(statement).await? else { return Ok(Table::default()) };
        let mut table = Table { columns, rows: Vec::new() };
        let mut bytes = 0_usize;
        while let Some(row) = self.next().await? {
            bytes += row
                .iter()
                .map(|value| size_of::<Option<Vec<u8>>>() + value.as_ref().map_or(0, Vec::len))
                .sum::<usize>();
            if bytes > LARGEST_ANSWER {
                return Err(Error::Protocol("an answer that is too long"));
            }
            table.rows.push(row);
        }
        Ok(table)
    }

    /// Sends a statement, and discards its answer while reading it.
    pub async fn run(&mut self, statement: &str) -> Result<()> {
        if self.begin(statement).await?.is_some() {
            while self.next().await?.is_some() {}
        }
        Ok(())
    }

    /// Closes the connection properly.
    pub async fn quit(mut self) -> Result<()> {
        if self.busy {
            return Ok(());
        }
        self.packets.begin();
        self.packets.write(&[QUIT]).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&END) && packet.len() < END_BELOW
}

/// Keeps at most as much of an error text as a server writes, since the text is for people.
fn error_in(packet: &[u8]) -> Error {
    const LONGEST: usize = 2048;
    let mut fields = Fields(packet);
    let Some((_, code)) = fields.u8().zip(fields.u16()) else { return Error::Protocol("an error without a number") };
    let state = match fields.0 {
        [b'#', rest @ ..] if rest.len() >= 5 => {
            let (state, text) = rest.split_at(5);
            fields.0 = text;
            String::from_utf8_lossy(state).into_owned()
        }
        _ => "HY000".to_owned(),
    };
    let message = String::from_utf8_lossy(&fields.0[..fields.0.len().min(LONGEST)]).into_owned();
    Error::Server(ServerError { code, message, state })
}

/// The name of a column, after the catalog, the schema and both names of the table.
fn column_in(packet: &[u8]) -> Option<String> {
    let mut fields = Fields(packet);
    for _ in 0..4 {
        fields.value()??;
    }
    fields.value()?.map(|name| String::from_utf8_lossy(&name).into_owned())
}
