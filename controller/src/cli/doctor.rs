//! `controller doctor`: what is missing on this machine or in this configuration, and the command that mends it.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use bot_model::exit_code::ExitCode as Code;
use tokio::process::Command;
use tokio::time::timeout;

use super::say::say;
use super::{CliError, open};
use crate::config::{Config, Needs, RunsConfig};
use crate::launch::kubernetes::KubernetesLauncher;
use crate::launch::kubernetes::config::KubernetesConfig;

/// How long the meeting-bot's own examination may take.
const BOT_LIMIT: Duration = Duration::from_secs(30);

const CLUSTER_LIMIT: Duration = Duration::from_secs(20);

struct Finding {
    what: String,
    problem: Option<String>,
}

/// Examines everything and prints a line each.
pub(super) async fn doctor() -> Result<ExitCode, CliError> {
    let config = match Config::from_environment(Needs::Everything) {
        Ok(config) => {
            say!("ok       configuration");
            config
        }
        Err(problems) => {
            for problem in &problems {
                say!("WRONG    {problem}");
            }
            say!("`controller settings` lists every setting.");
            // What needs no configuration is told all the same.
            programs().iter().for_each(print);
            return Ok(Code::BadConfiguration.into());
        }
    };
    let mut findings = vec![store(&config).await, recordings(&config.runs)];
    match &config.kubernetes {
        Some(jobs) => findings.push(cluster(jobs).await),
        None => {
            findings.push(writable("RUNS_DIR", &config.runs.folder));
            findings.extend(programs());
            findings.extend(meeting_bot(&config.runs.meeting_bot).await);
        }
    }
    findings.iter().for_each(print);
    let all = findings.iter().all(|finding| finding.problem.is_none());
    Ok(if all { ExitCode::SUCCESS } else { Code::MissingDependency.into() })
}

fn print(finding: &Finding) {
    match &finding.problem {
        None => say!("ok       {}", finding.what),
        Some(problem) => say!("MISSING  {}: {problem}", finding.what),
    }
}

async fn store(config: &Config) -> Finding {
    let problem = match open(config).await {
        Ok(store) => store.ping().await.err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    Finding { what: format!("store {}", config.store_url), problem }
}

/// The API server, and every right that the launcher uses.
async fn cluster(jobs: &KubernetesConfig) -> Finding {
    let examined = async {
        let launcher = KubernetesLauncher::connect(jobs.clone()).await?;
        launcher.missing_rights().await
    };
    let problem = match timeout(CLUSTER_LIMIT, examined).await {
        Ok(Ok(missing)) if missing.is_empty() => None,
        Ok(Ok(missing)) => Some(format!("may not {}; kubectl apply the Role of k8s/base/bots", missing.join(", "))),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the API server did not answer".into()),
    };
    Finding { what: format!("Jobs in namespace {}", jobs.namespace), problem }
}

fn writable(what: &str, folder: &Path) -> Finding {
    let probe = folder.join(".doctor");
    let tried =
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&probe, "")).and_then(|()| std::fs::remove_file(&probe));
    let problem =
        tried.err().map(|error| format!("cannot write there ({error}); mkdir -p {0} && chown $(id -u) {0}", folder.display()));
    Finding { what: format!("{what} {}", folder.display()), problem }
}

fn recordings(runs: &RunsConfig) -> Finding {
    match runs.recordings_url.strip_prefix("file://") {
        Some(folder) => writable("RECORDINGS_URL", Path::new(folder)),
        None => Finding { what: format!("RECORDINGS_URL {} (not tried)", runs.recordings_url), problem: None },
    }
}

fn programs() -> Vec<Finding> {
    let find = |program: &str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file());
        let problem = found.is_none().then(|| "not found on PATH; apt-get install ffmpeg".to_owned());
        Finding { what: format!("manager: {program}"), problem }
    };
    vec![find("ffmpeg"), find("ffprobe")]
}

/// The meeting-bot's own lines, as it gave them.
async fn meeting_bot(program: &PathBuf) -> Vec<Finding> {
    let run = Command::new(program).arg("doctor").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match timeout(BOT_LIMIT, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return vec![Finding { what: "meeting-bot".into(), problem: Some(error.to_string()) }],
        Err(_) => return vec![Finding { what: "meeting-bot doctor".into(), problem: Some("did not answer".into()) }],
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| {
            if let Some(rest) = line.strip_prefix("MISSING ") {
                let (what, problem) = rest.trim().split_once(": ").unwrap_or((rest.trim(), "missing"));
                return Some(Finding { what: format!("meeting-bot: {what}"), problem: Some(problem.to_owned()) });
            }
            line.strip_prefix("ok ").map(|rest| Finding { what: format!("meeting-bot: {}", rest.trim()), problem: None })
        })
        .collect()
}
