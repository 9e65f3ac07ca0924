"""What a run's text units say of entities and relationships, gathered by Postgres and read one noun at a time.

A collection's mentions may be too many for any process's memory: Postgres sorts them on its disk, and whoever merges
them holds those of one entity or relationship.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from fileintel.model import EntityMention, RelationshipMention
from fileintel.store.engine import run, transaction

_ROWS_AT_ONCE = 5000

# A mention's position: its text unit's rank, then its place there.
_GATHER = (
    """CREATE TEMP TABLE entity_mentions ON COMMIT DROP AS
       SELECT w.key AS unit, (w.rank::bigint << 24) | m.place AS position,
              m.said->>0 AS title, m.said->>1 AS type, m.said->>2 AS description
       FROM work_items w, jsonb_array_elements(w.output->'entities') WITH ORDINALITY AS m(said, place)
       WHERE w.run_id = :run_id AND w.step = 'extract_graph' AND w.state = 'done'""",
    """CREATE TEMP TABLE relationship_mentions ON COMMIT DROP AS
       SELECT w.key AS unit, (w.rank::bigint << 24) | m.place AS position, m.said->>0 AS source,
              m.said->>1 AS target, m.said->>2 AS description, (m.said->>3)::double precision AS weight
       FROM work_items w, jsonb_array_elements(w.output->'relationships') WITH ORDINALITY AS m(said, place)
       WHERE w.run_id = :run_id AND w.step = 'extract_graph' AND w.state = 'done'""",
    """CREATE TEMP TABLE titles ON COMMIT DROP AS
       SELECT title, min(position) AS first FROM entity_mentions GROUP BY title""",
    """CREATE TEMP TABLE ends ON COMMIT DROP AS
       SELECT source, target, min(position) AS first,
              EXISTS (SELECT 1 FROM titles t WHERE t.title = source)
              AND EXISTS (SELECT 1 FROM titles t WHERE t.title = target) AS known
       FROM relationship_mentions GROUP BY source, target""",
    # An entity's degree counts its undirected edges; an edge to itself ends in it twice.
    """CREATE TEMP TABLE degrees ON COMMIT DROP AS
       SELECT title, count(*)::int AS degree FROM (
           SELECT DISTINCT least(source, target) AS low, greatest(source, target) AS high FROM ends WHERE known
       ) pairs, LATERAL (VALUES (low), (high)) AS ends_of(title) GROUP BY title""",
    "ANALYZE entity_mentions, relationship_mentions, titles, ends, degrees",
)


@dataclass(frozen=True, slots=True)
class EntityMentions:
    """All that is said of one entity: (text unit id, mention) in the collection's order."""

    title: str
    degree: int
    said: tuple[tuple[str, EntityMention], ...]


@dataclass(frozen=True, slots=True)
class RelationshipMentions:
    """All that is said of one relationship: (text unit id, mention) in the collection's order."""

    source: str
    target: str
    combined_degree: int
    said: tuple[tuple[str, RelationshipMention], ...]


class Gathered:
    """A run's mentions, within one transaction; each noun comes once, in the order of first mention."""

    def __init__(self, connection: Connection, run_id: int) -> None:
        self.connection = connection
        for statement in _GATHER:
            run(connection, statement, **({"run_id": run_id} if ":run_id" in statement else {}))

    @property
    def orphans(self) -> int:
        """How many relationships are left out, as in GraphRAG, since an end of theirs is no entity of any text unit."""
        return int(run(self.connection, "SELECT count(*) FROM ends WHERE NOT known").scalar_one())

    def entities(self) -> Iterator[EntityMentions]:
        """Yield what is said of each entity."""
        found = self._stream(
            """SELECT m.title, COALESCE(d.degree, 0) AS degree, m.unit, m.type, m.description
               FROM entity_mentions m JOIN titles t ON t.title = m.title LEFT JOIN degrees d ON d.title = m.title
               ORDER BY t.first, m.position"""
        )
        for (title, degree), said in itertools.groupby(found, key=lambda row: (row[0], row[1])):
            yield EntityMentions(title, degree, tuple((row[2], EntityMention(title, row[3], row[4])) for row in said))

    def relationships(self) -> Iterator[RelationshipMentions]:
        """Yield what is said of each relationship between known entities."""
        found = self._stream(
            """SELECT m.source, m.target, s.degree + t.degree AS combined, m.unit, m.description, m.weight
               FROM relationship_mentions m JOIN ends e ON e.source = m.source AND e.target = m.target AND e.known
               JOIN degrees s ON s.title = m.source JOIN degrees t ON t.title = m.target
               ORDER BY e.first, m.position"""
        )
        for (source, target, combined), said in itertools.groupby(found, key=lambda row: tuple(row[:3])):
            mentions = tuple((row[3], RelationshipMention(source, target, row[4], row[5])) for row in said)
            yield RelationshipMentions(source, target, combined, mentions)

    def _stream(self, sql: str) -> Iterator[Any]:
        # A cursor of the server's own: the rows stay there until they are wanted.
        streaming = text(sql).execution_options(stream_results=True, max_row_buffer=_ROWS_AT_ONCE)
        with contextlib.closing(self.connection.execute(streaming)) as found:
            for part in found.partitions(_ROWS_AT_ONCE):
                yield from part


@contextlib.contextmanager
def gathered(run_id: int) -> Iterator[Gathered]:
    """The mentions that a run's extract_graph found; what is written on its connection is committed with the end."""
    with transaction() as connection:
        # Sorting a whole collection's mentions is worth more memory than a question's statement is.
        run(connection, "SET LOCAL work_mem = '64MB'")
        yield Gathered(connection, run_id)
