"""O que todos os testes usam: as peças erguidas dos cadernos, e um corpus pequeno."""

import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pecas  # noqa: E402


@pytest.fixture(scope="session")
def c02():
    """As definições do capítulo 02: casa, limpeza, tokenizador, conjunto de dados."""
    return pecas.lift(pecas.notebooks()["02"])


@pytest.fixture(scope="session")
def c04():
    """As definições do capítulo 04: o GPT."""
    return pecas.lift(pecas.notebooks()["04"])


@pytest.fixture(scope="session")
def c05():
    """As definições do capítulo 05: treino, avaliação, geração."""
    return pecas.lift(pecas.notebooks()["05"])


@pytest.fixture(scope="session")
def corpus() -> dict[str, list[dict]]:
    """O corpus inteiro, por parte."""
    folder = ROOT / "02-texto-vira-numero" / "corpus"
    return {
        part: [json.loads(line) for line in (folder / f"{part}.jsonl").open(encoding="utf-8")]
        for part in ("treino", "validacao", "teste")
    }


@pytest.fixture(scope="session")
def tokenizer(c02, corpus):
    """Um BPETokenizer pequeno, treinado em parte do corpus."""
    texts = [row["texto"] for row in corpus["treino"][:200]]
    return c02.BPETokenizer.train(texts, 600)
