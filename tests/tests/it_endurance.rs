//! A recording of an hour, made by a synthetic producer: nothing grows with it, and all of it is in the video. Ten hours:
//! `make endurance`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it measured")]

use tests::endurance::endure;
use tests::endurance::flat::growth;

const HOUR: u32 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_is_carried_out_and_made_into_files_without_anything_growing() {
    let folder = tempfile::tempdir().unwrap();
    let endured = endure(folder.path(), HOUR).await.unwrap();
    println!("{endured:?}");
    assert!(endured.segments > 890, "{} segments", endured.segments);
    assert!(growth(&endured.samples).is_empty(), "{:?}", growth(&endured.samples));
    assert!((endured.video_secs - f64::from(HOUR)).abs() < 1.0, "a video of {} s", endured.video_secs);
}
