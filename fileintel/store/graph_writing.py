"""Writing the graph of an index version, a batch at a time: no process holds a whole graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from fileintel.model import Community, Entity, Relationship
from fileintel.store.engine import as_json, execute, run, transaction
from fileintel.store.sources import UNITS_OF_RUN

# Whatever has several descriptions has none of its own before they are summarized.
_UNSUMMARIZED = "cardinality(descriptions) > 1 AND description = ''"


class Numbering:
    """The numbers of a collection's entities and relationships, the same in every version.

    They stand in the prompts of community reports: an entity that comes or goes must not change the prompts of
    communities it has nothing to do with. New ones get numbers never given before.
    """

    def __init__(self, connection: Connection, version: int) -> None:
        self._connection = connection
        self._version = version
        self._next = int(
            run(
                connection,
                """SELECT COALESCE(max(n.number) + 1, 0) FROM graph_numbers n
                   JOIN index_runs r ON r.collection_id = n.collection_id WHERE r.id = :v""",
                v=version,
            ).scalar_one()
        )

    def of(self, ids: Sequence[str]) -> list[int]:
        """Return the numbers of these ids, giving the new ones among them theirs, in order."""
        known = {
            found.id: found.number
            for found in run(
                self._connection,
                """SELECT n.id, n.number FROM graph_numbers n JOIN index_runs r ON r.collection_id = n.collection_id
                   WHERE r.id = :v AND n.id = ANY(:ids)""",
                v=self._version,
                ids=list(ids),
            )
        }
        fresh = [id_ for id_ in ids if id_ not in known]
        known.update({id_: self._next + place for place, id_ in enumerate(fresh)})
        self._next += len(fresh)
        if fresh:
            run(
                self._connection,
                """INSERT INTO graph_numbers (collection_id, id, number)
                   SELECT (SELECT collection_id FROM index_runs WHERE id = :v), id, number
                   FROM jsonb_to_recordset(CAST(:given AS jsonb)) AS g(id text, number int)""",
                v=self._version,
                given=as_json([{"id": id_, "number": known[id_]} for id_ in fresh]),
            )
        return [known[id_] for id_ in ids]


def save_graph(
    version: int, entities: Sequence[Entity], relationships: Sequence[Relationship], at_once: int = 1000
) -> None:
    """Write a version's whole graph under the collection's numbers, replacing what an interrupted try left.

    The relationships' text units are numbered too: reports on text units show their numbers.
    """
    with transaction() as connection:
        clear(connection, version)
        numbering = Numbering(connection, version)
        for start in range(0, len(entities), at_once):
            some = entities[start : start + at_once]
            numbers = numbering.of([entity.id for entity in some])
            numbered = [replace(e, human_readable_id=number) for e, number in zip(some, numbers, strict=True)]
            add_entities(connection, version, numbered)
        units: dict[str, None] = {}
        for start in range(0, len(relationships), at_once):
            related = relationships[start : start + at_once]
            numbers = numbering.of([relationship.id for relationship in related])
            add_relationships(
                connection,
                version,
                [replace(r, human_readable_id=number) for r, number in zip(related, numbers, strict=True)],
            )
            units.update(dict.fromkeys(unit for relationship in related for unit in relationship.text_unit_ids))
        numbering.of(list(units))


def clear(connection: Connection, version: int) -> None:
    """Remove the nodes and edges that an interrupted try left."""
    run(connection, "DELETE FROM entities WHERE version = :v", v=version)
    run(connection, "DELETE FROM relationships WHERE version = :v", v=version)


def add_entities(connection: Connection, version: int, entities: Iterable[Entity]) -> None:
    """Write some of a version's entities."""
    run(
        connection,
        """INSERT INTO entities (version, id, number, title, type, description, text_unit_ids, frequency, degree,
               descriptions)
           SELECT :v, id, number, title, type, description, text_unit_ids, frequency, degree, descriptions
           FROM jsonb_to_recordset(CAST(:it AS jsonb)) AS e(id text, number int, title text, type text,
               description text, text_unit_ids text[], frequency int, degree int, descriptions text[])""",
        v=version,
        it=as_json(
            [
                {
                    "id": e.id,
                    "number": e.human_readable_id,
                    "title": e.title,
                    "type": e.type,
                    "description": e.description,
                    "text_unit_ids": e.text_unit_ids,
                    "frequency": e.frequency,
                    "degree": e.degree,
                    "descriptions": e.descriptions,
                }
                for e in entities
            ]
        ),
    )


def add_relationships(connection: Connection, version: int, relationships: Iterable[Relationship]) -> None:
    """Write some of a version's relationships."""
    run(
        connection,
        """INSERT INTO relationships
               (version, id, number, source, target, description, weight, combined_degree, text_unit_ids, descriptions)
           SELECT :v, id, number, source, target, description, weight, combined_degree, text_unit_ids, descriptions
           FROM jsonb_to_recordset(CAST(:it AS jsonb)) AS r(id text, number int, source text, target text,
               description text, weight double precision, combined_degree int, text_unit_ids text[],
               descriptions text[])""",
        v=version,
        it=as_json(
            [
                {
                    "id": r.id,
                    "number": r.human_readable_id,
                    "source": r.source,
                    "target": r.target,
                    "description": r.description,
                    "weight": r.weight,
                    "combined_degree": r.combined_degree,
                    "text_unit_ids": r.text_unit_ids,
                    "descriptions": r.descriptions,
                }
                for r in relationships
            ]
        ),
    )


def save_communities(version: int, communities: Sequence[Community], at_once: int = 1000) -> None:
    """Write a version's communities, replacing what an interrupted try left; text units are their relationships'."""
    with transaction() as connection:
        run(connection, "DELETE FROM communities WHERE version = :v", v=version)
        for start in range(0, len(communities), at_once):
            run(
                connection,
                """INSERT INTO communities (version, number, id, level, parent, children, entity_ids,
                       relationship_ids, text_unit_ids, title)
                   SELECT :v, number, id, level, parent, children, entity_ids, relationship_ids, ARRAY(
                       SELECT DISTINCT u.unit COLLATE "C" FROM relationships r, unnest(r.text_unit_ids) AS u(unit)
                       WHERE r.version = :v AND r.id = ANY(c.relationship_ids) ORDER BY 1
                   ), title
                   FROM jsonb_to_recordset(CAST(:it AS jsonb)) AS c(number int, id text, level int, parent int,
                       children int[], entity_ids text[], relationship_ids text[], title text)""",
                v=version,
                it=as_json(
                    [
                        {
                            "number": c.number,
                            "id": c.id,
                            "level": c.level,
                            "parent": c.parent,
                            "children": c.children,
                            "entity_ids": c.entity_ids,
                            "relationship_ids": c.relationship_ids,
                            "title": c.title,
                        }
                        for c in communities[start : start + at_once]
                    ]
                ),
            )


def plan_extraction(run_id: int, step: str) -> int:
    """Enter an item for each text unit of the collection's ready documents, in an order that depends on the documents'
    contents alone; returns how many were new."""
    return execute(
        f"""INSERT INTO work_items (run_id, step, key, rank)
            SELECT :id, :step, unit, place FROM ({UNITS_OF_RUN}) placed ON CONFLICT DO NOTHING""",
        id=run_id,
        step=step,
    )


def plan_summaries(run_id: int) -> int:
    """Enter an item for each entity and relationship with several descriptions; returns how many were new."""
    return execute(
        f"""INSERT INTO work_items (run_id, step, key, rank)
           SELECT :id, 'summarize_descriptions', id, row_number() OVER (ORDER BY kind, number) FROM (
               SELECT 1 AS kind, number, id FROM entities WHERE version = :id AND {_UNSUMMARIZED}
               UNION ALL
               SELECT 2, number, id FROM relationships WHERE version = :id AND {_UNSUMMARIZED}
           ) said ON CONFLICT DO NOTHING""",
        id=run_id,
    )


def take_summaries(version: int) -> None:
    """Give entities and relationships the descriptions whose summaries are done."""
    for table in ("entities", "relationships"):
        execute(
            f"""UPDATE {table} t SET description = w.output->>'description' FROM work_items w
                WHERE w.run_id = :v AND w.step = 'summarize_descriptions' AND w.state = 'done'
                  AND t.version = :v AND t.id = w.key AND cardinality(t.descriptions) > 1 AND t.description = ''""",
            v=version,
        )


def take_reports(version: int) -> None:
    """Write the community reports that are done."""
    execute(
        """INSERT INTO community_reports
               (version, community, id, level, title, summary, full_content, rank, rank_explanation, findings)
           SELECT :v, w.key::int, o.id, o.level, o.title, o.summary, o.full_content, o.rank, o.rank_explanation,
                  o.findings
           FROM work_items w, jsonb_to_record(w.output) AS o(id text, level int, title text, summary text,
               full_content text, rank double precision, rank_explanation text, findings jsonb)
           WHERE w.run_id = :v AND w.step = 'create_community_reports' AND w.state = 'done'
             AND NOT EXISTS (SELECT 1 FROM community_reports r WHERE r.version = :v AND r.community = w.key::int)
           ON CONFLICT DO NOTHING""",
        v=version,
    )


def plan_embeddings(run_id: int, batch: int) -> int:
    """Enter an item for each batch of entities, and of reports, that is complete; returns how many were new.

    A batch is made of neighbours in the version's own order, so it is the same whenever it is asked for.
    """
    return execute(
        f"""INSERT INTO work_items (run_id, step, key, rank, input)
           SELECT :id, 'generate_text_embeddings', kind || ':' || batch, batch,
                  jsonb_build_object('table', kind, 'ids', ids)
           FROM (
               SELECT 'entities' AS kind, batch, array_agg(id ORDER BY number) AS ids FROM (
                   SELECT id, number, (row_number() OVER (ORDER BY number) - 1) / :batch AS batch,
                          NOT ({_UNSUMMARIZED}) AS complete
                   FROM entities WHERE version = :id
               ) e GROUP BY batch HAVING bool_and(complete)
               UNION ALL
               SELECT 'community_reports', batch, array_agg(id ORDER BY number) FROM (
                   SELECT r.id, c.number, (row_number() OVER (ORDER BY c.number) - 1) / :batch AS batch
                   FROM communities c LEFT JOIN community_reports r
                       ON r.version = c.version AND r.community = c.number
                   WHERE c.version = :id
               ) c GROUP BY batch HAVING bool_and(id IS NOT NULL)
           ) batches
           WHERE NOT EXISTS (SELECT 1 FROM work_items w WHERE w.run_id = :id AND w.step = 'generate_text_embeddings'
                             AND w.key = kind || ':' || batch)
           ON CONFLICT DO NOTHING""",
        id=run_id,
        batch=batch,
    )


def save_embeddings(version: int, table: str, remembered: Mapping[str, str]) -> None:
    """Give a version's `entities` or `community_reports` (by id) the vectors remembered under these keys."""
    if table not in ("entities", "community_reports"):
        raise ValueError(f"{table} carries no embeddings of a version")
    execute(
        f"""UPDATE {table} t SET embedding = m.embedding
            FROM jsonb_each_text(CAST(:keys AS jsonb)) AS k(id, key) JOIN embedding_memo m ON m.key = k.key
            WHERE t.version = :version AND t.id = k.id""",
        version=version,
        keys=as_json(dict(remembered)),
    )
