"""The manifests: that they fit each other, the image, and what the server needs and promises."""

import ipaddress
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stanchion.config import Settings, configure
from tests.deploy import files

LABELS = {"app.kubernetes.io/name": "stanchion"}


def test_every_manifest_is_part_of_a_kustomization() -> None:
    named, found = set(), set()
    for path, manifest in files.manifests().items():
        folder, _, name = path.rpartition("/")
        if name == "kustomization.yaml":
            named |= {f"{folder}/{resource}" for resource in manifest["resources"]}
        else:
            found.add(path)
    assert named - {"example/../base"} == found


def test_nodes_start_with_these_settings() -> None:
    variables = {entry["name"]: entry.get("value") for entry in files.node()["env"]}
    given = {name: value or "AKIAEXAMPLE" for name, value in variables.items()}
    ours = {name: value for name, value in given.items() if name.startswith("STANCHION_")}
    configuration = configure({}, {**files.configured(), **ours})
    assert configuration.root_key is not None
    assert configuration.settings.store.startswith("postgresql://")


def test_a_node_has_time_to_drain() -> None:
    (word, pause_s) = files.node()["lifecycle"]["preStop"]["exec"]["command"]
    assert word == "sleep"
    drain_timeout_s = float(files.configured()["STANCHION_DRAIN_TIMEOUT_S"])
    assert files.pod()["terminationGracePeriodSeconds"] >= int(pause_s) + drain_timeout_s + 5


def test_a_leaving_node_serves_until_it_is_out_of_the_endpoints() -> None:
    probe = files.node()["readinessProbe"]
    (_, pause_s) = files.node()["lifecycle"]["preStop"]["exec"]["command"]
    assert int(pause_s) > probe["periodSeconds"] * probe["failureThreshold"]


@pytest.mark.parametrize(
    ("probe", "path"),
    [
        ("startupProbe", "/health/ready"),
        ("readinessProbe", "/health/ready"),
        ("livenessProbe", "/health/live"),
    ],
)
def test_probes_ask_for_pages_that_exist(probe: str, path: str) -> None:
    asked = files.node()[probe]["httpGet"]
    assert asked == {"path": path, "port": "http"}
    assert path in files.pages()


def test_ports_are_the_servers() -> None:
    (port,) = files.node()["ports"]
    assert port == {"name": "http", "containerPort": Settings().port}
    (service,) = files.manifests()["base/service.yaml"]["spec"]["ports"]
    assert service == {"name": "http", "port": Settings().port, "targetPort": "http"}
    for name in ("ingress", "ingress-metrics"):
        (backend,) = _values(files.manifests()[f"example/{name}.yaml"], "service")
        assert backend == {"name": "stanchion", "port": {"name": "http"}}
    (endpoint,) = files.manifests()["monitoring/servicemonitor.yaml"]["spec"]["endpoints"]
    assert endpoint["port"] == "http"
    assert endpoint["path"] in files.pages()


def _values(tree: Any, key: str) -> list[Any]:
    """Whatever is under this key, anywhere."""
    if isinstance(tree, list):
        return [value for item in tree for value in _values(item, key)]
    if not isinstance(tree, dict):
        return []
    found = [tree[key]] if key in tree else []
    return found + [value for item in tree.values() for value in _values(item, key)]


def test_selectors_find_the_pods() -> None:
    manifests = files.manifests()
    (labels,) = manifests["base/kustomization.yaml"]["labels"]
    assert labels == {"pairs": LABELS, "includeTemplates": True}
    assert manifests["base/service.yaml"]["spec"]["selector"] == LABELS
    assert manifests["base/networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"] == LABELS
    for name in ("base/deployment.yaml", "base/poddisruptionbudget.yaml"):
        assert manifests[name]["spec"]["selector"]["matchLabels"] == LABELS
    for constraint in files.pod()["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == LABELS


def test_pods_run_as_the_user_of_the_image_and_may_nothing() -> None:
    (user,) = [rest for name, rest in files.last_stage() if name == "USER"]
    pod = files.pod()["securityContext"]
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == user
    assert pod["runAsNonRoot"] is True
    assert pod["fsGroup"] == pod["runAsGroup"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*files.pod()["initContainers"], *files.pod()["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_services_do_not_become_settings() -> None:
    assert files.pod()["enableServiceLinks"] is False


def test_the_root_key_is_copied_to_where_the_server_looks_for_it() -> None:
    (copying,) = files.pod()["initContainers"]
    program, mode, source, destination = copying["command"]
    assert (program, mode) == ("install", "--mode=0400")
    variables = {entry["name"]: entry.get("value") for entry in files.node()["env"]}
    assert variables["STANCHION_ROOT_KEY_FILE"] == destination
    mounts = {mount["name"]: mount["mountPath"] for mount in copying["volumeMounts"]}
    assert source.startswith(f"{mounts['secret']}/")
    assert destination.startswith(f"{mounts['keys']}/")
    # The secret itself is not mounted where the server is.
    assert files.node()["volumeMounts"] == [{"name": "keys", "mountPath": mounts["keys"]}]


def test_the_secret_has_the_keys_that_are_taken_from_it() -> None:
    wanted = {
        entry["valueFrom"]["secretKeyRef"]["key"]
        for entry in files.node()["env"]
        if "valueFrom" in entry
    }
    text = files.text("kubernetes/example/kustomization.yaml")
    (line,) = re.findall(r"printf '(.*)'", text)
    assert {pair.split("=")[0] for pair in line.split("\\n") if pair} == wanted
    (generator,) = files.manifests()["example/kustomization.yaml"]["secretGenerator"]
    assert generator["files"] == ["root.key"]


def test_volumes_are_there() -> None:
    volumes = {volume["name"] for volume in files.pod()["volumes"]}
    assert set(_names(_values(files.pod(), "volumeMounts"))) == volumes


def _names(mounts: list[Any]) -> list[str]:
    return [mount["name"] for container in mounts for mount in container]


def test_the_proxy_waits_longer_than_a_long_poll_and_takes_whole_messages() -> None:
    annotations = files.manifests()["example/ingress.yaml"]["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    assert int(annotations[f"{prefix}read-timeout"]) > 20
    megabytes = int(annotations[f"{prefix}body-size"].removesuffix("m"))
    assert megabytes * 1024 * 1024 >= Settings().body_bytes_max


def test_the_proxy_asks_another_node_and_so_has_the_whole_request() -> None:
    annotations = files.manifests()["example/ingress.yaml"]["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    assert "non_idempotent" in annotations[f"{prefix}next-upstream"]
    assert f"{prefix}request-buffering" not in annotations


def test_nobody_gets_metrics_from_outside() -> None:
    manifest = files.manifests()["example/ingress-metrics.yaml"]
    (rule,) = manifest["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    # Exact wins over the prefix of the other ingress, for the same host.
    assert (path["path"], path["pathType"]) == ("/metrics", "Exact")
    assert path["path"] in files.pages()
    (served,) = files.manifests()["example/ingress.yaml"]["spec"]["rules"]
    assert served["host"] == rule["host"]
    prefix = "nginx.ingress.kubernetes.io/"
    assert manifest["metadata"]["annotations"][f"{prefix}whitelist-source-range"] == "127.0.0.1/32"


def test_no_network_of_pods_is_believed() -> None:
    (proxy,) = files.configured()["STANCHION_TRUSTED_PROXIES"].split(",")
    # An address for documentation, which is nobody's until it is replaced.
    assert ipaddress.ip_address(proxy) in ipaddress.ip_network("192.0.2.0/24")


def test_the_example_says_where_the_image_is() -> None:
    (image,) = files.manifests()["example/kustomization.yaml"]["images"]
    containers = [*files.pod()["initContainers"], *files.pod()["containers"]]
    assert {container["image"] for container in containers} == {image["name"]}
    assert "images" not in files.manifests()["base/kustomization.yaml"]


def test_monitoring_is_where_the_nodes_are() -> None:
    example, monitoring = (
        files.manifests()[f"{place}/kustomization.yaml"]["namespace"]
        for place in ("example", "monitoring")
    )
    assert example == monitoring
    # Objects cannot be made in a namespace that is not there.
    assert f"kubectl create namespace {example}" in files.text(
        "kubernetes/example/kustomization.yaml"
    )


def test_the_operators_rules_are_the_rules() -> None:
    rules = files.manifests()["monitoring/prometheusrule.yaml"]["spec"]
    assert rules == yaml.safe_load(files.text("prometheus/alerts.yaml"))


@pytest.mark.parametrize("place", ["example", "monitoring"])
def test_kustomize_itself_takes_it(place: str, tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    copy = shutil.copytree(files.DEPLOY / "kubernetes", tmp_path / "kubernetes")
    (copy / "example" / "root.key").write_text("00")
    (copy / "example" / "secret.env").write_text("database-password=0\n")
    done = subprocess.run(["kubectl", "kustomize", str(copy / place)], capture_output=True)
    assert done.returncode == 0, done.stderr
    made = [each for each in yaml.safe_load_all(done.stdout) if each is not None]
    assert {each["metadata"]["namespace"] for each in made} == {"stanchion"}
    images = {image for each in made for image in _values(each, "image")}
    assert images == ({"registry.example.com/stanchion:0.1.0"} if place == "example" else set())


def test_the_database_can_be_reached() -> None:
    rules = files.manifests()["base/networkpolicy.yaml"]["spec"]["egress"]
    assert {"ports": [{"port": 5432}]} in rules
