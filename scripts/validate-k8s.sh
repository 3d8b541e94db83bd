#!/usr/bin/env bash
# Renders every overlay and component and checks it: against Kubernetes's own schemas, the alerts with promtool, and what no schema
# knows (scripts/check_k8s.py: settings, metrics, runbook, roles, identities, pod security).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$(scripts/deploy-tools.sh)
# The version that the Rust client is built for, and the newest that the pinned tool knows.
readonly VERSIONS="1.33 1.37"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Every component is rendered over the base at least once, whether or not an overlay uses it.
mkdir -p "$work/with-operator"
cp -r k8s "$work/k8s"
cat >"$work/with-operator/kustomization.yaml" <<'OVERLAY'
resources: [../k8s/base]
components: [../k8s/components/monitoring, ../k8s/components/priority-class]
OVERLAY

for overlay in k8s/overlays/gke k8s/overlays/local "$work/with-operator"; do
  rendered=$work/$(basename "$overlay").yaml
  "$tools/bin/kubectl" kustomize "$overlay" >"$rendered"
  for version in $VERSIONS; do
    "$tools/bin/kubernetes-validate" --strict --quiet --no-warn --kubernetes-version "$version" "$rendered"
  done
  echo "$(basename "$overlay"): $(grep -c '^kind:' "$rendered") resources agree with Kubernetes ${VERSIONS// / and }"
done

# The Jobs that the launcher makes, as its golden tests have them.
for golden in tests/tests/kubernetes/snapshots/*manifest__*job*.snap; do
  name=$(basename "$golden" .snap)
  awk 'begun { print } /^---$/ && ++marks == 2 { begun = 1 }' "$golden" >"$work/job-${name##*__}.yaml"
  for version in $VERSIONS; do
    "$tools/bin/kubernetes-validate" --strict --quiet --no-warn --kubernetes-version "$version" "$work/job-${name##*__}.yaml"
  done
  echo "${name##*__}: agrees with Kubernetes ${VERSIONS// / and }"
done

# The alerts, once as they are, and once without their annotations: the tests compare names and labels only.
"$tools/bin/python" - "$work" <<'PYTHON'
import pathlib, sys, yaml
work = pathlib.Path(sys.argv[1])
rules = yaml.safe_load(pathlib.Path("k8s/components/monitoring-rules/rules.yaml").read_text())["spec"]
(work / "as-they-are.yml").write_text(yaml.safe_dump(rules))
for rule in (rule for group in rules["groups"] for rule in group["rules"]):
    del rule["annotations"]
(work / "rules.yml").write_text(yaml.safe_dump(rules))
PYTHON
"$tools/bin/promtool" check rules "$work/as-they-are.yml"
cp k8s/components/monitoring-rules/rules.test.yaml "$work/"
"$tools/bin/promtool" test rules "$work/rules.test.yaml"
"$tools/bin/python" scripts/check_k8s.py "$work"/gke.yaml "$work"/local.yaml "$work"/with-operator.yaml "$work"/job-*.yaml
