"""Inspects and runs the images that run.sh has built, and prints a table.

    main.py KUSTOMIZE SCRATCH [EMULATOR]

With an emulator there is an image for arm64 too: it is inspected, and one pod of the set runs it.
"""

import pathlib
import shutil
import sys
import tomllib

import inspection
import story
from network import Network
from pod import Manifests, Pod, security
from table import Table

PROJECT = pathlib.Path(__file__).parent.parent.parent
VERSION = tomllib.loads((PROJECT / "Cargo.toml").read_text())["package"]["version"]
IMAGE = f"localhost/mysqlset:{VERSION}"
ARM64 = f"{IMAGE}-arm64"


def main(kustomize, scratch, emulator=None):
    table = Table()
    manifests = Manifests(kustomize, PROJECT / "k8s/overlays/mariadb")
    [ours, *_] = [container for container in manifests.init_containers if container["image"] == f"mysqlset:{VERSION}"]
    context = security(manifests.template["spec"], ours)

    table.title("The image for amd64")
    inspection.inspect(table, IMAGE, VERSION, scratch, "amd64", "Advanced Micro Devices X86-64")
    inspection.run_alone(table, IMAGE, scratch, context)
    if emulator:
        table.title("The image for arm64, cross-compiled, under qemu-user")
        inspection.inspect(table, ARM64, VERSION, scratch, "arm64", "AArch64")
        inspection.run_alone(table, ARM64, scratch, context, emulator)

    table.title("A set of the overlay mariadb")
    volumes = scratch / "volumes"
    shutil.rmtree(volumes, ignore_errors=True)
    network = Network(scratch, manifests.service)
    primary = Pod(manifests, network, volumes, 0)
    if story.primary(table, primary):
        replica = Pod(manifests, network, volumes, 1)
        if story.replica(table, replica, primary):
            table.check(f"{replica.name}: sidecar stops", lambda: story.stopped(replica, "sidecar"))
        if emulator:
            # Its donor is mysql-0, for mysql-1's sidecar has stopped.
            table.title("A pod whose mysqlset is arm64's, beside an amd64 server")
            emulated = Pod(manifests, network, volumes, 2, {ours["image"]: ARM64}, emulator)
            story.replica(table, emulated, primary)
    network.end()

    table.title("What this machine cannot do")
    if not emulator:
        table.skip("arm64", "its packages could not be had from Debian")
    table.skip("build on a node of arm64", "there is none; .github/workflows/image.yml does it")
    table.skip("official images", "no registry can be reached: Debian's packages, and a stand-in for the entrypoint")
    table.skip("containerd, kubelet", "podman and runc, with the options that follow from the manifest")
    table.skip("AppArmor, SELinux", "not looked at")
    # Without the word for what was left out, for it is the same each time.
    print(f"\n{table.passed} passed, {table.failed} failed, {table.not_run} skipped")
    sys.exit(1 if table.failed else 0)


main(sys.argv[1], pathlib.Path(sys.argv[2]), *sys.argv[3:4])
