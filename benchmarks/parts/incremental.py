"""An edited and a deleted document: which calls a build after each repeats, and that nothing is left of the deleted.

100 documents of ten text units at zero latency. A sentence about a newcomer is put into the middle of one document,
which is uploaded in place of the old one. Calls are all calls of the server, chat and embedding, from the upload to
the published index. Then a document is deleted, and the published index is searched for everybody who stood in it
alone.
"""

from __future__ import annotations

from typing import Any

from benchmarks import BenchmarkError, say
from benchmarks.corpora import Corpus, corpus, described
from benchmarks.ours import Installation, installation, scripted
from benchmarks.profiles import Profile
from fileintel.llm.tokens import Tokenizer
from fileintel.model import Collection
from fileintel.store import documents, graph, retrieval

NEWCOMER = "Zacharias visits {known} with the plans of the new lighthouse under his arm."


def measure(profile: Profile) -> dict[str, Any]:
    """Return {"corpus", "first", "edited", "deleted"}; each build's calls by kind, and the traces after deleting."""
    per = profile.units_per_document
    made = corpus(profile.documents * per, Tokenizer(), units_per_document=per)
    with scripted() as llm, installation(llm) as running, running.workers_running():
        llm.prepare(made.units)
        llm.reset()
        collection, _ = running.read("incremental", made)
        reading = llm.stats()
        first = running.measure(collection)
        found: dict[str, Any] = {"corpus": described(made), "first": _calls(reading, first.calls)}
        found["edited"] = _edit(running, collection, made, len(made.documents) // 2)
        say(f"edited one document: {found['edited']['calls']} of {found['first']['calls']} calls")
        found["deleted"] = _delete(running, collection, made, len(made.documents) // 3)
        say(f"deleted one: {found['deleted']['calls']} calls, {len(found['deleted']['traces'])} traces left")
    return found


def _calls(*counted: dict[str, Any]) -> dict[str, Any]:
    kinds: dict[str, int] = {}
    for stats in counted:
        for kind, tally in stats["kinds"].items():
            kinds[kind] = kinds.get(kind, 0) + tally["count"]
    return {"calls": sum(kinds.values()), "kinds": kinds}


def _edit(running: Installation, collection: Collection, made: Corpus, number: int) -> dict[str, Any]:
    units = list(made.documents[number])
    middle = len(units) // 2
    start, _, rest = units[middle].partition(". ")
    # In place of a sentence that names nobody, so that the text unit keeps its size and its neighbours their texts.
    filler = "The matter was written down in the usual way and put aside for later. "
    if filler not in rest:
        raise BenchmarkError("the text unit to edit has no sentence to spare")
    newcomer = NEWCOMER.format(known=start.split(" ", 1)[0])
    units[middle] = f"{start}. {rest.replace(filler, newcomer + ' ', 1)}"
    text = "".join(f"{unit}\n\n" for unit in units)
    old = _document(running, collection, number)
    running.llm.reset()
    documents.delete(old.id)
    running.upload(collection, old.name, text.encode())
    running.settle(collection)
    reading = running.llm.stats()
    build = running.measure(collection)
    titles = {entity.title for entity in graph.entities_by_number(build.run.id)}
    if titles != made.entities | {"ZACHARIAS"}:
        raise BenchmarkError(f"the edit left a wrong graph: {sorted(titles ^ made.entities)[:10]}")
    return {**_calls(reading, build.calls), "seconds": build.seconds}


def _delete(running: Installation, collection: Collection, made: Corpus, number: int) -> dict[str, Any]:
    from llm_script import graph_of

    def people(texts: Any) -> set[str]:
        return {name for text in texts for name in graph_of(text)[0]}

    others = [unit for at, units in enumerate(made.documents) if at != number for unit in units]
    gone = sorted(people(made.documents[number]) - people(others))
    if not gone:
        raise BenchmarkError("nobody stands in the deleted document alone")
    running.llm.reset()
    documents.delete(_document(running, collection, number).id)
    build = running.measure(collection)
    return {
        **_calls(build.calls),
        "seconds": build.seconds,
        "people": len(gone),
        "traces": traces(running, collection, build.run.id, gone),
    }


def traces(running: Installation, collection: Collection, version: int, gone: list[str]) -> list[str]:
    """Return where in the published index, the text units and the answers one of these names still stands."""
    texts: dict[str, list[str]] = {
        "entities": [f"{each.title} {each.description}" for each in graph.entities_by_number(version)],
        "relationships": [
            f"{each.source} {each.target} {each.description}" for each in graph.relationships_by_number(version)
        ],
        "community_reports": [f"{r.title} {r.summary} {r.full_content}" for r in graph.reports(version, limit=10**7)],
    }
    for name in gone[:20]:
        texts[f"text units matching {name}"] = [
            source.text for source in retrieval.matching_units(collection.id, name, 10)
        ]
    for mode in ("basic", "local"):
        question = f"Whom does {gone[0]} know?"
        _, query = running.ask(collection, question, mode)
        if query.answer is None:
            raise BenchmarkError(f"a question in mode {mode} was not answered: {query.error}")
        texts[f"citations of a {mode} answer"] = [citation.quote for citation in query.answer.citations]
    return sorted(
        f"{where}: {name}"
        for where, said in texts.items()
        for whole in ["\n".join(said).casefold()]
        for name in gone
        if name.casefold() in whole
    )


def _document(running: Installation, collection: Collection, number: int) -> Any:
    return documents.list_for(collection.id)[number]
