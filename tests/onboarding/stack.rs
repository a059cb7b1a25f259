//! A local stack of its own, as `make run` starts it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::guard::{last_lines, signal_group};
use harness::scratch::Scratch;
use harness::settings::{functions_dir, path, workspace};
use rustix::process::Signal;

/// What the stack prints last before it waits for Ctrl-C.
const READY: &str = "Audit events as they arrive (Ctrl-C stops everything):";

/// Those of the stack that it must not get from elsewhere.
const SETTINGS: [&str; 5] =
    ["DATABASE_URL", "DATABASE_CA_FILE", "CONTAINERS_AT", "CORS_ALLOWED_ORIGINS", "GATEWAY_AUTHORIZER"];

/// A running stack. Dropping it stops it.
pub struct Stack {
    child: Child,
    port: u16,
    output: PathBuf,
    _scratch: Scratch,
}

impl Stack {
    /// Starts one that ticks every second, and waits until it is ready.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more settings.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let scratch = Scratch::create(None).unwrap();
        let output = scratch.path().join("output");
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        // A machine with Docker, whatever this one is.
        let ip = scratch.path().join("ip");
        fs::write(
            &ip,
            "#!/bin/sh\necho '3: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0'\n",
        )
        .unwrap();
        fs::set_permissions(&ip, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", scratch.path().display(), path());
        let file = || Stdio::from(File::options().create(true).append(true).open(&output).unwrap());
        let mut command = Command::new(functions_dir().unwrap().join("stack"));
        command.arg("run").current_dir(workspace()).stdin(Stdio::null()).stdout(file()).stderr(file());
        for name in SETTINGS {
            command.env_remove(name);
        }
        command.env("PORT", port.to_string()).env("TICK_SECONDS", "1").env("PATH", path);
        command.envs(settings.iter().copied());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().expect("`cargo build --bins` has built the stack");
        let mut stack = Self { child, port, output, _scratch: scratch };
        let deadline = Instant::now() + Duration::from_secs(90);
        while !stack.told().contains(READY) {
            let is_running = matches!(stack.child.try_wait(), Ok(None));
            assert!(is_running && Instant::now() < deadline, "{}", last_lines(&stack.output, 10));
            std::thread::sleep(Duration::from_millis(50));
        }
        stack
    }

    /// What it has printed.
    pub fn told(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Its file of settings, relative to the workspace. `.local/env` may be another run's.
    pub fn env(&self) -> String {
        format!(".local/{}/env", self.port)
    }

    /// What that file says.
    pub fn setting(&self, name: &str) -> String {
        let settings = fs::read_to_string(workspace().join(self.env())).unwrap();
        let found = settings.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")));
        found.unwrap_or_else(|| panic!("no {name}")).trim_end_matches('\'').to_owned()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        signal_group(self.child.id(), Signal::TERM);
        let _ = self.child.wait();
        // Nobody else has had this port.
        let _ = fs::remove_dir_all(workspace().join(".local").join(self.port.to_string()));
    }
}
