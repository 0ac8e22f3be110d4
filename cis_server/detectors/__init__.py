"""Detectors: one client's tables in, typed patterns out. No clock, no input or output."""

from cis_server.detectors.blocks import InsufficientData
from cis_server.detectors.conversation_pattern import detect_conversation
from cis_server.detectors.funnel import detect_funnel
from cis_server.detectors.how import detect_how
from cis_server.detectors.outcomes import Label, Population, population
from cis_server.detectors.runner import DETECTORS, Detector, DetectorOutcome, run_detectors
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.what import detect_what
from cis_server.detectors.when import detect_when
from cis_server.detectors.who import detect_who

__all__ = [
    "DETECTORS",
    "Detector",
    "DetectorOutcome",
    "DetectorSettings",
    "InsufficientData",
    "Label",
    "Population",
    "detect_conversation",
    "detect_funnel",
    "detect_how",
    "detect_what",
    "detect_when",
    "detect_who",
    "population",
    "run_detectors",
]
