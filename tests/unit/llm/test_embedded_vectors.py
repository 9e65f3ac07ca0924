from __future__ import annotations

import numpy as np
import pytest

from fileintel.errors import ConfigurationError
from fileintel.llm.embedded import minilm as module
from fileintel.llm.embedded.minilm import MiniLM

PARAPHRASES = [
    ("The ferry to the island leaves twice a day in summer.", "Between June and August there are two daily sailings."),
    ("Passwords must be changed every ninety days.", "Staff have to renew their login secrets each quarter."),
    (
        "The bridge was closed after cracks were found in its pillars.",
        "Damage to the supports led to the crossing's shutdown.",
    ),
    ("Revenue fell by eight percent in the third quarter.", "Sales declined between July and September."),
    ("The museum opens at ten and admission is free for children.", "Kids do not pay to visit the exhibition."),
    (
        "A faulty valve let steam escape into the engine room.",
        "The leak in the machinery space came from a broken tap.",
    ),
    ("The council approved the budget for the new school.", "Local politicians agreed to pay for building classrooms."),
    ("Store the vaccine between two and eight degrees.", "The medicine has to be kept in a refrigerator."),
    (
        "The author thanks her supervisor for his patience.",
        "In the acknowledgements the writer is grateful to her adviser.",
    ),
    (
        "The tenant must give three months' notice before leaving.",
        "Anyone renting has to announce moving out a quarter ahead.",
    ),
    ("Backups are written to tape every night at two.", "Copies of the data are saved nightly."),
    (
        "The volcano erupted without warning and buried the village.",
        "A settlement was covered by lava in a sudden outbreak.",
    ),
    ("Wheat prices rose because of the drought.", "Lack of rain made grain more expensive."),
    ("The pilot reported losing both engines over the sea.", "The aircraft had no thrust left above the water."),
    ("The patient was allergic to penicillin.", "An antibiotic caused the man's adverse reaction."),
    ("The court dismissed the appeal for lack of evidence.", "Judges rejected the case as nothing had been proven."),
    ("Members elect the chairperson once a year.", "There is an annual vote on who leads the association."),
    ("The train was delayed by a fallen tree on the line.", "An obstacle on the track held up the railway service."),
    ("Solar panels on the roof cover half of our electricity.", "Fifty percent of the power comes from photovoltaics."),
    ("The chef adds saffron only at the very end.", "The cook puts in the spice last."),
]


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM()


def test_a_paraphrase_finds_its_text(model: MiniLM) -> None:
    texts = model.embed([text for text, _ in PARAPHRASES])
    asked = model.embed([paraphrase for _, paraphrase in PARAPHRASES])
    found = (asked @ texts.T).argmax(axis=1)
    assert (found == np.arange(len(PARAPHRASES))).mean() >= 0.9


def test_vectors_are_of_unit_length_and_in_order(model: MiniLM) -> None:
    vectors = model.embed(["one", "", "one", "two " * 900])
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert (vectors[0] == vectors[2]).all()


def test_a_vector_depends_on_its_text_alone(model: MiniLM) -> None:
    alone = model.embed(["The ferry leaves at noon."])[0]
    among = model.embed(["x" * 400, "The ferry leaves at noon.", "Wheat prices rose."])[1]
    assert (alone == among).all()


def test_the_end_of_a_long_text_counts(model: MiniLM) -> None:
    filler = "Nothing of note was said about the weather that day. " * 60
    (question,) = model.embed(["How is the vaccine stored?"])
    without, having = model.embed([filler, filler + "The vaccine must be stored in a refrigerator. " * 25])
    assert model.count_pieces(filler) > 512
    assert question @ having > question @ without + 0.1


def test_words_have_synonyms(model: MiniLM) -> None:
    price, cost, pier = model.embed_words(["price", "cost", "pier"])
    assert price @ cost > 0.6 > price @ pier


def test_rarity_orders_words(model: MiniLM) -> None:
    assert model.rarity("the") < model.rarity("house") < model.rarity("lighthouse") < model.rarity("dpkg") == 1.0


def test_a_changed_model_file_is_refused() -> None:
    package, name, _ = module._VOCABULARY
    with pytest.raises(ConfigurationError, match="pinned version"):
        module._packaged_file(package, name, "0" * 64)
    with pytest.raises(ConfigurationError, match="is missing"):
        module._packaged_file("no_such_package_of_ours", name, "0" * 64)
