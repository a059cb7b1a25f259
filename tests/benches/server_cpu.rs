//! What a PostgreSQL server takes of the processors; on Linux only.

use std::fs;
use std::time::Duration;

use harness::database::Database;

/// Ticks of a second in `/proc/<pid>/stat`, on every architecture.
const TICKS: u32 = 100;

/// A server by its first process, the parent of all others.
pub struct Server(u32);

impl Server {
    /// The server of a database; none where there is no `/proc`.
    pub async fn of(database: &Database) -> Option<Self> {
        let client = database.connect().await;
        let row = client.query_one("select pg_backend_pid()", &[]).await.expect("a process");
        let backend: i32 = row.get(0);
        Some(Self(Process::read(backend.cast_unsigned())?.parent))
    }

    /// The time of all its processes so far, those that have ended included.
    ///
    /// # Panics
    /// When the server has ended.
    pub fn cpu(&self) -> Duration {
        let first = Process::read(self.0).expect("the server runs");
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let children = pids.filter_map(Process::read).filter(|process| process.parent == self.0);
        let ticks = first.own + first.of_ended_children + children.map(|child| child.own).sum::<u32>();
        Duration::from_secs(ticks.into()) / TICKS
    }
}

/// What `/proc/<pid>/stat` says of a process, in ticks.
struct Process {
    parent: u32,
    own: u32,
    of_ended_children: u32,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program, in brackets, may have spaces.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u32>().ok();
        Some(Self {
            parent: field(4)?,
            own: field(14)? + field(15)?,
            of_ended_children: field(16)? + field(17)?,
        })
    }
}
