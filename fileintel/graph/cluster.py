"""create_communities: GraphRAG's hierarchical Leiden clustering over the relationships."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fileintel.model import Community, Entity, Relationship, content_hash

# GraphRAG's own default, so that equal graphs give equal communities there and here.
SEED = 0xDEADBEEF


def create_communities(
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    *,
    max_cluster_size: int,
    use_lcc: bool = False,
    seed: int = SEED,
) -> list[Community]:
    """Cluster the graph into communities at all levels, each with its entities, relationships and text units.

    As in GraphRAG's create_communities a community without a relationship inside it is left out. Unlike there the
    default keeps every connected component (`use_lcc=False`): a collection's smaller topics count too.
    """
    if not relationships:
        return []
    import pandas as pd
    from graphrag.index.operations.cluster_graph import cluster_graph

    edges = pd.DataFrame(
        {
            "source": [r.source for r in relationships],
            "target": [r.target for r in relationships],
            "weight": [r.weight for r in relationships],
        }
    )
    clusters = cluster_graph(edges, max_cluster_size, use_lcc, seed)
    entity_ids = {e.title: e.id for e in entities}
    inside: dict[int, list[Relationship]] = defaultdict(list)
    levels: dict[int, dict[str, int]] = defaultdict(dict)
    for level, number, _parent, titles in clusters:
        for title in titles:
            levels[level][title] = number
    for members in levels.values():
        for relationship in relationships:
            within = members.get(relationship.source)
            if within is not None and within == members.get(relationship.target):
                inside[within].append(relationship)
    kept = [cluster for cluster in clusters if inside[cluster[1]]]
    children: dict[int, list[int]] = defaultdict(list)
    for _level, number, parent, _titles in kept:
        children[parent].append(number)
    return [
        Community(
            id=content_hash("community", level, sorted(titles))[:32],
            number=number,
            level=level,
            parent=parent,
            children=tuple(sorted(children.get(number, ()))),
            entity_ids=tuple(entity_ids[title] for title in titles),
            relationship_ids=tuple(sorted({r.id for r in inside[number]})),
            text_unit_ids=tuple(sorted({unit for r in inside[number] for unit in r.text_unit_ids})),
            title=f"Community {number}",
        )
        for level, number, parent, titles in sorted(kept, key=lambda cluster: (cluster[0], cluster[1]))
    ]
