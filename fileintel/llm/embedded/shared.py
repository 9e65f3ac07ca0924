"""What every model process shares: imported by the fork server, once, before the first of them is forked.

No session of onnxruntime and nothing else that starts threads may be made here: a fork leaves threads behind.
"""

from __future__ import annotations

from fileintel.llm.embedded import stages  # noqa: F401  # the imports are most of what a model process costs
from fileintel.llm.embedded.language import reader
from fileintel.llm.embedded.minilm import model_file, vocabulary

reader().read(["Warm up the parser."])
vocabulary()
model_file()
