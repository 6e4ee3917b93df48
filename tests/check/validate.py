"""Validates what kustomize builds against the schemas of Kubernetes' releases.

    validate.py KUSTOMIZE

Every overlay in k8s/overlays is built alone, with each component that may be added, and with all of these; each object must
be valid, to the letter, in every release that the overlay is for. A kind that no schema is known of is a fault. Before that
the check is checked: what lies in broken/ must be refused, for what its first line says.
"""

import functools
import json
import pathlib
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

HERE = pathlib.Path(__file__).parent
PROJECT = HERE.parent.parent
SCRATCH = PROJECT / "target/kustomizations/check"

# What is taken from the schemas, once each: they are large.
utils.schema_contents = functools.cache(utils.schema_contents)

# Older releases don't know a field of it.
OLDEST = {"native-sidecar": (1, 29), "image-volume": (1, 33)}

# Each overlay has one of them.
CHOSEN = {"no-passwords", "secrets"}


def names(kind):
    return sorted(path.name for path in (PROJECT / "k8s" / kind).iterdir())


def choices(overlay):
    """The components that are added to an overlay: none, each, all."""
    there = CHOSEN | ({"network-policy"} if overlay.endswith("-secrets") else set())
    components = [name for name in names("components") if name not in there]
    # As the guide says: what monitoring adds to comes first, and what moves the sidecar last.
    components.sort(key=lambda name: {"network-policy": 0, "native-sidecar": 2}.get(name, 1))
    return [[]] + [[component] for component in components] + [components]


def build(kustomize, overlay, components):
    directory = PROJECT / "k8s/overlays" / overlay
    if components:
        directory = SCRATCH / "+".join([overlay, *components])
        directory.mkdir(parents=True, exist_ok=True)
        above = "../../../../k8s"
        (directory / "kustomization.yaml").write_text(
            yaml.safe_dump(
                {
                    "resources": [f"{above}/overlays/{overlay}"],
                    "components": [f"{above}/components/{component}" for component in components],
                }
            )
        )
    built = subprocess.run([kustomize, "build", directory], capture_output=True, text=True, check=False)
    if built.returncode or built.stderr:
        raise SystemExit(f"{overlay} {components}: {built.stderr}")
    return [document for document in yaml.safe_load_all(built.stdout) if document]


@functools.cache
def own_schema(name):
    path = HERE / "schemas" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


@functools.cache
def fault(text, release):
    """What is wrong with an object in a release; None where nothing is."""
    document = json.loads(text)
    schema = own_schema(document["kind"].lower())
    try:
        if schema is not None:
            jsonschema.Draft202012Validator(schema).validate(document)
        else:
            kubernetes_validate.validate(document, release, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except (utils.SchemaNotFoundError, utils.InvalidSchemaError) as error:
        return error.message
    return None


def faults(documents, releases):
    for document in documents:
        text = json.dumps(document, sort_keys=True)
        for release in releases:
            found = fault(text, release)
            if found:
                yield f"{document['kind']} {document['metadata']['name']}, Kubernetes {release}: {found}"
                break


def number(release):
    return tuple(map(int, release.split(".")[:2]))


def main(kustomize):
    releases = utils.all_versions()
    failed = False
    for path in sorted((HERE / "broken").iterdir()):
        why = path.read_text().splitlines()[0].removeprefix("# ")
        found = list(faults(yaml.safe_load_all(path.read_text()), releases))
        if not any(why in line for line in found):
            print(f"{path.relative_to(PROJECT)} is not refused for {why!r}: {found}")
            failed = True
    for overlay in names("overlays"):
        for components in choices(overlay):
            oldest = max([OLDEST.get(component, (0, 0)) for component in components], default=(0, 0))
            fitting = [release for release in releases if number(release) >= oldest]
            label = " + ".join([overlay, *components])
            found = list(faults(build(kustomize, overlay, components), fitting))
            for line in found:
                print(f"{label}: {line}")
            failed = failed or bool(found)
            if not found:
                print(f"{label}: valid in Kubernetes {fitting[0]} to {fitting[-1]}")
    sys.exit(failed)


main(sys.argv[1])
