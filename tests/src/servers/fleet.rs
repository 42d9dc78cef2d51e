//! Worker processes that share their servers, to be killed and paused.

use std::fs::File;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::site::Site;

/// Daemons (`neartime run`) of one site; what each says goes to `worker-N.log` there.
#[derive(Debug)]
pub struct Fleet<'s> {
    site: &'s Site,
    workers: Vec<Child>,
}

impl<'s> Fleet<'s> {
    pub fn start(site: &'s Site, workers: usize) -> Self {
        Self { site, workers: (0..workers).map(|worker| run(site, worker)).collect() }
    }

    pub fn len(&self) -> usize {
        self.workers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Ends a worker without warning and starts another in its place.
    pub fn kill(&mut self, worker: usize) {
        self.supervise();
        let child = &mut self.workers[worker];
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
        self.workers[worker] = run(self.site, worker);
    }

    /// Starts those again that found a service away while they started and said so (exit code 3), as the systemd unit
    /// does; no worker may end by itself otherwise.
    pub fn supervise(&mut self) {
        for (worker, child) in self.workers.iter_mut().enumerate() {
            if let Some(status) = child.try_wait().expect("its state") {
                assert_eq!(status.code(), Some(3), "worker {worker} ended by itself:\n{}", log(self.site, worker));
                *child = run(self.site, worker);
            }
        }
    }

    /// Stops a worker in the middle of whatever it does, as a machine that swaps or migrates does.
    pub fn pause(&self, worker: usize) {
        self.signal(worker, Signal::STOP);
    }

    pub fn resume(&self, worker: usize) {
        self.signal(worker, Signal::CONT);
    }

    /// Ends all cleanly; each must exit with 0.
    pub fn terminate(mut self) {
        for worker in 0..self.workers.len() {
            self.signal(worker, Signal::TERM);
        }
        for (worker, child) in self.workers.iter_mut().enumerate() {
            let code = child.wait().expect("it has ended").code();
            assert_eq!(code, Some(0), "worker {worker}:\n{}", log(self.site, worker));
        }
        self.workers.clear();
    }

    /// Everything that all workers have said.
    pub fn logs(&self) -> String {
        (0..self.workers.len()).map(|worker| log(self.site, worker)).collect()
    }

    fn signal(&self, worker: usize, signal: Signal) {
        let pid = Pid::from_child(&self.workers[worker]);
        kill_process(pid, signal).expect("a worker that has not been waited for");
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        for child in &mut self.workers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(site: &Site, worker: usize) -> Child {
    let path = site.path().join(format!("worker-{worker}.log"));
    let log = File::options().create(true).append(true).open(path).expect("the worker's log");
    let errors = log.try_clone().expect("the worker's log");
    let mut command = site.command(["run"]);
    command.stdout(Stdio::from(log)).stderr(Stdio::from(errors));
    command.spawn().expect("the binary starts")
}

fn log(site: &Site, worker: usize) -> String {
    std::fs::read_to_string(site.path().join(format!("worker-{worker}.log"))).unwrap_or_default()
}
