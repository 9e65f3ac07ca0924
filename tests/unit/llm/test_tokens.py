"""The tokenizer needs no network and does not pull litellm in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fileintel.errors import ConfigurationError
from fileintel.llm.tokens import Tokenizer


def test_texts_survive_encoding_and_counts_agree() -> None:
    tokenizer = Tokenizer()
    text = "Zwölf Boxkämpfer jagen Viktor; <|endoftext|> is ordinary text here. 数据"
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.count(text) == len(tokens) > 10
    assert tokenizer.count("") == 0


def test_a_cut_inside_a_character_does_not_raise() -> None:
    tokenizer = Tokenizer()
    tokens = tokenizer.encode("𓀀𓀁")
    assert "�" in tokenizer.decode(tokens[:1])


def test_an_unknown_encoding_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="no such token encoding: nonsense.*o200k_base"):
        Tokenizer("nonsense")


def test_it_works_offline_without_importing_litellm() -> None:
    program = (
        "import os, sys; os.environ.pop('TIKTOKEN_CACHE_DIR', None)\n"
        "import socket; socket.socket.connect = None\n"
        "from fileintel.llm.tokens import Tokenizer\n"
        "print(Tokenizer().count('one two three'), Tokenizer('cl100k_base').count('one two three'),"
        " 'litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["3", "3", "False"]
