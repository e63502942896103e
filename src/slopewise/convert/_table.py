"""A conversion as text: its call sites, the activations that stay, and the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.support import grouped, printed, section, table

if TYPE_CHECKING:
    from slopewise.convert._conversion import Conversion
    from slopewise.convert._proof import Proof


def conversion_text(conversion: Conversion) -> str:
    """Return the text of ``str(conversion)``."""
    sites = conversion.sites
    kinds = ", ".join(f"{sum(s.kind == kind for s in sites)} {kind}" for kind in dict.fromkeys(s.kind for s in sites))
    lines = [f"{len(sites)} call sites converted ({kinds}); {conversion.added:+,} parameters", ""]
    rows = [("site", "was", "input", "channels in", "slopes", "fused with")]
    rows += [
        (
            site.name or "(the model)",
            site.source,
            "×".join(map(str, site.shape)),
            f"dim {site.channel_dim} ({site.evidence})",
            f"{site.slopes}" + (f", {site.calls} calls" if site.calls > 1 else ""),
            site.fused,
        )
        for site in sites
    ]
    lines += table(rows if any(site.fused for site in sites) else [row[:-1] for row in rows])
    noted = [f"  {site.name}: {'; '.join(site.notes)}" for site in sites if site.notes]
    lines += section("notes", [*noted, *(f"  {note}" for note in conversion.notes)])
    lines += section("not converted", [f"  {r.name} ({r.kind}): {r.reason}" for r in conversion.skipped])
    lines += section("rewritten", grouped(conversion.rewritten))
    differs = {site.differs: site.kind for site in sites if site.differs}
    lines += section("no longer equal in principle", [f"  {kind}: {words}" for words, kind in differs.items()])
    return printed([*lines, "", *_evidence(conversion)])


def _evidence(conversion: Conversion) -> list[str]:
    proof = conversion.proof
    if proof is None:
        return ["evidence: none, since the model has no values (meta device)"]
    compared = f"{proof.exact} sites at the slope that says the same"
    if proof.others:
        compared += f", {proof.others} at their former activation"
    gradients = "nothing requires a gradient"
    if proof.failure is not None:
        gradients = f"the backward pass of the model given fails in {proof.failure}"
    if proof.gradient is not None:
        gradients = f"gradients differ by {proof.gradient}"
    return [
        f"evidence, on the example in {' and '.join(proof.modes)} mode ({compared}):",
        f"  outputs differ by {proof.output}",
        f"  {gradients}",
        f"  with the initial slopes outputs differ by {proof.start}",
        f"  at slopes that are all different, {_at_slopes(proof)}",
    ]


def _at_slopes(proof: Proof) -> str:
    if proof.slopes is None:
        return "nothing could be compared: in another pass the model given raises, or no activation is found again"
    rounding = f", by rounding: in float64 by {proof.slopes_in_float64}" if proof.slopes_in_float64 else ""
    return f"with and without gradients, outputs differ by {proof.slopes}{rounding}"
