"""Writes an SPDX 2.3 document of what an image holds: its Debian packages, and the wheels that LibTorch came from.

usage: sbom.py DPKG_STATUS VENV > sbom.spdx.json
"""

import hashlib
import json
import os
import pathlib
import re
import sys
import time


def debian_packages(status: str):
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
        if "installed" in fields.get("Status", "").split():
            name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
            yield name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}"


def wheels(venv: pathlib.Path):
    """Those whose libraries the package carries: torch, and what a CUDA build of it needs."""
    for metadata in sorted(venv.glob("lib/python3*/site-packages/*.dist-info/METADATA")):
        fields = dict(re.findall(r"^(Name|Version): (.*)$", metadata.read_text(errors="replace"), re.MULTILINE))
        name = fields["Name"].lower()
        if name == "torch" or name.startswith("nvidia-"):
            yield name, fields["Version"], f"pkg:pypi/{name}@{fields['Version']}"


def entry(name: str, version: str, locator: str) -> dict:
    return {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{name}-{version}"),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}
        ],
    }


def main(status: pathlib.Path, venv: pathlib.Path) -> None:
    packages = [entry(*found) for found in [*debian_packages(status.read_text()), *wheels(venv)]]
    digest = hashlib.sha256(json.dumps(packages).encode()).hexdigest()
    created = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "flowawr",
        "documentNamespace": f"urn:flowawr:sbom:{digest}",
        "creationInfo": {"created": time.strftime("%Y-%m-%dT%H:%M:%SZ", created), "creators": ["Tool: docker/sbom.py"]},
        "packages": packages,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
             "relatedSpdxElement": found["SPDXID"]}
            for found in packages
        ],
    }
    json.dump(document, sys.stdout, indent=1)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
