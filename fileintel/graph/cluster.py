"""create_communities: GraphRAG's hierarchical Leiden clustering over the relationships.

A collection's first graph is clustered as GraphRAG clusters it; later ones keep the communities that a change does not
touch (see `recluster`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fileintel.graph.recluster import Cluster, Hierarchy, recluster, undirected
from fileintel.model import Community, Edge, content_hash, entity_id

# GraphRAG's own default, so that equal graphs give equal communities there and here.
SEED = 0xDEADBEEF
# Where more of the entities are touched, keeping the rest is worth less than a clustering that sees the whole.
MOST_CHANGED = 0.25


def create_communities(
    edges: Sequence[Edge],
    *,
    max_cluster_size: int,
    before: tuple[Sequence[Edge], Sequence[Community]] | None = None,
    use_lcc: bool = False,
    seed: int = SEED,
) -> list[Community]:
    """Cluster the graph into communities at all levels, each with its entities and relationships.

    As in GraphRAG's create_communities a community without a relationship inside it is left out. Unlike there the
    default keeps every connected component (`use_lcc=False`): a collection's smaller topics count too. `before` is an
    earlier version's graph: its communities that no changed edge touches stay as they are, numbers included.
    """
    if not edges:
        return []
    clusters = None
    if before is not None:
        clusters = _from_before(edges, before, max_cluster_size, seed)
    if clusters is None:
        clusters = _anew(edges, max_cluster_size, use_lcc, seed)
    return _communities(clusters, edges)


def _anew(edges: Sequence[Edge], max_cluster_size: int, use_lcc: bool, seed: int) -> list[Cluster]:
    import pandas as pd
    from graphrag.index.operations.cluster_graph import cluster_graph

    frame = pd.DataFrame(
        {
            "source": [edge.source for edge in edges],
            "target": [edge.target for edge in edges],
            "weight": [edge.weight for edge in edges],
        }
    )
    return [
        Cluster(level, number, parent, tuple(titles))
        for level, number, parent, titles in cluster_graph(frame, max_cluster_size, use_lcc, seed)
    ]


def _from_before(
    edges: Sequence[Edge], before: tuple[Sequence[Edge], Sequence[Community]], max_cluster_size: int, seed: int
) -> list[Cluster] | None:
    """The clusters as they follow from the earlier ones; None when too much has changed for that."""
    edges_before, communities_before = before
    now, then = undirected(edges), undirected(edges_before)
    touched = {title for ends in now.keys() | then.keys() if now.get(ends) != then.get(ends) for title in ends}
    nodes, all_nodes = ({title for ends in pairs for title in ends} for pairs in (now, now.keys() | then.keys()))
    if not communities_before or len(touched) > MOST_CHANGED * len(all_nodes):
        return None
    titles = {entity_id(title): title for title in all_nodes}
    hierarchy = Hierarchy(
        Cluster(c.level, c.number, c.parent, tuple(titles[entity] for entity in c.entity_ids))
        for c in communities_before
    )
    return recluster(now, hierarchy, touched & nodes, max_cluster_size=max_cluster_size, seed=seed)


def _communities(clusters: Sequence[Cluster], edges: Sequence[Edge]) -> list[Community]:
    inside: dict[int, list[Edge]] = defaultdict(list)
    levels: dict[int, dict[str, int]] = defaultdict(dict)
    for cluster in clusters:
        for title in cluster.titles:
            levels[cluster.level][title] = cluster.number
    for members in levels.values():
        for edge in edges:
            within = members.get(edge.source)
            if within is not None and within == members.get(edge.target):
                inside[within].append(edge)
    kept = [cluster for cluster in clusters if inside[cluster.number]]
    children: dict[int, list[int]] = defaultdict(list)
    for cluster in kept:
        children[cluster.parent].append(cluster.number)
    return [
        Community(
            id=content_hash("community", cluster.level, sorted(cluster.titles))[:32],
            number=cluster.number,
            level=cluster.level,
            parent=cluster.parent,
            children=tuple(sorted(children.get(cluster.number, ()))),
            entity_ids=tuple(entity_id(title) for title in cluster.titles),
            relationship_ids=tuple(sorted({edge.id for edge in inside[cluster.number]})),
            text_unit_ids=(),
            title=f"Community {cluster.number}",
        )
        for cluster in sorted(kept, key=lambda cluster: (cluster.level, cluster.number))
    ]
