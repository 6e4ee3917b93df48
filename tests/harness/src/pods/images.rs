//! The content of each image: one table from its name to a root directory, an entrypoint and its user's files.
//!
//! The servers and tools come from Debian packages and are mounted read-only. They are the machine's own, or those that
//! `servers.rs` has unpacked. The machine's configuration, data and sockets are hidden.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::servers;

/// An image that the harness can run.
pub struct Image {
    pub entrypoint: &'static [&'static str],
    pub default_args: &'static [&'static str],
    /// The image's declared volumes. A container engine gives each container an empty one there, even above a volume
    /// that is mounted further up. Only a mount on exactly that path replaces it.
    pub volumes: &'static [&'static str],
    /// The source of its /usr. An image without one holds only the binary.
    usr: Option<PathBuf>,
    /// Files of the harness, and their paths in the image.
    files: &'static [(&'static str, &'static str)],
}

/// The files in both families' images.
const EVERY_SERVERS: [(&str, &str); 3] =
    [("passwd", "/etc/passwd"), ("group", "/etc/group"), ("nsswitch.conf", "/etc/nsswitch.conf")];

/// The table.
fn table(name: &str) -> Result<Image> {
    let server = |program: &'static [&'static str], files| -> Result<Image> {
        Ok(Image {
            entrypoint: &["/docker-entrypoint.sh"],
            default_args: program,
            volumes: &["/var/lib/mysql"],
            usr: Some(servers::usr_of(name)?),
            files,
        })
    };
    match name.split(':').next().unwrap_or_default() {
        "mysqlset" => {
            Ok(Image { entrypoint: &["/bin/mysqlset"], default_args: &["--help"], volumes: &[], usr: None, files: &[] })
        }
        "mysql" => {
            server(&["mysqld"], &[("mysql.cnf", "/etc/my.cnf"), ("mysql-entrypoint.sh", "/docker-entrypoint.sh")])
        }
        _ => server(
            &["mariadbd"],
            &[("mariadb.cnf", "/etc/mysql/my.cnf"), ("mariadb-entrypoint.sh", "/docker-entrypoint.sh")],
        ),
    }
}

const MARIADB_CNF: &str = "\
[client-server]
socket = /run/mysqld/mysqld.sock

[mysqld]
socket = /run/mysqld/mysqld.sock
host-cache-size = 0
skip-name-resolve

!includedir /etc/mysql/conf.d/
";

const MYSQL_CNF: &str = "\
[mysqld]
host-cache-size = 0
skip-name-resolve
datadir = /var/lib/mysql
socket = /var/run/mysqld/mysqld.sock
secure-file-priv = /var/lib/mysql-files
user = mysql
pid-file = /var/run/mysqld/mysqld.pid

[client]
socket = /var/run/mysqld/mysqld.sock

!includedir /etc/mysql/conf.d/
";

/// The files for the images, in one directory that every user can read.
pub struct Images {
    directory: PathBuf,
}

impl Images {
    /// Lays out the images below `directory`.
    pub fn lay_out(directory: &Path, binary: &Path) -> Result<Images> {
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text);
        std::fs::create_dir_all(directory)?;
        std::fs::copy(binary, directory.join("mysqlset")).with_context(|| format!("copying {}", binary.display()))?;
        std::fs::copy("/etc/ld.so.cache", directory.join("ld.so.cache"))?;
        for name in ["mariadb-entrypoint.sh", "mysql-entrypoint.sh"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pods/images").join(name);
            std::fs::copy(&path, directory.join(name)).context("the stand-in entrypoint")?;
        }
        write("passwd", "root:x:0:0:root:/root:/bin/sh\nmysql:x:999:999::/home/mysql:/bin/sh\n")?;
        write("group", "root:x:0:\nmysql:x:999:\n")?;
        write("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")?;
        write("mariadb.cnf", MARIADB_CNF)?;
        write("mysql.cnf", MYSQL_CNF)?;
        Ok(Images { directory: directory.to_owned() })
    }

    /// The image by its name and tag in a manifest. For our own image every tag is right.
    pub fn find(&self, name: &str) -> Result<Image> {
        table(name)
    }

    /// Our image as a volume, the only one that is mounted.
    pub fn provide_volume(&self, name: &str, path: &Path) -> Result<()> {
        anyhow::ensure!(name.starts_with("mysqlset:"), "{name} is no image of ours");
        std::fs::create_dir(path.join("bin"))?;
        std::fs::copy(self.directory.join("mysqlset"), path.join("bin/mysqlset")).context("the image's program")?;
        Ok(())
    }

    /// Adds the arguments of bubblewrap that make an image's root. The image's directories for temporary files are
    /// writable unless the root is `read_only`.
    pub fn add_root(&self, command: &mut Command, image: &Image, read_only: bool) {
        let Some(usr) = &image.usr else {
            self.add_file(command, "mysqlset", "/bin/mysqlset");
            return;
        };
        let plugins = if usr == Path::new("/usr") { servers::fetched_plugins() } else { None };
        if let Some(plugins) = &plugins {
            add_libraries(command, &usr.join("lib"));
            command.arg("--ro-bind").arg(plugins).arg(servers::PLUGINS);
        }
        for directory in ["bin", "sbin", "lib", "lib64", "share", "libexec"] {
            let is_there = directory == "lib" && plugins.is_some();
            if !is_there && usr.join(directory).exists() {
                command.arg("--ro-bind").arg(usr.join(directory)).arg(Path::new("/usr").join(directory));
            }
        }
        for (target, link) in [("usr/bin", "/bin"), ("usr/sbin", "/sbin"), ("usr/lib", "/lib"), ("usr/lib64", "/lib64")]
        {
            command.args(["--symlink", target, link]);
        }
        command.args(["--symlink", "../run", "/var/run"]);
        if usr == Path::new("/usr") {
            self.add_file(command, "ld.so.cache", "/etc/ld.so.cache");
        }
        for (file, place) in EVERY_SERVERS.iter().chain(image.files) {
            self.add_file(command, file, place);
        }
        let temporary = if read_only { "--dir" } else { "--tmpfs" };
        command.args(["--perms", "1777", temporary, "/tmp", "--perms", "0777", "--dir", "/run/mysqld"]);
        // A directory of MySQL's image, for LOAD DATA.
        command.args(["--dir", "/var/lib/mysql-files"]);
    }

    fn add_file(&self, command: &mut Command, file: &str, place: &str) {
        command.arg("--ro-bind").arg(self.directory.join(file)).arg(place);
    }
}

/// Mounts each of the machine's libraries by itself: a read-only directory would leave no room for mounts below it.
fn add_libraries(command: &mut Command, libraries: &Path) {
    for entry in std::fs::read_dir(libraries).into_iter().flatten().flatten() {
        let place = Path::new("/usr/lib").join(entry.file_name());
        match std::fs::read_link(entry.path()) {
            Ok(target) => command.arg("--symlink").arg(target).arg(place),
            Err(_) => command.arg("--ro-bind").arg(entry.path()).arg(place),
        };
    }
}
