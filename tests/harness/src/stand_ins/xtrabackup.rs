//! A stand-in for XtraBackup, in a directory of its own. The test chooses its version and its failure.

use std::path::{Path, PathBuf};
use std::process::Command;

use mysqlset::clone::method::backup_tool::BackupTool;
use mysqlset::server::account::Account;
use mysqlset::sys::secret::Password;
use tempfile::TempDir;

use crate::project;

/// Each series in its `--version`: its own version, and that of its base server.
pub const SERIES: [(&str, &str); 7] = [
    ("2.3.5", "5.6.24"),
    ("2.4.29", "5.7.44"),
    ("8.0.33-28", "8.0.33"),
    ("8.0.35-31", "8.0.35"),
    ("8.4.0-1", "8.4.0"),
    ("9.1.0-1", "9.1.0"),
    ("9.7.2-2", "9.7.2"),
];

/// A password that needs quotes.
pub const PASSWORD: &str = "s3c\"r'e\\t";

/// The same in an options file.
const ACCOUNT: &str = "[client]\nuser=\"backup\"\npassword=\"s3c\\\"r\\'e\\\\t\"\n[mysqld]\n";

const MAGIC: &[u8] = b"XBSTCK01";

pub struct StandIn {
    directory: TempDir,
}

impl StandIn {
    /// A working tool of this series.
    pub fn of((version, base): (&str, &str)) -> StandIn {
        let tool = StandIn { directory: tempfile::tempdir().unwrap() };
        tool.write("version", format!("{version} {base}\n").as_bytes());
        tool.write("account", ACCOUNT.as_bytes());
        tool.write("without", b"");
        let stream = if version.starts_with('2') { recorded("primary-5.6") } else { made(version) };
        tool.takes_the_way("good");
        tool.streams(&stream);
        install(include_str!("xtrabackup.sh"), &tool.path("xtrabackup"));
        tool
    }

    /// Sets its failure, or `good`.
    pub fn takes_the_way(&self, way: &str) {
        self.write("way", format!("{way}\n").as_bytes());
    }

    /// Prepares with the recorded output of a real tool. `recording` is one of `recordings/`, without its number.
    pub fn replays(&self, recording: &str) {
        let directory = project().join("tests/backup_tools/recordings");
        for number in [1, 2] {
            let said = std::fs::read(directory.join(format!("{recording}-{number}.txt"))).unwrap();
            self.write(&format!("said-{number}.txt"), &said);
        }
        // A failed prepare left the checkpoints unchanged. Their text is the same for all of a version.
        let version = recording.split('-').next().unwrap();
        let checkpoints = std::fs::read_to_string(directory.join(format!("{version}-good-1.checkpoints"))).unwrap();
        let is_prepared = !recording.ends_with("emfile");
        let checkpoints = if is_prepared { checkpoints } else { checkpoints.replace("full-prepared", "full-backuped") };
        self.write("checkpoints", checkpoints.as_bytes());
        self.takes_the_way("replay");
    }

    /// Makes an option unknown to it.
    pub fn lacks(&self, option: &str) {
        self.write("without", format!("{option}\n").as_bytes());
    }

    /// Sets its stream, and a half of it that ends with a chunk.
    pub fn streams(&self, stream: &[u8]) {
        self.write("stream", stream);
        let chunks: Vec<usize> =
            stream.windows(MAGIC.len()).enumerate().filter(|(_, bytes)| *bytes == MAGIC).map(|(at, _)| at).collect();
        self.write("half", &stream[..chunks[chunks.len() / 2]]);
    }

    /// The directory, for a `PATH`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn find(&self) -> BackupTool {
        BackupTool::find_in(self.directory().as_os_str()).unwrap()
    }

    /// The argument lists of its starts so far, one a line.
    pub fn calls(&self) -> String {
        std::fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }
}

/// Makes a program of a script. Another process writes it: a child that a test starts meanwhile would hold the file
/// open and block its execution.
pub fn install(script: &str, program: &Path) {
    let text = program.with_extension("text");
    std::fs::write(&text, script).unwrap();
    let copied = Command::new("install").args(["-m", "755"]).args([&text, program]).status().unwrap();
    assert!(copied.success());
}

/// The account that lets it in.
pub fn account() -> Account {
    Account { user: "backup".into(), password: Password::fixed(PASSWORD), socket: None }
}

/// A stream of the real 2.3.5.
pub fn recorded(name: &str) -> Vec<u8> {
    let path = project().join(format!("tests/streams/{name}.xbstream.zst"));
    zstd::decode_all(std::fs::read(path).unwrap().as_slice()).unwrap()
}

/// The id of the dictionary's tablespace.
pub const DICTIONARY: u32 = 4_294_967_294;

/// A tablespace of one page, with its id. (src/clone/completeness/first_page.rs)
pub fn tablespace(id: u32) -> Vec<u8> {
    let mut page = vec![0; 16384];
    for (at, value) in [(34, id), (38, id), (46, 1)] {
        page[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    page
}

/// The files that 8.0 and later stream beside the data, in the form of FORMATS; the tablespaces are empty.
fn made(version: &str) -> Vec<u8> {
    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let tag = if version.starts_with("8.0") { "" } else { ":blue:1-3" };
    let files = [
        ("mysql/general_log.CSM", "not one".to_owned()),
        ("xtrabackup_binlog_info", format!("mysql-bin.000003\t1385\t{uuid}:1-9{tag}\n")),
        ("xtrabackup_logfile", "not one".to_owned()),
        (
            "xtrabackup_checkpoints",
            "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 19567410\nlast_lsn = 19567420\n\
             flushed_lsn = 19567420\nredo_memory = 0\nredo_frames = 0\n"
                .to_owned(),
        ),
        ("backup-my.cnf", "[mysqld]\n".to_owned()),
        ("xtrabackup_info", format!("tool_name = xtrabackup\ntool_version = {version}\nformat = xbstream\n")),
        ("xtrabackup_tablespaces", "{}".to_owned()),
    ];
    let tablespaces = [("ibdata1", 0), ("mysql.ibd", DICTIONARY)].map(|(path, id)| member(path, &tablespace(id)));
    let files = files.iter().map(|(path, text)| member(path, text.as_bytes()));
    tablespaces.into_iter().chain(files).flatten().collect()
}

/// A file in one chunk, and its end.
fn member(path: &str, data: &[u8]) -> Vec<u8> {
    let head = |kind| [MAGIC, &[0, kind], &(path.len() as u32).to_le_bytes(), path.as_bytes()].concat();
    let numbers = [(data.len() as u64).to_le_bytes(), 0u64.to_le_bytes()].concat();
    [head(b'P'), numbers, crc32fast::hash(data).to_le_bytes().to_vec(), data.to_vec(), head(b'E')].concat()
}
