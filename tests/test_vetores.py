"""Os vetores do capítulo 02: vizinhos, skip-gram, PPMI, intervalos e posições."""

import ast
import math
from collections import Counter

import numpy as np
import pecas
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

seeds = st.integers(0, 2**31 - 1)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    """Um tensor sorteado, sempre o mesmo para a mesma semente."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def speeds(channels: int) -> np.ndarray:
    """As velocidades do artigo, em float64: (C/2,)"""
    return np.array([10_000 ** (-2 * i / channels) for i in range(channels // 2)])


# --- posições senoidais ----------------------------------------------------------------


@pytest.mark.parametrize(("length", "channels"), [(1, 2), (7, 4), (60, 64), (33, 10)])
def test_as_senoides_pela_formula_do_artigo(c02, length, channels):
    """PE(t, 2i) = sen(t / 10000^(2i/C)), PE(t, 2i+1) = cos do mesmo ângulo."""
    table = c02.sinusoidal_positions(length, channels)
    assert table.shape == (length, channels)
    for t in range(length):
        for i in range(channels // 2):
            angle = t / 10_000 ** (2 * i / channels)
            assert table[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=2e-5)
            assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=2e-5)


@given(length=st.integers(1, 80), half=st.integers(1, 24))
def test_toda_posicao_tem_o_mesmo_comprimento(c02, length, half):
    squared = c02.sinusoidal_positions(length, 2 * half).square().sum(1)
    torch.testing.assert_close(squared, torch.full((length,), float(half)))


@given(m=st.integers(0, 60), n=st.integers(0, 60), half=st.integers(1, 24))
def test_o_produto_das_senoides_so_depende_da_distancia(c02, m, n, half):
    table = c02.sinusoidal_positions(61, 2 * half)
    expected = np.cos(speeds(2 * half) * (m - n)).sum()
    assert (table[m] @ table[n]).item() == pytest.approx(expected, abs=1e-3)


def test_a_tabela_longa_comeca_pela_curta(c02):
    assert torch.equal(c02.sinusoidal_positions(90, 16)[:20], c02.sinusoidal_positions(20, 16))


@pytest.mark.parametrize("channels", [1, 3, 63])
def test_senos_sem_par_sao_recusados(c02, channels):
    with pytest.raises(ValueError, match=f"{channels} canais não dá. Use um número par"):
        c02.sinusoidal_positions(4, channels)


# --- posições rotatórias ---------------------------------------------------------------


@given(seed=seeds, half=st.integers(1, 16), start=st.integers(0, 40))
def test_girar_e_multiplicar_por_um_complexo(c02, seed, half, start):
    """O oráculo: cada par (a, b) é a + bi, e girar é multiplicar por exp(iθ)."""
    x = drawn(seed, 2, 3, 5, 2 * half)
    positions = torch.arange(start, start + 5)
    angles = positions[:, None] * torch.tensor(speeds(2 * half))
    turns = torch.polar(torch.ones_like(angles), angles)
    pairs = torch.view_as_complex(x.double().unflatten(-1, (half, 2)))
    expected = torch.view_as_real(pairs * turns).flatten(-2)
    got = c02.rotate(x, positions)
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=1e-4)


def test_cada_linha_gira_pela_sua_posicao(c02):
    positions = torch.tensor([4, 0, 9, 4])
    x = drawn(0, 4, 6)
    alone = [c02.rotate(x[i : i + 1], positions[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(c02.rotate(x, positions), torch.cat(alone))


def test_o_exemplo_da_docstring_do_giro(c02):
    t = torch.arange(8)
    turned = c02.rotate(torch.tensor([[1.0, 0.0]] * 8), t)
    torch.testing.assert_close(turned, torch.stack([t.cos(), t.sin()], dim=1))


@given(seed=seeds, half=st.integers(1, 16), start=st.integers(0, 500))
def test_girar_nao_estica(c02, seed, half, start):
    x = drawn(seed, 4, 2 * half)
    turned = c02.rotate(x, torch.arange(start, start + 4))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


@given(seed=seeds, a=st.integers(-50, 50), b=st.integers(-50, 50))
def test_dois_giros_somam_os_angulos(c02, seed, a, b):
    x, place = drawn(seed, 1, 12), torch.tensor
    twice = c02.rotate(c02.rotate(x, place([a])), place([b]))
    torch.testing.assert_close(twice, c02.rotate(x, place([a + b])), atol=1e-4, rtol=1e-4)


@given(seed=seeds, m=st.integers(0, 60), n=st.integers(0, 60), shift=st.integers(0, 60))
def test_q_k_so_depende_da_distancia(c02, seed, m, n, shift):
    q, k = drawn(seed, 2, 1, 16)
    here, there = c02.rotary_dot(q, k, m, n), c02.rotary_dot(q, k, m + shift, n + shift)
    assert here.item() == pytest.approx(there.item(), abs=2e-3)
    only_one = (c02.rotate(q, torch.tensor([m - n])) * k).sum()
    assert here.item() == pytest.approx(only_one.item(), abs=2e-3)


def test_a_distancia_muda_o_produto(c02):
    """Sem isto, uma rotação que não girasse passaria no teste de cima."""
    q, k = drawn(2, 2, 1, 16)
    values = [c02.rotary_dot(q, k, m, 0).item() for m in range(6)]
    assert min(abs(a - b) for i, a in enumerate(values) for b in values[:i]) > 1e-3


@given(length=st.integers(1, 40), half=st.integers(1, 16))
def test_as_senoides_sao_o_mesmo_giro(c02, length, half):
    """(sen θ, cos θ) é a seta (0, 1) girada de −θ: as duas páginas, um só relógio."""
    arrows = torch.tensor([0.0, 1.0]).repeat(length, half)
    turned = c02.rotate(arrows, -torch.arange(length))
    table = c02.sinusoidal_positions(length, 2 * half)
    torch.testing.assert_close(turned, table, atol=1e-5, rtol=1e-5)


# --- pares de vizinhos e contagens -----------------------------------------------------

NUMBER = {"a": 0, "b": 1, "c": 2}
documents = st.lists(
    st.lists(st.sampled_from("abcxy"), min_size=1, max_size=9), min_size=1, max_size=4
)


def naive_pairs(texts, number, window) -> Counter:
    """A definição: para cada palavra, quem está a até `window` casas, e em que lugar."""
    V, found = len(number), Counter()
    for words in texts:
        for i, word in enumerate(words):
            for j, other in enumerate(words):
                if i == j or abs(i - j) > window or not {word, other} <= set(number):
                    continue
                slot = 2 * (abs(i - j) - 1) + (j < i)  # +1, -1, +2, -2, …
                found[number[word], number[other] + V * slot] += 1
    return found


@given(texts=documents, window=st.integers(1, 4))
def test_vizinhos_iguais_ao_laco_ingenuo(c02, texts, window):
    center, around = c02.neighbour_pairs(texts, NUMBER, window)
    found = Counter(zip(center.tolist(), around.tolist(), strict=True))
    assert found == naive_pairs(texts, NUMBER, window)
    assert center.dtype == around.dtype == torch.long


def test_quem_vem_antes_e_quem_vem_depois(c02):
    pairs = c02.neighbour_pairs([["a", "b"]], NUMBER, window=1)
    assert sorted(zip(*(p.tolist() for p in pairs), strict=True)) == [(0, 1), (1, 0 + 3)]


def test_a_vizinhanca_nao_atravessa_documentos(c02):
    apart = c02.neighbour_pairs([["a"], ["b"]], NUMBER)
    assert [len(p) for p in apart] == [0, 0]


def test_um_documento_sem_palavras_nao_muda_o_tipo_dos_ids(c02):
    center, around = c02.neighbour_pairs([["a", "b"], []], NUMBER)
    assert center.dtype == around.dtype == torch.long


def test_a_palavra_desconhecida_guarda_o_seu_lugar(c02):
    """Em "a ? b", b está a duas casas de a, e não ao lado."""
    center, around = c02.neighbour_pairs([["a", "?", "b"]], NUMBER)
    found = sorted(zip(center.tolist(), around.tolist(), strict=True))
    assert found == [(0, 1 + 2 * 3), (1, 0 + 3 * 3)]


@given(pairs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 11)), max_size=40))
def test_a_tabela_de_encontros_conta(c02, pairs):
    columns = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    table = c02.cooccurrence(columns[:, 0], columns[:, 1], (3, 12))
    counted = Counter(pairs)
    assert table.tolist() == [[counted[i, j] for j in range(12)] for i in range(3)]


# --- PPMI ------------------------------------------------------------------------------


def test_ppmi_contra_a_conta_a_mao(c02):
    """Total 10, linhas 6 e 4, colunas 5, 4 e 1: o acaso daria 3, 2,4, 0,6 e 2, 1,6, 0,4."""
    got = c02.ppmi(torch.tensor([[4.0, 1.0, 1.0], [1.0, 3.0, 0.0]]))
    expected = [[math.log(4 / 3), 0, math.log(1 / 0.6)], [0, math.log(3 / 1.6), 0]]
    torch.testing.assert_close(got, torch.tensor(expected))


tables = st.integers(1, 5).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(0, 9), min_size=n, max_size=n), min_size=1, max_size=5
    )
)


@given(rows=tables)
def test_ppmi_igual_ao_laco_ingenuo(c02, rows):
    total = sum(map(sum, rows))
    assume(total > 0)
    got = c02.ppmi(torch.tensor(rows, dtype=torch.float))
    for i, row in enumerate(rows):
        for j, n in enumerate(row):
            want = 0.0
            if n:
                chance = sum(row) / total * sum(r[j] for r in rows) / total
                want = max(0.0, math.log(n / total / chance))
            assert got[i, j].item() == pytest.approx(want, abs=1e-5)


def test_o_acaso_puro_nao_informa_nada(c02):
    by_chance = torch.outer(torch.tensor([2.0, 4.0, 1.0]), torch.tensor([3.0, 5.0]))
    assert c02.ppmi(by_chance).abs().max() < 1e-6


def test_contar_o_mesmo_texto_tres_vezes_nao_muda_o_ppmi(c02):
    counts = torch.tensor([[4.0, 1.0, 1.0], [1.0, 3.0, 0.0]])
    torch.testing.assert_close(c02.ppmi(3 * counts), c02.ppmi(counts))


# --- skip-gram e amostras negativas ----------------------------------------------------


def stirred(c02, seed: int, V: int = 7, C: int = 5, slots: int = 4):
    """Um modelo de saídas sorteadas (recém-criadas são zero) e um lote."""
    torch.manual_seed(seed)
    model = c02.SkipGram(V, C, slots)
    torch.nn.init.normal_(model.outputs.weight)
    word, near = torch.randint(V, (6,)), torch.randint(V * slots, (6,))
    return model, word, near, torch.randint(V * slots, (6, 3))


@settings(max_examples=30)
@given(seed=seeds)
def test_a_perda_e_a_entropia_cruzada_binaria(c02, seed):
    """O oráculo: K + 1 perguntas de sim ou não por exemplo, somadas."""
    model, word, near, lies = stirred(c02, seed)
    which = torch.cat([near[:, None], lies], dim=1)
    scores = (model.table.weight[word][:, None] * model.outputs.weight[which]).sum(-1)
    truth = torch.zeros_like(scores)
    truth[:, 0] = 1
    expected = F.binary_cross_entropy_with_logits(scores, truth, reduction="sum") / 6
    torch.testing.assert_close(model(word, near, lies), expected)


@pytest.mark.parametrize("k", [1, 5, 8])
def test_a_primeira_perda_e_cara_ou_coroa(c02, k):
    model, word, near, _ = stirred(c02, 0)
    torch.nn.init.zeros_(model.outputs.weight)
    loss = model(word, near, torch.zeros(6, k, dtype=torch.long))
    assert loss.item() == pytest.approx((k + 1) * math.log(2), rel=1e-6)


def test_como_nascem_as_duas_tabelas(c02):
    torch.manual_seed(0)
    model = c02.SkipGram(400, 64)
    assert model.outputs.weight.shape == (1600, 64)
    assert not model.outputs.weight.any()
    assert model.table.weight.square().sum(1).mean().item() == pytest.approx(1, abs=0.05)


def test_so_quem_esta_no_lote_aprende(c02):
    model, *_ = stirred(c02, 1)
    model(torch.tensor([2]), torch.tensor([9]), torch.tensor([[11, 11]])).backward()
    moved = [t.weight.grad.abs().sum(1).nonzero().flatten().tolist()
             for t in (model.table, model.outputs)]  # fmt: skip
    assert moved == [[2], [9, 11]]


@given(seed=seeds, k=st.integers(1, 6), batch=st.integers(1, 8))
def test_as_mentiras_ficam_no_lugar_da_verdade(c02, seed, k, batch):
    generator = torch.Generator().manual_seed(seed)
    near = torch.randint(20, (batch,), generator=generator)
    lies = c02.draw_lies(torch.ones(5), near, generator, k)
    assert lies.shape == (batch, k)
    assert (lies // 5 == (near // 5)[:, None]).all()


def test_as_mentiras_seguem_a_distribuicao_pedida(c02):
    noise = torch.tensor([1.0, 0.0, 8.0, 27.0])
    generator = torch.Generator().manual_seed(3)
    lies = c02.draw_lies(noise, torch.full((4000,), 6), generator)
    share = torch.bincount(lies.flatten() - 4, minlength=4) / lies.numel()
    spread = (noise / 36 * (1 - noise / 36) / lies.numel()).sqrt()
    assert ((share - noise / 36).abs() <= 4 * spread + 1e-7).all()
    assert share[1] == 0


def test_a_pagina_usa_a_frequencia_a_tres_quartos(c02):
    """`noise` não é uma definição: lemos a conta na célula e a fazemos com outros números."""
    path = pecas.notebooks()["02"]
    [value] = [node.value for _, source in pecas.code_cells(path)
               for node in ast.parse(source).body
               if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "noise"]  # fmt: skip
    scope = {"torch": torch, "names": ["a", "b", "c"], "seen": Counter(a=16, b=1, c=81)}
    noise = eval(compile(ast.Expression(value), "noise", "eval"), scope)
    torch.testing.assert_close(noise / noise[1], torch.tensor([8.0, 1.0, 27.0]))


def test_a_mesma_semente_da_as_mesmas_mentiras(c02):
    near = torch.arange(12)
    one, two, other = (
        c02.draw_lies(torch.ones(6), near, torch.Generator().manual_seed(s)) for s in (5, 5, 6)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_o_skip_gram_aprende_uma_cidade_de_brinquedo(c02, seed):
    """Bichos comem e dormem; coisas quebram e custam. Em poucos passos, cada um no seu grupo."""
    animals, things = ["gato", "boi", "pato", "bode"], ["copo", "vaso", "prato", "sino"]
    texts = [["o", w, v] for w in animals for v in ("come", "dorme", "corre")]
    texts += [["um", w, v] for w in things for v in ("quebra", "custa", "brilha")]
    number = {w: i for i, w in enumerate(sorted({w for t in texts for w in t}))}
    names, label = list(number), dict.fromkeys(animals, "bicho") | dict.fromkeys(things, "coisa")
    center, around = c02.neighbour_pairs(texts, number)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = c02.SkipGram(len(names), 8)
    before = model.table.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    noise, losses = torch.bincount(center).float() ** 0.75, []
    for _ in range(60):
        loss = model(center, around, c02.draw_lies(noise, around, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(6 * math.log(2), rel=1e-6)
    assert losses[-1] < 0.6 * losses[0]
    found, control = (
        sum(c02.same_group(t, label, names, 3).values()) for t in (model.table.weight, before)
    )
    assert found == 24 and control < 18  # os três vizinhos de cada um, contra o sorteio


# --- vizinhos mais próximos e precisão@k -----------------------------------------------


def naive_nearest(rows, word, names, k) -> list[str]:
    """A definição, em Python puro e float64."""
    mine = rows[names.index(word)]

    def cosine(other):
        dot = sum(a * b for a, b in zip(mine, other, strict=True))
        return dot / (math.hypot(*mine) * math.hypot(*other))

    rest = [(cosine(row), name) for row, name in zip(rows, names, strict=True) if name != word]
    return [name for _, name in sorted(rest, reverse=True)[:k]]


@given(seed=seeds, k=st.integers(1, 6))
def test_os_mais_proximos_pelo_cosseno(c02, seed, k):
    """Cada vetor com um tamanho diferente: quem usasse o produto escalar erraria."""
    table = drawn(seed, 9, 4) * torch.logspace(-1, 1, 9)[:, None]
    names = list("abcdefghi")
    for word in names:
        assert c02.nearest(table, word, names, k) == naive_nearest(table.tolist(), word, names, k)


@given(seed=seeds, k=st.integers(1, 6))
def test_precisao_igual_ao_laco_ingenuo(c02, seed, k):
    table, names = drawn(seed, 9, 4), list("abcdefghi")
    label = dict(zip("abcdefg", "XXXYYYY", strict=True))  # h e i não têm grupo
    expected = {}
    for word, group in label.items():
        near = naive_nearest(table.tolist(), word, names, k)
        expected[word] = len([n for n in near if n in label and label[n] == group])
    assert c02.same_group(table, label, names, k) == expected


# --- intervalos ------------------------------------------------------------------------


def test_a_razao_e_das_somas(c02):
    value, low, high = c02.ratio_interval([1, 2, 9], [4, 1, 1])
    assert value == pytest.approx(12 / 6)  # e não a média de 1/4, 2 e 9
    assert low <= value <= high and high > low


def test_o_bootstrap_sorteia_itens_inteiros(c02):
    """Se acima é sempre o triplo de baixo, não há o que variar."""
    below = [float(n) for n in range(1, 30)]
    assert c02.ratio_interval([3 * n for n in below], below) == pytest.approx((3, 3, 3))


def test_o_intervalo_contra_a_formula_do_delta(c02):
    """Com muitos itens, a meia largura é 1,96 σ(a − R b) / (média de b · √N)."""
    rng = np.random.default_rng(0)
    below = rng.uniform(1, 3, 600)
    above = 1.5 * below + rng.normal(0, 0.8, 600)
    value, low, high = c02.ratio_interval(above, below)
    half = 1.96 * (above - value * below).std() / (below.mean() * 600**0.5)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert (high + low) / 2 == pytest.approx(value, abs=0.15 * half)


def test_o_intervalo_cobre_a_razao_verdadeira(c02):
    """Trezentas simulações: a cobertura fica perto dos 95% que o nome promete."""
    rng, covered = np.random.default_rng(7), 0
    for _ in range(300):
        below = rng.uniform(5, 15, 60)
        above = 1.3 * below * rng.uniform(0.5, 1.5, 60)
        _, low, high = c02.ratio_interval(above, below, draws=600)
        covered += low <= 1.3 <= high
    assert 0.90 <= covered / 300 <= 0.985


def test_o_intervalo_nao_depende_da_hora_nem_mexe_no_sorteio(c02):
    above, below = {"a": 3, "b": 1, "c": 4}, [1, 5, 9]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = c02.ratio_interval(above.values(), below)  # também aceita o que só se percorre
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert c02.ratio_interval(iter([3, 1, 4]), below) == first


# --- o mapa ----------------------------------------------------------------------------


@given(seed=seeds)
def test_pca_contra_a_matriz_de_covariancia(c02, seed):
    """As duas variâncias são os dois maiores autovalores; as duas colunas não se correlacionam."""
    points = drawn(seed, 30, 6) * torch.tensor([5.0, 3.0, 1.0, 1.0, 1.0, 1.0]) + 10
    flat = c02.pca_2d(points)
    assert flat.shape == (30, 2)
    expected = np.linalg.eigvalsh(np.cov(points.double().numpy().T))[-2:]
    got = np.cov(flat.double().numpy().T)
    assert np.diag(got) == pytest.approx(expected[::-1], rel=1e-3)
    assert abs(got[0, 1]) < 1e-2
    assert flat.mean(0).abs().max() < 1e-3
