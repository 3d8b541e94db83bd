//! Looks at what was really recorded: the first picture of a closed segment, made tiny.
//!
//! A decode of one key frame every few segments costs next to nothing, and it judges the recording itself. (A second
//! output of the capturing ffmpeg would starve its sound input, see [`super::command`].)

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bot_model::segment;
use tokio::process::Command;
use tokio::time::timeout;

const WIDTH: usize = 64;
const HEIGHT: usize = 36;
const DEADLINE: Duration = Duration::from_secs(10);
/// Shades between the darkest and the lightest spot of a picture of one colour.
const ONE_COLOUR: u8 = 6;
/// The largest change of any spot that still counts as none; encoding alone causes 1 or 2.
const NO_CHANGE: u8 = 3;

/// A picture of 64 by 36 grey spots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail(Vec<u8>);

impl Thumbnail {
    /// The first picture of a closed segment in a part's folder; `None` if it cannot be decoded.
    pub async fn of_segment(folder: &Path, sequence: u32) -> Option<Self> {
        let input = format!("concat:{}|{}", segment::INIT_FILE, segment::segment_file(sequence));
        let filter = format!("scale={WIDTH}:{HEIGHT}:flags=area,format=gray");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-threads", "1", "-i", &input, "-frames:v", "1", "-vf", &filter]);
        command.args(["-an", "-f", "rawvideo", "-"]).current_dir(folder);
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = timeout(DEADLINE, command.output()).await.ok()?.ok()?;
        (output.stdout.len() == WIDTH * HEIGHT).then_some(Self(output.stdout))
    }

    /// It is of one colour, black or otherwise.
    pub fn is_blank(&self) -> bool {
        let (darkest, lightest) = (self.0.iter().min(), self.0.iter().max());
        matches!((darkest, lightest), (Some(darkest), Some(lightest)) if lightest - darkest <= ONE_COLOUR)
    }

    /// No spot differs from `other`.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a.abs_diff(*b) <= NO_CHANGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_black_picture_is_blank_and_a_picture_with_a_face_is_not() {
        let black = Thumbnail(vec![16; WIDTH * HEIGHT]);
        let mut face = black.clone();
        face.0[700] = 90;
        assert!(black.is_blank() && !face.is_blank());
        assert!(black.is_same_as(&black) && !black.is_same_as(&face));
    }
}
