//! `make test-arm64`: what it says where it cannot start, and that it takes packages from the machine's mirror.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::scratch::Scratch;
use harness::settings::path;

use super::artifacts::{faults, output, python_code};

/// A machine of another kind than this one: processor, distribution, whether Debian's keys are there, needed disk.
const CROSS: &str = "
import pathlib, platform, sys
sys.path.insert(0, 'tests/arm64')
import cross, debian
processor, distribution, keyring, needed, folder = sys.argv[1:]
platform.machine = lambda: processor
platform.freedesktop_os_release = lambda: {'ID': distribution}
debian.KEYRING = pathlib.Path(keyring)
cross.NEEDED_GB = int(needed)
sys.exit(cross.main(pathlib.Path(folder), ['create-schedule']))";

#[test]
fn a_machine_that_cannot_test_for_arm64_is_told_why() {
    let machine = Scratch::create(None).expect("a folder");
    let folder = machine.path().display().to_string();
    let told = |processor: &str, distribution: &str, keyring: &str, needed: &str, mirrors: &str| {
        let apt = format!("[ \"$1\" = indextargets ] && printf '{mirrors}' || exit 100");
        for (name, script) in [("apt-get", apt.as_str()), ("dpkg-deb", ""), ("rustc", "exit 1")] {
            let program = machine.path().join(name);
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("the folder is ours");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        let mut cross = python_code(CROSS);
        cross.args([processor, distribution, keyring, needed, &format!("{folder}/arm64")]);
        cross.env("PATH", format!("{folder}:{}", path())).env_remove("DEBIAN_MIRROR").env_remove("RUSTC");
        faults(&output(&mut cross)).join("\n")
    };
    let (keys, mirror) =
        ("/dev/null", r"https://deb.nodesource.com/node_20.x/\nhttp://mirror.test/debian/\n");

    assert_eq!(
        told("aarch64", "debian", keys, "0", mirror),
        "this machine is aarch64, not x86_64: where it is arm64, `make test` runs the functions without emulation"
    );
    assert_eq!(
        told("x86_64", "ubuntu", keys, "0", mirror),
        "qemu and Rust for arm64 come from Debian's packages: run this on Debian, or in a container of it"
    );
    assert_eq!(
        told("x86_64", "debian", "/none.gpg", "0", mirror),
        "/none.gpg is missing: install it with `apt-get install debian-archive-keyring`"
    );
    assert_eq!(
        told("x86_64", "debian", keys, "0", r"http://deb.debian.org/debian-security/\n"),
        "apt is configured for no mirror of Debian: name one, such as DEBIAN_MIRROR=http://deb.debian.org/debian"
    );
    let little = told("x86_64", "debian", keys, "1000000000", mirror);
    assert!(little.ends_with(" GB of free disk: the first run needs about 1000000000 GB"), "{little}");
    // Nothing can be downloaded from that one.
    assert_eq!(told("x86_64", "debian", keys, "0", mirror), "apt-get failed");
    let sources = fs::read_to_string(machine.path().join("arm64/tools/apt/bookworm/sources.list"));
    let expected = "deb [signed-by=/dev/null] http://mirror.test/debian/ bookworm main\n";
    assert_eq!(sources.expect("apt was told where to download from"), expected);
}
