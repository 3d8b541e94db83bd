//! The file that a reference manager looks for, made of the session's segments by copy.
//!
//! H.264 and AAC in Matroska, under the name `.webm` where that is what is asked for: the fork of these images writes H.264 under that
//! name, too, and every tool of theirs reads it by its content. A strict WebM player does not; `.mp4` is then the better setting.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bot_model::segment::{INIT_FILE, parse_part_folder, segment_file};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// A remux of ten hours takes a minute on a slow disk.
const WITHIN: Duration = Duration::from_secs(600);

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("local disk: {0}")]
    Disk(#[from] std::io::Error),
    #[error("ffmpeg did not make it ({0})")]
    Ffmpeg(String),
}

/// Makes `file` of the parts below `parts`, and deletes those once it lies there. False where nothing was recorded.
pub(super) async fn make(parts: &Path, file: &Path) -> Result<bool, FileError> {
    let playable: Vec<PathBuf> = part_folders(parts)?.into_iter().filter(|part| part.join(segment_file(0)).is_file()).collect();
    if playable.is_empty() {
        tokio::fs::remove_dir_all(parts).await?;
        return Ok(false);
    }
    let format = if file.extension().is_some_and(|extension| extension == "mp4") { "mp4" } else { "matroska" };
    let draft = parts.join("whole.tmp");
    if let [only] = playable.as_slice() {
        remux(only, format, &draft).await?;
    } else {
        join(&playable, parts, format, &draft).await?;
    }
    tokio::fs::rename(&draft, file).await?;
    tokio::fs::remove_dir_all(parts).await?;
    Ok(true)
}

fn part_folders(parts: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut numbers: Vec<(u32, PathBuf)> = std::fs::read_dir(parts)?
        .flatten()
        .filter_map(|entry| Some((parse_part_folder(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    numbers.sort();
    Ok(numbers.into_iter().map(|(_, folder)| folder).collect())
}

/// One part, its segments fed in one after the other.
async fn remux(part: &Path, format: &str, to: &Path) -> Result<(), FileError> {
    let input = words(&["-protocol_whitelist", "pipe,file", "-f", "mp4", "-i", "pipe:0"]);
    let mut command = command(input, format, to);
    let mut ffmpeg = command.stdin(Stdio::piped()).spawn()?;
    let mut stdin = ffmpeg.stdin.take();
    let feeding = async {
        if let Some(stdin) = &mut stdin {
            let names = std::iter::once(INIT_FILE.to_owned()).chain((0..).map(segment_file));
            for file in names.map(|name| part.join(name)).take_while(|file| file.is_file()) {
                // It may have had enough, which its exit code then says.
                if stdin.write_all(&tokio::fs::read(file).await?).await.is_err() {
                    break;
                }
            }
        }
        drop(stdin.take());
        ended(&mut ffmpeg).await
    };
    timeout(WITHIN, feeding).await.unwrap_or_else(|_| Err(FileError::Ffmpeg("it took too long".into())))
}

async fn join(playable: &[PathBuf], parts: &Path, format: &str, to: &Path) -> Result<(), FileError> {
    let mut list = String::new();
    for (index, part) in playable.iter().enumerate() {
        remux(part, "mp4", &parts.join(format!("part-{index}.mp4"))).await?;
        list.push_str(&format!("file 'part-{index}.mp4'\n"));
    }
    let names = parts.join("parts.txt");
    tokio::fs::write(&names, list).await?;
    let mut input = words(&["-f", "concat", "-safe", "0", "-protocol_whitelist", "file", "-i"]);
    input.push(names.into());
    let mut ffmpeg = command(input, format, to).stdin(Stdio::null()).spawn()?;
    let ending = ended(&mut ffmpeg);
    timeout(WITHIN, ending).await.unwrap_or_else(|_| Err(FileError::Ffmpeg("it took too long".into())))
}

async fn ended(ffmpeg: &mut tokio::process::Child) -> Result<(), FileError> {
    let status = ffmpeg.wait().await?;
    if status.success() { Ok(()) } else { Err(FileError::Ffmpeg(status.to_string())) }
}

fn command(input: Vec<OsString>, format: &str, to: &Path) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"]).args(input);
    command.args(["-map", "0:v?", "-map", "0:a?", "-c", "copy", "-avoid_negative_ts", "make_zero"]);
    if format == "mp4" {
        command.args(["-movflags", "+faststart"]);
    }
    command.args(["-f", format]).arg(to).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

fn words(texts: &[&str]) -> Vec<OsString> {
    texts.iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(part: &Path) {
        std::fs::create_dir_all(part).unwrap();
        let mut ffmpeg = std::process::Command::new("ffmpeg");
        ffmpeg.current_dir(part).args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=15"]);
        ffmpeg.args(["-f", "lavfi", "-i", "sine", "-t", "4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]);
        ffmpeg.args([
            "-g",
            "30",
            "-c:a",
            "aac",
            "-f",
            "hls",
            "-hls_time",
            "2",
            "-hls_segment_type",
            "fmp4",
            "-hls_list_size",
            "0",
        ]);
        ffmpeg.args(["-hls_fmp4_init_filename", INIT_FILE, "-hls_segment_filename", "seg-%06d.m4s", "index.m3u8"]);
        assert!(ffmpeg.status().expect("ffmpeg is missing: install the package ffmpeg").success());
    }

    fn frames(file: &Path) -> String {
        let count =
            ["-v", "error", "-select_streams", "v", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"];
        let output = std::process::Command::new("ffprobe").args(count).arg(file).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().trim_end_matches(',').to_owned()
    }

    #[tokio::test]
    async fn two_parts_become_one_file_of_either_kind_and_an_empty_one_is_left_out() {
        for name in ["s.webm", "s.mp4"] {
            let folder = tempfile::tempdir().unwrap();
            let (parts, file) = (folder.path().join("s.parts"), folder.path().join(name));
            record(&parts.join("p000"));
            std::fs::create_dir_all(parts.join("p001")).unwrap();
            record(&parts.join("p002"));
            assert!(make(&parts, &file).await.unwrap());
            assert_eq!((frames(&file).as_str(), parts.exists()), ("120", false), "{name}");
        }
    }

    #[tokio::test]
    async fn a_call_that_recorded_nothing_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (parts, file) = (folder.path().join("s.parts"), folder.path().join("s.webm"));
        std::fs::create_dir_all(&parts).unwrap();
        assert!(!make(&parts, &file).await.unwrap());
        assert!(!file.exists() && !parts.exists());
    }
}
