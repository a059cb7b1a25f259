//! `.local/`: who may write where, and the settings of the running stack for everybody who wants to join in: `env` for
//! shells and HTTP clients, `sam-env.json` for SAM CLI.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use common::error::Doing;
use common::{Error, Result, settings};

const ENV: &str = "env";
const SAM_ENV: &str = "sam-env.json";

/// The folder of one run, `.local/<PORT>`; and `.local` itself for the first run that is alive in this clone.
pub struct Files {
    folder: PathBuf,
    homes: Vec<PathBuf>,
    // Held, not used: the kernel lets go of them when this process ends, however it ends.
    _port: File,
    _first: Option<File>,
}

impl Files {
    pub fn claim(port: u16) -> Result<Self> {
        let local = settings::workspace().join(".local");
        let folder = local.join(port.to_string());
        fs::create_dir_all(&folder).doing(|| format!("cannot make the folder {}", folder.display()))?;
        let Some(held) = lock(&folder.join("lock"))? else {
            return Err(Error::new(format!("another `make run` of this clone is using port {port}")));
        };
        let first = lock(&local.join("lock"))?;
        let mut homes = vec![folder.clone()];
        if first.is_some() {
            homes.insert(0, local);
        }
        let files = Self { folder, homes, _port: held, _first: first };
        // What a run that was killed has left would be taken for ours before we are ready.
        files.remove_settings();
        Ok(files)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether `.local/env` is ours.
    pub fn is_first(&self) -> bool {
        self._first.is_some()
    }

    /// The file with the settings to tell people about.
    pub fn env(&self) -> PathBuf {
        self.homes[0].join(ENV)
    }

    /// All files with settings, written or yet to be.
    pub fn settings(&self) -> Vec<PathBuf> {
        self.homes.iter().flat_map(|home| [home.join(ENV), home.join(SAM_ENV)]).collect()
    }

    /// Writes the settings as lines for a shell to source: its programs get them too.
    pub fn write_env(&self, values: &[(&str, String)]) -> Result<()> {
        let quote = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
        let text: String =
            values.iter().map(|(name, value)| format!("export {name}={}\n", quote(value))).collect();
        self.write(ENV, &text)
    }

    /// Writes the settings for `sam local --env-vars`.
    pub fn write_sam_env(&self, values: &serde_json::Value) -> Result<()> {
        self.write(SAM_ENV, &format!("{values:#}\n"))
    }

    /// Readers see all of it or nothing.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        for home in &self.homes {
            let path = &home.join(name);
            let write = || -> std::io::Result<()> {
                let draft = self.folder.join("settings.draft");
                // There are passwords in it.
                let mut file =
                    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
                file.write_all(text.as_bytes())?;
                fs::rename(&draft, path)
            };
            write().doing(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn remove_settings(&self) {
        for path in self.settings() {
            // It is gone already when the start did not come so far.
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.remove_settings();
    }
}

/// A locked file, or none when somebody else has it locked.
fn lock(path: &Path) -> Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.doing(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(Error::because(format!("cannot lock {}", path.display()), error))
        }
    }
}
