//! What a run hands on, how it ends, and who finds it again.

use controller::launch::{LaunchSpec, Launcher, RunCommand, RunState, Tail};

use crate::bench::{Bench, LIMIT, launcher, processes_naming, read, signal, supervisor, until};

#[tokio::test]
async fn the_children_see_the_contract_and_nothing_of_the_document() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let manager = read(&run, "manager.env");
    for line in ["BOT_INSTANCE_ID=b1", "ATTEMPT=1", "MEETING_BOT_API_URL=http://127.0.0.1:9", "STORE_URL=sqlite:"] {
        assert!(manager.lines().any(|found| found.starts_with(line)), "{line} is missing in\n{manager}");
    }
    let run_id = manager.lines().find_map(|line| line.strip_prefix("RUN_ID=")).unwrap();
    assert!(bot_model::segment::is_run_label(run_id), "{run_id}");
    assert!(!manager.contains("PRACTICE_ROOM_ORIGIN"));
    let bot = read(&run, "bot.env");
    assert!(bot.contains("PRACTICE_ROOM_ORIGIN=http://127.0.0.1:1"), "{bot}");
    for secret in ["STORE_URL", "AWS_", "BOT_INSTANCE_ID", "GOOGLE_"] {
        assert!(!bot.contains(secret), "{secret} reached the browser's side");
    }
    assert!(!format!("{manager}{bot}{}", read(&run, "spec.json")).contains("CANARY"), "a passcode left the store");
    bench.launcher.stop(&key).await.unwrap();
    bench.over(&key).await;
}

#[tokio::test]
async fn the_manager_s_exit_code_is_the_run_s() {
    let bench = Bench::new().await;
    for (id, code) in [("b1", 0), ("b2", 71)] {
        let (key, run) = bench.begin(id).await;
        std::fs::write(run.path().join("exit-now"), code.to_string()).unwrap();
        assert_eq!(bench.over(&key).await, RunState::Ended { code: Some(code) });
        assert!(read(&run, "bot.left").contains("left"), "the meeting-bot was asked to leave before it was killed");
    }
}

#[tokio::test]
async fn a_killed_manager_ends_the_run_with_everything_it_started() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let manager = processes_naming(run.path())
        .into_iter()
        .find(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains("/manager\0record"))
        })
        .unwrap();
    signal(manager, rustix::process::Signal::KILL);
    assert_eq!(bench.over(&key).await, RunState::Ended { code: None });
    assert_eq!(run.exit().unwrap().signal, Some(9));
    assert_eq!(processes_naming(run.path()), Vec::<i32>::new(), "a child in a session of its own was left behind");
}

#[tokio::test]
async fn a_crashed_meeting_bot_is_started_again_at_the_same_address() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let first = read(&run, "bot.starts");
    signal(first.split(' ').next().unwrap().parse().unwrap(), rustix::process::Signal::KILL);
    until("the second start", || read(&run, "bot.starts").lines().count() == 2);
    assert!(read(&run, "bot.starts").lines().nth(1).unwrap().ends_with(" 127.0.0.1:9"));
    assert_eq!(bench.state(&key).await, RunState::Running);
    bench.launcher.stop(&key).await.unwrap();
    assert_eq!(bench.over(&key).await, RunState::Ended { code: Some(143) });
}

#[tokio::test]
async fn a_new_launcher_finds_what_an_older_one_started() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let url = format!("sqlite:{}", bench.path().join("store.sqlite").display());
    let second = launcher(bench.path(), &url);
    let seen = second.list().await.unwrap();
    assert_eq!((seen.len(), seen[0].key.clone(), seen[0].state), (1, key.clone(), RunState::Running));
    assert!(second.sees_runs_of("c") && !second.sees_runs_of("elsewhere"));
    let stranger = launcher(bench.path(), "sqlite:/another");
    assert_eq!(stranger.list().await.unwrap(), [], "the runs of another store are not ours");
    std::fs::write(run.path().join("exit-now"), "0").unwrap();
    assert_eq!(bench.over(&key).await, RunState::Ended { code: Some(0) });
}

#[tokio::test]
async fn a_killed_supervisor_s_orphans_are_ended_before_the_run_counts_as_lost() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    signal(supervisor(&run), rustix::process::Signal::KILL);
    until("the lock to be free", || !run.is_locked().unwrap());
    assert_eq!(bench.state(&key).await, RunState::Running, "its manager may still be recording");
    assert_eq!(bench.over(&key).await, RunState::Lost);
    assert_eq!(processes_naming(run.path()), Vec::<i32>::new());
    bench.launcher.remove(&key).await.unwrap();
    assert!(!run.path().exists());
    assert!(bench.path().join("runs/logs/bot-b1-a1/manager.log").exists(), "the logs are kept");
}

#[tokio::test]
async fn a_run_that_is_killed_whole_is_reported_as_over_without_being_looked_for() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let children = processes_naming(run.path());
    signal(supervisor(&run), rustix::process::Signal::KILL);
    // The children end after the supervisor was missed.
    tokio::time::timeout(LIMIT, bench.launcher.changed()).await.expect("the supervisor's end was not told");
    assert_eq!(bench.state(&key).await, RunState::Running);
    children.into_iter().for_each(|child| signal(child, rustix::process::Signal::KILL));
    tokio::time::timeout(LIMIT, bench.launcher.changed()).await.expect("the end of the run was not told");
    assert_eq!(bench.state(&key).await, RunState::Lost);
}

#[tokio::test]
async fn the_end_of_a_run_s_logs_is_given_out_as_long_as_its_folder_is_there() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    for (name, lines) in [("manager.log", "one\ntwo\nthree\n"), ("meeting-bot.log", "hello\n")] {
        std::fs::write(run.path().join(name), lines).unwrap();
    }
    let tail = Tail { lines: 2, bytes: 1_000 };
    let logs = bench.launcher.logs(&key, tail).await.unwrap().unwrap();
    let text = |program: &str| logs.iter().find(|log| log.program == program).map(|log| log.text.clone());
    assert_eq!((text("manager"), text("meeting-bot")), (Some("two\nthree\n".into()), Some("hello\n".into())));
    let other = launcher(bench.path(), "sqlite:/another");
    assert_eq!(other.logs(&key, tail).await.unwrap(), None, "another store's run is not ours to show");
    bench.launcher.stop(&key).await.unwrap();
    bench.over(&key).await;
    bench.launcher.remove(&key).await.unwrap();
    assert_eq!(bench.launcher.logs(&key, tail).await.unwrap(), None);
}

#[tokio::test]
async fn the_supervisor_lives_in_a_session_of_its_own() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let pid = supervisor(&run);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(session, pid);
    bench.launcher.stop(&key).await.unwrap();
    bench.over(&key).await;
}

#[tokio::test]
async fn a_meeting_bot_that_cannot_start_ends_the_run_with_its_reason() {
    let bench = Bench::new().await;
    std::fs::write(bench.path().join("meeting-bot"), "#!/bin/sh\nexit 69\n").unwrap();
    let spec = LaunchSpec::new(&bench.claim("b1").await, RunCommand::Record);
    bench.launcher.launch(&spec).await.unwrap();
    assert_eq!(bench.over(&spec.key()).await, RunState::Ended { code: Some(69) });
    let run = bench.run(&spec.key());
    assert!(!run.path().join("manager.command").exists(), "no manager without its meeting-bot");
}
