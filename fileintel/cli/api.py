"""`fileintel api`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="FILEINTEL_API_HOST")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on.", show_default="FILEINTEL_API_PORT")
    ] = None,
    descriptor: Annotated[
        int | None, typer.Option("--fd", min=3, hidden=True, help="A listening socket to take over instead.")
    ] = None,
) -> None:
    """Run the API in this process, until it is told to stop."""
    import logging
    import socket

    import uvicorn

    from fileintel.settings import load, require

    settings = load()
    require(settings, "database_url", "redis_url")
    level = settings.log_level
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if level != "DEBUG":  # two lines from Alembic for each look at the migrations, which probes take all the time
        logging.getLogger("alembic").setLevel(logging.WARNING)
    config = uvicorn.Config(
        "fileintel.api.app:create_app",
        factory=True,
        host=host or settings.api_host,
        port=port or settings.api_port,
        log_level=level.lower(),
        # One line for each poll of a progress display would drown what matters.
        access_log=level == "DEBUG",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    server.run(sockets=None if descriptor is None else [socket.socket(fileno=descriptor)])
    if not server.started:
        # What went wrong is in the log already.
        raise typer.Exit(1)
