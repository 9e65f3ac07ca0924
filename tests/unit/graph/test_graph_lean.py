"""Workers import GraphRAG's parts without litellm; an upgrade that wants more of it is seen here."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from fileintel.graph.lean import leave_out_litellm
leave_out_litellm()
import graphrag.index.operations.cluster_graph
import graphrag.index.operations.extract_graph.graph_extractor
import graphrag.index.operations.summarize_communities.community_reports_extractor
import graphrag.index.operations.summarize_descriptions.description_summary_extractor
import graphrag.query.context_builder.community_context
import graphrag.query.context_builder.local_context
import graphrag.query.context_builder.source_context
assert "litellm" not in sys.modules
leave_out_litellm()
import litellm
assert litellm.__file__ and callable(litellm.completion)
"""


def test_everything_workers_use_imports_without_litellm_and_the_real_one_stays_reachable() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
