"""`fileintel model-server`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def model_server(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8701,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that compute.", show_default="by the processors there are")
    ] = None,
    trust_network: Annotated[
        bool, typer.Option("--trust-network", help="Let --host be other than loopback: whoever reaches it may use it.")
    ] = False,
) -> None:
    """Run the embedded model server: embeddings and the extractive language model, OpenAI-compatible."""
    from fileintel.llm.embedded.server import serve

    serve(host, port, processes, trust_network=trust_network)
