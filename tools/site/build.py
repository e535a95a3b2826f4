"""Builds the documentation as a site into dist/site, and fails on a link or an anchor that leads nowhere.

MkDocs and its theme are installed once, as requirements.txt pins them, into a folder of the user's cache that is named
by that file's digest. Needs Python 3.10 or later with pip.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SITE = HERE.parents[1] / "dist" / "site"
REQUIREMENTS = HERE / "requirements.txt"

# What makes a browser ask another host for something as it opens a page; an ordinary link does not.
FOREIGN = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?(?:https?:)?//[^>]*>|<link\b[^>]*\shref=["']?(?:https?:)?//[^>]*>|@import[^;]*//|url\(["']?(?:https?:)?//[^)]*\)""")


def installed() -> Path:
    """Returns the folder that holds MkDocs; it is there as a whole or not at all."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "serin"
    folder = cache / f"site-{digest}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-conflicts",
               "--root-user-action=ignore", "--require-hashes"]
        if subprocess.run([*pip, "--target", made + "/lib", "-r", REQUIREMENTS]).returncode:
            sys.exit(f"installing MkDocs into {folder}: pip failed; Debian has pip as package python3-pip")
        try:
            os.rename(made + "/lib", folder)
        except OSError:  # another build was faster
            if not folder.exists():
                raise
    return folder


def foreign() -> list[str]:
    """Lists what the built pages would fetch from other hosts."""
    found = []
    for file in sorted([*SITE.rglob("*.html"), *SITE.rglob("*.css")]):
        for match in FOREIGN.finditer(file.read_text()):
            found.append(f"{file.relative_to(SITE)}: {match.group(0)}")
    return found


def main() -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed()), "NO_MKDOCS_2_WARNING": "1"}
    shutil.rmtree(SITE, ignore_errors=True)
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", HERE / "mkdocs.yml", "-d", SITE]
    if code := subprocess.run(mkdocs, env=environment).returncode:
        sys.exit(code)
    if found := foreign():
        sys.exit("pages that ask other hosts, want none:\n" + "\n".join(found))
    print(f"the site is in {SITE}: open {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
