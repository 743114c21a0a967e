"""Prometheus and alertmanager as Debian has them, not installed: packages are unpacked into build/tools."""
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(os.environ.get("FLOWAWR_SOURCE_DIR", ".")).resolve()
FOLDER = ROOT / "build/tools/monitoring"
PACKAGES = ("prometheus", "prometheus-alertmanager")
# Where Debian's alertmanager looks, wherever it lies itself.
TEMPLATES = pathlib.Path("/usr/share/prometheus/alertmanager")


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
    if name == "prometheus-alertmanager" and not TEMPLATES.exists():
        try:
            TEMPLATES.parent.mkdir(parents=True, exist_ok=True)
            TEMPLATES.unlink(missing_ok=True)  # of a checkout that is gone
            TEMPLATES.symlink_to(FOLDER / TEMPLATES.relative_to("/"))
        except PermissionError:
            raise RuntimeError(f"alertmanager wants {TEMPLATES}: apt-get install prometheus-alertmanager") from None
    return str(unpacked)
