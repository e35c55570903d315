"""Explaining: turns records into text, JSON and code. Measures nothing."""

from poolwise.explain.explanation import Explanation, explain_advice, explain_run

__all__ = ["Explanation", "explain_advice", "explain_run"]
