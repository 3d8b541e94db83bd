//! The Kubernetes launcher's settings, as types that can only hold what the API server takes.

use std::collections::BTreeMap;
use std::time::Duration;

use bot_model::configuration::Problem;

use super::names::{is_dns_name, is_label_value, is_qualified_name, is_quantity};

/// Everything that a Job is made of besides the run itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// Where the Jobs are.
    pub namespace: String,
    /// Which runs are ours: Jobs of another store are never touched.
    pub store_url: String,
    /// The manager.
    pub manager: ContainerConfig,
    /// The meeting-bot.
    pub meeting_bot: ContainerConfig,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// Secrets with registry credentials.
    pub pull_secrets: Vec<String>,
    /// Identity of a recording pod.
    pub record_account: String,
    /// Identity of a finalizing pod, which runs no browser.
    pub finalize_account: String,
    /// Size of the scratch volume.
    pub scratch_size: String,
    /// Class of a generic ephemeral volume; `None` is an emptyDir on the node's own disk.
    pub scratch_class: Option<String>,
    /// A priority class that exists.
    pub priority_class: Option<String>,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// A runtime class, such as gvisor.
    pub runtime_class: Option<String>,
    /// A seccomp profile on the nodes in which Chromium's own sandbox works; `None` is the runtime's default without it.
    pub seccomp_profile: Option<String>,
    /// A Secret whose keys become the manager's variables (credentials of an S3 bucket).
    pub manager_secret: Option<String>,
    /// What is left of a finished Job is removed after this long.
    pub ttl: Duration,
    /// SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Runs at once, over all replicas that see these Jobs.
    pub max_live: usize,
    /// Bounds of a run's life, in order.
    pub limits: RunLimits,
    /// Variables of every manager.
    pub manager_variables: BTreeMap<String, String>,
    /// Variables of every meeting-bot.
    pub bot_variables: BTreeMap<String, String>,
    /// Whether the manager is somebody else's, who reads the call from its environment as seed 003 does.
    pub legacy_manager: bool,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerConfig {
    /// Its image.
    pub image: String,
    /// CPU requested; there is no limit, which would throttle a recording.
    pub cpu: String,
    /// Memory requested, and the limit.
    pub memory: String,
}

/// How long the steps of a run may take. The Job's deadline is above all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// From the launch until it is too late to join: a pod may be pending for this long.
    pub pending: Duration,
    /// From the first page to the waiting room's end.
    pub joining: Duration,
    /// In the call; the meeting-bot's own limit.
    pub recording: Duration,
}

/// Making the files: twice the longest recording would still be a hundredth of this.
const FINALIZING: Duration = Duration::from_secs(2 * 3600);
/// The manager's limit lies this far above the meeting-bot's, and the Job's as far above the manager's.
const STEP: Duration = Duration::from_secs(600);

impl RunLimits {
    /// When the manager has to have left the call, from its own start.
    pub fn manager(self) -> Duration {
        self.joining + self.recording + STEP
    }

    /// `activeDeadlineSeconds` of a recording Job, which counts from its creation on, pending time included.
    pub fn record_deadline(self) -> Duration {
        self.pending + self.manager() + FINALIZING + STEP
    }

    /// The same for a Job that makes files alone.
    pub fn finalize_deadline(self) -> Duration {
        self.pending + FINALIZING + STEP
    }
}

/// What the rest of the configuration already knows.
pub struct Common {
    /// The store.
    pub store_url: String,
    /// Of the run.
    pub limits: RunLimits,
    /// `MAX_LIVE_BOTS`.
    pub max_live: usize,
    /// Handed on to every manager.
    pub handed_on: BTreeMap<String, String>,
    /// For the meeting-bot alone.
    pub practice_origin: Option<String>,
}

/// Variables of the controller's environment that client libraries of the manager read.
const PASSED_TO_MANAGER: [&str; 5] =
    ["GCP_PROJECT_ID", "FIRESTORE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "AWS_REGION", "AWS_ENDPOINT_URL"];
/// Settings that seed 003 hands to the meeting-bot's image.
const PASSED_TO_BOT: [&str; 5] = [
    "NODE_ENV",
    "GCP_DEFAULT_REGION",
    "MAX_RECORDING_DURATION_MINUTES",
    "MEETING_INACTIVITY_MINUTES",
    "INACTIVITY_DETECTION_START_DELAY_MINUTES",
];

impl KubernetesConfig {
    /// Reads through `lookup`, where an absent variable has its default already. Every problem is added to `problems`.
    pub fn read(lookup: impl Fn(&str) -> Option<String>, common: Common, problems: &mut Vec<Problem>) -> Self {
        let mut reader = Reader { lookup, problems };
        let namespace = reader.checked("KUBERNETES_NAMESPACE", "the name of a namespace", |text| is_dns_name(text, 63));
        let record_account =
            reader.checked("JOB_SERVICE_ACCOUNT", "the name of a service account", |text| is_dns_name(text, 253));
        let finalize_account =
            reader.optional("FINALIZE_SERVICE_ACCOUNT", "the name of a service account", |text| is_dns_name(text, 253));
        let is_policy = |text: &str| matches!(text, "Always" | "IfNotPresent" | "Never");
        let name = |text: &str| is_dns_name(text, 253);
        let platforms = common.handed_on.get("OTHER_PLATFORMS").cloned();
        let mut manager_variables = common.handed_on;
        manager_variables.extend(reader.passed(&PASSED_TO_MANAGER));
        let mut bot_variables = reader.passed(&PASSED_TO_BOT);
        bot_variables.extend(platforms.map(|list| ("OTHER_PLATFORMS".to_owned(), list)));
        bot_variables.extend(common.practice_origin.map(|origin| ("PRACTICE_ROOM_ORIGIN".to_owned(), origin)));
        Self {
            namespace,
            store_url: common.store_url,
            manager: reader.container("MANAGER"),
            meeting_bot: reader.container("MEETING_BOT"),
            pull_policy: reader.checked("IMAGE_PULL_POLICY", "Always, IfNotPresent or Never", is_policy),
            pull_secrets: reader.names("IMAGE_PULL_SECRETS"),
            finalize_account: finalize_account.unwrap_or_else(|| record_account.clone()),
            record_account,
            scratch_size: reader.quantity("SCRATCH_STORAGE_SIZE"),
            scratch_class: reader.optional("SCRATCH_STORAGE_CLASS", "the name of a storage class", name),
            priority_class: reader.optional("PRIORITY_CLASS", "the name of a priority class", name),
            node_selector: reader.selector("NODE_SELECTOR"),
            runtime_class: reader.optional("RUNTIME_CLASS", "the name of a runtime class", name),
            seccomp_profile: reader.optional(
                "MEETING_BOT_SECCOMP_PROFILE",
                "a path below the kubelet's seccomp folder",
                is_profile,
            ),
            manager_secret: reader.optional("MANAGER_ENV_SECRET", "the name of a Secret", name),
            ttl: reader.seconds("JOB_TTL_SECONDS", 60),
            grace: reader.seconds("TERMINATION_GRACE_SECONDS", 30),
            max_live: common.max_live,
            limits: common.limits,
            manager_variables,
            bot_variables,
            legacy_manager: reader.switch("LEGACY_MANAGER_ENV"),
        }
    }
}

struct Reader<'a, L> {
    lookup: L,
    problems: &'a mut Vec<Problem>,
}

impl<L: Fn(&str) -> Option<String>> Reader<'_, L> {
    fn optional(&mut self, name: &str, wants: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
        let got = (self.lookup)(name)?;
        if fits(&got) {
            return Some(got);
        }
        self.problems.push(Problem { variable: name.into(), got, wants: wants.into() });
        None
    }

    fn checked(&mut self, name: &str, wants: &str, fits: impl Fn(&str) -> bool) -> String {
        if (self.lookup)(name).is_none() {
            self.problems.push(Problem { variable: name.into(), got: String::new(), wants: wants.into() });
        }
        self.optional(name, wants, fits).unwrap_or_default()
    }

    fn quantity(&mut self, name: &str) -> String {
        self.checked(name, "a Kubernetes quantity such as 500m, 2 or 4Gi", is_quantity)
    }

    fn container(&mut self, prefix: &str) -> ContainerConfig {
        let image = |text: &str| !text.contains(char::is_whitespace) && text.len() <= 512;
        ContainerConfig {
            image: self.checked(&format!("{prefix}_IMAGE"), "an image, as LAUNCHER is kubernetes", image),
            cpu: self.quantity(&format!("{prefix}_CPU")),
            memory: self.quantity(&format!("{prefix}_MEMORY")),
        }
    }

    fn names(&mut self, name: &str) -> Vec<String> {
        let wants = "names of Secrets, separated by commas";
        let all = self.optional(name, wants, |text| text.split(',').all(|one| is_dns_name(one.trim(), 253)));
        all.map(|all| all.split(',').map(|one| one.trim().to_owned()).collect()).unwrap_or_default()
    }

    fn selector(&mut self, name: &str) -> BTreeMap<String, String> {
        let pairs = |text: &str| {
            let pair = |one: &str| one.trim().split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
            text.split(',').map(pair).collect::<Option<BTreeMap<_, _>>>()
        };
        let fits = |text: &str| {
            pairs(text).is_some_and(|all| all.iter().all(|(key, value)| is_qualified_name(key) && is_label_value(value)))
        };
        self.optional(name, "labels such as pool=bots,kubernetes.io/arch=amd64", fits)
            .and_then(|text| pairs(&text))
            .unwrap_or_default()
    }

    fn seconds(&mut self, name: &str, least: u64) -> Duration {
        let parse = |text: &str| text.parse::<u32>().ok().map(u64::from).filter(|number| *number >= least);
        let text = self.checked(name, &format!("a whole number of seconds of at least {least}"), |text| parse(text).is_some());
        Duration::from_secs(parse(&text).unwrap_or(least))
    }

    fn switch(&mut self, name: &str) -> bool {
        self.optional(name, "true or false", |text| matches!(text, "true" | "false")).as_deref() == Some("true")
    }

    fn passed(&self, names: &[&str]) -> BTreeMap<String, String> {
        names.iter().filter_map(|name| Some(((*name).to_owned(), (self.lookup)(name)?))).collect()
    }
}

/// A relative path that does not climb.
fn is_profile(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != ".." && part != "." && !part.contains('\\');
    text.len() <= 256 && text.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_above_the_one_before() {
        let limits = RunLimits {
            pending: Duration::from_secs(1_020),
            joining: Duration::from_secs(1_020),
            recording: Duration::from_secs(36_000),
        };
        assert!(limits.recording < limits.manager());
        assert!(limits.pending + limits.manager() < limits.record_deadline());
        assert!(limits.finalize_deadline() > Duration::from_secs(7_200));
    }

    #[test]
    fn a_seccomp_profile_does_not_climb_out_of_its_folder() {
        assert!(is_profile("profiles/chromium.json"));
        for bad in ["/etc/x", "../x", "a/../b", "a//b", "."] {
            assert!(!is_profile(bad), "{bad}");
        }
    }
}
