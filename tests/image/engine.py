"""The engine: podman with a storage, a runtime and limits of the test's own, which run.sh has set in the environment."""

import json
import resource
import subprocess


class Failed(Exception):
    """A step did not do what it should."""


def run(*words, timeout=600):
    """What a command printed; its own words where it failed."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{words[0]} {words[1]} took longer than {timeout} s") from error
    if done.returncode:
        raise Failed(
            f"{' '.join(map(str, words[:3]))} ended with {done.returncode}: {(done.stdout + done.stderr).strip()}"
        )
    return done.stdout.strip()


def podman(*words, timeout=600):
    return run("podman", *words, timeout=timeout)


def inspect(kind, name):
    return json.loads(podman(kind, "inspect", name))[0]


def limits():
    """containerd's limit of descriptors where the machine grants it. The engine's default asks for more than it has."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, processes = resource.getrlimit(resource.RLIMIT_NPROC)
    return [
        f"--ulimit=nofile=1024:{min(descriptors, 524288)}",
        f"--ulimit=nproc={processes}:{processes}",
    ]


def kernels_words(container):
    """What the kernel says of a running container's first process, and the options of its root."""
    pid = podman("container", "inspect", "--format", "{{.State.Pid}}", container)
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        words = dict(line.split(":", 1) for line in status)
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as mounts:
        root = next(line.split()[5] for line in mounts if line.split()[4] == "/")
    return {name: text.split() for name, text in words.items()}, root.split(",")
