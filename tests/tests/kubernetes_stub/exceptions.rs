//! Everything recorded that the stub does not reproduce, and why. What is not named here is compared.

/// Requests whose answers hold something the stub does not reproduce: scenario, request, fields, why.
pub(crate) const ACCEPTED: &[(&str, usize, &[&str], &str)] = &[
    ("01-api", 55, &["/resources"], "the stub serves no CronJobs, and no categories or storage hashes"),
    ("04-pending-delete", 3, &["/status/conditions/0/message"], SCHEDULER),
    ("04-pending-delete", 4, &["/status/conditions/0/message"], SCHEDULER),
    ("04-pending-delete", 5, &["/status/conditions/0/message"], SCHEDULER),
    ("04-preempt-pdb", 5, &["/status/conditions"], "no disruption controller writes a budget's status"),
    ("05-recreate-force", 6, &["/status/conditions"], "no disruption controller writes a budget's status"),
    (
        "05-cancel-protocol",
        2,
        &["/metadata/annotations", "/metadata/generateName", "/metadata/ownerReferences"],
        "left out of the recording",
    ),
    ("07-stuck", 3, &["/spec/template/spec/containers/0/resources"], QUANTITY),
    ("07-stuck", 4, &["/spec/template/spec/containers/0/resources"], QUANTITY),
    (
        "07-stuck",
        16,
        &[
            "/items/4/spec/containers/0/resources",
            "/items/1/status/containerStatuses/0/state/waiting/message",
            "/items/3/status/containerStatuses/0/state/waiting/message",
        ],
        "a quantity in canonical form, and the container runtime's own words about a pull and a name",
    ),
    ("08-node-lost", 14, &["/spec/ttlSecondsAfterFinished"], "the recorded difference from the first Job leaves it out"),
];

const QUANTITY: &str = "the API server writes quantities in canonical form (1000 as 1k), the stub as they came";

/// Why the scheduler's own words may differ.
const SCHEDULER: &str = "the stub's scheduler always misses CPU, the recorded one found a taint";

/// The requests of a scenario with accepted fields.
pub(crate) fn accepted(scenario: &str) -> Vec<(usize, &'static [&'static str])> {
    let of_scenario = ACCEPTED.iter().filter(|(name, ..)| *name == scenario);
    of_scenario.map(|(_, index, fields, _)| (*index, *fields)).collect()
}

/// Objects of a scenario whose transitions the stub does not reproduce: scenario, object, why.
pub(crate) const NOT_REPRODUCED: &[(&str, &str, &str)] = &[
    ("06-sidecars", "side-crash", "the back-off of a crashing sidecar: the stub restarts it at once, every time"),
    ("06-sidecars", "side-never-starts", "the restarts of a sidecar whose startup probe fails: the stub leaves it running"),
];

/// Objects that go on in the same way after the recording ends.
pub(crate) const GOES_ON: &[(&str, &str)] = &[("07-stuck", "pod image-pull/1")];

/// What the recordings hold only as the outcome of many runs, not as requests or timelines; there is nothing to replay.
pub(crate) const NOT_RECORDED_IN_FULL: &[(&str, &str)] = &[
    ("04-pod-delete", "26 of its 30 Jobs (only their summary)"),
    ("04-forced-evict", "17 of its 23 Jobs (only their summary)"),
    ("04-pending-delete", "10 of its 13 Jobs (only their summary)"),
    ("05-cancel-protocol", "4 of its 6 runs (only their log)"),
    ("05-recreate-race", "its timeline: one of two outcomes by chance, see `PodScript::Stalled`"),
    ("05-recreate-stall", "its timeline, for the same reason"),
    ("05-recreate-safe", "4 of its 5 runs (only their log)"),
];

/// Fields of a pod's and a container's status that the stub has no counterpart for, or that are a run's own.
pub(crate) const POD_STATUS_FIELDS: [&str; 8] =
    ["allocatedResources", "resources", "volumeMounts", "imageID", "podIP", "podIPs", "hostIP", "hostIPs"];

#[test]
fn every_recorded_scenario_is_replayed() {
    let sources = [
        include_str!("api.rs"),
        include_str!("stories_of_ends.rs"),
        include_str!("stories_of_recreation.rs"),
        include_str!("stories_of_the_kubelet.rs"),
    ];
    let mut scenarios = Vec::new();
    for entry in std::fs::read_dir(super::recording::folder("")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            scenarios.push(entry.file_name().into_string().unwrap());
        }
    }
    assert_eq!(scenarios.len(), 18);
    for scenario in &scenarios {
        let call = [format!("requests(\"{scenario}\")"), format!("begin(\"{scenario}\"")];
        let is_replayed = call.iter().any(|call| sources.iter().any(|source| source.contains(call.as_str())));
        assert!(is_replayed, "{scenario} is replayed nowhere");
    }
    let named = ACCEPTED.iter().map(|(scenario, ..)| scenario);
    let named = named.chain(NOT_REPRODUCED.iter().map(|(scenario, ..)| scenario));
    for scenario in named.chain(NOT_RECORDED_IN_FULL.iter().map(|(scenario, _)| scenario)) {
        assert!(scenarios.iter().any(|known| known == scenario), "{scenario} is no scenario");
    }
}
