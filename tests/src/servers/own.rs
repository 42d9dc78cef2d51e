//! Servers of a test's own, to be stopped and started under it.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Some of the services of `infra/dev/services`, in a folder and on ports of their own; they end when this is dropped.
#[derive(Debug)]
pub struct OwnServers {
    folder: TempDir,
    port_base: u16,
    names: Vec<String>,
}

impl OwnServers {
    /// Starts these: `postgres`, `cassandra`, `moto`. Tests that run at once need different `port_base`s.
    pub fn start(port_base: u16, names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The user that runs PostgreSQL for root must reach it.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("the folder's owner");
        let servers = Self { folder, port_base, names: names.iter().map(|name| (*name).to_owned()).collect() };
        servers.services("start", names);
        servers
    }

    /// Where they are: what the script's `env` prints.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let printed = self.services("env", &names);
        let variable =
            |line: &str| line.strip_prefix("export ")?.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        printed.lines().filter_map(variable).collect()
    }

    /// Ends one as a crash does and starts it again.
    pub fn crash_and_restart(&self, name: &str) {
        self.services("restart", &[name, "--kill"]);
    }

    pub fn stop(&self, name: &str) {
        self.services("stop", &[name]);
    }

    pub fn start_again(&self, name: &str) {
        self.services("start", &[name]);
    }

    fn services(&self, verb: &str, names: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/dev/services");
        let ran = Command::new(script)
            .arg(verb)
            .args(names)
            .env("NEARTIME_SERVICES_DATA", self.folder.path())
            .env("NEARTIME_SERVICES_PORT_BASE", self.port_base.to_string())
            .output()
            .expect("the script starts");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() || std::thread::panicking(), "services {verb} {names:?}: {said}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }
}

impl Drop for OwnServers {
    fn drop(&mut self) {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        self.services("stop", &names);
    }
}
