"""O que todos os testes usam: as peças erguidas dos cadernos, e um corpus pequeno."""

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pecas  # noqa: E402

# Sem prazo por exemplo: a máquina de integração é lenta quando quer.
settings.register_profile(
    "curso", deadline=None, max_examples=100, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("curso")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Para modelos minúsculos, uma thread é mais rápida do que duas que se esperam."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_dice():
    """Cada teste começa do mesmo acaso, seja qual for o de antes.

    Os do hypothesis sorteiam com o torch um número variável de vezes: sem isto, um
    torch.randn sem semente seria outro em cada rodada da integração.
    """
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def c00():
    """As definições do capítulo 00: casa, conferidor, exame, calculadora, autograd."""
    return pecas.lift(pecas.notebooks()["00"])


@pytest.fixture(scope="session")
def c01():
    """As definições do capítulo 01: contagens, redes, codificação aritmética."""
    return pecas.lift(pecas.notebooks()["01"])


@pytest.fixture(scope="session")
def c02():
    """As definições do capítulo 02: limpeza, tokenizador, conjunto de dados."""
    return pecas.lift(pecas.notebooks()["02"])


@pytest.fixture(scope="session")
def c03():
    """As definições do capítulo 03: atenção, codificador, decodificador."""
    return pecas.lift(pecas.notebooks()["03"])


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
        part: [
            json.loads(line)
            for line in (folder / f"{part}.jsonl").read_text("utf-8").split("\n")
            if line
        ]
        for part in ("treino", "validacao", "teste")
    }


@pytest.fixture(scope="session")
def tokenizer(c02, corpus):
    """Um BPETokenizer pequeno, treinado em parte do corpus."""
    texts = [row["texto"] for row in corpus["treino"][:200]]
    return c02.BPETokenizer.train(texts, 600)


def agitated_gpt(c, seed=0, **changes):
    """Um GPT pequeno com pesos bem mais agitados que os da inicialização, em avaliação.

    c: o capítulo 04 erguido; changes: campos do GPTConfig.
    """
    import torch

    base = {"vocab_size": 50, "context_length": 16, "d_model": 12, "n_head": 3, "n_layer": 2}
    torch.manual_seed(seed)
    model = c.GPT(c.GPTConfig(**(base | changes)))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.15)
    return model.eval()
