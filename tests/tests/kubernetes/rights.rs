//! The rights that the launcher uses are enough, and what is missing is named.

use controller::launch::Launcher as _;
use controller::launch::kubernetes::{KubernetesLauncher, RIGHTS};
use tests::kubernetes::{Cluster, PodScript, Resource, Rule};

use crate::site::{Site, jobs_config, until};

fn launcher(cluster: &Cluster, token: &str) -> KubernetesLauncher {
    let mut config = cluster.config().unwrap();
    config.auth_info.token = Some(token.to_owned().into());
    KubernetesLauncher::reaching(config, jobs_config(&[])).unwrap()
}

fn rules() -> Vec<Rule> {
    let resource = |name: &str| if name == "jobs" { Resource::Jobs } else { Resource::Pods };
    RIGHTS
        .iter()
        .map(|(_, name, verbs)| Rule { resources: vec![(*name).to_owned()], ..Rule::new("bots", resource(name), verbs) })
        .collect()
}

#[tokio::test]
async fn the_listed_rights_are_enough_for_a_whole_life() {
    let cluster =
        Cluster::builder().script(PodScript::RunUntilTerminated(143)).user("t", "controller", rules()).start().await.unwrap();
    let launcher = launcher(&cluster, "t");
    let site = Site::with(cluster).await;
    until("readiness", || async { launcher.ready().await.ok() }).await;
    assert_eq!(launcher.missing_rights().await.unwrap(), Vec::<String>::new());
    let first = site.claim("b1").await;
    let second = site.next_attempt(&first).await;
    controller::launch::conformance::another_attempt_waits_for_the_old_one(&launcher, &first, &second).await;
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let fewer = rules().into_iter().take(1).collect();
    let cluster = Cluster::builder().user("t", "controller", fewer).start().await.unwrap();
    let missing = launcher(&cluster, "t").missing_rights().await.unwrap();
    assert_eq!(missing, ["list pods", "watch pods", "delete pods", "get pods/log", "list events"]);
}
