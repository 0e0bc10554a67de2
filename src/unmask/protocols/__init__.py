"""Protocols: many methods trained alike, tested on what they never saw, compared seed by seed."""

from unmask.protocols.protocol import Protocol, read_protocol
from unmask.protocols.runner import run_protocol
from unmask.protocols.summary import evidence, measure, summarise

__all__ = ["Protocol", "evidence", "measure", "read_protocol", "run_protocol", "summarise"]
