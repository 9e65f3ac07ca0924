"""Whether a published index is whole: everything extracted, described, reported, embedded, and nothing left over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fileintel.store.engine import row, rows

EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that should be so of all of `total`: how many it is not so of, and the first of those."""

    name: str
    total: int
    missing: int
    examples: tuple[str, ...]


_UNITS = """
    SELECT DISTINCT u.text_unit_id AS id FROM document_text_units u JOIN documents d ON d.id = u.document_id
    WHERE d.collection_id = :collection AND d.state = 'ready'
"""

# Each gives (what to name it by, whether it is missing). A thing that no text says anything of has no description to
# be made; text units are looked for in the collection's documents, whose deletion the next build follows.
_CHECKS: tuple[tuple[str, str], ...] = (
    (
        "documents read",
        "SELECT name, state <> 'ready' AS missing FROM documents WHERE collection_id = :collection",
    ),
    (
        "text units extracted",
        f"""SELECT t.id AS name, NOT EXISTS (
                SELECT 1 FROM work_items w
                WHERE w.run_id = :version AND w.step = 'extract_graph' AND w.key = t.id AND w.state = 'done'
            ) AND NOT EXISTS (
                SELECT 1 FROM noun_phrases p JOIN index_runs r ON r.id = :version AND r.parameters->>'method' = 'fast'
                WHERE p.text_unit_id = t.id) AS missing
            FROM ({_UNITS}) t""",
    ),
    (
        "text units read for claims",
        f"""SELECT t.id AS name, NOT EXISTS (
                SELECT 1 FROM work_items w
                WHERE w.run_id = :version AND w.step = 'extract_covariates' AND w.key = t.id AND w.state = 'done'
            ) AS missing
            FROM ({_UNITS}) t, index_runs r WHERE r.id = :version AND CAST(r.parameters->>'claims' AS boolean)""",
    ),
    (
        "claims' text units",
        """SELECT c.subject || ' - ' || c.object AS name, u.id IS NULL AS missing
           FROM covariates c LEFT JOIN units u ON u.id = c.text_unit_id WHERE c.version = :version""",
    ),
    (
        "text units embedded",
        f"""SELECT t.id AS name, t.embedding IS NULL AS missing FROM text_units t WHERE t.id IN ({_UNITS})""",
    ),
    (
        "entities described",
        """SELECT title AS name, description = '' AND cardinality(descriptions) > 0 AS missing
           FROM entities WHERE version = :version""",
    ),
    (
        "entities embedded",
        "SELECT title AS name, embedding IS NULL AS missing FROM entities WHERE version = :version",
    ),
    (
        "entities' text units",
        """SELECT title AS name, EXISTS (
                SELECT 1 FROM unnest(text_unit_ids) AS t(id) LEFT JOIN units u ON u.id = t.id WHERE u.id IS NULL
            ) AS missing FROM (SELECT title, text_unit_ids FROM entities WHERE version = :version) e""",
    ),
    (
        "relationships described",
        """SELECT source || ' - ' || target AS name, description = '' AND cardinality(descriptions) > 0 AS missing
           FROM relationships WHERE version = :version""",
    ),
    (
        "relationships' ends",
        """SELECT source || ' - ' || target AS name, s.title IS NULL OR t.title IS NULL AS missing
           FROM relationships r
           LEFT JOIN entities s ON s.version = r.version AND s.title = r.source
           LEFT JOIN entities t ON t.version = r.version AND t.title = r.target
           WHERE r.version = :version""",
    ),
    (
        "relationships' text units",
        """SELECT source || ' - ' || target AS name, EXISTS (
                SELECT 1 FROM unnest(text_unit_ids) AS t(id) LEFT JOIN units u ON u.id = t.id WHERE u.id IS NULL
            ) AS missing FROM relationships WHERE version = :version""",
    ),
    (
        "communities reported",
        """SELECT 'community ' || c.number AS name, r.community IS NULL OR r.full_content = '' AS missing
           FROM communities c LEFT JOIN community_reports r ON r.version = c.version AND r.community = c.number
           WHERE c.version = :version""",
    ),
    (
        "communities' members",
        """SELECT 'community ' || number AS name, EXISTS (
                SELECT 1 FROM unnest(entity_ids) AS m(id)
                LEFT JOIN entities e ON e.version = :version AND e.id = m.id WHERE e.id IS NULL
            ) OR EXISTS (
                SELECT 1 FROM unnest(relationship_ids) AS m(id)
                LEFT JOIN relationships e ON e.version = :version AND e.id = m.id WHERE e.id IS NULL
            ) AS missing FROM communities WHERE version = :version""",
    ),
    (
        "reports embedded",
        """SELECT 'community ' || community AS name, embedding IS NULL AS missing
           FROM community_reports WHERE version = :version""",
    ),
)


def checks(collection_id: str, version: int, *, examples: int = EXAMPLES) -> list[Check]:
    """Hold a version against the collection's documents as they are now; up to `examples` names of what is missing."""
    found = []
    for name, sql in _CHECKS:
        counted = row(
            f"""WITH units AS MATERIALIZED ({_UNITS}), checked AS MATERIALIZED ({sql})
                SELECT count(*)::int AS total, count(*) FILTER (WHERE missing)::int AS missing,
                       ARRAY(SELECT c.name FROM checked c WHERE c.missing ORDER BY c.name LIMIT :examples) AS examples
                FROM checked""",
            collection=collection_id,
            version=version,
            examples=examples,
        )
        assert counted is not None
        if counted["total"] == 0 and "claims" in name:
            continue  # a build without claims
        found.append(Check(name, counted["total"], counted["missing"], tuple(counted["examples"])))
    return found


def failures(run_id: int, *, full: bool, limit: int = 1000) -> list[dict[str, Any]]:
    """A run's failed items with their last errors and, when `full`, the model's answers that could not be used."""
    found = rows(
        """SELECT step, key, attempts, error, CASE WHEN :full THEN raw_answer END AS raw_answer
           FROM work_items WHERE run_id = :id AND state = 'failed' ORDER BY step, rank LIMIT :limit""",
        id=run_id,
        full=full,
        limit=limit,
    )
    return [dict(item) for item in found]


def retrying(run_id: int, limit: int = 20) -> list[dict[str, Any]]:
    """The items of a run that are tried again, with the error of their last try."""
    found = rows(
        """SELECT step, key, attempts, error FROM work_items
           WHERE run_id = :id AND state IN ('pending', 'leased') AND attempts > 0 AND error IS NOT NULL
           ORDER BY attempts DESC, step, rank LIMIT :limit""",
        id=run_id,
        limit=limit,
    )
    return [dict(item) for item in found]
