"""LangGraph's own events, for a handler that does not import LangGraph."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

_classes: dict[type, type] = {}
_lock = threading.Lock()


def hear_graph_events(handler: BaseCallbackHandler) -> None:
    """Make ``handler`` one that LangGraph tells of interrupts and resumes.

    Only subclasses of LangGraph's own marker are told. The class is changed once LangGraph is in use, since importing
    it for every handler would cost those a second who have no graph.
    """
    from langgraph.callbacks import GraphCallbackHandler

    cls = type(handler)
    with _lock:
        if cls not in _classes:
            members = {"__module__": cls.__module__, "_hears_graphs": True}
            _classes[cls] = type(cls.__name__, (cls, GraphCallbackHandler), members)
    handler.__class__ = _classes[cls]
