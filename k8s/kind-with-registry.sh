#!/usr/bin/env bash
# kind with a registry on this machine, so that images are pushed once and pulled by digest: `docker buildx bake --push`,
# `skaffold dev --default-repo localhost:5001`. Safe to run again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
NAME=laneway
REGISTRY=kind-registry
PORT=${REGISTRY_PORT:-5001}

if [[ $(docker inspect -f '{{.State.Running}}' "$REGISTRY" 2>/dev/null) != true ]]; then
  docker rm --force "$REGISTRY" >/dev/null 2>&1 || true
  docker run --detach --restart=always --publish "127.0.0.1:$PORT:5000" --name "$REGISTRY" docker.io/library/registry:2 >/dev/null
fi
kind get clusters 2>/dev/null | grep -qx "$NAME" || kind create cluster --config kind.yaml --wait 120s

# Inside a node localhost is the node: there, the registry is another container of Docker's network `kind`.
for node in $(kind get nodes --name "$NAME"); do
  docker exec -i "$node" sh -c "mkdir -p /etc/containerd/certs.d/localhost:$PORT && cat >/etc/containerd/certs.d/localhost:$PORT/hosts.toml" \
    <<<"[host.\"http://$REGISTRY:5000\"]"
done
[[ $(docker inspect -f '{{json .NetworkSettings.Networks.kind}}' "$REGISTRY") != null ]] || docker network connect kind "$REGISTRY"

# What tells tools such as skaffold and tilt about the registry (KEP 1755).
kubectl --context "kind-$NAME" apply -f - <<EOF
apiVersion: v1
kind: ConfigMap
metadata: {name: local-registry-hosting, namespace: kube-public}
data: {localRegistryHosting.v1: 'host: "localhost:$PORT"'}
EOF
echo "Images pushed to localhost:$PORT can be pulled in the cluster kind-$NAME."
