//! The table of scenarios.

mod call;
mod disturbed;
mod node;
mod pending;

use futures::FutureExt as _;

use super::Scenario;

/// Every scenario, in the order in which they are played.
pub fn all() -> Vec<Scenario> {
    let mut all = calls();
    all.extend(failures());
    all
}

fn calls() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "create",
            proves: "a meeting becomes one Job without its address in it, one running pod, a bot in the waiting room; the Job ends with the call",
            play: |stage| call::create(stage).boxed(),
        },
        Scenario {
            name: "success",
            proves: "a call in the practice room becomes files in the bucket; the video is judged by its content",
            play: |stage| call::success(stage).boxed(),
        },
        Scenario {
            name: "second_controller",
            proves: "two controllers make one Job for each of five meetings, and no second one",
            play: |stage| call::second_controller(stage).boxed(),
        },
        Scenario {
            name: "sidecar_crash",
            proves: "a killed meeting-bot is started again in the same pod and joins again, within the same attempt",
            play: |stage| call::sidecar_crash(stage).boxed(),
        },
    ]
}

fn failures() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "unschedulable",
            proves: "a bot that fits on no node fails with no_capacity once it is too late, and leaves no pod",
            play: |stage| pending::unschedulable(stage).boxed(),
        },
        Scenario {
            name: "image_pull",
            proves: "a bot whose image cannot be had fails with image_pull_failed once it is too late, and leaves no pod",
            play: |stage| pending::image_pull(stage).boxed(),
        },
        Scenario {
            name: "out_of_memory",
            proves: "Kubernetes says OOMKilled, and the bot ends with a typed failure",
            play: |stage| pending::out_of_memory(stage).boxed(),
        },
        Scenario {
            name: "eviction",
            proves: "a bot evicted while it records joins again in a second attempt, and both parts are in the video",
            play: |stage| disturbed::eviction(stage).boxed(),
        },
        Scenario {
            name: "deadline",
            proves: "a Job past its deadline ends, and a second attempt joins once its pod is gone",
            play: |stage| disturbed::deadline(stage).boxed(),
        },
        Scenario {
            name: "delete",
            proves: "a deleted pod is replaced by a second attempt once it is gone",
            play: |stage| disturbed::delete(stage).boxed(),
        },
        Scenario {
            name: "drain",
            proves: "a bot whose node is drained joins again from another node",
            play: |stage| node::drain(stage).boxed(),
        },
        Scenario {
            name: "node_loss",
            proves: "a bot on a node that is lost is not doubled while the node is away, and is back once the node is",
            play: |stage| node::loss(stage).boxed(),
        },
    ]
}
