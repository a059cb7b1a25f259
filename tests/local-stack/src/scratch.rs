//! A temporary folder that a server running as another user can reach.

use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use crate::guard::User;
use common::error::{Doing, Error, Result};

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes it, owned by `user` when there is one.
    pub fn create(user: Option<User>) -> Result<Self> {
        // Another user may not get through to a TMPDIR of our own.
        let base = if user.is_some() { PathBuf::from("/tmp") } else { std::env::temp_dir() };
        let path = base.join(format!("flag-schedules-{}", uuid::Uuid::new_v4().simple()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.doing(|| format!("cannot make the folder {}", path.display()))?;
        let scratch = Self { path };
        if let Some(user) = user {
            own(&scratch.path, user)?;
        }
        Ok(scratch)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing more can be done about a folder that does not go away, and the guards try again.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Gives a file or folder to `user`.
pub fn own(path: &Path, user: User) -> Result<()> {
    chown(path, Some(user.uid), Some(user.gid)).doing(|| format!("cannot give {} away", path.display()))
}

/// Whom servers run as that refuse to run as root: nobody, when we are root.
pub fn unprivileged_user() -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").doing(|| "cannot read /etc/passwd".to_owned())?;
    let nobody = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        (name == "nobody").then(|| Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? }))?
    });
    match nobody {
        Some(user) => Ok(Some(user)),
        None => Err(Error::new(
            "PostgreSQL refuses to run as root and there is no user `nobody`: run as an ordinary user",
        )),
    }
}
