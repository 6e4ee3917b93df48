//! What stands for each image: one table from its name to a root directory, an entrypoint and its user's world.
//!
//! The servers and tools are those of the machine's Debian packages, seen read-only; its configuration, data and
//! sockets are not seen at all.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// An image that the harness can run.
pub struct Image {
    pub entrypoint: &'static [&'static str],
    pub default_args: &'static [&'static str],
    /// What the image declares as volumes. A container engine gives each container an empty one there, unless exactly that
    /// path is mounted: also over a volume that is mounted further up.
    pub volumes: &'static [&'static str],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing but the binary.
    Scratch,
    /// MariaDB's server and tools.
    Mariadb,
}

/// The table.
fn table(name: &str) -> Option<Image> {
    Some(match name {
        "mysqlset" => {
            Image { entrypoint: &["/bin/mysqlset"], default_args: &["--help"], volumes: &[], kind: Kind::Scratch }
        }
        "mariadb" => Image {
            entrypoint: &["/docker-entrypoint.sh"],
            default_args: &["mariadbd"],
            volumes: &["/var/lib/mysql"],
            kind: Kind::Mariadb,
        },
        _ => return None,
    })
}

/// The files that the images are made of, in one directory that every user can read.
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
        let entrypoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pods/images/mariadb-entrypoint.sh");
        std::fs::copy(&entrypoint, directory.join("mariadb-entrypoint.sh")).context("the stand-in entrypoint")?;
        write("passwd", "root:x:0:0:root:/root:/bin/sh\nmysql:x:999:999::/home/mysql:/bin/sh\n")?;
        write("group", "root:x:0:\nmysql:x:999:\n")?;
        write("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")?;
        write(
            "my.cnf",
            "[client-server]\nsocket = /run/mysqld/mysqld.sock\n\n[mysqld]\nsocket = /run/mysqld/mysqld.sock\n\
             host-cache-size = 0\nskip-name-resolve\n\n!includedir /etc/mysql/conf.d/\n",
        )?;
        Ok(Images { directory: directory.to_owned() })
    }

    /// The image by its name in a manifest, whatever its tag.
    pub fn find(&self, name: &str) -> Result<Image> {
        match table(name.split(':').next().unwrap_or_default()) {
            Some(image) => Ok(image),
            None => bail!("no image {name:?} in the harness's table (tests/pods/images.rs)"),
        }
    }

    /// Adds the arguments of bubblewrap that make an image's root. What an image has for temporary files can be written
    /// to unless the root is `read_only`.
    pub fn add_root(&self, command: &mut Command, image: &Image, read_only: bool) {
        if image.kind == Kind::Scratch {
            self.add_file(command, "mysqlset", "/bin/mysqlset");
            return;
        }
        for directory in ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/share", "/usr/libexec"] {
            if Path::new(directory).exists() {
                command.args(["--ro-bind", directory, directory]);
            }
        }
        for (target, link) in [("usr/bin", "/bin"), ("usr/sbin", "/sbin"), ("usr/lib", "/lib"), ("usr/lib64", "/lib64")]
        {
            command.args(["--symlink", target, link]);
        }
        for (file, place) in [
            ("passwd", "/etc/passwd"),
            ("group", "/etc/group"),
            ("nsswitch.conf", "/etc/nsswitch.conf"),
            ("ld.so.cache", "/etc/ld.so.cache"),
            ("my.cnf", "/etc/mysql/my.cnf"),
            ("mariadb-entrypoint.sh", "/docker-entrypoint.sh"),
        ] {
            self.add_file(command, file, place);
        }
        let temporary = if read_only { "--dir" } else { "--tmpfs" };
        command.args(["--perms", "1777", temporary, "/tmp", "--perms", "0777", "--dir", "/run/mysqld"]);
    }

    fn add_file(&self, command: &mut Command, file: &str, place: &str) {
        command.arg("--ro-bind").arg(self.directory.join(file)).arg(place);
    }
}
