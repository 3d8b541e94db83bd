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
    /// Who started it, while that lives.
    pub parent: i32,
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
    let mut sums: HashMap<String, (f64, f64)> = HashMap::new();
    for process in descendants(root).into_values() {
        let sum = sums.entry(process.name).or_default();
        sum.0 += process.cpu_secs;
        sum.1 += process.resident_mib;
    }
    sums
}

/// The processes that descend from `root`, `root` included.
pub fn descendants(root: i32) -> HashMap<i32, Usage> {
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
    all.iter().filter(|(pid, _)| descends(**pid)).map(|(pid, process)| (*pid, process.clone())).collect()
}

/// What a bot's processes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Chromium, all its processes.
    Browser,
    /// Capture.
    Ffmpeg,
    /// Xvfb.
    Display,
    /// PulseAudio.
    Sound,
    /// The meeting-bot itself, and what it runs for a moment.
    Bot,
}

impl Share {
    /// Every share.
    pub const ALL: [Self; 5] = [Self::Browser, Self::Ffmpeg, Self::Display, Self::Sound, Self::Bot];

    fn of(name: &str) -> Self {
        match name {
            "ffmpeg" => Self::Ffmpeg,
            "Xvfb" => Self::Display,
            "pulseaudio" => Self::Sound,
            name if name.starts_with("chrom") => Self::Browser,
            _ => Self::Bot,
        }
    }
}

/// A bot's processes at a moment.
#[derive(Debug, Clone)]
pub struct Shares(Vec<(Share, Usage, f64)>);

impl Shares {
    /// CPU seconds so far, those of ended children included.
    pub fn cpu_secs(&self, share: Share) -> f64 {
        let of = self.0.iter().filter(|(of, ..)| *of == share);
        of.map(|(_, process, _)| process.cpu_secs + if share == Share::Bot { process.children_secs } else { 0.0 }).sum()
    }

    /// Memory of all in MiB, shared pages split among those that share them.
    pub fn memory_mib(&self) -> f64 {
        self.0.iter().map(|(.., memory)| memory).sum()
    }
}

/// The processes below a meeting-bot.
pub fn shares(bot: i32) -> Shares {
    let share = |(pid, process): (i32, Usage)| (Share::of(&process.name), process, proportional_mib(pid));
    Shares(descendants(bot).into_iter().map(share).collect())
}

/// The process's proportional share of memory (PSS); 0 where it may not be read.
fn proportional_mib(pid: i32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1_024.0
}
