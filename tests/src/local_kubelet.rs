//! Runs the containers of the stub cluster's pods as processes on this machine: our own binaries, with the environment that the
//! pod's manifest gives them and nothing else but what their image would hold.
//!
//! A pod's network is stood in for by a free port for its meeting-bot, its volumes by a folder. Limits, users and the read-only
//! root file system are not: those are held by golden files, and by the suite for a real cluster.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bot_model::process as contract;
use rustix::process::Signal;
use serde_json::Value;

use crate::kubernetes::{Cluster, Exit, PodEvent};
use crate::process::{Process, binary};

/// Between looks at a process.
const LOOK: Duration = Duration::from_millis(50);
/// What an image would hold, taken from this machine's environment.
const OF_THE_IMAGE: [&str; 6] = ["PATH", "CHROME_PATH", "LD_LIBRARY_PATH", "FONTCONFIG_FILE", "LANG", "HOME"];

/// A container's process by pod and container.
type Containers = Arc<Mutex<HashMap<(String, String), Process>>>;

/// The variable by which every process of a pod can be told: its uid as a run's id, its Job and the folder of its volumes, with slashes between.
pub const POD_VARIABLE: &str = "LOCAL_POD";

/// How this node differs from one whose images hold our own binaries.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Programs by the last part of their image's name.
    pub programs: HashMap<String, PathBuf>,
    /// Variables that those images hold themselves. A meeting-bot of them also learns the pod's uid as its run.
    pub variables: Vec<(String, String)>,
    /// Where the pods' volumes lie; `None` is the pods' own folder.
    pub volumes: Option<PathBuf>,
    /// What a pod leaves running that was deleted by force ends so much later: the kubelet hears of it late.
    pub lingers: Duration,
}

/// The kubelet; it ends with the cluster's event stream.
#[derive(Clone)]
pub struct LocalKubelet {
    cluster: Cluster,
    folder: PathBuf,
    running: Containers,
    runs: fn(&Value) -> bool,
    node: Arc<Node>,
}

impl LocalKubelet {
    /// Follows a cluster whose pods are [`crate::kubernetes::PodScript::External`]. Each pod gets a folder below `folder`.
    pub fn start(cluster: &Cluster, folder: &Path) -> Self {
        Self::start_for(cluster, folder, |_| true)
    }

    /// The same for the pods that `runs` chooses; the others are the stub's alone.
    pub fn start_for(cluster: &Cluster, folder: &Path, runs: fn(&Value) -> bool) -> Self {
        Self::start_on(cluster, folder, runs, Node::default())
    }

    /// The same on a node of another kind.
    pub fn start_on(cluster: &Cluster, folder: &Path, runs: fn(&Value) -> bool, node: Node) -> Self {
        let node = Arc::new(node);
        let kubelet = Self { cluster: cluster.clone(), folder: folder.to_owned(), running: Arc::default(), runs, node };
        let mut events = cluster.pod_events();
        let own = kubelet.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                own.heed(event);
            }
        });
        kubelet
    }

    /// Kills a container's process, as a crash would.
    pub fn kill(&self, pod: &str, container: &str) -> Result<()> {
        let running = self.lock();
        let process = running.get(&(pod.to_owned(), container.to_owned())).context("no such container")?;
        process.signal(Signal::KILL)
    }

    /// The end of a container's log.
    pub fn log(&self, pod: &str, container: &str) -> String {
        std::fs::read_to_string(self.folder.join(pod).join(format!("{container}.log"))).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heed(&self, event: PodEvent) {
        match event {
            PodEvent::ContainerStarted { pod, .. } if !(self.runs)(&pod) => {}
            PodEvent::ContainerStarted { pod, container } => {
                if let Err(error) = self.run(&pod, &container) {
                    eprintln!("local kubelet: {container}: {error:#}");
                    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                    self.cluster.exit(name, &container, Exit::code(128));
                }
            }
            PodEvent::ContainerTerminating { name, container, .. } => {
                if let Some(process) = self.lock().get(&(name, container)) {
                    let _ = process.signal(Signal::TERM);
                }
            }
            PodEvent::ContainerKilled { name, container, .. } => {
                if let Some(process) = self.lock().get(&(name, container)) {
                    let _ = process.signal(Signal::KILL);
                }
            }
            PodEvent::PodGone { name, .. } if self.node.lingers.is_zero() => self.end(&name),
            PodEvent::PodGone { name, .. } => {
                let kubelet = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(kubelet.node.lingers).await;
                    kubelet.end(&name);
                });
            }
            PodEvent::PodStarted { .. } | PodEvent::PodTerminating { .. } => {}
        }
    }

    /// Ends whatever is left of a pod.
    fn end(&self, name: &str) {
        self.lock().retain(|(pod, _), _| pod != name);
    }

    fn run(&self, pod: &Value, container: &str) -> Result<()> {
        let name = pod["metadata"]["name"].as_str().context("a pod without a name")?.to_owned();
        let folder = self.folder.join(&name);
        std::fs::create_dir_all(&folder)?;
        let volumes = self.node.volumes.as_ref().map_or_else(|| folder.clone(), |volumes| volumes.join(&name));
        for volume in ["scratch", "tmp"] {
            std::fs::create_dir_all(volumes.join(volume))?;
        }
        let port_file = folder.join("bot.port");
        let mut command = self.command(pod, container, &volumes)?;
        let is_bot = container == "meeting-bot";
        if is_bot {
            // One that runs again is found where it was: its manager does not look for it elsewhere.
            let before = std::fs::read_to_string(&port_file).unwrap_or_else(|_| "127.0.0.1:0".into());
            let _ = std::fs::remove_file(&port_file);
            command.env("MEETING_BOT_LISTEN", before.trim()).env("MEETING_BOT_PORT_FILE", &port_file);
        } else if let Ok(address) = std::fs::read_to_string(&port_file) {
            command.env("MEETING_BOT_API_URL", format!("http://{}", address.trim()));
        }
        // What a killed one left behind ends with its container.
        drop(self.lock().remove(&(name.clone(), container.to_owned())));
        let process = Process::start(command, &folder.join(format!("{container}.log")))?;
        self.lock().insert((name.clone(), container.to_owned()), process);
        tokio::spawn(self.clone().follow(name, container.to_owned(), is_bot.then_some(port_file)));
        Ok(())
    }

    /// The container's command with its environment, `/scratch` and `/tmp` being folders of the pod's own.
    fn command(&self, pod: &Value, container: &str, folder: &Path) -> Result<Command> {
        let all = ["initContainers", "containers"].into_iter().filter_map(|kind| pod["spec"][kind].as_array()).flatten();
        let spec = all.into_iter().find(|one| one["name"] == container).context("no such container in the pod")?;
        let image = spec["image"].as_str().unwrap_or_default();
        let program = image.rsplit('/').next().and_then(|last| last.split(':').next()).unwrap_or_default();
        let mut command = Command::new(match self.node.programs.get(program) {
            Some(program) => program.clone(),
            None => binary(program)?,
        });
        command.env_clear().current_dir(folder);
        command.envs(OF_THE_IMAGE.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        // As the manager writes it.
        let run = uid.replace('-', "");
        let job = pod["metadata"]["labels"]["job-name"].as_str().unwrap_or_default();
        command.env(POD_VARIABLE, format!("{run}/{job}/{}", folder.display()));
        if self.node.programs.contains_key(program) {
            command.env(contract::RUN_ID, &run).envs(self.node.variables.iter().cloned());
        }
        for variable in spec["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default();
            let value = match variable["value"].as_str() {
                Some(value) => in_folder(&value.replace("$$", "$"), folder),
                None => uid.to_owned(),
            };
            command.env(name, value);
        }
        command.args(spec["args"].as_array().into_iter().flatten().filter_map(Value::as_str));
        Ok(command)
    }

    /// Reports readiness and the end.
    async fn follow(self, pod: String, container: String, mut port_file: Option<PathBuf>) {
        let key = (pod.clone(), container.clone());
        loop {
            tokio::time::sleep(LOOK).await;
            if port_file.as_ref().is_some_and(|file| file.exists()) {
                port_file = None;
                self.cluster.ready(&pod, &container);
            }
            let ended = match self.lock().get_mut(&key) {
                Some(process) => process.try_wait().ok().flatten(),
                // The pod is gone, and its processes with it.
                None => return,
            };
            if let Some(status) = ended {
                use std::os::unix::process::ExitStatusExt as _;
                let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255);
                self.cluster.exit(&pod, &container, Exit::code(code));
                return;
            }
        }
    }
}

fn in_folder(value: &str, folder: &Path) -> String {
    let volume = ["/scratch", "/tmp"].into_iter().find(|root| value == *root || value.starts_with(&format!("{root}/")));
    volume.map_or_else(|| value.to_owned(), |_| format!("{}{value}", folder.display()))
}
