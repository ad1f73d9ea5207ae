"""O começo do capítulo 05: a régua e os adversários, contra contas que não são as nossas."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

V = 6
streams = st.lists(st.integers(0, V - 1), min_size=4, max_size=40)
contexts = st.lists(st.integers(0, V + 2), max_size=5).map(tuple)


# --- a régua ---------------------------------------------------------------------------


@given(rows=st.integers(1, 9), n_bytes=st.integers(1, 99), seed=st.integers(0, 99))
def test_bits_por_byte_e_a_perda_do_pytorch_em_bits(c05, rows, n_bytes, seed):
    torch.manual_seed(seed)
    logits, y = torch.randn(rows, V, dtype=torch.float64), torch.randint(V, (rows,))
    total = F.cross_entropy(logits, y, reduction="sum").item()
    bits = -torch.log2(logits.softmax(-1)[torch.arange(rows), y]).sum().item()
    assert c05.bits_per_byte(total, n_bytes) == pytest.approx(bits / n_bytes)


@given(
    chances=st.lists(st.floats(0.01, 1), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 7), max_size=4),
)
def test_a_nota_nao_depende_do_corte(c05, chances, cuts):
    """Juntar tokens vizinhos multiplica as chances e não muda os bits por byte."""
    edges = [0, *sorted({c for c in cuts if c < len(chances)}), len(chances)]
    merged = [math.prod(chances[a:b]) for a, b in itertools.pairwise(edges)]
    bits = -math.log2(math.prod(chances)) / 17
    for group in (chances, merged):
        nats = -sum(map(math.log, group))
        assert c05.bits_per_byte(nats, 17) == pytest.approx(bits, abs=1e-12)


def test_um_byte_sorteado_custa_oito_bits(c05):
    assert c05.bits_per_byte(100 * math.log(256), 100) == pytest.approx(8)


# --- o contador ------------------------------------------------------------------------


class SlowNGram:
    """A fórmula do texto com frações exatas, uma pergunta de cada vez, sem tabelas."""

    def __init__(self, ids, order, companies):
        self.order, self.grams = order, {}
        full = [tuple(ids[i : i + order]) for i in range(len(ids) - order + 1)]
        for n in range(order, 0, -1):
            if not companies or n == order:
                seen = Counter(tuple(ids[i : i + n]) for i in range(len(ids) - n + 1))
            else:                       # quantos diferentes vieram antes de cada um
                longer = set(self.grams[n + 1])
                seen = Counter(gram[1:] for gram in longer)
            self.grams[n] = seen
        assert Counter(full) == self.grams[order]

    def prob(self, context, token):
        p = Fraction(1, V)
        for n in range(1, min(self.order, len(context) + 1) + 1):
            h = tuple(context[len(context) - n + 1 :])
            after = {g[-1]: c for g, c in self.grams[n].items() if g[:-1] == h}
            if not after:
                continue
            ones = sum(c == 1 for c in self.grams[n].values())
            twos = sum(c == 2 for c in self.grams[n].values())
            D = Fraction(ones, max(1, ones + 2 * twos))
            kept = max(after.get(token, 0) - D, Fraction(0))
            p = (kept + D * len(after) * p) / sum(after.values())
        return p


@settings(max_examples=60)
@given(ids=streams, order=st.integers(1, 4), companies=st.booleans(), context=contexts)
def test_o_contador_e_a_formula(c05, ids, order, companies, context):
    fast, slow = c05.NGram(ids, order, V, companies), SlowNGram(ids, order, companies)
    for token in range(V):
        assert fast.prob(context, token) == pytest.approx(float(slow.prob(context, token)))


@given(ids=streams, order=st.integers(1, 4), companies=st.booleans(), context=contexts)
def test_as_chances_somam_um(c05, ids, order, companies, context):
    model = c05.NGram(ids, order, V, companies)
    chances = [model.prob(context, token) for token in range(V)]
    assert sum(chances) == pytest.approx(1) and min(chances) >= 0


@given(ids=streams, order=st.integers(1, 4), context=contexts)
def test_so_conta_o_fim_do_contexto(c05, ids, order, context):
    model = c05.NGram(ids, order, V)
    short = context[max(0, len(context) - order + 1) :]
    for token in range(V):
        assert model.prob(context, token) == model.prob(short, token)


@given(ids=streams)
def test_a_surpresa_do_texto_e_a_de_cada_token(c05, ids):
    model = c05.NGram([*range(V), *ids, *ids], 3, V)
    text = torch.tensor(ids)
    nats = model.nats(text)
    assert len(nats) == len(ids) - 1
    for i, value in enumerate(nats, start=1):
        chance = model.prob(tuple(ids[max(0, i - 2) : i]), ids[i])
        assert value == pytest.approx(-math.log(chance))


def test_companhias_tiram_a_aposta_de_quem_vive_grudado(c05):
    """Depois de um contexto novo, o token que só segue um outro perde a aposta."""
    stuck, free, glue = 0, 1, 2                     # 0 só vem depois de 2; 1, de vários
    ids = [glue, stuck] * 8 + [3, free, 4, free, 5, free] * 2
    plain, better = (c05.NGram(ids, 2, V, companies) for companies in (False, True))
    assert plain.prob((), stuck) > plain.prob((), free)
    assert better.prob((), stuck) < better.prob((), free)


def test_trios(c05):
    assert c05.trigrams(torch.tensor([5, 1, 2, 5])) == [(5, 1, 2), (1, 2, 5)]
    assert c05.trigrams(torch.tensor([5, 1])) == []


# --- o compressor ----------------------------------------------------------------------


def test_o_que_ja_se_comprimiu_sai_quase_de_graca(c05):
    known = [f"Farofa roubou o pão número {i * i * 7919}." for i in range(200)]
    again = c05.compressed_bits_per_byte(c05.xz, known, known[:40])
    fresh = c05.compressed_bits_per_byte(c05.xz, known, ["zxqj wvkp " * 3 + "ß" * 5])
    assert 0 <= again < 0.5 < fresh


def test_um_compressor_que_nao_comprime_custa_oito_bits_e_a_emenda(c05):
    bits = c05.compressed_bits_per_byte(lambda data: data, ["aé"], ["ção", "oi"])
    assert bits == pytest.approx(8 * (7 + 2) / 7)    # um byte de emenda por texto


# --- a espera --------------------------------------------------------------------------


def test_a_previsao_de_tempo(c05):
    assert c05.forecast_seconds(1e6, 1e6, 1e11) == pytest.approx(120)
    assert c05.forecast_seconds(1e6, 1e6, 1e11, 1.0) == pytest.approx(60)


@pytest.mark.parametrize(
    "bad",
    [(0, 1e6, 1e9), (-3, 1e6, 1e9), (1e6, math.nan, 1e9), (1e6, "muitos", 1e9),
     (1e6, 1e6, math.inf), (1e6, 1e6, 1e9, 0), (1e6, 1e6, 1e9, 1.5)],
)  # fmt: skip
def test_previsao_impossivel_e_recusada(c05, bad):
    with pytest.raises(ValueError, match="use (um número maior que zero|até 1)"):
        c05.forecast_seconds(*bad)
