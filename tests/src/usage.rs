//! CPU time and memory of processes, from `/proc`.

use std::collections::HashMap;

/// Clock ticks a second in `/proc`; fixed by the kernel's interface.
const TICKS: f64 = 100.0;

/// One process.
#[derive(Debug, Clone)]
pub struct Usage {
    /// Its program's name, at most 15 characters.
    pub name: String,
    /// CPU seconds so far, user and system.
    pub cpu_secs: f64,
    /// CPU seconds of its ended and waited-for children.
    pub children_secs: f64,
    /// Resident memory in MiB; shared pages count in each process.
    pub resident_mib: f64,
    parent: i32,
}

/// Every process of this machine by its id.
pub fn processes() -> HashMap<i32, Usage> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(|pid| Some((pid, usage(pid)?))).collect()
}

/// One process.
pub fn usage(pid: i32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / TICKS;
    let pages: f64 = fields.get(21)?.parse().ok()?;
    Some(Usage {
        name,
        cpu_secs: ticks(11) + ticks(12),
        children_secs: ticks(13) + ticks(14),
        resident_mib: pages * 4_096.0 / 1_048_576.0,
        parent: fields.get(1)?.parse().ok()?,
    })
}

/// Sums by name over the processes that descend from `root`, `root` included.
pub fn below(root: i32) -> HashMap<String, (f64, f64)> {
    let all = processes();
    let descends = |mut pid: i32| loop {
        if pid == root {
            return true;
        }
        match all.get(&pid) {
            Some(process) if process.parent > 1 => pid = process.parent,
            _ => return false,
        }
    };
    let mut sums: HashMap<String, (f64, f64)> = HashMap::new();
    for (pid, process) in &all {
        if descends(*pid) {
            let sum = sums.entry(process.name.clone()).or_default();
            sum.0 += process.cpu_secs;
            sum.1 += process.resident_mib;
        }
    }
    sums
}
