"""What no schema of Kubernetes knows: that manifests, alerts and dashboard agree with the code and with each other.

Called by scripts/validate-k8s.sh with the rendered overlays. Prints every problem, one a line; exit status 1 if there is any.
"""

import json
import pathlib
import re
import sys

import promql_parser
import yaml

# Settings of local runs, and what the deployment sets by itself.
NOT_IN_THE_CONFIG_MAP = {"MANAGER_BIN", "MEETING_BOT_BIN", "RUNS_DIR", "HTTP_PORT_FILE", "CONTROLLER_ID"}
# Read by client libraries, not by the controller's own code.
OF_LIBRARIES = {"FIRESTORE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}

problems = []


def problem(where, what):
    problems.append(f"{where}: {what}")


def settings_agree():
    """Every setting of the controller is in the config map, and nothing else is."""
    source = pathlib.Path("controller/src/settings.rs").read_text()
    known = set(re.findall(r'setting\(\s*"([A-Z0-9_]+)"', source))
    own, launcher = (env_names(f"k8s/base/controller/{name}.env") for name in ("controller", "launcher"))
    for name in sorted(known - own - launcher - NOT_IN_THE_CONFIG_MAP):
        problem("controller.env", f"{name} is missing")
    for name in sorted(own - known):
        problem("controller.env", f"the controller has no setting {name}")
    for overlay in sorted(pathlib.Path("k8s/overlays").glob("*/controller.env")):
        for name in sorted(env_names(overlay) - own - launcher - OF_LIBRARIES):
            problem(overlay, f"{name} is in no base file")
    unread = sorted(launcher - known)
    if unread:
        print(f"note: this controller does not read {', '.join(unread)} yet")


def env_names(path):
    lines = pathlib.Path(path).read_text().splitlines()
    return {line.split("=", 1)[0] for line in lines if line and not line.startswith("#")}


def exported_metrics():
    """The golden list in controller/src/metrics.rs, as Prometheus sees it."""
    source = pathlib.Path("controller/src/metrics.rs").read_text()
    names = set()
    for name, kind in re.findall(r'"(meetingbot_\w+) (counter|gauge|histogram)"', source):
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[kind]
        names |= {name + suffix for suffix in suffixes}
    return names


def check_expression(where, expression, metrics, words):
    try:
        promql_parser.parse(expression)
    except ValueError as error:
        problem(where, f"{expression!r}: {error}")
    for name in re.findall(r"\bmeetingbot_\w+", expression):
        if name not in metrics:
            problem(where, f"no metric {name} in controller/src/metrics.rs")
    for values in re.findall(r'=~?"([^"]*)"', expression):
        for value in values.split("|"):
            if f'"{value}"' not in words:
                problem(where, f"no label value {value!r} in the code")


def monitoring_agrees():
    metrics = exported_metrics()
    sources = ["controller/src/metrics.rs", "crates/bot-model/src/outcome.rs", "crates/bot-model/src/lifecycle.rs", "controller/src/reap/decide.rs"]
    words = "".join(pathlib.Path(source).read_text() for source in sources)
    headings = re.findall(r"^## (.+)$", pathlib.Path("docs/runbook.md").read_text(), re.M)
    sections = {heading.strip().lower().replace(" ", "-") for heading in headings}
    tested = pathlib.Path("k8s/components/monitoring-rules/rules.test.yaml").read_text()
    used = set()
    rules = yaml.safe_load(pathlib.Path("k8s/components/monitoring-rules/rules.yaml").read_text())
    for rule in (rule for group in rules["spec"]["groups"] for rule in group["rules"]):
        check_expression(rule["alert"], rule["expr"], metrics, words)
        if not re.search(rf"alertname: {rule['alert']}, exp_alerts: \[\{{", tested):
            problem(rule["alert"], "no test in rules.test.yaml in which it fires")
        anchor = rule["annotations"]["runbook_url"].removeprefix("docs/runbook.md#")
        used.add(anchor)
        if anchor not in sections:
            problem(rule["alert"], f"docs/runbook.md has no section {anchor}")
    for anchor in sorted(sections - used):
        problem("docs/runbook.md", f"no alert leads to the section {anchor}")
    dashboard = json.loads(pathlib.Path("k8s/components/monitoring/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            check_expression(f"dashboard, {panel['title']}", target["expr"], metrics, words)


def check_overlay(path):
    documents = [document for document in yaml.safe_load_all(pathlib.Path(path).read_text()) if document]
    name = pathlib.Path(path).stem
    for document in documents:
        where = f"{name}: {document['kind']} {document['metadata']['name']}"
        if document["kind"] not in CLUSTER_WIDE and "namespace" not in document["metadata"]:
            problem(where, "no namespace")
        if document["kind"].startswith("ClusterRole"):
            problem(where, "the controller's rights end at the bots' namespace")
        if document["kind"] == "Role":
            check_role(where, document)
        if document["kind"] == "RoleBinding":
            check_binding(where, document)
        if document["kind"] == "ServiceAccount" and document.get("automountServiceAccountToken") is not False:
            problem(where, "mounts its token by default")
        if document["kind"] in ("Deployment", "Job"):
            check_pod(where, document["spec"]["template"]["spec"])
    if any(document["kind"] == "Namespace" for document in documents):
        check_namespaces(name, documents)
    check_selectors(name, documents)


def used_rights():
    """What the launcher asks for, by its own list."""
    source = pathlib.Path("controller/src/launch/kubernetes/access.rs").read_text()
    found = re.findall(r'\("(\w*)", "([\w/]+)", &\[([^\]]*)\]\)', source)
    return {(group, resource): set(re.findall(r'"(\w+)"', verbs)) for group, resource, verbs in found}


def check_role(where, role):
    if role["metadata"]["namespace"] != "meeting-bots":
        problem(where, "outside the bots' namespace")
    found = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found[(group, resource)] = set(rule["verbs"])
    wanted = used_rights()
    if found != wanted or not wanted:
        problem(where, f"allows {found}, the launcher uses {wanted}")


def check_binding(where, binding):
    """The role is the controller's alone: a bot has no rights in the cluster."""
    role, subjects = binding["roleRef"], binding["subjects"]
    if (role["kind"], role["name"]) != ("Role", "launch-bots"):
        problem(where, f"binds {role['kind']} {role['name']}")
    if [(of["kind"], of["name"], of["namespace"]) for of in subjects] != [("ServiceAccount", "controller", "meeting-recorder")]:
        problem(where, f"gives rights to {subjects}")


def identities_agree():
    """SECURITY.md's table of identities, the launcher's own list, and the roles that docs/deploy-gke.md grants."""
    text = pathlib.Path("SECURITY.md").read_text().split("## What each identity may do")[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    granted = google_roles()
    if {account.strip("`") for account, *_ in rows} != {name.removeprefix("meeting-") for name in granted}:
        problem("SECURITY.md", f"the accounts are {sorted(granted)}")
    for account, _, kubernetes, google, _ in rows:
        account = account.strip("`")
        wanted = {resource: verbs for (_, resource), verbs in used_rights().items()} if account == "controller" else {}
        found = {resource: set(verbs.split(", ")) for resource, verbs in re.findall(r"`([\w/]+)`: ([\w, ]+)", kubernetes)}
        if found != wanted:
            problem(f"SECURITY.md: {account}", f"says {found}, the launcher uses {wanted}")
        roles = granted.get(f"meeting-{account}", set())
        if set(re.findall(r"`([\w.]+)`", google)) != roles:
            problem(f"SECURITY.md: {account}", f"docs/deploy-gke.md grants {sorted(roles)}")


def google_roles():
    """Which account gets which role of Google's, by the commands; who may act as an account is no role of the account's."""
    text = pathlib.Path("docs/deploy-gke.md").read_text().split("## Identities")[1].split("\n## ")[0]
    everybody = re.search(r"for name in ([\w -]+); do", text)[1].split()
    granted = {name: set() for name in everybody}
    for command in re.findall(r"gcloud .*add-iam-policy-binding.*", text.replace("\\\n", " ")):
        role = re.search(r"--role=roles/([\w.]+)", command)[1]
        named = re.findall(r"--member=\"serviceAccount:(\$?[\w-]+)@", command)
        for name in named:
            for account in everybody if name == "$name" else [name]:
                granted.setdefault(account, set()).add(role)
    return granted


def check_pod(where, pod):
    """What Pod Security's level `restricted` wants, and a read-only root."""
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or security.get("runAsUser") != 1000:
        problem(where, "does not run as user 1000")
    if security.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        problem(where, "no seccomp profile")
    for container in pod.get("initContainers", []) + pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}).get("drop") != ["ALL"]:
            problem(where, f"{container['name']} keeps privileges")
        # An existing image was built to write where it likes; its user is not ours (docs/existing-images.md).
        is_existing_image = container["name"] == "meeting-bot" and own.get("runAsUser") == 1001
        if not own.get("readOnlyRootFilesystem") and not is_existing_image:
            problem(where, f"{container['name']} can write to its root")
        if "memory" not in container.get("resources", {}).get("limits", {}):
            problem(where, f"{container['name']} has no memory limit")


def check_namespaces(name, documents):
    for document in documents:
        level = document["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
        if document["kind"] == "Namespace" and level != "restricted":
            problem(f"{name}: {document['metadata']['name']}", "Pod Security is not restricted")
    for namespace in ("meeting-recorder", "meeting-bots"):
        denies = [
            document
            for document in documents
            if document["kind"] == "NetworkPolicy"
            and document["metadata"]["namespace"] == namespace
            and document["spec"]["podSelector"] == {}
            and set(document["spec"]["policyTypes"]) == {"Ingress", "Egress"}
            and not document["spec"].get("ingress")
            and not document["spec"].get("egress")
        ]
        if not denies:
            problem(f"{name}: {namespace}", "nothing denies by default")


def check_selectors(name, documents):
    """Services, budgets and monitors select pods that exist, by ports that exist."""
    pods = [(d["metadata"]["namespace"], d["spec"]["template"]) for d in documents if d["kind"] == "Deployment"]
    for document in documents:
        if document["kind"] not in ("Service", "PodDisruptionBudget", "ServiceMonitor", "PodMonitoring"):
            continue
        selector = document["spec"].get("selector", {})
        labels = selector if document["kind"] == "Service" else selector.get("matchLabels", {})
        if not labels:
            continue
        where = f"{name}: {document['kind']} {document['metadata']['name']}"
        chosen = [t for ns, t in pods if ns == document["metadata"]["namespace"] and labels.items() <= t["metadata"]["labels"].items()]
        if not chosen:
            problem(where, f"selects no pod by {labels}")
        named = {port.get("name") for t in chosen for c in t["spec"]["containers"] for port in c.get("ports", [])}
        wanted = document["spec"].get("ports", []) + document["spec"].get("endpoints", [])
        for port in wanted:
            target = port.get("targetPort", port.get("port"))
            if isinstance(target, str) and target not in named:
                problem(where, f"no port {target}")


settings_agree()
monitoring_agrees()
identities_agree()
for overlay in sys.argv[1:]:
    check_overlay(overlay)
print("\n".join(problems) or "settings, metrics, runbook, roles, identities, pod security and selectors agree")
sys.exit(1 if problems else 0)
