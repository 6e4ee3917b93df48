"""One pod of the shipped manifest, run by podman: each container with what its own lines say, and nothing else."""

import json
import pathlib
import subprocess
import time
import urllib.request

import yaml

import engine
from engine import Failed, podman

# As kubelet makes a volume for a pod with an fsGroup.
SHARED = 0o2777

# Where a container has it.
EMULATOR = "/emulator"


class Manifests:
    """What kustomize builds of an overlay."""

    def __init__(self, kustomize, overlay):
        built = engine.run(kustomize, "build", overlay)
        objects = [item for item in yaml.safe_load_all(built) if item]
        self.config_maps = {item["metadata"]["name"]: item["data"] for item in objects if item["kind"] == "ConfigMap"}
        [stateful_set] = [item for item in objects if item["kind"] == "StatefulSet"]
        self.name = stateful_set["metadata"]["name"]
        self.service = stateful_set["spec"]["serviceName"]
        self.template = stateful_set["spec"]["template"]
        self.claims = [claim["metadata"]["name"] for claim in stateful_set["spec"]["volumeClaimTemplates"]]
        spec = self.template["spec"]
        self.init_containers = spec["initContainers"]
        self.containers = spec["containers"]


def bytes_of(quantity):
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    return int(quantity[:-2]) * units[quantity[-2:]] if quantity[-2:] in units else int(quantity)


def security(pod, container):
    """The two security contexts as options. A field that is not known here is a fault: it would not be tested."""
    context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    user, group = context.pop("runAsUser"), context.pop("runAsGroup")
    if context.pop("runAsNonRoot") and user == 0:
        raise Failed("runAsNonRoot, and the user is 0")
    if context.pop("seccompProfile") != {"type": "RuntimeDefault"}:
        raise Failed("a seccomp profile that is not the engine's own")
    # Of volumes, which are made so; see SHARED.
    context.pop("fsGroup", None)
    context.pop("fsGroupChangePolicy", None)
    options = [f"--user={user}:{group}"]
    if context.pop("readOnlyRootFilesystem", False):
        options += ["--read-only", "--read-only-tmpfs=false"]
    if not context.pop("allowPrivilegeEscalation", True):
        options.append("--security-opt=no-new-privileges")
    capabilities = dict(context.pop("capabilities", {}))
    options += [f"--cap-drop={name}" for name in capabilities.pop("drop", [])]
    if context or capabilities:
        raise Failed(f"no options are known for {context} {capabilities}")
    return options


class Pod:
    def __init__(self, manifests, network, directory, ordinal, images=None, through=None):
        self.manifests = manifests
        self.network = network
        self.name = f"{manifests.name}-{ordinal}"
        self.address = network.add(self.name, ordinal)
        self.directory = pathlib.Path(directory, self.name)
        self.images = images or {}
        # An emulator on this machine, for a mysqlset of another architecture.
        self.through = through

    def declared(self, name):
        """What the manifest says of a volume that is no claim's."""
        return next((volume for volume in self.manifests.template["spec"]["volumes"] if volume["name"] == name), {})

    def volume(self, name):
        """The volume's directory on the machine."""
        path = self.directory / name
        if path.exists():
            return path
        group = self.manifests.template["spec"]["securityContext"]["fsGroup"]
        path.mkdir(parents=True)
        engine.run("chown", f"0:{group}", path)
        path.chmod(SHARED)
        if name in self.manifests.claims or "emptyDir" in self.declared(name):
            return path
        for key, text in self.manifests.config_maps[self.declared(name)["configMap"]["name"]].items():
            (path / key).write_text(text)
            (path / key).chmod(0o644)
        return path

    def mount(self, mount):
        path = self.volume(mount["name"])
        if "subPath" in mount:
            path = path / mount["subPath"]
            if not path.exists():
                path.mkdir()
                path.chmod(SHARED)
        # Kubelet mounts no ConfigMap in another way.
        read_only = mount.get("readOnly") or "configMap" in self.declared(mount["name"])
        return f"--volume={path}:{mount['mountPath']}:{'ro' if read_only else 'rw'}"

    def value(self, variable):
        if "value" in variable:
            return variable["value"]
        field = variable["valueFrom"]["fieldRef"]["fieldPath"]
        if field == "metadata.name":
            return self.name
        annotation = field.removeprefix("metadata.annotations['").removesuffix("']")
        return self.manifests.template["metadata"]["annotations"][annotation]

    def image(self, container):
        return self.images.get(container["image"], f"localhost/{container['image']}")

    def words(self, container):
        """What runs in a container: the manifest's words, and the image's where the manifest has none."""
        config = engine.inspect("image", self.image(container))["Config"]
        words = container.get("command") or config.get("Entrypoint", [])
        words = [*words, *(container.get("args") or ([] if "command" in container else config.get("Cmd", [])))]
        return self.emulated(words)

    def emulated(self, words):
        ours = words[0].endswith("/mysqlset")
        return [EMULATOR, *words] if self.through and ours else words

    def start(self, container, detach):
        """Runs a container; one that is not left in the background must end with 0."""
        options = ["--pull=never", f"--name={self.name}-{container['name']}", f"--hostname={self.name}"]
        options += [*self.network.options(self.name), *engine.limits()]
        options += security(self.manifests.template["spec"], container)
        options += [f"--env={variable['name']}={self.value(variable)}" for variable in container.get("env", [])]
        options += [self.mount(mount) for mount in container["volumeMounts"]]
        options.append(f"--memory={bytes_of(container['resources']['limits']['memory'])}")
        if self.through:
            options.append(f"--volume={self.through}:{EMULATOR}:ro")
        if detach:
            options.append("--detach")
        first, *words = self.words(container)
        return podman("run", *options, f"--entrypoint={json.dumps([first])}", self.image(container), *words)

    def initialise(self):
        for container in self.manifests.init_containers:
            self.start(container, detach=False)

    def serve(self):
        for container in self.manifests.containers:
            self.start(container, detach=True)

    def log(self, container):
        words = ["podman", "logs", f"{self.name}-{container}"]
        # The program's log is what it says on standard error.
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout

    def is_ready(self):
        return all(self.passes(container) for container in self.manifests.containers)

    def passes(self, container):
        """One question of the readiness probe, as kubelet asks it."""
        probe = container["readinessProbe"]
        try:
            if "exec" in probe:
                podman("exec", f"{self.name}-{container['name']}", *self.emulated(probe["exec"]["command"]), timeout=90)
            else:
                port = next(port for port in container["ports"] if port["name"] == probe["httpGet"]["port"])
                path = f"http://{self.address}:{port['containerPort']}{probe['httpGet']['path']}"
                urllib.request.urlopen(path, timeout=10).close()
        except (Failed, OSError):
            return False
        return True

    def wait_until_ready(self, seconds):
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} is not ready after {seconds} s: {self.log('sidecar')[-2000:]}")
            time.sleep(1)

    def sql(self, statement):
        words = ["mariadb", "--user=root", "--skip-column-names", "--batch", f"--execute={statement}"]
        return podman("exec", f"{self.name}-mysql", *words)
