"""The replay ratio: a whole index of 1,000 text units beside the bare sending of exactly the same prompts.

The server takes 1 s per call and at most 128 at once, as vLLM does with --max-num-seqs 128. It keeps every request of
our run (chat and embedding, from the request for the index to its publishing); a bare client then sends them again at
several fixed concurrencies, in the order in which they came, and the best of these times is the denominator.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import HERE, VENV_PYTHON, BenchmarkError, say
from benchmarks.corpora import corpus, described
from benchmarks.ours import installation, scripted
from benchmarks.profiles import Profile
from fileintel.llm.tokens import Tokenizer

LATENCY, SLOTS = 1.0, 128


def measure(profile: Profile) -> dict[str, Any]:
    """Return {"corpus", "ours", "prompts", "replays": {concurrency: seconds}}."""
    made = corpus(profile.replay_units, Tokenizer(), units_per_document=50)
    with scripted() as llm, installation(llm) as running:
        llm.prepare(made.units)
        with running.workers_running():
            collection, _ = running.read("replay", made)
            llm.configure(latency=LATENCY, slots=SLOTS, record=True)
            build = running.measure(collection)
            recorded = llm.recorded()
    say(f"ours: {build.seconds:.1f} s for {len(recorded)} calls")
    found: dict[str, Any] = {
        "corpus": described(made),
        "latency": LATENCY,
        "slots": SLOTS,
        "ours": build.described(),
        "prompts": len(recorded),
        "replays": {},
    }
    with tempfile.TemporaryDirectory(prefix="fileintel-bench-") as folder:
        kept = Path(folder) / "requests"
        kept.write_bytes(b"\n".join(path.encode() + b" " + body for path, body in recorded))
        for concurrency in profile.replay_concurrencies:
            with scripted(latency=LATENCY, slots=SLOTS) as llm:
                llm.prepare(made.units)
                found["replays"][str(concurrency)] = replay(kept, llm.base_url, concurrency)
                answered = llm.stats()["answered"]
            if answered != len(recorded):
                raise BenchmarkError(f"the replay at {concurrency} had {answered} of {len(recorded)} calls answered")
            say(f"replay at {concurrency}: {found['replays'][str(concurrency)]:.1f} s")
    return found


def replay(requests: Path, base_url: str, concurrency: int) -> float:
    """Send recorded requests again and return the seconds it took."""
    command = [str(VENV_PYTHON), str(HERE / "bare_client.py"), str(requests), base_url, str(concurrency)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"the bare client failed: {done.stderr[-1000:]}")
    return float(json.loads(done.stdout)["seconds"])
