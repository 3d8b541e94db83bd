//! Raw segments past their retention: deleted where files were made of them, and nothing else.

use std::time::Duration;

use bot_model::exit_code::ExitCode;
use bot_model::object_prefix::ObjectName;
use chrono::{TimeDelta, Utc};
use manager::record::finalize_only;
use manager::retain::{Retained, retain};

use crate::bench::{Bench, Capture, epoch, never, record};

const HOUR: Duration = Duration::from_secs(3600);

async fn done() -> Bench {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    bench.relaunch().await;
    let config = bench.config("r2").await;
    assert_eq!(finalize_only(&config, bench.store.as_ref(), never()).await.unwrap(), ExitCode::Settled);
    bench
}

/// A pass `hours` from now.
async fn pass(bench: &Bench, hours: i64) -> Retained {
    let now = Utc::now() + TimeDelta::hours(hours);
    retain(bench.store.as_ref(), &bench.objects().await, 72 * HOUR, now).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_segments_are_deleted_after_their_retention_and_the_files_stay() {
    let bench = done().await;
    assert_eq!(pass(&bench, 71).await, Retained::default());
    assert_eq!(bench.carried().await, 3);
    assert_eq!(pass(&bench, 73).await, Retained { instances: 1, objects: 5, ..Retained::default() });
    assert!(bench.objects().await.list(&bench.prefix.raw_folder()).await.unwrap().is_empty());
    for name in [ObjectName::Video, ObjectName::Audio, ObjectName::Manifest] {
        assert!(bench.file(name).exists());
    }
    assert!(bench.instance().await.instance.facts.raw_deleted_at.is_some());
    assert_eq!(pass(&bench, 99).await, Retained::default(), "it is looked at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_objects_that_came_after_the_end_are_never_deleted() {
    let bench = done().await;
    record(&bench.session(), 1, &Capture::starting(epoch()));
    bench.carry().await;
    assert_eq!(pass(&bench, 73).await, Retained { instances: 1, objects: 5, unlisted: 5, failed: 0 });
    let left = bench.objects().await.list(&bench.prefix.raw_folder()).await.unwrap();
    assert!(left.len() == 5 && left.iter().all(|name| name.starts_with("a1-r1/p1/")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_while_a_file_is_missing_or_the_manifest_is_of_other_files() {
    let bench = done().await;
    let (video, manifest) = (bench.file(ObjectName::Video), bench.file(ObjectName::Manifest));
    let aside = video.with_extension("aside");
    std::fs::rename(&video, &aside).unwrap();
    assert_eq!(pass(&bench, 73).await, Retained { failed: 1, ..Retained::default() });
    std::fs::rename(&aside, &video).unwrap();
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("segments_sha256\": \"", "segments_sha256\": \"0")).unwrap();
    assert_eq!(pass(&bench, 73).await, Retained { failed: 1, ..Retained::default() });
    assert_eq!(bench.carried().await, 3);
    std::fs::write(&manifest, text).unwrap();
    assert_eq!(pass(&bench, 73).await.objects, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_raw_segments_of_a_recording_that_is_not_done_are_kept() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    assert_eq!(pass(&bench, 9_999).await, Retained::default());
    assert_eq!(bench.carried().await, 3);
}
