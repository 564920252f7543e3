"""Make container images from files and Debian packages, without engine or registry.

    python3 images.py OUT NAME [--user UID] [--entrypoint PATH] [--base OUT_OF_BASE] SOURCE…

A SOURCE is one of
    file:PATH:HOST_FILE    that file at PATH, executable
    tree:PATH:HOST_FOLDER  everything below the folder at PATH
    debs:FOLDER            every *.deb there, unpacked over each other; no maintainer script runs
    system                 what those scripts would have made: users, certificates, links, folders

Writes OUT/image.tar, an OCI layout that `ctr images import` and `kind load image-archive` read, and
OUT/image.json with the reference by digest. Layers are sorted, owned as in the package and dated
1970, and nothing is compressed: the same sources give the same digest, and an import is quick.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from typing import Any

EPOCH = "1970-01-01T00:00:00Z"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MEDIA = "application/vnd.oci.image."
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
SHARED = ("doc", "man", "locale", "info", "lintian", "bash-completion", "zsh")
LEFT_OUT = tuple(f"usr/share/{name}/" for name in SHARED)
USERS = """\
root:x:0:0:root:/root:/bin/bash
user:x:1000:1000:user:/home/user:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUPS = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"


class Layer:
    """The files of one layer by path; later ones replace earlier ones."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def add(
        self,
        path: str,
        *,
        kind: bytes = tarfile.REGTYPE,
        mode: int = 0o755,
        content: bytes = b"",
        target: str = "",
        uid: int = 0,
    ) -> None:
        info = tarfile.TarInfo(merged(path.strip("/")))
        info.type, info.mode, info.size, info.linkname = kind, mode, len(content), target
        info.uid = info.gid = uid
        self.entries[info.name] = (info, content)

    def folder(self, path: str, mode: int = 0o755, uid: int = 0) -> None:
        self.add(path, kind=tarfile.DIRTYPE, mode=mode, uid=uid)

    def link(self, path: str, target: str) -> None:
        self.add(path, kind=tarfile.SYMTYPE, mode=0o777, target=target)

    def text(self, path: str, content: str) -> None:
        self.add(path, mode=0o644, content=content.encode())

    def write(self, path: pathlib.Path) -> None:
        for name in list(self.entries):
            for parent in list(pathlib.PurePosixPath(name).parents)[:-1]:
                if str(parent) not in self.entries:
                    self.folder(str(parent))
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
            for name in sorted(self.entries):
                info, content = self.entries[name]
                archive.addfile(info, io.BytesIO(content) if info.isreg() else None)


def merged(path: str) -> str:
    """Debian 12's packages still carry /bin and /lib, which a merged system links into /usr."""
    first = path.split("/", 1)[0]
    return "usr/" + path if first in MERGED and "/" in path else path


def add_file(layer: Layer, argument: str) -> None:
    path, source = argument.split(":", 1)
    layer.add(path, content=pathlib.Path(source).read_bytes())


def add_tree(layer: Layer, argument: str) -> None:
    path, source = argument.split(":", 1)
    for found in sorted(pathlib.Path(source).rglob("*")):
        if found.is_file():
            mode = 0o755 if os.access(found, os.X_OK) else 0o644
            layer.add(f"{path}/{found.relative_to(source)}", mode=mode, content=found.read_bytes())


def add_packages(layer: Layer, argument: str) -> None:
    for package in sorted(pathlib.Path(argument).glob("*.deb")):
        unpack = ["dpkg-deb", "--fsys-tarfile", str(package)]
        content = subprocess.run(unpack, stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                add_member(layer, archive, member)


def add_member(layer: Layer, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    name = inner(member.name)
    if name in ("", ".", *MERGED) or (name + "/").startswith(LEFT_OUT):
        return
    if member.isdir():
        layer.folder(name, mode=member.mode)
    elif member.issym():
        layer.link(name, member.linkname)
    elif member.islnk():
        _, content = layer.entries[merged(inner(member.linkname))]
        layer.add(name, mode=member.mode, content=content)
    elif stream := archive.extractfile(member):
        layer.add(name, mode=member.mode, content=stream.read(), uid=member.uid)


def inner(name: str) -> str:
    return name.removeprefix("./").strip("/")


def add_system(layer: Layer, _: str) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        layer.folder(f"usr/{name}")
        layer.link(name, f"usr/{name}")
    for path in ("dev", "etc", "home", "proc", "run", "sys", "workspace"):
        layer.folder(path)
    layer.folder("root", mode=0o700)
    layer.folder("home/user", uid=1000)
    layer.folder("tmp", mode=0o1777)
    layer.folder("var/tmp", mode=0o1777)
    layer.text("etc/passwd", USERS)
    layer.text("etc/group", GROUPS)
    layer.text("etc/hosts", "127.0.0.1 localhost\n")
    layer.link("usr/bin/awk", "mawk")
    authorities = "usr/share/ca-certificates/mozilla/"
    found = [
        layer.entries[name][1] for name in sorted(layer.entries) if name.startswith(authorities)
    ]
    layer.text("etc/ssl/certs/ca-certificates.crt", b"".join(found).decode())


SOURCES: dict[str, Callable[[Layer, str], None]] = {
    "file": add_file,
    "tree": add_tree,
    "debs": add_packages,
    "system": add_system,
}


class Layout:
    """An OCI image layout in the making: blobs by digest, and an index of one image."""

    def __init__(self, out: str) -> None:
        self.out = pathlib.Path(out)
        (self.out / "blobs" / "sha256").mkdir(parents=True)

    def path(self, digest: str) -> pathlib.Path:
        return self.out / blob(digest)

    def keep_layer(self, layer: Layer) -> str:
        path = self.out / "layer.tar"
        layer.write(path)
        with path.open("rb") as stream:
            digest = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
        path.replace(self.path(digest))
        return digest

    def keep_json(self, value: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps(value, sort_keys=True).encode()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.path(digest).write_bytes(content)
        return {"digest": digest, "size": len(content)}

    def keep_layers_of(self, base: str) -> list[str]:
        described = json.loads(pathlib.Path(base, "image.json").read_text())
        layers: list[str] = described["layers"]
        with tarfile.open(pathlib.Path(base, "image.tar")) as archive:
            for digest in layers:
                stream = archive.extractfile(blob(digest))
                assert stream is not None
                self.path(digest).write_bytes(stream.read())
        return layers

    def pack(self, index: dict[str, Any]) -> None:
        pieces = {
            "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
            "index.json": json.dumps(index, sort_keys=True).encode(),
        }
        with tarfile.open(self.out / "image.tar", "w", format=tarfile.GNU_FORMAT) as archive:
            for name, content in pieces.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            for path in sorted(self.out.glob("blobs/sha256/*")):
                info = tarfile.TarInfo(str(path.relative_to(self.out)))
                info.size = path.stat().st_size
                with path.open("rb") as stream:
                    archive.addfile(info, stream)
        shutil.rmtree(self.out / "blobs")


def blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def make(options: argparse.Namespace) -> None:
    layout = Layout(options.out)
    layer = Layer()
    for source in options.sources:
        kind, _, argument = source.partition(":")
        SOURCES[kind](layer, argument)
    layers = layout.keep_layers_of(options.base) if options.base else []
    layers.append(layout.keep_layer(layer))
    manifest = layout.keep_json(manifest_of(layout, layers, options))
    reference = f"{options.name}@{manifest['digest']}"
    tagged = [f"{options.name}:{options.tag}"] if options.tag else []
    layout.pack(index_of(manifest, [reference, *tagged], options.architecture))
    described = {"ref": reference, "digest": manifest["digest"], "layers": layers}
    (layout.out / "image.json").write_text(json.dumps(described, indent=1) + "\n")
    print(f"{reference} {(layout.out / 'image.tar').stat().st_size / 1e6:.1f} MB", file=sys.stderr)


def manifest_of(layout: Layout, layers: list[str], options: argparse.Namespace) -> dict[str, Any]:
    settings = {"User": options.user, "Env": [f"PATH={PATH}"], "WorkingDir": "/"}
    if options.entrypoint:
        settings["Entrypoint"] = [options.entrypoint]
    config = {
        "architecture": options.architecture,
        "os": "linux",
        "created": EPOCH,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": layers},
        "history": [{"created": EPOCH, "created_by": "tests/cluster"} for _ in layers],
    }
    return {
        "schemaVersion": 2,
        "mediaType": MEDIA + "manifest.v1+json",
        "config": {"mediaType": MEDIA + "config.v1+json", **layout.keep_json(config)},
        "layers": [
            {
                "mediaType": MEDIA + "layer.v1.tar",
                "digest": digest,
                "size": layout.path(digest).stat().st_size,
            }
            for digest in layers
        ],
    }


def index_of(manifest: dict[str, Any], names: list[str], architecture: str) -> dict[str, Any]:
    """Return an index that tells containerd the image's names.

    It names an imported image by this annotation, word for word. The annotation stands in the
    index, outside the manifest, so the manifest's digest can be part of the name; and a name with
    the digest is what `IfNotPresent` looks for when a Pod asks for an image by digest.
    """
    descriptor = {
        "mediaType": MEDIA + "manifest.v1+json",
        "platform": {"architecture": architecture, "os": "linux"},
        **manifest,
    }
    named = [{**descriptor, "annotations": {"io.containerd.image.name": name}} for name in names]
    return {"schemaVersion": 2, "mediaType": MEDIA + "index.v1+json", "manifests": named}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="make a container image")
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("--tag", help="a tag beside the digest")
    parser.add_argument("--user", default="")
    parser.add_argument("--entrypoint")
    parser.add_argument("--base", help="the OUT of the image to build upon")
    parser.add_argument("--architecture", required=True)
    parser.add_argument("sources", nargs="+")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    make(parse(sys.argv[1:]))
