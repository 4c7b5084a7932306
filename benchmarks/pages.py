"""The pages of the documentation that figures are written into, and the folder of all that is not committed."""

from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RUNS = ROOT / "runs"


def fill(page: Path, parts: Mapping[str, str]) -> None:
    """Puts each part between the comments `<!-- name -->` and `<!-- end -->` of a page."""
    text = page.read_text()
    for name, part in parts.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise ValueError(f"{page} has no part {name}")
        text = f"{before}{start}{part}\n{end}{after}"
    page.write_text(text)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def written(path: Path, text: str) -> None:
    """Writes a file, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"wrote {path}")
