//! `manager salvage`: files of what lies in the bucket, whatever became of its instance.

use std::path::Path;
use std::process::{Command, Output};

use bot_model::object_prefix::ObjectName;
use bot_model::segment::{part_folder, segment_file};
use chrono::TimeDelta;
use manager::finalize::{FinalizeError, salvage};

use crate::bench::{Bench, Capture, PART_FRAMES, decoded, epoch, record};

fn salvaged(bucket: &str, path: &str, into: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manager"));
    command.args(["salvage", path, "--into"]).arg(into).env("RECORDINGS_URL", bucket);
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_made_without_a_store_and_the_bucket_stays_as_it_was() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    let before = bench.objects().await.list("").await.unwrap();
    let into = bench.folder.path().join("salvaged");
    let done = salvaged(&bench.bucket_url(), bench.prefix.as_str(), &into);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(decoded(&into.join(ObjectName::Video.file_name())), (PART_FRAMES, String::new()));
    let mut made: Vec<_> = std::fs::read_dir(&into).unwrap().map(|file| file.unwrap().file_name()).collect();
    made.sort();
    assert_eq!(made, ["audio.m4a", "video.mp4"]);
    assert_eq!(bench.objects().await.list("").await.unwrap(), before);
    let again = salvaged(&bench.bucket_url(), bench.prefix.as_str(), &into);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is there already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_is_left_out_and_the_rest_is_saved() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    let objects = bench.objects().await;
    let names = objects.list(&bench.prefix.raw_folder()).await.unwrap();
    let damaged = names.iter().find(|name| name.contains("/000001-")).unwrap_or_else(|| panic!("{names:?}"));
    let file = bench.folder.path().join("bucket").join(bench.prefix.raw_folder()).join(damaged);
    std::fs::write(&file, b"not what it was").unwrap();
    let into = bench.folder.path().join("salvaged");
    let made = salvage(&objects, &bench.prefix, &into).await.unwrap();
    assert_eq!(made.left_out, std::slice::from_ref(damaged));
    let (frames, complaints) = decoded(&into.join(ObjectName::Video.file_name()));
    assert_eq!((frames, complaints.as_str()), (PART_FRAMES * 2 / 3, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_no_file_can_be_made_of_cost_themselves_alone() {
    let bench = Bench::new().await;
    for part in 0..5_u32 {
        record(&bench.session(), part, &Capture::starting(epoch() + TimeDelta::minutes(part.into())));
    }
    // As a program spoils them that does not know: their checksums are those of what it wrote.
    for segment in 0..3 {
        std::fs::write(bench.session().join(part_folder(1)).join(segment_file(segment)), [0; 4_096]).unwrap();
    }
    let short = bench.session().join(part_folder(3)).join(segment_file(2));
    let bytes = std::fs::read(&short).unwrap();
    std::fs::write(&short, &bytes[..bytes.len() / 8]).unwrap();
    bench.carry().await;
    let objects = bench.objects().await;
    let names = objects.list(&bench.prefix.raw_folder()).await.unwrap();
    let init = names.iter().find(|name| name.contains("/p2/init-")).unwrap_or_else(|| panic!("{names:?}"));
    std::fs::remove_file(bench.folder.path().join("bucket").join(bench.prefix.raw_folder()).join(init)).unwrap();
    let damaged = names.iter().find(|name| name.contains("/p4/000001-")).unwrap_or_else(|| panic!("{names:?}"));
    std::fs::write(bench.folder.path().join("bucket").join(bench.prefix.raw_folder()).join(damaged), b"not what it was").unwrap();
    let made = salvage(&objects, &bench.prefix, &bench.folder.path().join("salvaged")).await.unwrap();
    assert_eq!(made.left_out, [damaged.as_str(), "a1-r1/p1", "a1-r1/p2"]);
    let (frames, complaints) = decoded(&made.files[0]);
    // Parts 0, 3 and 4; of the latter two a segment each is missing.
    assert_eq!(frames, PART_FRAMES + 2 * (PART_FRAMES * 2 / 3));
    // Where parts of odd lengths meet, two frames may fall into one tick of the decoder's even clock.
    assert!(complaints.lines().all(|line| line.contains("non monotonically increasing dts")), "{complaints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_path_says_that_there_is_nothing() {
    let bench = Bench::new().await;
    let into = bench.folder.path().join("salvaged");
    let made = salvage(&bench.objects().await, &bench.prefix, &into).await;
    assert!(matches!(made, Err(FinalizeError::Nothing)), "{made:?}");
}
