"""Make container images from files and Debian packages, without engine or registry.

    python3 images.py OUT NAME [--user UID] [--entrypoint PATH] [--base OUT_OF_BASE] SOURCE…

A SOURCE is one of
    file:PATH:HOST_FILE    that file at PATH, executable
    tree:PATH:HOST_FOLDER  everything below the folder at PATH
    debs:FOLDER            every *.deb there, unpacked over each other; maintainer scripts do not run
    system                 what those scripts would have made: users, certificates, links, folders

Writes OUT/image.tar, an OCI layout that `ctr images import` and `kind load image-archive` read, and
OUT/image.json with the reference by digest. Layers are sorted, owned as in the package and dated
1970, and nothing is compressed: the same sources give the same digest, and an import takes no time.
"""

import argparse
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile

EPOCH = "1970-01-01T00:00:00Z"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/",
            "usr/share/lintian/", "usr/share/bash-completion/", "usr/share/zsh/")
USERS = """\
root:x:0:0:root:/root:/bin/bash
user:x:1000:1000:user:/home/user:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUPS = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"


class Layer:
    """The files of one layer by path; later ones replace earlier ones."""

    def __init__(self):
        self.entries = {}

    def add(self, path, *, kind=tarfile.REGTYPE, mode=0o755, content=b"", target="", uid=0, gid=0):
        info = tarfile.TarInfo(merged(path.strip("/")))
        info.type, info.mode, info.size, info.linkname = kind, mode, len(content), target
        info.uid, info.gid = uid, gid
        self.entries[info.name] = (info, content)

    def folder(self, path, mode=0o755, uid=0):
        self.add(path, kind=tarfile.DIRTYPE, mode=mode, uid=uid, gid=uid)

    def link(self, path, target):
        self.add(path, kind=tarfile.SYMTYPE, mode=0o777, target=target)

    def text(self, path, content):
        self.add(path, mode=0o644, content=content.encode())

    def write(self, path):
        for name in list(self.entries):
            for parent in list(pathlib.PurePosixPath(name).parents)[:-1]:
                if str(parent) not in self.entries:
                    self.folder(str(parent))
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
            for name in sorted(self.entries):
                info, content = self.entries[name]
                archive.addfile(info, io.BytesIO(content) if info.isreg() else None)


def merged(path):
    """Debian 12 packages still carry /bin and /lib; in a merged system these are links into /usr."""
    first = path.split("/", 1)[0]
    return "usr/" + path if first in MERGED and "/" in path else path


def add_file(layer, argument):
    path, source = argument.split(":", 1)
    layer.add(path, content=pathlib.Path(source).read_bytes())


def add_tree(layer, argument):
    path, source = argument.split(":", 1)
    for folder, folders, files in os.walk(source):
        folders.sort()
        for name in sorted(files):
            found = pathlib.Path(folder, name)
            mode = 0o755 if os.access(found, os.X_OK) and found.stat().st_mode & 0o111 else 0o644
            layer.add(f"{path}/{found.relative_to(source)}", mode=mode, content=found.read_bytes())


def add_packages(layer, argument):
    for package in sorted(pathlib.Path(argument).glob("*.deb")):
        unpacked = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            for member in archive:
                add_member(layer, archive, member)


def add_member(layer, archive, member):
    name = member.name.removeprefix("./").strip("/")
    if name in ("", ".", *MERGED) or (name + "/").startswith(LEFT_OUT):
        return
    if member.isreg():
        content = archive.extractfile(member).read()
        layer.add(name, mode=member.mode, content=content, uid=member.uid, gid=member.gid)
    elif member.isdir():
        layer.folder(name, mode=member.mode)
    elif member.issym():
        layer.link(name, member.linkname)
    elif member.islnk():
        original = layer.entries[merged(member.linkname.removeprefix("./").strip("/"))]
        layer.add(name, mode=member.mode, content=original[1])


def add_system(layer, _):
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
    if "usr/bin/mawk" in layer.entries:
        layer.link("usr/bin/awk", "mawk")
    prefix = "usr/share/ca-certificates/mozilla/"
    found = sorted(name for name in layer.entries if name.startswith(prefix) and name.endswith(".crt"))
    layer.text("etc/ssl/certs/ca-certificates.crt",
               "".join(layer.entries[name][1].decode() for name in found))


SOURCES = {"file": add_file, "tree": add_tree, "debs": add_packages, "system": add_system}


def digest_of(path):
    with open(path, "rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


class Layout:
    """An OCI image layout in the making: blobs by digest, and an index of one image."""

    def __init__(self, out):
        self.out = pathlib.Path(out)
        self.blobs = self.out / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)

    def keep_file(self, path):
        digest = digest_of(path)
        os.replace(path, self.path(digest))
        return digest

    def keep_json(self, value):
        content = json.dumps(value, sort_keys=True).encode()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.path(digest).write_bytes(content)
        return digest, len(content)

    def path(self, digest):
        return self.blobs / digest.removeprefix("sha256:")

    def pack(self, index):
        (self.out / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
        (self.out / "index.json").write_text(json.dumps(index, sort_keys=True))
        with tarfile.open(self.out / "image.tar", "w", format=tarfile.GNU_FORMAT) as archive:
            files = [self.out / "oci-layout", self.out / "index.json", *sorted(self.blobs.iterdir())]
            for path in files:
                info = archive.gettarinfo(path, str(path.relative_to(self.out)))
                info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
                with path.open("rb") as stream:
                    archive.addfile(info, stream)
                if path.parent == self.out:
                    path.unlink()


def make(options):
    layout = Layout(options.out)
    layer = Layer()
    for source in options.sources:
        kind, _, argument = source.partition(":")
        SOURCES[kind](layer, argument)
    layer.write(layout.out / "layer.tar")
    layers = base_layers(options.base, layout) + [layout.keep_file(layout.out / "layer.tar")]
    digest = describe(layout, layers, options)
    report(layout, digest, options.name)


def base_layers(base, layout):
    if not base:
        return []
    layers = json.loads(pathlib.Path(base, "image.json").read_text())["layers"]
    for digest in layers:
        os.link(pathlib.Path(base, "blobs", "sha256", digest.removeprefix("sha256:")), layout.path(digest))
    return layers


def describe(layout, layers, options):
    """Write configuration, manifest and index; return the manifest's digest."""
    settings = {"User": options.user, "Env": [f"PATH={PATH}"], "WorkingDir": "/"}
    if options.entrypoint:
        settings["Entrypoint"] = [options.entrypoint]
    config = {
        "architecture": options.architecture, "os": "linux", "created": EPOCH, "config": settings,
        "rootfs": {"type": "layers", "diff_ids": layers},
        "history": [{"created": EPOCH, "created_by": "tests/cluster"} for _ in layers],
    }  # fmt: skip
    config_digest, config_size = layout.keep_json(config)
    kind = "application/vnd.oci.image."
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind + "manifest.v1+json",
        "config": {"mediaType": kind + "config.v1+json", "digest": config_digest, "size": config_size},
        "layers": [
            {"mediaType": kind + "layer.v1.tar", "digest": d, "size": layout.path(d).stat().st_size}
            for d in layers
        ],
    }
    digest, size = layout.keep_json(manifest)
    # containerd names an imported image by this annotation, word for word. It stands in the index,
    # outside the manifest, so the manifest's own digest can be part of the name; and a name with the
    # digest is what the kubelet's `IfNotPresent` looks for when a Pod asks for an image by digest.
    names = [f"{options.name}@{digest}"] + ([f"{options.name}:{options.tag}"] if options.tag else [])
    descriptor = {"mediaType": manifest["mediaType"], "digest": digest, "size": size,
                  "platform": {"architecture": options.architecture, "os": "linux"}}  # fmt: skip
    layout.pack({
        "schemaVersion": 2,
        "mediaType": kind + "index.v1+json",
        "manifests": [{**descriptor, "annotations": {"io.containerd.image.name": n}} for n in names],
    })  # fmt: skip
    (layout.out / "image.json").write_text(
        json.dumps({"ref": names[0], "digest": digest, "layers": layers}, indent=1) + "\n"
    )
    return digest


def report(layout, digest, name):
    size = (layout.out / "image.tar").stat().st_size / 1e6
    print(f"{name}@{digest} {size:.1f} MB", file=sys.stderr)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
