"""The set: a primary, and replicas that clone from the pod before them, as containers of the shipped manifest."""

import time

import engine
from engine import Failed, podman
from table import expect

ROWS = 20_000
SUM = "SELECT COUNT(*), SUM(CRC32(CONCAT(id, text))) FROM shop.orders"


def confinement(pod, container):
    """What the kernel grants a container that runs."""
    words, root = engine.kernels_words(f"{pod.name}-{container}")
    expect(words["Uid"] + words["Gid"], ["999"] * 8)
    for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]:
        expect(int(words[kind][0], 16), 0)
    expect((words["NoNewPrivs"], words["Seccomp"]), (["1"], ["2"]))
    expect("ro" in root, True)
    return "999:999, no capability, no new privileges, seccomp, root read-only"


def initialised(pod):
    for container in pod.manifests.init_containers:
        pod.start(container, detach=False)
    return ", ".join(container["name"] for container in pod.manifests.init_containers)


def ready(pod):
    for container in pod.manifests.containers:
        pod.start(container, detach=True)
    pod.wait_until_ready(300)
    return "server and sidecar, by the manifest's readiness probes"


def primary(table, pod):
    def filled():
        pod.sql(
            "CREATE DATABASE shop; USE shop; CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(200)); "
            f"INSERT INTO shop.orders (text) SELECT REPEAT(MD5(seq), 6) FROM seq_1_to_{ROWS}"
        )
        return f"{ROWS} rows"

    return (
        table.check(f"{pod.name}: init containers", lambda: initialised(pod))
        and table.check(f"{pod.name}: ready", lambda: ready(pod))
        and table.check(f"{pod.name}: server", lambda: confinement(pod, "mysql"))
        and table.check(f"{pod.name}: sidecar", lambda: confinement(pod, "sidecar"))
        and table.check(f"{pod.name}: rows", filled)
    )


def replica(table, pod, source):
    def cloned():
        names = initialised(pod)
        if "clone.published" not in pod.log("clone"):
            raise Failed(pod.log("clone"))
        return names

    def follows():
        source.sql(f"INSERT INTO shop.orders (text) VALUES ('after the clone of {pod.name}')")
        deadline = time.monotonic() + 60
        while pod.sql(SUM) != source.sql(SUM):
            if time.monotonic() > deadline:
                raise Failed("a row that was written after the clone has not arrived after 60 s")
            time.sleep(0.5)
        return f"{pod.sql(SUM).split()[0]} rows with the primary's checksum, the last written after the clone"

    return (
        table.check(f"{pod.name}: init containers", cloned)
        and table.check(f"{pod.name}: ready", lambda: ready(pod))
        and table.check(f"{pod.name}: sidecar", lambda: confinement(pod, "sidecar"))
        and table.check(f"{pod.name}: rows", follows)
    )


def stopped(pod, container):
    """Kubelet's SIGTERM reaches the program as the container's first process."""
    began = time.monotonic()
    name = f"{pod.name}-{container}"
    podman("stop", "--time=60", name)
    took = time.monotonic() - began
    if took > 30:
        raise Failed(f"it took {took:.0f} s")
    code = podman("container", "inspect", "--format={{.State.ExitCode}}", name)
    return f"exit code {expect(code, '0')} within {took:.1f} s"
