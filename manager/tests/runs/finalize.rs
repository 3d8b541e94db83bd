//! The end part alone: from raw segments, made by a real ffmpeg, to files judged by their frames.

use bot_model::exit_code::ExitCode;
use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use chrono::Duration;
use manager::finalize::{FinalizeError, Workplace, finalize};
use manager::media::Encoding;
use manager::record::finalize_only;

use crate::bench::{Bench, Capture, PART_FRAMES, PART_SECS, close, decoded, epoch, loudest, never, record, told};
use crate::process::{HeldFfmpeg, Manager, program};

#[tokio::test(flavor = "multi_thread")]
async fn finalize_alone_makes_the_files_of_an_unfinished_part_and_settles() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    // As a SIGKILL leaves it: no part-end.json, and a segment half written.
    std::fs::write(bench.session().join("p000/seg-000003.m4s.tmp"), b"half").unwrap();
    bench.carry().await;
    bench.relaunch().await;
    let config = bench.config("r2").await;
    assert_eq!(finalize_only(&config, bench.store.as_ref(), never()).await.unwrap(), ExitCode::Settled);
    let instance = bench.instance().await.instance;
    assert_eq!(instance.phase, Phase::Done);
    assert_eq!(instance.facts.artifacts.len(), 3);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES, String::new()));
    assert!(close(told(&bench.file(ObjectName::Audio), "a", "duration"), PART_SECS, 0.1));
    assert!(!config.scratch.exists());
    // Asked again, it leaves a settled instance alone.
    assert_eq!(finalize_only(&config, bench.store.as_ref(), never()).await.unwrap(), ExitCode::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_come_after_the_freeze_are_in_the_files() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    let first = bench.finalized("one").await.unwrap();
    let frozen = bench.instance().await.instance.facts.frozen.unwrap();
    record(&bench.session(), 1, &Capture::starting(epoch() + Duration::seconds(30)));
    bench.carry().await;
    let second = bench.finalized("two").await.unwrap();
    assert_ne!(second, first);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (2 * PART_FRAMES, String::new()));
    let (instance, manifest) = (bench.instance().await.instance, bench.manifest());
    assert_ne!(instance.facts.frozen.as_ref().unwrap().sha256, frozen.sha256);
    assert_eq!(manifest.segments_sha256, instance.facts.frozen.unwrap().sha256);
    assert_eq!((manifest.parts.len(), manifest.raw.len()), (2, 10));
    assert_eq!(bench.finalized("three").await.unwrap(), second, "nothing came, and yet the files changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_that_was_overtaken_does_not_replace_the_newer_files() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    bench.relaunch().await;
    let ffmpeg = HeldFfmpeg::new(bench.folder.path());
    let mut overtaken = Manager::start(&bench, "finalize", "r2", &[ffmpeg.variable()]).await;
    ffmpeg.is_started().await;
    record(&bench.session(), 1, &Capture::starting(epoch() + Duration::seconds(30)));
    bench.carry().await;
    bench.relaunch().await;
    let mut quick = Manager::start(&bench, "finalize", "r3", &[]).await;
    assert_eq!(quick.ended().await, Some(0), "{}", quick.told());
    ffmpeg.let_go();
    assert_eq!(overtaken.ended().await, Some(70), "{}", overtaken.told());
    assert_eq!(bench.manifest().artifacts, bench.instance().await.instance.facts.artifacts[..2]);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (2 * PART_FRAMES, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_finalizers_at_once_make_the_same_files() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    // The first has frozen the list and is slow; the second is sent after it, and the timeline grows meanwhile.
    let mut slow = bench.keeper(bench.record.clone());
    let objects = bench.objects().await;
    let place = |name: &str| Workplace { folder: bench.folder.path().join(name), own: None, encoding: Encoding::default() };
    let one = finalize(&mut slow, &objects, &place("one"), None).await.unwrap();
    let mut quick = bench.keeper(bench.another_run("r2").await);
    let (one_place, two_place) = (place("one"), place("two"));
    let again = finalize(&mut slow, &objects, &one_place, None);
    let two = finalize(&mut quick, &objects, &two_place, None);
    let (again, two) = tokio::join!(again, two);
    assert_eq!(two.unwrap(), one);
    // The first may find itself overtaken, and then writes nothing.
    assert!(matches!(&again, Ok(files) if *files == one) || matches!(again, Err(FinalizeError::Fenced(_))), "{again:?}");
    assert_eq!(bench.manifest().artifacts, one[..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_parts_are_joined_and_the_time_between_them_is_stated() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    record(&bench.session(), 1, &Capture::starting(epoch() + Duration::seconds(20)));
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (2 * PART_FRAMES, String::new()));
    let manifest = bench.manifest();
    assert!(close(manifest.duration_secs, 2.0 * PART_SECS, 0.2), "{}", manifest.duration_secs);
    assert!(close(manifest.parts[1].offset_secs, PART_SECS, 0.1), "{:?}", manifest.parts);
    assert!(manifest.gaps.len() == 1 && close(manifest.gaps[0].duration_secs, 14.0, 0.1), "{:?}", manifest.gaps);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_never_arrived_is_a_gap_and_not_an_end() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    let raw = bench.objects().await.list(&bench.prefix.raw_folder()).await.unwrap();
    let middle = raw.iter().find(|name| name.contains("/000001-")).unwrap();
    std::fs::remove_file(bench.folder.path().join("bucket").join(bench.prefix.raw_folder()).join(middle)).unwrap();
    bench.finalized("one").await.unwrap();
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES - 30, String::new()));
    let gaps = bench.manifest().gaps;
    assert!(gaps.len() == 1 && close(gaps[0].duration_secs, 2.0, 0.15), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_without_sound_still_gives_a_video() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture { has_sound: false, ..Capture::starting(epoch()) });
    bench.carry().await;
    let artifacts = bench.finalized("one").await.unwrap();
    assert_eq!(artifacts.iter().map(|file| file.name).collect::<Vec<_>>(), [ObjectName::Video, ObjectName::Manifest]);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_first_part_does_not_cost_the_sound_of_the_second() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture { has_sound: false, ..Capture::starting(epoch()) });
    record(&bench.session(), 1, &Capture::starting(epoch() + Duration::seconds(6)));
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    let video = bench.file(ObjectName::Video);
    assert_eq!(decoded(&video).0, 2 * PART_FRAMES);
    assert!(loudest(&video, "7", "4") > -30.0, "the second part is silent");
    assert!(loudest(&video, "1", "4") < -60.0, "the first part is not silent");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_different_sizes_still_give_one_playable_video() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    record(&bench.session(), 1, &Capture { size: "640x360", ..Capture::starting(epoch() + Duration::seconds(6)) });
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    let video = bench.file(ObjectName::Video);
    assert_eq!(decoded(&video), (2 * PART_FRAMES, String::new()));
    assert!(loudest(&video, "7", "4") > -30.0, "the second part is silent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sound_s_measured_lag_is_taken_back() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture { audio_lag_ms: 200, ..Capture::starting(epoch()) });
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    let video = bench.file(ObjectName::Video);
    let ahead = told(&video, "v", "start_time") - told(&video, "a", "start_time");
    assert!(close(ahead, 0.2, 0.03), "{ahead}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_raw_object_is_named_and_never_played() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    let raw = bench.objects().await.list(&bench.prefix.raw_folder()).await.unwrap();
    let last = raw.iter().find(|name| name.contains("/000002-")).unwrap();
    std::fs::write(bench.folder.path().join("bucket").join(bench.prefix.raw_folder()).join(last), b"noise").unwrap();
    let error = bench.finalized("one").await.unwrap_err();
    assert!(matches!(&error, FinalizeError::RawLost(name) if name == last), "{error}");
    assert!(!bench.file(ObjectName::Video).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remux_that_loses_a_segment_without_a_word_is_noticed() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    bench.relaunch().await;
    // Every copy that it makes is cut to four of six seconds: the files agree among themselves.
    let script = "#!/bin/sh\nfor last; do :; done\nset -- \"$@\" -t 4\nexec ffmpeg \"$@\" -y \"$last\"\n";
    let short = program(bench.folder.path(), "short-ffmpeg", script);
    let mut manager = Manager::start(&bench, "finalize", "r2", &[("FFMPEG_PATH", short)]).await;
    assert_eq!(manager.ended().await, Some(71), "{}", manager.told());
    assert!(manager.told().contains("its segments 6.0"), "{}", manager.told());
    assert!(!bench.file(ObjectName::Video).exists());
}
