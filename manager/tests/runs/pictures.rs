//! The live picture: there while the call is on, gone after it, and never in the way of the recording.

use std::time::{Duration, Instant};

use bot_model::exit_code::ExitCode;
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_model::picture::taken_at;
use bot_model::session::SessionPhase;
use manager::config::Config;
use manager::record::{finalize_only, record as record_call};

use crate::bench::{Bench, Capture, epoch, never, record};
use crate::process::until;
use crate::sidecar::Sidecar;

async fn config(bench: &Bench, sidecar: &Sidecar, seconds: &str) -> Config {
    let mut pairs = bench.environment("r1").await;
    let (name, url) = sidecar.variable();
    pairs.extend([(name.to_owned(), url), ("LIVE_PICTURE_SECONDS".to_owned(), seconds.to_owned())]);
    Config::read(|name| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_is_there_during_the_call_and_gone_after_it() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let config = config(&bench, &sidecar, "1").await;
    let (store, bot, objects, name) = (bench.store.clone(), sidecar.clone(), bench.objects().await, bench.prefix.picture());
    let call = async {
        bot.is_started().await;
        assert!(!objects.exists(&name).await.unwrap(), "nothing is shown before it waits");
        bot.enter(SessionPhase::WaitingRoom);
        let first = || async { objects.get(&name).await.unwrap() };
        until("a picture", async || first().await.is_some()).await;
        assert!(taken_at(&first().await.unwrap()).is_some());
        bot.enter(SessionPhase::Recording);
        bot.shows(Some(vec![0xff, 0xd8, 7, 7, 7]));
        until("the next picture", async || first().await.unwrap().ends_with(&[7, 7, 7])).await;
        bot.end(OutcomeKind::HostEnded);
    };
    let (code, ()) = tokio::join!(record_call(&config, store.as_ref(), never()), call);
    assert_eq!((code.unwrap(), bench.instance().await.instance.phase), (ExitCode::Settled, Phase::Done));
    assert!(!objects.exists(&name).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_never_comes_or_cannot_be_written_delays_nothing() {
    for hangs in [true, false] {
        let bench = Bench::new().await;
        let sidecar = Sidecar::start(bench.folder.path()).await;
        let config = config(&bench, &sidecar, "1").await;
        if hangs {
            sidecar.shows(None);
        } else {
            // A folder in its place: every write of it fails.
            std::fs::create_dir_all(bench.folder.path().join("bucket").join(bench.prefix.picture()).join("x")).unwrap();
        }
        let (store, bot) = (bench.store.clone(), sidecar.clone());
        let call = async {
            bot.is_started().await;
            bot.enter(SessionPhase::Recording);
            bot.close_segments(2);
            until("segments in the bucket", async || {
                bench.objects().await.list(&bench.prefix.raw_folder()).await.is_ok_and(|names| names.len() >= 4)
            })
            .await;
            bot.end(OutcomeKind::HostEnded);
            Instant::now()
        };
        let (code, ended) = tokio::join!(record_call(&config, store.as_ref(), never()), call);
        assert_eq!((code.unwrap(), bench.instance().await.instance.phase), (ExitCode::Settled, Phase::Done), "{hangs}");
        assert!(ended.elapsed() < Duration::from_secs(15), "{:?}", ended.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_left_goes_with_the_finalizing() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    let left = bench.folder.path().join("bucket").join(bench.prefix.picture());
    std::fs::write(&left, b"old").unwrap();
    bench.relaunch().await;
    let config = bench.config("r2").await;
    assert_eq!(finalize_only(&config, bench.store.as_ref(), never()).await.unwrap(), ExitCode::Settled);
    assert!(!left.exists());
}
