"""What goes wrong in an export that the user can mend, and the extra that it may lack."""

from __future__ import annotations

from slopewise.errors import SlopewiseError


class ExportError(SlopewiseError):
    """The model cannot be exported, or the file does not give what the model gives."""


def reason(error: BaseException) -> str:
    r"""What an exporter said and of which line of code, without its pages of advice.

    Example:
        >>> reason(ValueError("Constraints violated! See TORCH_LOGS.\n  - x is fixed to 4. Use Dim.AUTO."))
        'ValueError: x is fixed to 4'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    said = lines[0]
    if said.startswith("Constraints violated"):
        said = next((line[2:].split(". ")[0] for line in lines if line.startswith("- ")), said)
    place = next((f", at {line}" for line in lines if line.startswith('File "')), "")
    return f"{type(error).__name__}: {said}{place}"
