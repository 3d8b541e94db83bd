//! `controller download`: files by the API, taken up again where an earlier try broke off, and compared with their checksum before they get
//! their name.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{Client, unreachable};
use super::show::text;
use crate::cli::CliError;
use crate::cli::say::say;

/// Tries in a row that bring nothing.
const TRIES: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// What one file is, by the API.
struct Wanted {
    name: String,
    bytes: u64,
    crc32c: String,
}

pub(super) async fn download(
    client: &Client,
    id: &str,
    names: &[String],
    to: &Path,
    as_json: bool,
) -> Result<ExitCode, CliError> {
    let list = client.get(&["v1", "bots", id, "artifacts"], &[]).await?;
    let files: Vec<Wanted> = list["artifacts"].as_array().into_iter().flatten().filter_map(wanted).collect();
    let missing: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !files.iter().any(|file| file.name == *name)).collect();
    if files.is_empty() || !missing.is_empty() {
        let there: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let there = if there.is_empty() { "no files yet".to_owned() } else { there.join(", ") };
        return Err(CliError::NotFound(format!("{id} has {there}")));
    }
    tokio::fs::create_dir_all(to).await.map_err(|error| disk(to, &error))?;
    let mut done = Vec::new();
    for file in files.iter().filter(|file| names.is_empty() || names.contains(&file.name)) {
        let path = to.join(&file.name);
        let from = fetch(client, id, file, &path).await?;
        let note = if from == file.bytes { "was there" } else { "verified" };
        if !as_json {
            say!("{}  {} bytes  crc32c {}  {note}", path.display(), file.bytes, file.crc32c);
        }
        done.push(json!({"name": file.name, "path": path, "bytes": file.bytes, "crc32c": file.crc32c, "resumed_from": from}));
    }
    if as_json {
        say!("{:#}", Value::Array(done));
    }
    Ok(ExitCode::SUCCESS)
}

/// A name is taken only where it leads nowhere else.
fn wanted(file: &Value) -> Option<Wanted> {
    let name = text(file, "name");
    let is_plain =
        !name.starts_with('.') && !name.is_empty() && name.chars().all(|at| at.is_ascii_alphanumeric() || "._-".contains(at));
    is_plain.then(|| Some(Wanted { name, bytes: file["bytes"].as_u64()?, crc32c: text(file, "crc32c") }))?
}

/// Fetches what is missing; answers from which byte on.
async fn fetch(client: &Client, id: &str, file: &Wanted, path: &Path) -> Result<u64, CliError> {
    if checksum(path).await.is_ok_and(|found| found == (file.bytes, file.crc32c.clone())) {
        return Ok(file.bytes);
    }
    let part = path.with_file_name(format!("{}.part", file.name));
    let started = tokio::fs::metadata(&part).await.map_or(0, |metadata| metadata.len()).min(file.bytes);
    let bar = ProgressBar::new(file.bytes).with_position(started).with_message(file.name.clone());
    let style = ProgressStyle::with_template("{msg:15} {bar:30} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut failures = 0;
    loop {
        let before = tokio::fs::metadata(&part).await.map_or(0, |metadata| metadata.len());
        match rest(client, id, file, &part, &bar).await {
            Ok(()) => break,
            Err(error @ (CliError::Denied(_) | CliError::NotFound(_) | CliError::Usage(_) | CliError::Failed(_))) => {
                return Err(error);
            }
            Err(error) => {
                let after = tokio::fs::metadata(&part).await.map_or(0, |metadata| metadata.len());
                failures = if after > before { 0 } else { failures + 1 };
                if failures >= TRIES {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    bar.finish_and_clear();
    let found = checksum(&part).await.map_err(|error| disk(&part, &error))?;
    if found != (file.bytes, file.crc32c.clone()) {
        let _ = tokio::fs::remove_file(&part).await;
        return Err(CliError::Corrupt(format!(
            "{}: {} bytes of crc32c {} came, and not {} of {}; it was removed",
            file.name, found.0, found.1, file.bytes, file.crc32c
        )));
    }
    tokio::fs::rename(&part, path).await.map_err(|error| disk(path, &error))?;
    Ok(started)
}

/// Appends what is missing of the part.
async fn rest(client: &Client, id: &str, file: &Wanted, part: &Path, bar: &ProgressBar) -> Result<(), CliError> {
    let failed = |error: std::io::Error| disk(part, &error);
    let mut to = OpenOptions::new().create(true).append(true).open(part).await.map_err(failed)?;
    let mut from = to.metadata().await.map_err(failed)?.len();
    if from > file.bytes {
        to.set_len(0).await.map_err(failed)?;
        from = 0;
    }
    if from == file.bytes {
        return Ok(());
    }
    let headers = [("range", format!("bytes={from}-")), ("if-range", format!("\"{}\"", file.crc32c))];
    let answer = client.open(&["v1", "bots", id, "artifacts", &file.name], &[], &headers).await?;
    if answer.status() != reqwest::StatusCode::PARTIAL_CONTENT {
        // Another file lies there now: what is here is of no use.
        to.set_len(0).await.map_err(failed)?;
        from = 0;
    }
    bar.set_position(from);
    let mut stream = answer.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| unreachable(&error))?;
        to.write_all(&chunk).await.map_err(failed)?;
        from += chunk.len() as u64;
        bar.set_position(from);
    }
    to.flush().await.map_err(failed)?;
    if from < file.bytes { Err(CliError::Unreachable(format!("{} broke off at {from} bytes", file.name))) } else { Ok(()) }
}

/// Size and crc32c of a file, as the API writes it.
async fn checksum(path: &Path) -> std::io::Result<(u64, String)> {
    let (mut file, mut buffer) = (File::open(path).await?, vec![0_u8; 1 << 20]);
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let read = file.read(&mut buffer).await?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { return Ok((bytes, format!("{crc:08x}"))) };
        (bytes, crc) = (bytes + read as u64, crc32c::crc32c_append(crc, chunk));
    }
}

fn disk(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Failed(format!("{}: {error}", path.display()))
}
