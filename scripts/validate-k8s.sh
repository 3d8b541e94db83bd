#!/usr/bin/env bash
# Renders every overlay and component and checks it: against Kubernetes's own schemas, the alerts with promtool, and what no schema
# knows (scripts/check_k8s.py: settings, metrics, runbook, roles, pod security).
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

"$tools/bin/python" - "$work" <<'PYTHON'
import pathlib, sys, yaml
rules = yaml.safe_load(pathlib.Path("k8s/components/monitoring-rules/rules.yaml").read_text())
pathlib.Path(sys.argv[1], "rules.yml").write_text(yaml.safe_dump(rules["spec"]))
PYTHON
"$tools/bin/promtool" check rules "$work/rules.yml"
"$tools/bin/python" scripts/check_k8s.py "$work"/gke.yaml "$work"/local.yaml "$work"/with-operator.yaml
