"""Stock GraphRAG's community reports inside a Celery task of a prefork worker: `python prefork.py FOLDER BASE_URL`.

Starts `celery worker --pool=prefork` on the broker in BROKER_URL, sends one task and waits for it. Prints JSON; the
time is from sending the task to having its result.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from celery import Celery

app = Celery("prefork", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
app.conf.broker_connection_retry_on_startup = True


@app.task(name="reports")
def reports(folder: str, base_url: str, concurrency: int) -> dict[str, Any]:
    """Write the reports as `stock.py reports` does."""
    import stock

    return stock.reports(Path(folder), base_url, concurrency)


def main() -> int:
    folder, base_url = sys.argv[1:3]
    log = Path(folder) / "celery.log"
    celery = [sys.executable, "-m", "celery", "-A", "prefork"]
    command = [*celery, "worker", "--pool=prefork", "--concurrency=1", "--loglevel=INFO"]
    with log.open("wb") as output:
        worker = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=output, stderr=output)
    try:
        end = time.monotonic() + 60
        while b" ready." not in log.read_bytes():
            if worker.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the prefork worker did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        made = reports.delay(folder, base_url, 25).get(timeout=1800)
    finally:
        worker.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(20)
        if worker.poll() is None:
            worker.kill()
            worker.wait(20)
    print(json.dumps({**made, "workflow_seconds": made["seconds"]}))
    return 0 if made["entities"] and made["communities"] == made["community_reports"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
