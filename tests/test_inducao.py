"""As cabeças do capítulo 03: mapas verdadeiros, medidas que medem, e cabeças que se calam."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn


@pytest.fixture(scope="module")
def reader(c03):
    torch.manual_seed(5)
    return c03.AttentionOnly(40, 24, d_model=12, n_head=3, n_layer=2).eval()


def some_ids(B=3, T=11, V=40, seed=0):
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))


# --- o modelo e os mapas, contra a atenção do PyTorch ------------------------------------


def pytorch_layer(ours):
    """nn.MultiheadAttention com os pesos da nossa camada."""
    C = ours.c_proj.in_features
    theirs = nn.MultiheadAttention(C, ours.n_head, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.c_attn.weight)
        theirs.in_proj_bias.copy_(ours.c_attn.bias)
        theirs.out_proj.weight.copy_(ours.c_proj.weight)
        theirs.out_proj.bias.copy_(ours.c_proj.bias)
    return theirs


@torch.no_grad()
def test_mapas_e_logits_iguais_aos_do_multiheadattention_do_pytorch(c03, reader):
    ids = some_ids()
    hidden = nn.Transformer.generate_square_subsequent_mask(11)
    x = F.embedding(ids, reader.wte.weight) + reader.wpe.weight[:11]
    maps = []
    for norm, layer in zip(reader.norms, reader.layers, strict=True):
        y = norm(x)
        out, weights = pytorch_layer(layer)(
            y, y, y, attn_mask=hidden, need_weights=True, average_attn_weights=False
        )
        maps.append(weights)
        x = x + out
    ours = c03.head_maps(reader, ids)
    torch.testing.assert_close(ours, torch.stack(maps), atol=1e-5, rtol=1e-5)
    logits = F.linear(reader.ln_f(x), reader.lm_head.weight)
    torch.testing.assert_close(reader(ids), logits, atol=1e-5, rtol=1e-5)


def test_mapas_somam_um_e_nao_veem_o_futuro(c03, reader):
    maps = c03.head_maps(reader, some_ids())
    assert maps.shape == (2, 3, 3, 11, 11)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 3, 3, 11))
    assert not maps.triu(1).any()
    assert c03.sees_future(reader, some_ids(), 4) is False


def test_ganchos_saem_mesmo_quando_o_modelo_tropeca(c03, reader):
    with pytest.raises((IndexError, RuntimeError)):
        c03.head_maps(reader, torch.full((1, 4), 999))
    c03.head_maps(reader, some_ids())
    assert all(not layer._forward_hooks for layer in reader.layers)


# --- as medidas ----------------------------------------------------------------------------


def ideal(where, T):
    """Um mapa (1, 1, 1, T, T) em que a consulta t só ouve where(t)."""
    maps = torch.zeros(1, 1, 1, T, T)
    for t in range(T):
        maps[..., t, where(t)] = 1
    return maps


@pytest.mark.parametrize(("where", "name"), [
    (lambda t: t, "si mesmo"), (lambda t: max(t - 1, 0), "anterior"), (lambda t: 0, "início"),
])  # fmt: skip
def test_cabeca_ideal_tira_um_na_sua_medida_e_so_nela(c03, where, name):
    scores = c03.head_scores(ideal(where, 40))
    assert scores[name].item() == pytest.approx(1.0)
    for other, score in scores.items():
        assert other == name or score.item() < 0.1


@given(st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=1, max_size=4))
def test_alvos_sao_os_da_definicao(c03, rows):
    targets = c03.after_twin(torch.tensor(rows))
    for row, table in zip(rows, targets.tolist(), strict=True):
        for t in range(7):
            want = [s + 1 for s in range(t) if row[s] == row[t]]
            assert [s for s in range(7) if table[t][s]] == want


@given(period=st.integers(2, 12), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_na_prova_quem_copia_tira_um_e_quem_ouve_todos_tira_o_acaso(c03, period, seed):
    proof = c03.written_twice(torch.arange(100, 130), period, 3, seed)
    assert torch.equal(proof[:, :period], proof[:, period:])
    assert all(len(set(row)) == period for row in proof.tolist())
    assert proof.min() >= 100
    T, targets = 2 * period, c03.after_twin(proof)
    copier = ideal(lambda t: max(t - period + 1, 0), T).expand(1, 3, 1, T, T)
    torch.testing.assert_close(c03.induction_score(copier, targets), torch.ones(1, 3, 1))
    everyone = torch.ones(T, T).tril() / torch.arange(1, T + 1)[:, None]
    score = c03.induction_score(everyone.expand(1, 3, 1, T, T), targets)
    chance = sum(1 / (t + 1) for t in range(period, T)) / period
    torch.testing.assert_close(score, torch.full((1, 3, 1), chance))


def test_a_nota_e_de_cada_sequencia_e_so_das_consultas_com_alvo(c03):
    ids = torch.tensor([[1, 2, 1, 3], [4, 4, 5, 6]])
    maps = ideal(lambda t: {2: 1, 1: 0}.get(t, t), 4).expand(1, 2, 1, 4, 4)
    # linha 0: a consulta 2 tem alvo em 1 e acerta; linha 1: a consulta 1 tem alvo nela mesma
    score = c03.induction_score(maps, c03.after_twin(ids))
    assert score.flatten().tolist() == [1.0, 0.0]


def test_notas_recusam_o_que_nao_se_mede(c03):
    maps = torch.full((2, 1, 3, 4, 4), 0.25)
    with pytest.raises(ValueError, match="nenhum token se repete"):
        c03.induction_score(maps, c03.after_twin(torch.tensor([[1, 2, 3, 4]])))
    with pytest.raises(ValueError, match="esperava"):
        c03.induction_score(maps, c03.after_twin(torch.tensor([[1, 1, 1]])))
    with pytest.raises(ValueError, match="só há 5"):
        c03.written_twice(torch.arange(5), 6, 1, 0)


def test_intervalo_cobre_a_media_em_95_de_cem(c03):
    draws = torch.randn(2000, 60, generator=torch.Generator().manual_seed(1)) + 3
    caught = 0
    for row in draws:
        mean, half = c03.mean_interval(row)
        caught += abs(mean - 3) < half
    assert 0.92 < caught / 2000 < 0.97


# --- o eco e a prova de cópia ----------------------------------------------------------------


@given(share=st.sampled_from([0.0, 0.25, 0.5, 1.0]), seed=st.integers(0, 50))
@settings(max_examples=40)
def test_eco_repete_ora_sorteio_ora_trecho_e_deixa_as_outras_janelas(c03, share, seed):
    windows = torch.arange(8 * 33).view(8, 33) + 1000
    before = windows.clone()
    out = c03.echo(windows, share, 70, 5, torch.Generator().manual_seed(seed))
    n = round(8 * share)
    assert torch.equal(windows, before) and torch.equal(out[n:], windows[n:])
    for i, row in enumerate(out[:n].tolist()):
        assert any(row == (row[:p] * 33)[:33] for p in range(5, 17))
        if i % 2:
            assert row[:5] == windows[i, :5].tolist() and min(row) >= 1000
        else:
            assert 0 <= min(row) and max(row) < 70


def test_ecos_de_tamanhos_e_letras_diferentes(c03):
    windows = torch.full((128, 33), 500)
    out = c03.echo(windows, 1.0, 70, 5, torch.Generator().manual_seed(0))[::2]
    assert out.unique().tolist() == list(range(70))
    periods = {next(p for p in range(5, 17) if row == (row[:p] * 33)[:33])
               for row in out.tolist()}  # fmt: skip
    assert len(periods) > 8 and min(periods) == 5 and max(periods) == 16


@given(st.text(alphabet="ação zê", max_size=30))
def test_letras_vao_e_voltam(c03, text):
    letters = "".join(sorted(set("ação zê")))
    ids = c03.letter_ids(text, letters)
    assert ids.dtype == torch.int64 and "".join(letters[i] for i in ids) == text


def test_letra_desconhecida_e_recusada(c03):
    with pytest.raises(ValueError, match="não estão na lista"):
        c03.letter_ids("bola", "abl")


def test_perda_de_cada_copia(c03, reader):
    ids = c03.written_twice(torch.arange(40), 6, 4, seed=0)
    losses = c03.copy_losses(reader, ids)
    expected = F.cross_entropy(reader(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(losses.mean(), expected)
    first, second = c03.two_copies(torch.arange(11.0).repeat(4, 1))
    assert first.tolist() == [2.0] * 4 and second.tolist() == [8.0] * 4
    torch.testing.assert_close(c03.chances(reader, ids[:1]), (-losses[0]).exp())


# --- calar uma cabeça ------------------------------------------------------------------------


@torch.no_grad()
def test_calar_e_o_mesmo_que_zerar_as_colunas_da_projecao(c03, reader):
    ids = some_ids()
    before = reader(ids)
    for layer, head in [(0, 0), (0, 2), (1, 1)]:
        with c03.silenced(reader, [(layer, head)]):
            quiet = reader(ids)
        weight = reader.layers[layer].c_proj.weight
        kept = weight.clone()
        weight[:, 4 * head : 4 * head + 4] = 0
        expected = reader(ids)
        weight.copy_(kept)
        torch.testing.assert_close(quiet, expected)
        assert not torch.allclose(quiet, before)
        torch.testing.assert_close(reader(ids), before)


@torch.no_grad()
def test_calar_todas_deixa_so_os_vetores_e_os_vieses(c03, reader):
    ids = some_ids()
    with c03.silenced(reader, [(layer, head) for layer in range(2) for head in range(3)]):
        quiet = reader(ids)
    x = reader.wte(ids) + reader.wpe.weight[:11]
    x = x + sum(layer.c_proj.bias for layer in reader.layers)
    torch.testing.assert_close(quiet, reader.lm_head(reader.ln_f(x)))


def test_calada_volta_a_falar_mesmo_depois_de_um_erro(c03, reader):
    before = reader(some_ids())
    with pytest.raises(ZeroDivisionError), c03.silenced(reader, [(0, 1)]):
        1 / 0  # noqa: B018
    torch.testing.assert_close(reader(some_ids()), before)


@pytest.mark.parametrize("place", [(2, 0), (0, 3), (-1, 0), (0, -1)])
def test_cabeca_que_nao_existe(c03, reader, place):
    with pytest.raises(ValueError, match="Não há a cabeça"), c03.silenced(reader, [place]):
        pass


# --- o treino faz a indução nascer -----------------------------------------------------------


def test_treino_repete_com_a_mesma_semente(c03):
    stream = torch.arange(500) % 40
    ends = []
    for _ in range(2):
        torch.manual_seed(0)
        model = c03.AttentionOnly(40, 16, d_model=8, n_head=2)
        ends.append(list(c03.practice(model, stream, steps=60, seed=1, every=30)))
    assert ends[0] == ends[1] and [step for step, _ in ends[0]] == [30, 60]
    assert ends[0][-1][1] < ends[0][0][1]


def test_campea_e_a_de_maior_nota(c03):
    assert c03.champion(torch.tensor([[0.1, 0.2, 0.0], [0.3, 0.1, 0.9]])) == (1, 2)
