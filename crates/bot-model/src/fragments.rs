//! What time fragmented MP4 says it covers, read from its own boxes (ISO/IEC 14496-12), so that a remux can be judged by
//! something else than the program that made it. Damaged or foreign boxes cover nothing; none is an error.

use std::collections::BTreeMap;

/// The initialisation segment and the segments of one part, as they are read one after the other.
#[derive(Debug, Clone, Default)]
pub struct Fragments {
    tracks: BTreeMap<u32, Track>,
}

#[derive(Debug, Clone, Default)]
struct Track {
    timescale: u32,
    default_duration: u32,
    is_sound: bool,
    /// Decode time of the first sample, and of the end of the last, in units of the timescale.
    span: Option<(u64, u64)>,
}

impl Fragments {
    /// Takes in an initialisation segment, or a segment.
    pub fn read(&mut self, bytes: &[u8]) {
        for (kind, body) in boxes(bytes) {
            match kind {
                b"moov" => self.movie(body),
                b"moof" => children(body, b"traf").for_each(|fragment| self.fragment(fragment)),
                _ => {}
            }
        }
    }

    /// Seconds from the first sample of any track to the last's end.
    pub fn secs(&self) -> Option<f64> {
        self.span_of(|_| true)
    }

    /// Where the picture begins and ends on the part's own clock, in seconds; where there is none, the sound.
    pub fn span(&self) -> Option<(f64, f64)> {
        let tracks = || self.tracks.values().filter(|track| track.timescale > 0);
        let of = |track: &Track| {
            let secs = |units: u64| units as f64 / f64::from(track.timescale);
            track.span.map(|(from, to)| (secs(from), secs(to)))
        };
        tracks().filter(|track| !track.is_sound).find_map(of).or_else(|| tracks().find_map(of))
    }

    /// True where an initialisation segment named a track.
    pub fn is_media(&self) -> bool {
        !self.tracks.is_empty()
    }

    /// The same tracks, of which nothing was read yet.
    pub fn emptied(&self) -> Self {
        let mut copy = self.clone();
        copy.tracks.values_mut().for_each(|track| track.span = None);
        copy
    }

    /// Seconds of sound; zero without any.
    pub fn sound_secs(&self) -> f64 {
        self.span_of(|track| track.is_sound).unwrap_or_default()
    }

    fn span_of(&self, wanted: impl Fn(&Track) -> bool) -> Option<f64> {
        let spans = self.tracks.values().filter(|track| wanted(track) && track.timescale > 0).filter_map(|track| {
            let secs = |units: u64| units as f64 / f64::from(track.timescale);
            track.span.map(|(from, to)| (secs(from), secs(to)))
        });
        spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).map(|(from, to)| to - from)
    }

    fn movie(&mut self, movie: &[u8]) {
        for track in children(movie, b"trak") {
            let Some(id) = child(track, b"tkhd").and_then(|header| number(header, after_dates(header))) else { continue };
            let Some(media) = child(track, b"mdia") else { continue };
            let timescale = child(media, b"mdhd").and_then(|header| number(header, after_dates(header)));
            let is_sound = child(media, b"hdlr").and_then(|handler| handler.get(8..12)) == Some(b"soun");
            let timescale = timescale.unwrap_or_default();
            self.tracks.insert(id, Track { timescale, is_sound, ..Track::default() });
        }
        for defaults in child(movie, b"mvex").into_iter().flat_map(|extends| children(extends, b"trex")) {
            if let Some(track) = number(defaults, 4).and_then(|id| self.tracks.get_mut(&id)) {
                track.default_duration = number(defaults, 12).unwrap_or_default();
            }
        }
    }

    fn fragment(&mut self, fragment: &[u8]) {
        let Some(header) = child(fragment, b"tfhd") else { return };
        let Some(track) = number(header, 4).and_then(|id| self.tracks.get_mut(&id)) else { return };
        let Some(begun) = child(fragment, b"tfdt").and_then(decode_time) else { return };
        let default = fragment_duration(header).unwrap_or(track.default_duration);
        let length: u64 = children(fragment, b"trun").map(|run| run_duration(run, default)).sum();
        let end = begun + length;
        track.span = Some(track.span.map_or((begun, end), |(from, to)| (from.min(begun), to.max(end))));
    }
}

/// Sum of a run's sample durations.
fn run_duration(run: &[u8], default: u32) -> u64 {
    let (flags, samples) = (flags(run), number(run, 4).unwrap_or_default());
    if flags & 0x100 == 0 {
        return u64::from(samples) * u64::from(default);
    }
    let first = 8 + 4 * usize::from(flags & 0x1 != 0) + 4 * usize::from(flags & 0x4 != 0);
    let stride = 4 * [0x100, 0x200, 0x400, 0x800].iter().filter(|flag| flags & **flag != 0).count();
    let rows = run.get(first..).unwrap_or_default().chunks_exact(stride);
    rows.take(samples as usize).filter_map(|row| number(row, 0)).map(u64::from).sum()
}

/// `default_sample_duration` of a `tfhd`, if it has one.
fn fragment_duration(header: &[u8]) -> Option<u32> {
    let flags = flags(header);
    let at = 8 + 8 * usize::from(flags & 0x1 != 0) + 4 * usize::from(flags & 0x2 != 0);
    (flags & 0x8 != 0).then(|| number(header, at))?
}

fn decode_time(body: &[u8]) -> Option<u64> {
    if body.first() == Some(&1) { wide_number(body, 4) } else { number(body, 4).map(u64::from) }
}

/// Where a header's first field after its two dates is: they are wider in version 1.
fn after_dates(header: &[u8]) -> usize {
    if header.first() == Some(&1) { 20 } else { 12 }
}

fn flags(body: &[u8]) -> u32 {
    number(body, 0).unwrap_or_default() & 0x00ff_ffff
}

fn number(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(body.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn wide_number(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(body.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn child<'a>(body: &'a [u8], wanted: &'static [u8; 4]) -> Option<&'a [u8]> {
    children(body, wanted).next()
}

fn children<'a>(body: &'a [u8], wanted: &'static [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
    boxes(body).filter(move |(kind, _)| *kind == wanted).map(|(_, body)| body)
}

/// The boxes that lie one after the other, up to the first that makes no sense.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, body, after) = first_box(rest)?;
        rest = after;
        Some((kind, body))
    })
}

/// A box's kind, its body, and what comes after it.
fn first_box(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let kind: &[u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    let (head, size) = match number(bytes, 0)? {
        0 => (8, bytes.len()),
        1 => (16, usize::try_from(wide_number(bytes, 8)?).ok()?),
        size => (8, size as usize),
    };
    Some((kind, bytes.get(head..size)?, bytes.get(size..)?))
}

/// True for a segment of our own making (it begins with `styp`) that ends within a box. On a full disk ffmpeg closes such segments, and empty
/// ones after them, under their final names, and goes on (5.1, measured). One of them in a file makes its remux end too early.
pub fn is_cut_short(segment: &[u8]) -> bool {
    let Some((b"styp", _, mut rest)) = first_box(segment) else { return false };
    while let Some((_, _, after)) = first_box(rest) {
        rest = after;
    }
    !rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_boxes_cover_nothing_and_never_panic() {
        let mut fragments = Fragments::default();
        for length in 0..64_u32 {
            let mut bytes: Vec<u8> = (0..length).map(|at| (at.wrapping_mul(37) % 251) as u8).collect();
            if let Some(kind) = bytes.get_mut(4..8) {
                kind.copy_from_slice(if length % 2 == 0 { b"moov" } else { b"moof" });
            }
            fragments.read(&bytes);
        }
        assert_eq!((fragments.secs(), fragments.sound_secs()), (None, 0.0));
    }

    #[test]
    fn a_segment_is_cut_short_wherever_it_ends_within_a_box() {
        let whole: Vec<u8> = [(b"styp", 4), (b"moof", 12), (b"mdat", 20)]
            .into_iter()
            .flat_map(|(kind, body): (&[u8; 4], u32)| [&(body + 8).to_be_bytes(), &kind[..], &vec![7; body as usize]].concat())
            .collect();
        assert!(!is_cut_short(&whole));
        for length in 13..whole.len() {
            assert_eq!(is_cut_short(&whole[..length]), length != 32, "{length}");
        }
        for foreign in [&b""[..], b"any bytes", &whole[12..40]] {
            assert!(!is_cut_short(foreign), "a segment of another make is a run of bytes");
        }
    }
}
