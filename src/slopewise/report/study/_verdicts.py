"""Symbols of verdicts, which repeat in a sign what the words beside them say."""

VERDICT_SYMBOLS = {"helps": "▲", "hurts": "▼", "no practical effect": "=", "inconclusive": "?"}
OUTCOME_SYMBOLS = {
    "supported": "✓",
    "contradicted": "✗",
    "no practical effect": "=",
    "inconclusive": "?",
    "not tested": "–",
}
