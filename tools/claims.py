"""Write the parts of docs/claims.md that come from the claims: a table, and a section about each claim.

python tools/claims.py           # writes these parts
python tools/claims.py --check   # fails if a part is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from slopewise.analysis.claims import Claim, claims

PAGE = Path(__file__).parents[1] / "docs" / "claims.md"
BEGIN, END = "<!-- tools/claims.py writes this: {} -->\n", "<!-- end -->\n"


def table() -> str:
    """Return the table of all claims."""
    rows = (f"| {claim.number} | [{claim.id}](#{claim.id}) | {claim.statement} |\n" for claim in claims())
    return f"| | claim | statement |\n| --- | --- | --- |\n{''.join(rows)}"


def section(claim: Claim) -> str:
    """Return the section about a claim."""
    rows = {
        "source": claim.source,
        "predicts": claim.prediction,
        "needs": claim.design,
        "statistic": claim.statistic,
        "rule": claim.rule,
    }
    lines = "".join(f"| {name} | {text[0].upper()}{text[1:].rstrip('.')}. |\n" for name, text in rows.items())
    spec = f"\n```toml\n{claim.toml}\n```\n" if claim.toml else ""
    return f"### {claim.id}\n\n{claim.statement}\n\n| | |\n| --- | --- |\n{lines}{spec}"


def parts() -> dict[str, str]:
    """Return the parts of the page by name."""
    return {"claims": table(), "each claim": "\n".join(section(claim) for claim in claims())}


def written(text: str) -> str:
    """Return the page with its parts brought up to date."""
    for name, part in parts().items():
        begin = BEGIN.format(name)
        before, mark, rest = text.partition(begin)
        if not mark or END not in rest:
            raise SystemExit(f"docs/claims.md: no place for '{name}': add {begin}{END}")
        text = f"{before}{begin}{part}{END}{rest.partition(END)[2]}"
    return text


def main() -> None:
    """Write the page, or check it."""
    text = PAGE.read_text(encoding="utf-8")
    new = written(text)
    if "--check" not in sys.argv:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        raise SystemExit("docs/claims.md: out of date: run python tools/claims.py")


if __name__ == "__main__":
    main()
