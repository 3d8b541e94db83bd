//! A sound source whose clock runs fast must not drift away from the picture: real ffmpeg, Xvfb and PulseAudio, with the arguments of a
//! recording, judged by the beeps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a test fails by panicking

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bot_model::session::CaptureSettings;
use meeting_bot::capture::part::{Part, Way};
use meeting_bot::display::Display;
use meeting_bot::scratch::Scratch;

#[path = "call/media.rs"]
#[allow(dead_code, reason = "the other judges are the calls'")]
mod media;

/// Samples that the source makes in a second of the wall clock, instead of 48,000: half a percent too many.
const FAST: usize = 48_240;
const SECS: usize = 40;

/// Killed on drop.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A PulseAudio whose source reads from a pipe.
fn sound_server(folder: &Path) -> Killed {
    let (socket, pipe) = (folder.join("native"), folder.join("pipe"));
    let source = format!("module-pipe-source source_name=bot.monitor file={} format=s16le rate=48000 channels=2", pipe.display());
    let mut command = Command::new("pulseaudio");
    command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--system=false", "--use-pid-file=no", "-L"]);
    command.arg(format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display()));
    command.args(["-L", &source]).env("XDG_RUNTIME_DIR", folder).env("PULSE_RUNTIME_PATH", folder).env("HOME", folder);
    let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let server = Killed(server.expect("pulseaudio is missing: install the package pulseaudio"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !(socket.exists() && pipe.exists()) {
        assert!(Instant::now() < deadline, "PulseAudio made no pipe: module-pipe-source is missing");
        std::thread::yield_now();
    }
    server
}

/// Beeps of 100 ms at each second of the wall clock, from a source that makes [`FAST`] samples meanwhile.
fn play(pipe: &Path, until: Instant) {
    let mut pipe = std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
    let (began, mut made) = (Instant::now(), 0_usize);
    while Instant::now() < until {
        let due = (began.elapsed().as_secs_f64() * FAST as f64) as usize;
        let block: Vec<u8> = (made..due)
            .flat_map(|sample| {
                let within = sample % FAST;
                let level = if within < FAST / 10 { (within as f64 * 0.13).sin() * 16_000.0 } else { 0.0 };
                let [low, high] = (level as i16).to_le_bytes();
                [low, high, low, high]
            })
            .collect();
        pipe.write_all(&block).unwrap();
        made = due;
        // The source's own pace, in the blocks of a sound card.
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_clock_that_runs_half_a_percent_fast_does_not_drift_from_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::create(Some(folder.path())).unwrap();
    let display = Display::start(&scratch, 320, 240).await.expect("Xvfb is missing: install the package xvfb");
    let _server = sound_server(folder.path());
    let (pipe, until) = (folder.path().join("pipe"), Instant::now() + Duration::from_secs(SECS as u64 + 6));
    let source = std::thread::spawn(move || play(&pipe, until));
    let settings =
        CaptureSettings { width: 320, height: 240, segment_secs: 2, preset: "ultrafast".into(), ..CaptureSettings::default() };
    let mut ffmpeg = scratch.command(Path::new("ffmpeg"));
    display.lend(&mut ffmpeg);
    ffmpeg.env("PULSE_SERVER", format!("unix:{}", folder.path().join("native").display()));
    let (way, output) = (Way { display: display.name(), sound_lag: Duration::ZERO }, folder.path().join("out"));
    std::fs::create_dir(&output).unwrap();
    let part = Part::start(&output, &settings, &way, ffmpeg).unwrap();
    let deadline = Instant::now() + Duration::from_secs(SECS as u64 + 20);
    while (part.closed().segments as usize) < SECS / 2 {
        assert!(Instant::now() < deadline, "{:?}", part.last_lines());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (meter, recorded) = (part.meter(), part.folder().to_owned());
    part.stop().await;
    source.join().unwrap();
    let beeps = media::beeps(&media::sound(&media::joined(&recorded)));
    // The first seconds are of the inputs' start.
    let settled: Vec<f64> = beeps.into_iter().filter(|beep| *beep > 5.0).collect();
    let (first, last) = (settled[0], settled[settled.len() - 1]);
    let drift_ms = ((last - first) - (last - first).round()) * 1_000.0;
    let uncorrected = (last - first) * (FAST as f64 / 48_000.0 - 1.0) * 1_000.0;
    println!(
        "{} beeps, drift {drift_ms:.0} ms over {:.0} s; uncorrected {uncorrected:.0} ms; meter {:?}",
        settled.len(),
        last - first,
        meter.drift.millis()
    );
    assert!(settled.len() > SECS - 10, "beeps are missing");
    assert!(uncorrected > 120.0 && drift_ms.abs() < 60.0, "{drift_ms} ms");
    display.stop().await;
}
