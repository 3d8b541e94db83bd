//! Looks at what was really recorded: the first picture of a closed segment, made tiny; and compares it with what the page shows.
//!
//! A decode of one key frame every few segments costs next to nothing, and it judges the recording itself. (A second
//! output of the capturing ffmpeg would starve its sound input, see [`super::command`].)

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bot_model::segment;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

const WIDTH: usize = 64;
const HEIGHT: usize = 36;
const DEADLINE: Duration = Duration::from_secs(10);
/// Shades between the darkest and the lightest spot of a picture of one colour.
const ONE_COLOUR: u8 = 6;
/// The largest change of any spot that still counts as none; encoding alone causes 1 or 2.
const NO_CHANGE: u8 = 3;

/// A spot that differs by so much shows something else.
const ANOTHER_SHADE: u8 = 16;
/// So many spots in a hundred make another picture: a ticking clock in a corner does not.
const ANOTHER_PICTURE_PERCENT: usize = 2;

/// A picture of 64 by 36 grey spots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail(Vec<u8>);

impl Thumbnail {
    /// The first picture of a closed segment in a part's folder; `None` if it cannot be decoded.
    pub async fn of_segment(folder: &Path, sequence: u32) -> Option<Self> {
        let input = format!("concat:{}|{}", segment::INIT_FILE, segment::segment_file(sequence));
        let mut command = shrink(&["-nostdin", "-i", &input]);
        command.current_dir(folder).stdin(Stdio::null());
        let output = timeout(DEADLINE, command.output()).await.ok()?.ok()?;
        (output.stdout.len() == WIDTH * HEIGHT).then_some(Self(output.stdout))
    }

    /// Of a PNG.
    pub async fn of_png(png: &[u8]) -> Option<Self> {
        let mut command = shrink(&["-f", "png_pipe", "-i", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut stdin = child.stdin.take()?;
        let shrunk = async {
            let written = async { stdin.write_all(png).await.map(|()| drop(stdin)) };
            tokio::join!(written, child.wait_with_output()).1
        };
        let output = timeout(DEADLINE, shrunk).await.ok()?.ok()?;
        (output.stdout.len() == WIDTH * HEIGHT).then_some(Self(output.stdout))
    }

    /// `other` shows something else.
    pub fn is_another(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(&other.0).filter(|(a, b)| a.abs_diff(**b) > ANOTHER_SHADE).count();
        differing * 100 > self.0.len() * ANOTHER_PICTURE_PERCENT
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

/// ffmpeg that makes a thumbnail of an input.
fn shrink(input: &[&str]) -> Command {
    let filter = format!("scale={WIDTH}:{HEIGHT}:flags=area,format=gray");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-threads", "1"]).args(input).args(["-frames:v", "1", "-vf", &filter]);
    command.args(["-an", "-f", "rawvideo", "-"]).stderr(Stdio::null()).kill_on_drop(true);
    command
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
        assert!(!black.is_another(&face), "one spot is no other picture");
        let slide = Thumbnail(vec![200; WIDTH * HEIGHT]);
        assert!(black.is_another(&slide));
    }
}
