"""An index's entities and relationships as GraphML, for Gephi, yEd, Cytoscape and networkx."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import IO, Any

Row = Mapping[str, Any]
# What XML 1.0 has no way to write.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_graphml(
    entities: Iterable[Row], relationships: Iterable[Row], communities: Iterable[Row], file: IO[bytes]
) -> None:
    """Write a directed graph whose nodes are named by title; each carries its community at every level.

    networkx holds the graph while it is written: titles, descriptions and numbers, without text units.
    """
    import networkx as nx

    graph = nx.DiGraph()
    titles: dict[str, str] = {}
    for entity in entities:
        title = titles[entity["id"]] = _clean(entity["title"])
        graph.add_node(
            title,
            id=entity["id"],
            type=_clean(entity["type"]),
            description=_clean(entity["description"]),
            degree=entity["degree"],
            frequency=entity["frequency"],
        )
    for community in communities:
        for member in community["entity_ids"]:
            if member in titles:
                graph.nodes[titles[member]][f"community_{community['level']}"] = community["number"]
    for relationship in relationships:
        source, target = _clean(relationship["source"]), _clean(relationship["target"])
        graph.add_edge(
            source,
            target,
            id=relationship["id"],
            description=_clean(relationship["description"]),
            weight=float(relationship["weight"]),
        )
    nx.write_graphml(graph, file, encoding="utf-8")


def _clean(text: str) -> str:
    return _NO_XML.sub("", text)
