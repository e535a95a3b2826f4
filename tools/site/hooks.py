"""Gives the site its pages where they lie in the repository, so that a link between two of them is the same there."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "tasks/*/README.md", "pipelines/*/README.md",
         "triggers/README.md")
PICTURES = "docs/*.svg"
STYLE = "tools/site/site.css"
REPOSITORY = "https://github.com/serin-cd/serin"

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replaces the files of docs_dir by all pages, their pictures and their style; what the theme brings stays."""
    kept = [f for f in files if f.src_dir != config.docs_dir]
    for pattern in (*PAGES, PICTURES, STYLE):
        for path in sorted(ROOT.glob(pattern)):
            kept.append(File(path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls))
    return Files(kept)


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files) -> str:
    """Leads links to what is no page: a folder to its README, anything else that exists to the repository."""
    folder = posixpath.dirname(page.file.src_uri)

    def target(match: re.Match) -> str:
        link, anchor = match.group(1), match.group(2) or ""
        if "://" in link:
            return match.group(0)
        path = posixpath.normpath(posixpath.join(folder, link))
        if files.get_file_from_path(path):
            return match.group(0)
        if files.get_file_from_path(path + "/README.md"):
            return f"]({link.rstrip('/')}/README.md{anchor})"
        if not path.startswith("..") and (ROOT / path).exists():
            kind = "tree" if (ROOT / path).is_dir() else "blob"
            return f"]({REPOSITORY}/{kind}/main/{path}{anchor})"
        return match.group(0)  # leads nowhere: the build says so

    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [LINK.sub(target, markdown[end : fence.start()]), fence.group(0)]
        end = fence.end()
    return "".join(parts) + LINK.sub(target, markdown[end:])
