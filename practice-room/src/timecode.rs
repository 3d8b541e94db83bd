//! The time code in the clock's picture, and where it lies in a recording of the replica's page.
//!
//! The strip's 24 cells are described in `assets/participant.js`, which draws them. In a recording of 1280x720 the clock's
//! tile is 960x540 at (24, 72); its top sixth is the strip.

/// Number of cells in the strip.
pub const CELLS: usize = 24;

/// Milliseconds after which the code repeats: a whole number of seconds, since the beeps come at whole seconds of the same clock.
pub const WRAPS_AFTER_MS: u32 = 650_000;

/// What ffmpeg's filters make of a 1280x720 frame so that one gray byte remains of each cell: the inner two thirds of the
/// strip, averaged cell by cell.
pub const FFMPEG_FILTER: &str = "crop=960:60:24:87,scale=24:1:flags=area,format=gray";

/// One frame's reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The clock, in milliseconds modulo [`WRAPS_AFTER_MS`], in steps of 10.
    pub ms: u32,
    /// The flash is on: the first 100 ms of a second.
    pub flash: bool,
}

/// Reads the strip from one gray value a cell. `None` where the markers, the contrast or the parity are wrong.
pub fn read(cells: &[u8; CELLS]) -> Option<Reading> {
    let white = [cells[0], cells[2], cells[23]].into_iter().min()?;
    let black = [cells[1], cells[22]].into_iter().max()?;
    if white < black.saturating_add(80) {
        return None;
    }
    let middle = black / 2 + white / 2;
    let is_white = |cell: usize| cells[cell] > middle;
    let mut value: u32 = 0;
    let mut parity = [false, false];
    for index in 0..16 {
        let bit = is_white(3 + index);
        value = value << 1 | u32::from(bit);
        parity[index % 2] ^= bit;
    }
    let holds = parity == [is_white(19), is_white(20)];
    holds.then(|| Reading { ms: value * 10, flash: is_white(21) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(value: u32, flash: bool) -> [u8; CELLS] {
        let bit = |on: bool| if on { 225 } else { 25 };
        let mut cells = [25; CELLS];
        (cells[0], cells[2], cells[23]) = (225, 225, 225);
        let mut parity = [false, false];
        for index in 0..16 {
            let on = value >> (15 - index) & 1 == 1;
            cells[3 + index] = bit(on);
            parity[index % 2] ^= on;
        }
        (cells[19], cells[20], cells[21]) = (bit(parity[0]), bit(parity[1]), bit(flash));
        cells
    }

    #[test]
    fn every_value_reads_back() {
        for value in (0..65_536).step_by(7) {
            assert_eq!(read(&cells(value, value % 2 == 0)), Some(Reading { ms: value * 10, flash: value % 2 == 0 }));
        }
    }

    #[test]
    fn a_damaged_strip_reads_as_nothing() {
        let mut flipped = cells(12_345, false);
        flipped[7] = 250 - flipped[7];
        assert_eq!(read(&flipped), None);
        assert_eq!(read(&[128; CELLS]), None);
        assert_eq!(read(&[0; CELLS]), None);
    }
}
