"""What an image is made of, and what it does by itself, without a pod around it."""

import pathlib
import tarfile
import tempfile

import engine
from engine import Failed, podman
from table import expect

LARGEST = 10_000_000
LABELS = "org.opencontainers.image."


def entries(name, scratch):
    """What the layers hold, with mode and owner."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        podman("save", "--quiet", "--format=docker-archive", f"--output={directory}/image.tar", name)
        found = {}
        with tarfile.open(f"{directory}/image.tar") as archive:
            for layer in archive.getmembers():
                if layer.isfile() and layer.name.endswith(".tar"):
                    with tarfile.open(fileobj=archive.extractfile(layer)) as content:
                        found |= {
                            entry.name.strip("/"): (oct(entry.mode & 0o7777), entry.uid, entry.gid) for entry in content
                        }
        return found


def program(name, scratch):
    """The program's architecture, and whether it asks for a loader."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        container = podman("create", "--network=none", *engine.limits(), name)
        podman("cp", f"{container}:/bin/mysqlset", f"{directory}/mysqlset")
        podman("rm", container)
        said = engine.run("readelf", "--file-header", "--program-headers", "--wide", f"{directory}/mysqlset")
    machine = next(line.split(":")[1].strip() for line in said.splitlines() if "Machine:" in line)
    return machine, "dynamic" if "INTERP" in said else "static"


def inspect(table, name, version, scratch, architecture, machine):
    image = engine.inspect("image", name)
    config = image["Config"]

    def size():
        if image["Size"] > LARGEST:
            raise Failed(f"{image['Size']} bytes, at most {LARGEST}")
        return f"{image['Size'] / 1e6:.2f} MB, at most {LARGEST / 1e6:.0f} MB"

    def labels():
        of_ours = {key.removeprefix(LABELS): text for key, text in config["Labels"].items() if key.startswith(LABELS)}
        expect(sorted(of_ours), ["description", "title", "version"])
        expect(of_ours["title"], "mysqlset")
        return f"{of_ours['title']} {expect(of_ours['version'], version)}"

    def nothing_else():
        for field in ["Volumes", "ExposedPorts", "Healthcheck", "OnBuild"]:
            expect(config.get(field) or None, None)
        return "no volume, port, health check or trigger"

    table.check("platform", lambda: expect(f"{image['Os']}/{image['Architecture']}", f"linux/{architecture}"))
    table.check("layers", lambda: expect(len(image["RootFS"]["Layers"]), 1))
    table.check("size", size)
    found = entries(name, scratch)
    table.check("files", lambda: expect(sorted(found), ["bin", "bin/mysqlset"]))
    table.check("mode and owner of the program", lambda: expect(found["bin/mysqlset"], ("0o755", 0, 0)))
    table.check("program", lambda: expect(program(name, scratch), (machine, "static")))
    table.check("user", lambda: expect(config["User"], "999:999"))
    table.check("entrypoint", lambda: expect(config["Entrypoint"], ["/bin/mysqlset"]))
    table.check("command", lambda: expect(config["Cmd"], ["--help"]))
    table.check("labels", labels)
    table.check("nothing else", nothing_else)


def run_alone(table, name, scratch, security, emulator=None):
    """Its help, and `install`, with the shipped security context."""
    options = ["--rm", "--pull=never", "--network=none", *engine.limits(), *security]
    ours = []
    if emulator:
        options += [f"--volume={emulator}:/emulator:ro", '--entrypoint=["/emulator"]']
        ours = ["/bin/mysqlset"]

    def says_its_commands():
        said = podman("run", *options, name, *ours, *(["--help"] if emulator else []))
        commands = ["install", "init-config", "clone", "sidecar"]
        return expect([command for command in commands if f"  {command}" in said], commands)

    def installs():
        with tempfile.TemporaryDirectory(dir=scratch) as volume:
            pathlib.Path(volume).chmod(0o777)
            podman("run", *options, f"--volume={volume}:/mysqlset", name, *ours, "install")
            installed = pathlib.Path(volume, "mysqlset").stat()
            expect(oct(installed.st_mode & 0o777), "0o755")
            return f"{installed.st_size / 1e6:.2f} MB, owner {expect((installed.st_uid, installed.st_gid), (999, 999))}"

    def refuses():
        try:
            podman("run", *options, name, *ours, "install", "--to", "/bin")
        except Failed as error:
            if "Read-only file system" not in str(error):
                raise
            return "read-only file system"
        raise Failed("the root was written to")

    table.check("without arguments: the commands", says_its_commands)
    table.check("install into a volume", installs)
    table.check("install on the root is refused", refuses)
