"""Communities after a small change of the graph: what the change does not touch stays as it is.

Leiden run anew moves entities far away from an edit, and every moved entity changes the prompts of two reports. So only
entities at changed edges are looked at, and whoever a move makes look again: the local moving phase of Leiden (Traag et
al. 2019, "From Louvain to Leiden") from the communities there were, as in Sahu's "DF Louvain" (2024). A community that
falls apart is split; one that changed is treated in the same way one level further down; what had no communities
below it and grew too large is clustered by Leiden itself.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fileintel.model import Edge

_LEAST_GAIN = 1e-9

Weights = Mapping[tuple[str, str], float]


class Cluster(NamedTuple):
    """Titles that belong together at one level; `parent` is the number of the cluster they lie in, or -1."""

    level: int
    number: int
    parent: int
    titles: tuple[str, ...]


class Hierarchy:
    """An earlier version's clusters, by where they lie."""

    def __init__(self, clusters: Iterable[Cluster]) -> None:
        self.children: dict[int, list[Cluster]] = defaultdict(list)
        self.highest = -1
        for cluster in clusters:
            self.children[cluster.parent].append(cluster)
            self.highest = max(self.highest, cluster.number)


def undirected(edges: Sequence[Edge]) -> dict[tuple[str, str], float]:
    """Weights by unordered pair of titles; of the two directions the later one counts, as in GraphRAG."""
    return {(min(e.source, e.target), max(e.source, e.target)): float(e.weight) for e in edges}


def recluster(
    weights: Weights, before: Hierarchy, changed: set[str], *, max_cluster_size: int, seed: int
) -> list[Cluster]:
    """The clusters of a graph (its weighted undirected edges) that follow from those `before`.

    `changed` are the titles at edges that came, went or changed their weight. A cluster keeps its number as long as
    any of its titles is left in it; new ones get numbers that no cluster had.
    """
    neighbours: dict[str, dict[str, float]] = defaultdict(dict)
    for (low, high), weight in weights.items():
        neighbours[low][high] = weight
        neighbours[high][low] = weight
    return _Reclustering(neighbours, before, max_cluster_size, seed).run(changed)


class _Reclustering:
    def __init__(
        self, neighbours: Mapping[str, Mapping[str, float]], before: Hierarchy, max_cluster_size: int, seed: int
    ) -> None:
        self._neighbours = neighbours
        self._before = before
        self._max_cluster_size = max_cluster_size
        self._seed = seed
        self._next = before.highest + 1
        self._found: list[Cluster] = []

    def run(self, changed: set[str]) -> list[Cluster]:
        self._divide(sorted(self._neighbours), changed, level=0, parent=-1)
        return self._found

    def _divide(self, titles: Sequence[str], changed: set[str], level: int, parent: int) -> None:
        """Find the clusters that `titles`, all of cluster `parent`, fall into at this level."""
        inside = set(titles)
        within = {title: self._among(title, inside) for title in titles}
        earlier = self._before.children.get(parent, [])
        if earlier:
            labels = self._moved(within, earlier, changed)
        elif level == 0 or len(titles) > self._max_cluster_size:
            labels = self._leiden(within)
        else:
            return
        clusters: dict[int, list[str]] = defaultdict(list)
        for title in titles:
            clusters[labels[title]].append(title)
        if level and len(clusters) == 1:
            return
        were = {cluster.number: cluster for cluster in earlier}
        for number in sorted(clusters):
            members = clusters[number]
            then = set(were[number].titles) if number in were else set()
            if then == set(members):
                # Their order, too, stays.
                self._found.append(were[number])
            else:
                self._found.append(Cluster(level, number, parent, tuple(members)))
            if then == set(members) and not changed.intersection(members):
                self._keep_below(number)
            elif len(members) > self._max_cluster_size:
                came, left = set(members) - then, then - set(members)
                beside_left = {title for title in members if any(n in left for n in self._neighbours[title])}
                self._divide(members, changed | came | beside_left, level + 1, number)

    def _keep_below(self, number: int) -> None:
        for child in self._before.children.get(number, ()):
            self._found.append(child)
            self._keep_below(child.number)

    def _among(self, title: str, titles: set[str]) -> dict[str, float]:
        return {other: weight for other, weight in self._neighbours[title].items() if other in titles}

    def _moved(
        self, within: Mapping[str, Mapping[str, float]], earlier: Sequence[Cluster], changed: set[str]
    ) -> dict[str, int]:
        labels: dict[str, int] = {}
        for cluster in earlier:
            for title in cluster.titles:
                if title in within:
                    labels[title] = cluster.number
        waiting = deque(sorted(title for title in within if title in changed or title not in labels))
        for title in within:
            if title not in labels:
                labels[title] = self._new_number()
        touched = {labels[title] for title in waiting} | _move(within, labels, waiting)
        self._split(within, labels, touched)
        return labels

    def _split(self, within: Mapping[str, Mapping[str, float]], labels: dict[str, int], touched: set[int]) -> None:
        """Give the parts of a touched cluster that no edge connects any more clusters of their own."""
        members: dict[int, list[str]] = defaultdict(list)
        for title, label in labels.items():
            if label in touched:
                members[label].append(title)
        for label in sorted(members):
            parts = _connected(sorted(members[label]), within)
            # The largest part keeps the number.
            for part in sorted(parts, key=lambda part: (-len(part), part[0]))[1:]:
                number = self._new_number()
                for title in part:
                    labels[title] = number

    def _leiden(self, within: Mapping[str, Mapping[str, float]]) -> dict[str, int]:
        import graspologic_native

        edges = sorted(
            (title, other, weight)
            for title, others in within.items()
            for other, weight in others.items()
            if title <= other
        )
        found: Mapping[str, int] = {}
        if edges:
            _, found = graspologic_native.leiden(
                edges=edges,
                starting_communities=None,
                resolution=1.0,
                randomness=0.001,
                iterations=1,
                use_modularity=True,
                seed=self._seed,
                trials=1,
            )
        numbers: dict[int, int] = {}
        labels = {}
        for title in within:
            if title not in found:
                labels[title] = self._new_number()
                continue
            if found[title] not in numbers:
                numbers[found[title]] = self._new_number()
            labels[title] = numbers[found[title]]
        return labels

    def _new_number(self) -> int:
        self._next += 1
        return self._next - 1


def _move(within: Mapping[str, Mapping[str, float]], labels: dict[str, int], waiting: deque[str]) -> set[int]:
    """Move each waiting title to the neighbouring cluster where modularity gains most; whoever is beside a title that
    moved waits too. Returns the clusters that lost or won a title."""
    strength = {title: sum(others.values()) + others.get(title, 0.0) for title, others in within.items()}
    total = sum(strength.values())
    if total <= 0:
        return set()
    weight_of: dict[int, float] = defaultdict(float)
    for title, label in labels.items():
        weight_of[label] += strength[title]
    queued = set(waiting)
    touched: set[int] = set()
    # Each move raises modularity, so they end; the bound is against rounding.
    for _ in range(50 * len(within)):
        if not waiting:
            break
        title = waiting.popleft()
        queued.discard(title)
        here = labels[title]
        links: dict[int, float] = defaultdict(float)
        for other, weight in within[title].items():
            if other != title:
                links[labels[other]] += weight
        share = strength[title] / total
        stay = links.get(here, 0.0) - share * (weight_of[here] - strength[title])
        best, gain = here, stay + _LEAST_GAIN
        for label in sorted(links):
            if label != here and (offered := links[label] - share * weight_of[label]) > gain:
                best, gain = label, offered
        if best == here:
            continue
        weight_of[here] -= strength[title]
        weight_of[best] += strength[title]
        labels[title] = best
        touched |= {here, best}
        for other in sorted(within[title]):
            if labels[other] != best and other not in queued:
                queued.add(other)
                waiting.append(other)
    return touched


def _connected(titles: Sequence[str], within: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    left = set(titles)
    parts = []
    for title in titles:
        if title not in left:
            continue
        left.discard(title)
        part, edge = [title], [title]
        while edge:
            for other in within[edge.pop()]:
                if other in left:
                    left.discard(other)
                    part.append(other)
                    edge.append(other)
        parts.append(sorted(part))
    return parts
