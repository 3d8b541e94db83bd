//! What the suite puts into its own namespace, as objects. `k8s/overlays/local` is the model; its emulators forget everything, too.

use controller::launch::kubernetes::access::RIGHTS;
use serde_json::{Value, json};

use super::reach::Service;

/// Google's image with the Firestore emulator, as in `k8s/overlays/local/emulators.yaml` (a test holds the two together).
pub(super) const FIRESTORE_IMAGE: &str = "gcr.io/google.com/cloudsdktool/google-cloud-cli:528.0.0-emulators";

/// The namespace of one run of the suite.
pub(super) fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "meeting-recorder-cluster-suite"}}})
}

/// The controllers' identity: the rights that the product asks for, and no others.
pub(super) fn access() -> [Value; 3] {
    let rules: Vec<Value> = RIGHTS
        .iter()
        .map(|(group, resource, verbs)| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs}))
        .collect();
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "launch-bots"});
    [
        json!({"metadata": {"name": "controller"}}),
        json!({"metadata": {"name": "launch-bots"}, "rules": rules}),
        json!({
            "metadata": {"name": "launch-bots"},
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": "controller"}],
        }),
    ]
}

/// Its Service and a Deployment of one: all state is in memory.
pub(super) fn service(service: Service, image: &str, pull_policy: &str, command: &[String]) -> (Value, Value) {
    let (name, port) = service.address();
    let container = json!({
        "name": name, "image": image, "imagePullPolicy": pull_policy, "command": command,
        "ports": [{"name": "http", "containerPort": port}],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": hardened(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    });
    let deployment = deployment(
        name,
        1,
        &json!({
            "automountServiceAccountToken": false, "enableServiceLinks": false, "securityContext": plain_user(),
            "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}],
        }),
    );
    let ports = json!([{"name": "http", "port": port, "targetPort": "http"}]);
    let selector = json!({"app.kubernetes.io/name": name});
    (json!({"metadata": {"name": name}, "spec": {"selector": selector, "ports": ports}}), deployment)
}

/// Controllers with these settings.
pub(super) fn controllers(name: &str, replicas: u32, image: &str, pull_policy: &str, settings: &[(String, String)]) -> Value {
    let mut env: Vec<Value> =
        settings.iter().map(|(name, value)| json!({"name": name, "value": value.replace('$', "$$")})).collect();
    env.push(json!({"name": "CONTROLLER_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}));
    env.push(json!({"name": "IMAGE_PULL_POLICY", "value": pull_policy}));
    let container = json!({
        "name": "controller", "image": image, "imagePullPolicy": pull_policy, "args": ["run"], "env": env,
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 2, "timeoutSeconds": 6},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": hardened(),
    });
    deployment(
        name,
        replicas,
        &json!({
            "serviceAccountName": "controller", "enableServiceLinks": false, "securityContext": plain_user(),
            "containers": [container],
        }),
    )
}

/// Clara with her clock. Root in her own container: the default seccomp profile leaves Chromium no sandbox, and as root the practice
/// room's participant runs it without one.
pub(super) fn participant(room: &str, origin: &str, image: &str, pull_policy: &str) -> Value {
    let command = [
        "/usr/local/bin/practice-room",
        "participant",
        "--origin",
        origin,
        "--room",
        room,
        "--name",
        "Clara",
        "--role",
        "clock",
        "--tone",
        "1000",
        "--duration",
        "1800",
    ];
    let container = json!({
        "name": "participant", "image": image, "imagePullPolicy": pull_policy, "command": command,
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}},
        "securityContext": {"runAsUser": 0, "runAsNonRoot": false, "allowPrivilegeEscalation": false},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    });
    json!({
        "metadata": {"name": format!("participant-{room}")},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 5, "containers": [container],
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}}],
        },
    })
}

fn deployment(name: &str, replicas: u32, pod: &Value) -> Value {
    let labels = json!({"app.kubernetes.io/name": name});
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    })
}

fn plain_user() -> Value {
    json!({"runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}})
}

fn hardened() -> Value {
    json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
    use k8s_openapi::api::rbac::v1::{Role, RoleBinding};

    use super::*;

    #[test]
    fn the_emulator_is_the_local_overlay_s() {
        let overlay = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/overlays/local/emulators.yaml");
        assert!(std::fs::read_to_string(overlay).unwrap().contains(FIRESTORE_IMAGE));
    }

    /// The object as the API's type, which must know every field of it: a misspelt one would be dropped in silence.
    fn known<K: serde::de::DeserializeOwned + serde::Serialize>(object: Value) -> K {
        let typed: K = serde_json::from_value(object.clone()).unwrap();
        assert_within(&object, &serde_json::to_value(&typed).unwrap());
        typed
    }

    fn assert_within(part: &Value, whole: &Value) {
        match (part, whole) {
            (Value::Object(part), Value::Object(whole)) => part
                .iter()
                .for_each(|(name, value)| assert_within(value, whole.get(name).unwrap_or_else(|| panic!("no field {name}")))),
            (Value::Array(part), Value::Array(whole)) => {
                part.iter().zip(whole).for_each(|(one, other)| assert_within(one, other))
            }
            _ => assert_eq!(part, whole),
        }
    }

    #[test]
    fn every_object_is_one_of_the_api() {
        let _: Namespace = known(namespace("n"));
        let [account, role, binding] = access();
        let _: ServiceAccount = known(account);
        let role: Role = known(role);
        assert_eq!(role.rules.unwrap().len(), RIGHTS.len());
        let _: RoleBinding = known(binding);
        let (proxied, deployed) = service(Service::Bucket, "i", "Never", &["x".into()]);
        let _: k8s_openapi::api::core::v1::Service = known(proxied);
        let deployed: Deployment = known(deployed);
        assert_eq!(deployed.spec.unwrap().template.spec.unwrap().containers[0].image.as_deref(), Some("i"));
        let many = controllers("c", 2, "i", "Never", &[("A".into(), "$x".into())]);
        assert!(many.to_string().contains("$$x"));
        let many: Deployment = known(many);
        assert_eq!(many.spec.unwrap().replicas, Some(2));
        let _: Pod = known(participant("r", "http://room.n.svc:8400", "i", "Never"));
    }
}
