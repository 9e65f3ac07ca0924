"""The first schema: collections, documents, text units, graph, work, memo, workers, keys, queries."""

from __future__ import annotations

from alembic import op

from fileintel.settings import load

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = """
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE collections (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    description text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    published_version bigint
);

CREATE TABLE documents (
    id text PRIMARY KEY,
    collection_id text NOT NULL REFERENCES collections ON DELETE CASCADE,
    name text NOT NULL,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    media_type text,
    title text,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'processing', 'ready', 'failed')),
    pages int,
    attempts int NOT NULL DEFAULT 0,
    leased_by text,
    rung_at timestamptz NOT NULL DEFAULT now(),
    error_code text,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection_id, sha256)
);
CREATE INDEX documents_sha256 ON documents (sha256);
CREATE INDEX documents_unfinished ON documents (state) WHERE state IN ('queued', 'processing');

CREATE TABLE text_units (
    id text PRIMARY KEY,
    text text NOT NULL,
    n_tokens int NOT NULL,
    embedding vector({dimensions}),
    embedding_model text,
    fulltext tsvector GENERATED ALWAYS AS (to_tsvector('english', text)) STORED
);
CREATE INDEX text_units_embedding ON text_units USING hnsw (embedding vector_cosine_ops);
CREATE INDEX text_units_fulltext ON text_units USING gin (fulltext);

CREATE TABLE document_text_units (
    document_id text NOT NULL REFERENCES documents ON DELETE CASCADE,
    ordinal int NOT NULL,
    text_unit_id text NOT NULL REFERENCES text_units,
    anchors jsonb NOT NULL,
    PRIMARY KEY (document_id, ordinal)
);
CREATE INDEX document_text_units_unit ON document_text_units (text_unit_id);

CREATE TABLE index_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_id text NOT NULL REFERENCES collections ON DELETE CASCADE,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'complete', 'failed', 'cancelled')),
    step text NOT NULL,
    planned boolean NOT NULL DEFAULT false,
    plan_attempts int NOT NULL DEFAULT 0,
    leased_by text,
    rung_at timestamptz NOT NULL DEFAULT now(),
    chat_model text NOT NULL,
    embedding_model text NOT NULL,
    parameters jsonb NOT NULL DEFAULT '{{}}',
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE UNIQUE INDEX index_runs_one_running ON index_runs (collection_id) WHERE state = 'running';
ALTER TABLE collections ADD FOREIGN KEY (published_version) REFERENCES index_runs ON DELETE SET NULL;

CREATE TABLE work_items (
    run_id bigint NOT NULL REFERENCES index_runs ON DELETE CASCADE,
    step text NOT NULL,
    key text NOT NULL,
    rank int NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'leased', 'done', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    leased_by text,
    input jsonb NOT NULL DEFAULT '{{}}',
    output jsonb,
    error text,
    raw_answer text,
    calls int NOT NULL DEFAULT 0,
    calls_remembered int NOT NULL DEFAULT 0,
    tokens_in bigint NOT NULL DEFAULT 0,
    tokens_out bigint NOT NULL DEFAULT 0,
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (run_id, step, key)
);
CREATE INDEX work_items_pending ON work_items (run_id, step, rank) WHERE state = 'pending';
CREATE INDEX work_items_leased ON work_items (leased_by) WHERE state = 'leased';

CREATE TABLE graph_numbers (
    collection_id text NOT NULL REFERENCES collections ON DELETE CASCADE,
    id text NOT NULL,
    number int NOT NULL,
    PRIMARY KEY (collection_id, id)
);

CREATE TABLE entities (
    version bigint NOT NULL REFERENCES index_runs ON DELETE CASCADE,
    id text NOT NULL,
    number int NOT NULL,
    title text NOT NULL,
    type text NOT NULL,
    description text NOT NULL,
    text_unit_ids text[] NOT NULL,
    frequency int NOT NULL,
    degree int NOT NULL,
    descriptions text[] NOT NULL,
    embedding vector({dimensions}),
    PRIMARY KEY (version, id)
);
CREATE INDEX entities_title ON entities (version, title);
CREATE INDEX entities_embedding ON entities USING hnsw (embedding vector_cosine_ops);

CREATE TABLE relationships (
    version bigint NOT NULL REFERENCES index_runs ON DELETE CASCADE,
    id text NOT NULL,
    number int NOT NULL,
    source text NOT NULL,
    target text NOT NULL,
    description text NOT NULL,
    weight double precision NOT NULL,
    combined_degree int NOT NULL,
    descriptions text[] NOT NULL,
    text_unit_ids text[] NOT NULL,
    PRIMARY KEY (version, id)
);
CREATE INDEX relationships_source ON relationships (version, source);
CREATE INDEX relationships_target ON relationships (version, target);

CREATE TABLE communities (
    version bigint NOT NULL REFERENCES index_runs ON DELETE CASCADE,
    number int NOT NULL,
    id text NOT NULL,
    level int NOT NULL,
    parent int NOT NULL,
    children int[] NOT NULL,
    entity_ids text[] NOT NULL,
    relationship_ids text[] NOT NULL,
    text_unit_ids text[] NOT NULL,
    title text NOT NULL,
    PRIMARY KEY (version, number)
);

CREATE TABLE community_reports (
    version bigint NOT NULL REFERENCES index_runs ON DELETE CASCADE,
    community int NOT NULL,
    id text NOT NULL,
    level int NOT NULL,
    title text NOT NULL,
    summary text NOT NULL,
    full_content text NOT NULL,
    rank double precision NOT NULL,
    rank_explanation text NOT NULL,
    findings jsonb NOT NULL,
    embedding vector({dimensions}),
    PRIMARY KEY (version, community)
);
CREATE INDEX community_reports_embedding ON community_reports USING hnsw (embedding vector_cosine_ops);

CREATE TABLE llm_memo (
    key text PRIMARY KEY,
    model text NOT NULL,
    content text NOT NULL,
    tokens_in int NOT NULL,
    tokens_out int NOT NULL,
    finish_reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE embedding_memo (
    key text PRIMARY KEY,
    embedding vector({dimensions}) NOT NULL
);

CREATE TABLE workers (
    id text PRIMARY KEY,
    name text NOT NULL,
    host text NOT NULL,
    pid int NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    in_flight int NOT NULL DEFAULT 0,
    call_limit int NOT NULL DEFAULT 0,
    longest_stall_ms double precision NOT NULL DEFAULT 0,
    stalled_by text NOT NULL DEFAULT ''
);

CREATE TABLE api_keys (
    id text PRIMARY KEY,
    name text NOT NULL,
    secret_hash text NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    collections text[],
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TABLE queries (
    id text PRIMARY KEY,
    collection_id text NOT NULL REFERENCES collections ON DELETE CASCADE,
    question text NOT NULL,
    mode text NOT NULL,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'answering', 'complete', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    leased_by text,
    rung_at timestamptz NOT NULL DEFAULT now(),
    plan jsonb,
    answer jsonb,
    error_code text,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX queries_unfinished ON queries (state) WHERE state IN ('queued', 'answering');
"""


def upgrade() -> None:
    """Create every table of the first schema."""
    op.execute(SCHEMA.format(dimensions=load().embedding_dimensions))
