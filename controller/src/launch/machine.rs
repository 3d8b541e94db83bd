//! What this machine can hold beside what runs on it: memory that is really free, and a CPU that is not drowned. For the process
//! launcher; a cluster's scheduler does the same for pods.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::lock;

/// What one bot takes, measured (docs/sizing.md): 1.46 GiB with its browser, and 0.35 CPU once it is in the call.
const BOT_BYTES: u64 = 1_536 << 20;
const BOT_CPUS: f64 = 0.35;
/// Left to everything else on the machine.
const SPARE_BYTES: u64 = 256 << 20;
/// Of the CPUs, for bots; bursts of the joining pages and the recordings' ends need the rest.
const CPU_SHARE: f64 = 0.9;
/// With so much work waiting for each CPU, frames are being dropped already.
const MOST_LOAD: f64 = 4.0;
/// Until a bot takes what it will take.
const GROWS_FOR: Duration = Duration::from_secs(60);

/// A machine at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// CPUs that this process may use.
    pub cpus: f64,
    /// Load average over a minute.
    pub load: f64,
    /// Memory that could be had without swapping.
    pub available_bytes: u64,
}

/// How many more bots this machine can hold beside `alive`, of which `young` have not yet taken their memory. One is never refused:
/// a bot that has the machine for itself does better than none.
pub fn room(machine: &Machine, alive: usize, young: usize) -> usize {
    let first = usize::from(alive == 0);
    let promised = BOT_BYTES.saturating_mul(young as u64).saturating_add(SPARE_BYTES);
    let by_memory = machine.available_bytes.saturating_sub(promised) / BOT_BYTES;
    let by_memory = usize::try_from(by_memory).unwrap_or(usize::MAX);
    let by_cpu = ((machine.cpus * CPU_SHARE / BOT_CPUS).floor() as usize).saturating_sub(alive);
    let is_drowned = machine.load > machine.cpus * MOST_LOAD;
    let room = if is_drowned { 0 } else { by_memory.min(by_cpu) };
    room.max(first)
}

/// Looks at this machine, and remembers what was started lately.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    started: Mutex<VecDeque<Instant>>,
}

impl Gauge {
    /// A run was started.
    pub(super) fn started(&self) {
        lock(&self.started).push_back(Instant::now());
    }

    /// How many more bots there is room for beside those that are alive; without an answer of the system, any number.
    pub(super) fn room(&self, alive: usize) -> usize {
        let young = {
            let mut started = lock(&self.started);
            started.retain(|at| at.elapsed() < GROWS_FOR);
            started.len().min(alive)
        };
        look().map_or(usize::MAX, |machine| room(&machine, alive, young))
    }
}

/// This machine, as the kernel and the control group tell; `None` where they do not.
fn look() -> Option<Machine> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let load = read("/proc/loadavg")?.split(' ').next()?.parse().ok()?;
    let meminfo = read("/proc/meminfo")?;
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = available.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1_024)?;
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    let available_bytes = group.map_or(available, |(most, used)| available.min(most.saturating_sub(used)));
    let cpus = std::thread::available_parallelism().ok()?.get() as f64;
    Some(Machine { cpus, load, available_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn machine(cpus: f64, load: f64, available_gib: u64) -> Machine {
        Machine { cpus, load, available_bytes: available_gib * GIB }
    }

    #[test]
    fn the_scarcer_of_memory_and_cpu_decides() {
        assert_eq!(room(&machine(2.0, 0.5, 64), 0, 0), 5, "two CPUs hold five");
        assert_eq!(room(&machine(16.0, 0.5, 8), 0, 0), 5, "8 GiB hold five, and something is left");
        assert_eq!(room(&machine(2.0, 0.5, 64), 4, 0), 1);
        assert_eq!(room(&machine(16.0, 0.5, 8), 3, 3), 2, "what was just started has not taken its memory yet");
    }

    #[test]
    fn a_drowned_machine_takes_no_further_bot_and_yet_never_refuses_the_only_one() {
        assert_eq!(room(&machine(2.0, 8.1, 64), 1, 0), 0);
        assert_eq!(room(&machine(2.0, 8.1, 0), 0, 0), 1);
        assert_eq!(room(&machine(0.5, 0.0, 1), 0, 0), 1);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let machine = look().expect("Linux tells load and memory under /proc");
        assert!(machine.cpus >= 1.0 && machine.available_bytes > 0);
    }
}
