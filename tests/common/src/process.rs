//! Signals to processes, and whether they are at rest.

/// Sends a signal to a process group; one that is gone is left in peace.
pub fn signal_group(leader: u32, signal: rustix::process::Signal) {
    if let Some(pid) = pid(leader) {
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// Sends a signal to a process; one that is gone is left in peace.
pub fn signal(process: u32, signal: rustix::process::Signal) {
    if let Some(pid) = pid(process) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether a child of ours is stopped or has ended. Its exit status stays to be waited for.
pub fn is_at_rest(process: u32) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    let Some(pid) = pid(process) else { return true };
    let look = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), look), Ok(None))
}

fn pid(process: u32) -> Option<rustix::process::Pid> {
    i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw)
}
