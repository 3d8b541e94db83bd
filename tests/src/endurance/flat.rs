//! Whether what a process holds grows with the length of the recording. Pure.

/// What was held at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds recorded by then.
    pub recorded_secs: u32,
    /// Resident memory of the manager.
    pub resident_mib: f64,
    /// Its open files.
    pub descriptors: usize,
    /// What lies on the run's disk beyond the recording itself.
    pub overhead_bytes: u64,
}

/// From here on nothing may grow: by then every cache is warm, and each kind of file was carried out.
pub const SETTLED_SECS: u32 = 600;
/// More than the allocator's own scatter (2 MiB seen), less than a leak of 1 KiB a second of a long call.
pub const MOST_MIB: f64 = 16.0;
/// Connections to the store and segments on their way come and go.
pub const MOST_DESCRIPTORS: usize = 12;
/// The store's own log lies elsewhere; on the run's disk nothing but the recording grows.
pub const MOST_OVERHEAD: u64 = 1 << 20;

/// The samples that hold more than is allowed beyond the first settled one.
pub fn growth(samples: &[Sample]) -> Vec<Sample> {
    let Some(base) = samples.iter().find(|sample| sample.recorded_secs >= SETTLED_SECS) else { return Vec::new() };
    let grew = |sample: &&Sample| {
        sample.resident_mib > base.resident_mib + MOST_MIB
            || sample.descriptors > base.descriptors + MOST_DESCRIPTORS
            || sample.overhead_bytes > base.overhead_bytes + MOST_OVERHEAD
    };
    samples.iter().filter(|sample| sample.recorded_secs >= SETTLED_SECS).filter(grew).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(growth: impl Fn(u32, &mut Sample)) -> Vec<Sample> {
        let at = |minute: u32| {
            let mut sample = Sample { recorded_secs: minute * 60, resident_mib: 20.0, descriptors: 15, overhead_bytes: 4_096 };
            growth(minute, &mut sample);
            sample
        };
        (0..600).step_by(5).map(at).collect()
    }

    #[test]
    fn what_stays_and_what_scatters_is_flat() {
        assert!(growth(&samples(|_, _| {})).is_empty());
        let scatters = |minute: u32, sample: &mut Sample| {
            sample.resident_mib += f64::from(minute % 10);
            sample.descriptors += (minute % 8) as usize;
        };
        assert!(growth(&samples(scatters)).is_empty());
        assert!(growth(&samples(|minute, sample| sample.resident_mib += if minute < 10 { 0.0 } else { 30.0 })).is_empty());
    }

    #[test]
    fn a_leak_of_each_kind_is_seen() {
        assert!(!growth(&samples(|minute, sample| sample.resident_mib += f64::from(minute) * 60.0 / 1_024.0)).is_empty());
        assert!(!growth(&samples(|minute, sample| sample.descriptors += minute as usize / 15)).is_empty());
        assert!(!growth(&samples(|minute, sample| sample.overhead_bytes += u64::from(minute) * 15 * 400)).is_empty());
    }
}
