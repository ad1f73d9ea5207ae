"""A geração: o filtro contra o da Hugging Face, o cache contra a conta inteira."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

V, T = 30, 8


@pytest.fixture(scope="module")
def model(c05):
    torch.manual_seed(0)
    config = c05.GPTConfig(vocab_size=V, context_length=T, d_model=16, n_head=2, n_layer=2)
    model = c05.GPT(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    return model.eval()


def prompt(rows=2, n=3, seed=1):
    return torch.randint(V, (rows, n), generator=torch.Generator().manual_seed(seed))


def seeded(seed=7):
    return torch.Generator().manual_seed(seed)


def kept(filtered) -> list[set[int]]:
    """Os ids que continuam no sorteio, por linha."""
    return [set(row.isfinite().nonzero().flatten().tolist()) for row in filtered]


def plain_filter(logits: list[float], temperature, top_k, top_p) -> tuple[set[int], float]:
    """A definição por extenso: quem fica, e o quanto o corte passou perto de um vizinho."""
    order = sorted(range(len(logits)), key=lambda i: -logits[i])
    if top_k is not None:
        order = order[:top_k]
    weights = [math.exp((logits[i] - logits[order[0]]) / (temperature or 1.0)) for i in order]
    total, before, chosen, margin = sum(weights), 0.0, set(), 1.0
    for i, w in zip(order, weights, strict=True):
        if top_p < 1:
            margin = min(margin, abs(before / total - top_p))
        if before / total < top_p or top_p == 1:
            chosen.add(i)
        before += w
    return chosen, margin


distinct_logits = st.lists(
    st.integers(-800, 800), min_size=2, max_size=12, unique=True
).map(lambda xs: [x / 100 for x in xs])


@settings(max_examples=300)
@given(
    logits=distinct_logits,
    temperature=st.sampled_from([0.3, 0.8, 1.0, 1.7]),
    top_k=st.none() | st.integers(1, 15),
    top_p=st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.95, 0.999, 1.0]),
)
def test_o_filtro_e_o_da_definicao(c05, logits, temperature, top_k, top_p):
    chosen, margin = plain_filter(logits, temperature, top_k, top_p)
    assume(margin > 1e-4)  # em cima do corte, o arredondamento decide
    original = torch.tensor([logits])
    filtered = c05.filter_logits(original, temperature, top_k, top_p)
    assert kept(filtered) == [chosen]
    for i in chosen:  # quem fica mantém o seu valor, dividido pela temperatura
        assert filtered[0, i].item() == pytest.approx(logits[i] / temperature, rel=1e-5)
    assert torch.equal(original, torch.tensor([logits])), "o filtro mudou a entrada"


@settings(max_examples=200)
@given(
    logits=distinct_logits,
    top_k=st.integers(1, 15),
    top_p=st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.95, 1.0]),
)
def test_o_filtro_e_o_do_transformers(c05, logits, top_k, top_p):
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    assume(plain_filter(logits, 1.0, top_k, top_p)[1] > 1e-4)
    scores = torch.tensor([logits, logits[::-1]])
    expected = TopKLogitsWarper(top_k)(None, scores)
    expected = TopPLogitsWarper(top_p)(None, expected)
    torch.testing.assert_close(c05.filter_logits(scores, 1.0, top_k, top_p), expected)


@pytest.mark.parametrize(
    ("top_p", "expected"), [(0.49, {0}), (0.51, {0, 1}), (0.74, {0, 1}), (0.76, {0, 1, 2})]
)
def test_top_p_fica_com_o_menor_grupo_que_soma_p(c05, top_p, expected):
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.10]]).log()
    assert kept(c05.filter_logits(logits, 1.0, None, top_p)) == [expected]


def test_top_p_minusculo_ainda_deixa_um(c05):
    logits = torch.randn(3, V, generator=seeded())
    filtered = c05.filter_logits(logits, 1.0, None, 1e-9)
    assert kept(filtered) == [{int(i)} for i in logits.argmax(-1)]


def test_top_k_maior_que_o_vocabulario_e_todo_mundo(c05):
    logits = torch.randn(2, V, generator=seeded())
    for k in (V, V + 1, 10**6):
        torch.testing.assert_close(c05.filter_logits(logits, 1.0, k), logits)


def test_cada_linha_tem_o_seu_corte(c05):
    logits = torch.tensor([[9.0, 0.0, 0.0], [0.0, 0.1, 0.2]])
    assert kept(c05.filter_logits(logits, 1.0, None, 0.9)) == [{0}, {0, 1, 2}]


# --- gerar -----------------------------------------------------------------------------


def plain_generate(model, ids, n):
    """A escolha gulosa sem cache nem atalho: relê o fim do texto a cada token."""
    with torch.no_grad():
        for _ in range(n):
            logits = model(ids[:, -model.config.context_length :])[:, -1]
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    return ids


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("start", [1, 3, T - 1, T, T + 1, 3 * T])
def test_temperatura_zero_e_a_escolha_gulosa(c05, model, start, use_cache):
    """Também além do contexto, e com um começo maior do que ele."""
    ids = prompt(n=start)
    out = c05.generate(model, ids, 2 * T, temperature=0, use_cache=use_cache)
    assert torch.equal(out, plain_generate(model, ids, 2 * T))
    assert torch.equal(out[:, :start], ids)


@settings(max_examples=40)
@given(
    start=st.integers(1, 2 * T), new=st.integers(0, 2 * T), seed=st.integers(0, 999),
    temperature=st.sampled_from([0, 0.5, 1.0, 1.5]),
    top_k=st.none() | st.integers(1, V + 5), top_p=st.sampled_from([0.2, 0.7, 0.95, 1.0]),
)  # fmt: skip
def test_com_cache_e_sem_cache_dao_o_mesmo(
    c05, model, start, new, seed, temperature, top_k, top_p
):
    with_cache, without = (
        c05.generate(
            model, prompt(2, start, seed), new, temperature, top_k, top_p,
            generator=seeded(seed), use_cache=use_cache,
        )
        for use_cache in (True, False)
    )  # fmt: skip
    assert torch.equal(with_cache, without)
    assert with_cache.shape == (2, start + new)


def test_so_o_fim_de_um_comeco_longo_importa(c05, model):
    long, short = prompt(n=5 * T), prompt(n=5 * T)[:, -T:]
    a = c05.generate(model, long, 6, generator=seeded())
    b = c05.generate(model, short, 6, generator=seeded())
    assert torch.equal(a[:, -6:], b[:, -6:])


def test_mesma_semente_mesmos_tokens(c05, model):
    runs = [
        c05.generate(model, prompt(), 20, generator=seeded(seed)) for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_o_gerador_dado_e_o_unico_sorteio(c05, model):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    c05.generate(model, prompt(), 5, generator=seeded())
    assert torch.equal(torch.rand(3), expected)


def test_as_frequencias_sao_as_probabilidades(c05, model):
    """Quatro mil sorteios do primeiro token contra o softmax dos logits."""
    ids = prompt(1, 4).expand(4000, 4)
    out = c05.generate(model, ids, 1, temperature=1.3, generator=seeded())[:, -1]
    with torch.no_grad():
        p = (model(ids[:1])[0, -1] / 1.3).softmax(-1)
    seen = torch.bincount(out, minlength=V) / 4000
    assert (seen - p).abs().max() < 5 * math.sqrt(0.25 / 4000)


def test_top_k_um_e_a_escolha_gulosa(c05, model):
    greedy = c05.generate(model, prompt(), 12, temperature=0)
    sampled = c05.generate(model, prompt(), 12, temperature=2.0, top_k=1, generator=seeded())
    assert torch.equal(greedy, sampled)


def test_zero_tokens_novos_devolve_o_comeco(c05, model):
    assert torch.equal(c05.generate(model, prompt(), 0), prompt())


# --- o token que encerra ---------------------------------------------------------------


def test_para_quando_todas_as_linhas_terminaram(c05, model):
    """Cada linha segue o seu texto livre até o fim dela; depois, só repete o fim."""
    free = c05.generate(model, prompt(), 60, generator=seeded())[:, 3:].tolist()
    stop = min(set(free[0]) & set(free[1]), key=free[0].index)
    firsts = [row.index(stop) for row in free]
    out = c05.generate(model, prompt(), 60, generator=seeded(), stop_id=stop)[:, 3:]
    length = max(firsts) + 1
    for row, free_row, first in zip(out.tolist(), free, firsts, strict=True):
        expected = free_row[: first + 1] + [stop] * (length - first - 1)
        assert row == expected


def test_uma_linha_so_para_no_primeiro_fim(c05, model):
    free = c05.generate(model, prompt(1), 30, generator=seeded())
    new = free[0, 3:].tolist()
    stop = new[10]
    out = c05.generate(model, prompt(1), 30, generator=seeded(), stop_id=stop)
    assert out[0, 3:].tolist() == new[: new.index(stop) + 1]


# --- o modelo volta como estava --------------------------------------------------------


@pytest.fixture
def noisy(c05):
    torch.manual_seed(1)
    return c05.GPT(c05.GPTConfig(V, T, 16, 2, 1, dropout=0.5))


@pytest.mark.parametrize("training", [True, False])
def test_o_modo_volta_e_o_dropout_fica_desligado(c05, noisy, training):
    noisy.train(training)
    a, b = (c05.generate(noisy, prompt(), 10, temperature=0) for _ in range(2))
    assert torch.equal(a, b), "havia dropout na geração"
    assert noisy.training is training
    assert all(module.training is training for module in noisy.modules())
    assert not a.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_o_modo_volta_tambem_depois_de_um_erro(c05, noisy, training):
    noisy.train(training)
    calls = []

    def fail_later(module, inputs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    handle = noisy.register_forward_pre_hook(fail_later)
    with pytest.raises(KeyboardInterrupt):
        c05.generate(noisy, prompt(), 10)
    handle.remove()
    assert noisy.training is training


# --- o que se recusa, antes de qualquer coisa ------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1}, {"temperature": NAN}, {"temperature": math.inf},
        {"top_k": 0}, {"top_k": -3},
        {"top_p": 0}, {"top_p": 0.0}, {"top_p": -0.5}, {"top_p": 1.01}, {"top_p": NAN},
    ],
    ids=str,
)  # fmt: skip
def test_valores_impossiveis_sao_recusados_antes_de_comecar(c05, noisy, bad):
    noisy.train()
    [name] = bad
    touched = []
    handle = noisy.register_forward_pre_hook(lambda *a: touched.append(1))
    for new in (5, 0):
        with pytest.raises(ValueError, match=name):
            c05.generate(noisy, prompt(), new, **bad)
    with pytest.raises(ValueError, match=name):
        c05.filter_logits(torch.zeros(1, V), **bad)
    handle.remove()
    assert touched == [] and noisy.training


def test_numero_negativo_de_tokens_e_recusado(c05, model):
    with pytest.raises(ValueError, match="max_new_tokens"):
        c05.generate(model, prompt(), -1)


@pytest.mark.parametrize(
    "ids",
    [
        torch.zeros(4, dtype=torch.long),
        torch.zeros(1, 0, dtype=torch.long),
        torch.tensor([[V]]),
        torch.tensor([[-1]]),
    ],
)
def test_comeco_que_o_modelo_nao_le_e_recusado(c05, noisy, ids):
    noisy.train()
    with pytest.raises(ValueError, match=r"\(B, T\)|vocabulário"):
        c05.generate(noisy, ids, 3)
    assert noisy.training
