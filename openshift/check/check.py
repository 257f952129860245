#!/usr/bin/env python3
"""Checks the manifests without a cluster.

    check.py            what is rendered is what the sources say, valid, and runs under restricted-v2
    check.py --render   renders anew (needs kubectl or kustomize, and helm): `make manifests`

Rendered objects stand in openshift/rendered, one file an overlay, also for `oc apply -f`. Without a renderer at hand a
digest of the sources tells whether somebody forgot to render.
"""

import configparser
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
RENDERED = ROOT / "rendered"
# The oldest and the newest Kubernetes that the documentation names (`promised` holds the documentation to it).
VERSIONS = ["1.30", "1.34"]
# Kinds of other APIs, each with its own schema or only looked at here.
FOREIGN = {
    "Route": "route-v1.schema.json",
    "ServiceMonitor": "service-monitor-v1.schema.json",
    "PrometheusRule": "prometheus-rule-v1.schema.json",
    "TLSRoute": "tls-route-v1alpha2.schema.json",
}
OBSERVABILITY = ROOT.parent / "observability"
LABELS = "{app.kubernetes.io/name: holdfast, app.kubernetes.io/part-of: holdfast%s}"
CLUSTER_SCOPED = {
    "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace", "PriorityClass", "StorageClass",
    "SecurityContextConstraints", "PersistentVolume", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
}
# For plain Kubernetes no security context constraint chooses the group of the volume.
MAY_SET_FSGROUP = {"kubernetes", "kubernetes-backup", "kubernetes-gateway-api", "helm-kubernetes", "helm-kubernetes-three-pods"}

problems = []


def complain(where, what):
    problems.append(f"{where}: {what}")


def overlays():
    return sorted(path.name for path in (ROOT / "overlays").iterdir() if (path / "kustomization.yaml").exists())


def helm_forms():
    return sorted((ROOT / "helm" / "forms").glob("*.yaml")) if (ROOT / "helm").exists() else []


def digest():
    files = [path for path in ROOT.rglob("*") if path.is_file() and RENDERED not in path.parents and HERE not in path.parents]
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def generated():
    """What is made of observability/: file → text."""
    alerts, dashboard = ((OBSERVABILITY / name).read_text() for name in ("alerts.yaml", "dashboard.json"))

    def indented(text, by):
        return "".join(f"{' ' * by}{line}".rstrip() + "\n" for line in text.splitlines())

    rule = (
        "# Made of observability/alerts.yaml by `make manifests`.\n"
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n"
        f"metadata:\n  name: holdfast\n  labels: {LABELS % ''}\nspec:\n{indented(alerts, 2)}"
    )
    board = (
        "# Made of observability/dashboard.json by `make manifests`. The label is what Grafana's sidecar looks for.\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: holdfast-dashboard\n  labels: "
        + LABELS % ', grafana_dashboard: "1"' + f"\ndata:\n  holdfast.json: |\n{indented(dashboard, 4)}"
    )
    monitoring, files = ROOT / "components" / "monitoring", ROOT / "helm" / "holdfast" / "files"
    return {
        monitoring / "prometheus-rule.yaml": rule,
        monitoring / "dashboard.yaml": board,
        files / "alerts.yaml": alerts,
        files / "dashboard.json": dashboard,
    }


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complain(" ".join(command), done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed")
        return None
    return done.stdout


def kustomize(overlay):
    for tool in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(tool[0]):
            return run([*tool, str(ROOT / "overlays" / overlay)])
    return None


def helm(form):
    if not shutil.which("helm"):
        return None
    return run(["helm", "template", "holdfast", str(ROOT / "helm" / "holdfast"), "--namespace", "objects", "-f", str(form)])


def objects(text):
    return [document for document in yaml.safe_load_all(text) if document]


def by_name(documents):
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def validate(where, document):
    kind = document["kind"]
    if kind in FOREIGN:
        schema = json.loads((HERE / FOREIGN[kind]).read_text())
        for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
            complain(where, f"{'/'.join(map(str, error.path))}: {error.message}")
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            complain(where, f"Kubernetes {version}: {'/'.join(map(str, error.path))}: {error.message}")
        except kubernetes_validate.utils.SchemaNotFoundError:
            complain(where, f"Kubernetes {version} has no {document['apiVersion']} {kind}")


def pod_template(document):
    if document["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        return document["spec"]["template"]
    if document["kind"] == "CronJob":
        return document["spec"]["jobTemplate"]["spec"]["template"]
    return None


def restricted(form, where, document):
    """The rules of restricted-v2 (and of the Pod Security Standard `restricted`), and ours on top."""
    if document["kind"] in CLUSTER_SCOPED:
        complain(where, "is cluster-scoped")
    if document["kind"] in ("Role", "RoleBinding"):
        complain(where, "grants rights that nothing needs")
    if document["kind"] == "Secret":
        complain(where, "ships a secret")
    if "namespace" in document["metadata"]:
        complain(where, "is bound to a namespace")
    template = pod_template(document)
    if template is None:
        return
    spec = template["spec"]

    def must(true, what):
        if not true:
            complain(where, what)

    pod = spec.get("securityContext", {})
    must(pod.get("runAsNonRoot") is True, "must run as non-root")
    must(pod.get("seccompProfile") == {"type": "RuntimeDefault"}, "must have the runtime's seccomp profile")
    for field in ("runAsUser", "runAsGroup", "supplementalGroups", "seLinuxOptions"):
        must(field not in pod, f"must leave {field} to the platform")
    if form not in MAY_SET_FSGROUP:
        must("fsGroup" not in pod, "must leave fsGroup to the platform")
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        must(not spec.get(field), f"must not use {field}")
    must(spec.get("automountServiceAccountToken") is False, "must mount no service account token")
    must(spec.get("enableServiceLinks") is False, "must not be told of all services in its environment")
    allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "downwardAPI", "csi", "ephemeral"}
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        must(len(kinds) == 1 and kinds <= allowed, f"volume {volume['name']} must be of one allowed kind, is {kinds}")
    volumes |= {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
    for container in spec["containers"] + spec.get("initContainers", []):
        context = container.get("securityContext", {})
        must(context.get("allowPrivilegeEscalation") is False, "must not allow privilege escalation")
        must(context.get("readOnlyRootFilesystem") is True, "must have a read-only root file system")
        must(context.get("capabilities") == {"drop": ["ALL"]}, "must drop all capabilities and add none")
        must(not context.get("privileged"), "must not be privileged")
        must("runAsUser" not in context, "must leave runAsUser to the platform")
        must(all("hostPort" not in port for port in container.get("ports", [])), "must not use host ports")
        must(not container["image"].endswith(":latest") and ":" in container["image"], "must name an exact image tag")
        must({"cpu", "memory"} <= set(container["resources"]["requests"]), "must request cpu and memory")
        must("memory" in container["resources"]["limits"], "must limit memory")
        for mount in container.get("volumeMounts", []):
            must(mount["name"] in volumes, f"mounts {mount['name']}, which is no volume")
            must(mount["name"] == "data" or mount.get("readOnly"), f"must mount {mount['name']} read-only")
        names = [entry["name"] for entry in container.get("env", [])]
        must(len(names) == len(set(names)), "names an environment variable twice")
        for entry in container.get("env", []):
            secret = entry["name"].endswith(("_SECRET", "_TOKEN", "_KEY")) and entry["name"] not in ("HOLDFAST_TLS_KEY", "HOLDFAST_PEER_KEY")
            if entry["name"] in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                # The keys of another S3, which are read from these variables alone.
                must("secretKeyRef" in entry.get("valueFrom", {}), f"{entry['name']} must come from a Secret")
            else:
                must(not secret, f"{entry['name']} must come from a file, not from the environment")


def consistent(where, documents):
    """Selectors find pods, references find what they name, ports have names."""
    pods = [pod_template(document) for document in documents if pod_template(document)]
    named = by_name(documents)

    def selects(selector):
        return any(selector.items() <= pod["metadata"]["labels"].items() for pod in pods)

    def port_known(port):
        ports = [port for pod in pods for container in pod["spec"]["containers"] for port in container["ports"]]
        return any(port in (known.get("name"), known["containerPort"]) for known in ports)

    for document in documents:
        kind, name = document["kind"], document["metadata"]["name"]
        at = f"{where}: {kind} {name}"
        spec = document.get("spec", {})
        if kind == "Service":
            if not selects(spec["selector"]):
                complain(at, "selects no pod")
            for port in spec["ports"]:
                if not port_known(port["targetPort"]):
                    complain(at, f"has no pod with port {port['targetPort']}")
        if template := pod_template(document):
            parts = template["spec"]["containers"] + template["spec"].get("initContainers", [])
            told = {source["configMapRef"]["name"] for part in parts for source in part.get("envFrom", [])}
            told |= {volume["configMap"]["name"] for volume in template["spec"].get("volumes", []) if "configMap" in volume}
            for missing in sorted(told - {name for kind, name in named if kind == "ConfigMap"}):
                complain(at, f"needs the ConfigMap {missing}, which is not there")
        if kind in ("PodDisruptionBudget", "StatefulSet", "Deployment") and not selects(spec["selector"]["matchLabels"]):
            complain(at, "selects no pod")
        if kind == "NetworkPolicy" and not selects(spec["podSelector"]["matchLabels"]):
            complain(at, "selects no pod")
        if kind == "NetworkPolicy" and (spec.get("policyTypes") != ["Ingress", "Egress"] or not spec.get("egress")):
            complain(at, "must bound both what comes in and what goes out")
        if kind == "StatefulSet" and ("Service", spec["serviceName"]) not in named:
            complain(at, f"has no service {spec['serviceName']}")
        if kind == "HorizontalPodAutoscaler":
            target = (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
            if target not in named:
                complain(at, f"scales {target}, which is not there")
            elif "replicas" in named[target]["spec"]:
                complain(at, "fights with a fixed number of replicas")
        if kind == "ConfigMap" and name.endswith("-dashboard"):
            shown = [json.loads(text) for text in document["data"].values()]
            if shown != [json.loads((OBSERVABILITY / "dashboard.json").read_text())]:
                complain(at, "is not observability/dashboard.json")
        if kind == "PrometheusRule" and spec != yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text()):
            complain(at, "is not observability/alerts.yaml")
        if kind == "ServiceMonitor":
            scraped(at, spec, documents)
        backends = [ref["name"] for rule in spec.get("rules", []) for ref in rule.get("backendRefs", [])]
        if any(("Service", backend) not in named for backend in backends):
            complain(at, "leads nowhere")
        if kind == "Route" and ("Service", spec["to"]["name"]) not in named:
            complain(at, "leads nowhere")


def scraped(at, monitor, documents):
    """Prometheus finds every pod once, and is let in."""
    port = monitor["endpoints"][0]["port"]
    services = [
        document for document in documents
        if document["kind"] == "Service"
        and monitor["selector"]["matchLabels"].items() <= document["metadata"]["labels"].items()
        and any(known["name"] == port for known in document["spec"]["ports"])
    ]
    for document in documents:
        if not (template := pod_template(document)) or document["kind"] in ("Job", "CronJob"):
            continue
        labels = template["metadata"]["labels"]
        times = sum(service["spec"]["selector"].items() <= labels.items() for service in services)
        if times != 1:
            complain(at, f"scrapes the pods of {document['metadata']['name']} {times} times")
        policies = [
            policy["spec"] for policy in documents
            if policy["kind"] == "NetworkPolicy" and policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        ]
        lets = [
            rule for policy in policies for rule in policy["ingress"]
            if any(known["port"] in (port, 9002) for known in rule["ports"])
            and any(peer.get("namespaceSelector") == {} for peer in rule.get("from", [{"namespaceSelector": {}}]))
        ]
        if policies and not lets:
            complain(at, f"no NetworkPolicy lets Prometheus into the pods of {document['metadata']['name']}")


def configured(where, documents):
    """The binary understands every variable (its list is in the documentation, generated from the code)."""
    table = (ROOT.parent / "docs" / "configuration.md").read_text()
    for document in documents:
        template = pod_template(document)
        names = set(document.get("data", {})) if document["kind"] == "ConfigMap" else set()
        for container in template["spec"]["containers"] + template["spec"].get("initContainers", []) if template else []:
            names |= {entry["name"] for entry in container.get("env", [])}
        for name in sorted(names):
            if name.startswith("HOLDFAST_") and f"`{name}`" not in table:
                complain(where, f"{name} is no key of Holdfast")


def check(form, text):
    documents = objects(text)
    if len(by_name(documents)) != len(documents):
        complain(form, "has an object twice")
    for document in documents:
        where = f"{form}: {document['kind']} {document['metadata']['name']}"
        validate(where, document)
        restricted(form, where, document)
    consistent(form, documents)
    configured(form, documents)
    return len(documents)


def compose(file):
    """docker-compose.yml, as far as it can be judged without an engine."""
    where = "docker-compose.yml"
    table = (ROOT.parent / "docs" / "configuration.md").read_text()
    observed(file)
    locked(file["services"]["grafana"])
    named = set((ROOT.parent / ".env.example").read_text().replace("=", "\n").splitlines())
    for name, service in file["services"].items():
        at = f"{where}: {name}"
        image = service["image"]
        if not image.startswith("${HOLDFAST_IMAGE:-") and not pinned(image):
            complain(at, "must name an exact image tag")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                if not (ROOT.parent / source).exists():
                    complain(at, f"mounts {source}, which is not there")
            elif source not in file["volumes"]:
                complain(at, f"mounts {source}, which is no volume")
        for network in service.get("networks", []):
            if network not in file["networks"]:
                complain(at, f"is on {network}, which is no network")
        for needed in service.get("depends_on", []):
            if needed not in file["services"]:
                complain(at, f"depends on {needed}, which is no service")
        for value in [*service.get("environment", {}).values(), *service.get("ports", []), image]:
            for variable in re.findall(r"\$\{([A-Z0-9_]+)", str(value)):
                if variable not in named:
                    complain(at, f"{variable} is not in .env.example")
        for variable, value in service.get("environment", {}).items():
            if variable.endswith(("SECRET", "_KEY", "TOKEN", "PASSWORD")) and not undefaulted(name, variable, value):
                complain(at, f"{variable} must have no default")
        if not image.startswith("${HOLDFAST_IMAGE:-"):
            continue
        for field, wanted in {"user": "1001:0", "read_only": True, "cap_drop": ["ALL"]}.items():
            if service.get(field) != wanted:
                complain(at, f"{field} must be {wanted}")
        for variable, value in service["environment"].items():
            if f"`{variable}`" not in table:
                complain(at, f"{variable} is no key of Holdfast")


def undefaulted(service, variable, value):
    """Nothing starts without this secret; or, with Grafana, nobody has it then."""
    if service == "grafana" and variable == "GF_SECURITY_ADMIN_PASSWORD":
        return value == "${GRAFANA_PASSWORD:-}"
    return re.fullmatch(r"\$\{[A-Z0-9_]+:\?[^}]+\}", value) is not None


def locked(grafana):
    """Grafana's own default is admin with the password admin: without a password there must be no such user."""
    at = "docker-compose.yml: grafana"
    if "./compose/grafana.ini:/etc/grafana/grafana.ini:ro" not in grafana["volumes"]:
        complain(at, "must be told of compose/grafana.ini")
    settings = configparser.ConfigParser()
    settings.read(ROOT.parent / "compose" / "grafana.ini")
    if not settings.getboolean("security", "disable_initial_admin_creation", fallback=False):
        complain("compose/grafana.ini", "must make no administrator")
    if settings.get("auth.anonymous", "org_role", fallback="Viewer") != "Viewer":
        complain("compose/grafana.ini", "must let nobody do more than look")
    wanted = {"GF_SECURITY_ADMIN_PASSWORD": "${GRAFANA_PASSWORD:-}", "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "${GRAFANA_PASSWORD:+false}"}
    if grafana["environment"] != wanted:
        complain(at, "must have an administrator only with GRAFANA_PASSWORD")
    if any(not port.startswith("127.0.0.1:") for port in grafana["ports"]):
        complain(at, "must be on loopback: whoever reaches it may look")


def observed(file):
    """Prometheus and Grafana find in their containers what their configuration names."""
    compose = ROOT.parent / "compose"
    mounts = {
        name: {volume.split(":")[1]: volume.split(":")[0] for volume in file["services"][name]["volumes"]}
        for name in ("prometheus", "grafana")
    }
    settings = yaml.safe_load((compose / "prometheus.yml").read_text())
    for path in settings["rule_files"]:
        if mounts["prometheus"].get(path) != "./observability/alerts.yaml":
            complain("compose/prometheus.yml", f"{path} is not where the alerts are mounted")
    replicas = [name for name, service in file["services"].items() if service.get("command") == ["replica"]]
    asked = [target for job in settings["scrape_configs"] for part in job["static_configs"] for target in part["targets"]]
    if sorted(asked) != sorted(f"{name}:9002" for name in replicas):
        complain("compose/prometheus.yml", f"asks {asked}, and there are {replicas}")
    for provider in yaml.safe_load((compose / "grafana" / "dashboards" / "holdfast.yml").read_text())["providers"]:
        boards = [to for to in mounts["grafana"] if to.startswith(provider["options"]["path"] + "/")]
        if not boards:
            complain("compose/grafana", f"nothing is mounted under {provider['options']['path']}")


def dockerfile(text):
    """Both images end alike: nobody's user, a health check, SIGTERM, labels, bases as exact as is said of them."""
    stages = re.split(r"(?m)^FROM ", text)[1:]
    for stage in stages:
        name = stage.splitlines()[0].split(" AS ")[-1]
        if name not in ("ubi", "final"):
            continue
        for line in ("USER 1001:0", "HEALTHCHECK", "STOPSIGNAL SIGTERM", "org.opencontainers.image.version", "ENTRYPOINT ["):
            if line not in stage:
                complain(f"Dockerfile: {name}", f"has no {line}")
    if "tikv-jemalloc-sys" in (ROOT.parent / "Cargo.lock").read_text() and "make" not in text.split("AS build")[1].split("WORKDIR")[0]:
        complain("Dockerfile: build", "has no make, which the allocator's build needs")
    images, moving = (re.findall(line, text) for line in (r"(?m)^ARG \w+_IMAGE=(.*)$", r"(?m)^# Moves: (.*)$"))
    for image in images:
        if not pinned(image) and image not in moving:
            complain("Dockerfile", f"{image} is neither a version nor a digest, and the comment does not say that it moves")
    for image in moving:
        if image not in images or pinned(image):
            complain("Dockerfile", f"{image} does not move: the comment is stale")
    if any("@sha256:" in image for image in images) and "None is pinned by digest" in text:
        complain("Dockerfile", "says that no base is pinned by digest")
    for stage in stages:
        base = stage.split()[0]
        if base != "scratch" and not re.fullmatch(r"\$\{\w+_IMAGE\}", base):
            complain("Dockerfile", f"{base} must be an argument, so that it can be pinned from outside")
    if not re.search(r"(?m)^channel = \"" + re.escape(re.search(r"rust:([0-9.]+)", text)[1]) + '"', (ROOT.parent / "rust-toolchain.toml").read_text()):
        complain("Dockerfile", "builds with another Rust than rust-toolchain.toml")


def pinned(image):
    """A digest, or the tag of one version."""
    return re.search(r"@sha256:[0-9a-f]{64}$|:v?\d+\.\d+[^:/]*$", image) is not None


def promised(versions=VERSIONS):
    """The versions that people are told are those of which the schemas are asked; and that they need an image of their own."""
    oldest, newest = versions[0], versions[-1]
    # OpenShift 4.N is Kubernetes 1.(N + 13).
    openshift = f"4.{int(oldest.split('.')[1]) - 13}"
    image = "ghcr.io/holdfast-s3/holdfast"
    told = {
        "docs/install-openshift.md": (f"OpenShift {openshift} or newer", f"{openshift} is Kubernetes {oldest}", f"schemas of Kubernetes {oldest} and {newest}", image),
        "docs/install-kubernetes.md": (f"Kubernetes {oldest} or newer", image),
        "openshift/overlays/openshift/kustomization.yaml": (f"OpenShift {openshift} and newer",),
        "openshift/overlays/kubernetes/kustomization.yaml": (f"Kubernetes {oldest} and newer",),
        "openshift/helm/holdfast/Chart.yaml": (f'kubeVersion: ">={oldest}.0-0"',),
    }
    for name, sentences in told.items():
        page = (ROOT.parent / name).read_text()
        for sentence in sentences:
            if sentence not in page:
                complain(name, f"does not say: {sentence}")


def self_test():
    """A check that finds nothing is worth nothing: every rule is shown an object that breaks it."""
    documents = objects((RENDERED / "openshift-monitored.yaml").read_text())
    good = next(document for document in documents if document["kind"] == "StatefulSet")
    route = next(document for document in documents if document["kind"] == "Route")

    def broken(change, of=good):
        copy = json.loads(json.dumps(of))
        change(copy)
        before = len(problems)
        validate("self-test", copy)
        restricted("openshift", "self-test", copy)
        found = len(problems) > before
        del problems[before:]
        return found

    def spec(document):
        return document["spec"]["template"]["spec"]

    def container(document):
        return spec(document)["containers"][0]

    mutants = {
        "user": lambda d: spec(d)["securityContext"].update(runAsUser=0),
        "group": lambda d: spec(d)["securityContext"].update(fsGroup=0),
        "root": lambda d: spec(d)["securityContext"].pop("runAsNonRoot"),
        "seccomp": lambda d: spec(d)["securityContext"].pop("seccompProfile"),
        "token": lambda d: spec(d).pop("automountServiceAccountToken"),
        "host network": lambda d: spec(d).update(hostNetwork=True),
        "host path": lambda d: spec(d)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "escalation": lambda d: container(d)["securityContext"].pop("allowPrivilegeEscalation"),
        "writable": lambda d: container(d)["securityContext"].update(readOnlyRootFilesystem=False),
        "capability": lambda d: container(d)["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
        "privileged": lambda d: container(d)["securityContext"].update(privileged=True),
        "tag": lambda d: container(d).update(image="holdfast:latest"),
        "secret in the environment": lambda d: container(d)["env"].append({"name": "HOLDFAST_CLUSTER_SECRET", "value": "x"}),
        "typo": lambda d: d["spec"].update(replica=3),
        "type": lambda d: d["spec"].update(replicas="three"),
        "namespace": lambda d: d["metadata"].update(namespace="default"),
        "cluster scope": lambda d: d.update(kind="ClusterRole"),
    }
    for name, change in mutants.items():
        if not broken(change):
            complain("self-test", f"nothing notices: {name}")
    for name, change in {
        "termination": lambda d: d["spec"]["tls"].update(termination="none"),
        "service": lambda d: d["spec"]["to"].pop("name"),
        "typo": lambda d: d["spec"].update(hostname="x"),
    }.items():
        if not broken(change, route):
            complain("self-test", f"nothing notices in a Route: {name}")
    nightly = next(d for d in objects((RENDERED / "openshift-backup.yaml").read_text()) if d["kind"] == "CronJob")
    for name, change in {
        "root": lambda d: pod_template(d)["spec"]["securityContext"].pop("runAsNonRoot"),
        "a token": lambda d: pod_template(d)["spec"].pop("automountServiceAccountToken"),
        "a writable gateway": lambda d: pod_template(d)["spec"]["initContainers"][0].pop("securityContext"),
        "a key in the open": lambda d: pod_template(d)["spec"]["containers"][0].update(env=[{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}]),
        "a secret in the environment": lambda d: pod_template(d)["spec"]["initContainers"][0]["env"].append({"name": "HOLDFAST_ADMIN_TOKEN", "value": "x"}),
    }.items():
        if not broken(change, nightly):
            complain("self-test", f"nothing notices in a CronJob: {name}")
    monitor, rule = (next(d for d in documents if d["kind"] == kind) for kind in ("ServiceMonitor", "PrometheusRule"))
    for name, of, change in (
        ("a port of a ServiceMonitor", monitor, lambda d: d["spec"]["endpoints"][0].pop("port")),
        ("a typo in a ServiceMonitor", monitor, lambda d: d["spec"].update(endpoint=[])),
        ("a rule without severity", rule, lambda d: d["spec"]["groups"][0]["rules"][0].pop("labels")),
        ("a rule without runbook", rule, lambda d: d["spec"]["groups"][0]["rules"][0]["annotations"].pop("runbook_url")),
    ):
        if not broken(change, of):
            complain("self-test", f"nothing notices: {name}")

    def inconsistent(change):
        copy = json.loads(json.dumps(documents))
        change({(d["kind"], d["metadata"]["name"]): d for d in copy})
        before = len(problems)
        consistent("self-test", copy)
        found = len(problems) > before
        del problems[before:]
        return found

    wholes = {
        "nobody scraped": lambda named: named["Service", "holdfast-peers"]["spec"]["ports"].pop(),
        "scraped twice": lambda named: named["Service", "holdfast"]["spec"]["ports"].append({"name": "ops", "port": 9002, "targetPort": "ops"}),
        "Prometheus shut out": lambda named: named["NetworkPolicy", "holdfast-replica"]["spec"]["ingress"].pop(1),
        "pods that may reach anything": lambda named: named["NetworkPolicy", "holdfast-replica"]["spec"].update(policyTypes=["Ingress"]),
        "settings from nowhere": lambda named: named.pop(("ConfigMap", "holdfast-ca"))["metadata"].update(name="other"),
        "another alert": lambda named: named["PrometheusRule", "holdfast"]["spec"]["groups"][0]["rules"].pop(),
        "another dashboard": lambda named: named["ConfigMap", "holdfast-dashboard"]["data"].update({"holdfast.json": "{}"}),
        "a Route to nowhere": lambda named: named["Route", "holdfast"]["spec"]["to"].update(name="other"),
    }
    for name, change in wholes.items():
        if not inconsistent(change):
            complain("self-test", f"nothing notices: {name}")

    services = {
        "a default password": lambda named: named["grafana"]["environment"].update(GF_SECURITY_ADMIN_PASSWORD="${GRAFANA_PASSWORD:-admin}"),
        "an administrator without password": lambda named: named["grafana"]["environment"].pop("GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"),
        "Grafana for everybody": lambda named: named["grafana"].update(ports=["3000:3000"]),
        "a default secret": lambda named: named["gateway"]["environment"].update(HOLDFAST_CLUSTER_SECRET="${HOLDFAST_CLUSTER_SECRET:-x}"),
        "another service's secret": lambda named: named["redis-1"].update(environment={"REDIS_PASSWORD": "redis"}),
    }
    for name, change in services.items():
        file = yaml.safe_load((ROOT.parent / "docker-compose.yml").read_text())
        change(file["services"])
        before = len(problems)
        compose(file)
        if len(problems) == before:
            complain("self-test", f"nothing notices in docker-compose.yml: {name}")
        else:
            del problems[before:]
    text = (ROOT.parent / "Dockerfile").read_text()
    files = {
        "a base that moves": ("ubi-micro:9.6", "ubi-micro:latest"),
        "a base that moves no more": ("IMAGE=gcr.io/distroless/cc-debian12:nonroot", "IMAGE=gcr.io/distroless/cc-debian12@sha256:" + "0" * 64),
        "another Rust": ("rust:1.", "rust:2."),
        "a user": ("USER 1001:0", "USER root"),
    }
    for name, (old, new) in files.items():
        before = len(problems)
        dockerfile(text.replace(old, new))
        if len(problems) == before:
            complain("self-test", f"nothing notices in the Dockerfile: {name}")
        else:
            del problems[before:]
    before = len(problems)
    promised(["1.27", VERSIONS[-1]])
    if len(problems) == before:
        complain("self-test", "nothing notices: an older Kubernetes in the documentation")
    else:
        del problems[before:]
    return len(mutants) + 3 + 5 + 4 + len(wholes) + len(services) + len(files) + 1


def main():
    rendering = "--render" in sys.argv[1:]
    RENDERED.mkdir(exist_ok=True)
    for path, text in generated().items():
        if rendering:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            complain(str(path.relative_to(ROOT)), "is not what observability/ says: `make manifests`")
    forms = {overlay: (lambda overlay=overlay: kustomize(overlay)) for overlay in overlays()}
    forms |= {f"helm-{form.stem}": (lambda form=form: helm(form)) for form in helm_forms()}
    count = 0
    for form, render in forms.items():
        path, text = RENDERED / f"{form}.yaml", render()
        if rendering:
            if text is None:
                complain(form, "cannot be rendered here")
                continue
            path.write_text(text)
        elif text is not None and (not path.exists() or by_name(objects(text)) != by_name(objects(path.read_text()))):
            complain(form, "openshift/rendered is stale: `make manifests`")
        if path.exists():
            count += check(form, path.read_text())
        else:
            complain(form, "has never been rendered: `make manifests`")
    for path in RENDERED.glob("*.yaml"):
        if path.stem not in forms:
            complain(path.name, "is rendered from nothing")
    record = RENDERED / "SOURCES.sha256"
    if rendering:
        record.write_text(digest() + "\n")
    elif not record.exists() or record.read_text().strip() != digest():
        complain("openshift/rendered", "the sources have changed since it was rendered: `make manifests`")
    compose(yaml.safe_load((ROOT.parent / "docker-compose.yml").read_text()))
    dockerfile((ROOT.parent / "Dockerfile").read_text())
    promised()
    mutants = self_test()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(forms)} forms, {count} objects, {mutants} mutants, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
