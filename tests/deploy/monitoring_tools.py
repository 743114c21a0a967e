"""Prometheus and alertmanager as Debian has them, without installing anything: packages are unpacked into build/tools."""
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(os.environ.get("FLOWAWR_SOURCE_DIR", ".")).resolve()
FOLDER = ROOT / "build/tools/monitoring"
PACKAGES = ("prometheus", "prometheus-alertmanager")


def tool(name):
    """The path of prometheus, promtool, prometheus-alertmanager or amtool."""
    if found := shutil.which(name):
        return found
    unpacked = FOLDER / "usr/bin" / name
    if not unpacked.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=FOLDER, check=True)
        for package in FOLDER.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, FOLDER], check=True)
            package.unlink()
    return str(unpacked)
