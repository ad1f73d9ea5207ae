"""A gaveta, a escrita, as variantes da corrida e o orçamento do capítulo 04."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import agitated_gpt
from hypothesis import given, settings
from hypothesis import strategies as st

BASE = {"vocab_size": 50, "context_length": 12, "d_model": 12, "n_head": 3, "n_layer": 2}


def build(c, seed=0, **changes):
    return agitated_gpt(c, seed, **(BASE | changes))


def some_ids(*shape, seed=1, V=50):
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


def hugging_face(model, V=50, T=12, C=12, H=3, L=2):
    """Um GPT2LMHeadModel com os pesos de `model`, traduzidos aqui, e não pelo caderno."""
    from transformers import GPT2Config, GPT2LMHeadModel

    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=V, n_positions=T, n_embd=C, n_head=H, n_layer=L, resid_pdrop=0.0,
            embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=None,
        )
    )  # fmt: skip
    state = {}
    for name, p in model.state_dict().items():
        turned = p.T if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")) else p
        state[name if name == "lm_head.weight" else f"transformer.{name}"] = turned
    theirs.load_state_dict(state)
    return theirs.eval()


# --- a gaveta ----------------------------------------------------------------------------


@given(chunks=st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_a_gaveta_devolve_tudo_em_ordem(c04, chunks):
    k = torch.arange(2 * 3 * sum(chunks) * 4.0).view(2, 3, sum(chunks), 4)
    cache, seen = c04.KVCache(), 0
    assert len(cache) == 0
    for part in k.split(chunks, dim=2):
        keys, values = cache.extend(part, -part)
        seen += part.shape[2]
        assert len(cache) == seen
        assert torch.equal(keys, k[:, :, :seen]) and torch.equal(values, -k[:, :, :seen])


@given(S=st.integers(1, 12), back=st.integers(0, 11))
def test_a_mascara_das_ultimas_consultas(c04, S, back):
    """As T últimas linhas da atenção inteira, contra o PyTorch com a máscara por extenso."""
    T = max(1, S - back)
    q, k, v = torch.randn(3, 2, 3, S, 4, generator=torch.Generator().manual_seed(S))
    allowed = torch.tensor([[j <= i for j in range(S)] for i in range(S)])
    whole = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    part = F.scaled_dot_product_attention(q[:, :, -T:], k, v, **c04.causal(T, S, "cpu"))
    torch.testing.assert_close(part, whole[:, :, -T:], atol=1e-6, rtol=1e-5)


def test_cada_camada_tem_a_sua_gaveta(c04):
    model = build(c04)
    cache = model.new_cache()
    assert len(cache) == 2 and cache[0] is not cache[1]
    model(some_ids(2, 5), cache)
    assert [len(c) for c in cache] == [5, 5]
    assert cache[0].k.shape == (2, 3, 5, 4)
    assert not torch.equal(cache[0].k, cache[1].k)


def test_a_gaveta_pesa_o_que_a_formula_diz(c04):
    model = build(c04)
    cache = model.new_cache()
    model(some_ids(3, 7), cache)
    held = sum(t.numel() * t.element_size() for c in cache for t in (c.k, c.v))
    assert held == 2 * 2 * 12 * 7 * 3 * 4


# --- escrever ----------------------------------------------------------------------------


def test_o_guloso_escreve_o_que_o_transformers_escreve(c04):
    model = build(c04)
    theirs, prompt = hugging_face(model), some_ids(3, 4)
    expected = theirs.generate(prompt, attention_mask=torch.ones_like(prompt),
                               max_new_tokens=8, do_sample=False, pad_token_id=0)  # fmt: skip
    assert torch.equal(c04.greedy(model, prompt, 8), expected)
    assert torch.equal(c04.greedy_cached(model, prompt, 8), expected)


@settings(max_examples=40)
@given(start=st.integers(1, 20), n=st.integers(0, 24), seed=st.integers(0, 99))
def test_com_gaveta_o_mesmo_texto_tambem_alem_do_contexto(c04, start, n, seed):
    model, prompt = build(c04), some_ids(2, start, seed=seed)
    expected = c04.greedy(model, prompt, n)
    assert expected.shape == (2, start + n) and torch.equal(expected[:, :start], prompt)
    assert torch.equal(c04.greedy_cached(model, prompt, n), expected)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_os_mesmos_logits_alem_do_contexto(c04, dtype, limit):
    model, ids, cache = build(c04).to(dtype), some_ids(2, 30), None
    with torch.no_grad():
        for t in range(1, 31):
            logits, cache = c04.read_next(model, ids[:, :t], cache)
            simple = model(ids[:, max(0, t - 12) : t])[:, -1]
            torch.testing.assert_close(logits, simple, atol=limit, rtol=limit)


def test_so_se_le_o_que_falta(c04):
    model, read = build(c04), []
    model.drop.register_forward_hook(lambda m, i, out: read.append(out.shape[1]))
    c04.greedy_cached(model, some_ids(1, 5), 10)
    assert read == [5] + 7 * [1] + 2 * [12]  # a deixa, um por vez, e o contexto cheio


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 18), min_size=1, max_size=5), n=st.integers(0, 14),
       use_cache=st.booleans(), seed=st.integers(0, 99))  # fmt: skip
def test_o_lote_desigual_e_cada_deixa_sozinha(c04, lengths, n, use_cache, seed):
    model = build(c04)
    prompts = [some_ids(size, seed=seed + i).tolist() for i, size in enumerate(lengths)]
    before = copy.deepcopy(prompts)
    alone = [c04.greedy(model, torch.tensor([p]), n)[0].tolist() for p in prompts]
    assert c04.greedy_batch(model, prompts, n, use_cache) == alone
    assert prompts == before


def test_o_lote_desigual_contra_o_transformers(c04):
    model = build(c04, context_length=24)
    theirs = hugging_face(model, T=24)
    prompts = [some_ids(n, seed=n).tolist() for n in (3, 9, 1, 6)]
    expected = [
        theirs.generate(torch.tensor([p]), attention_mask=torch.ones(1, len(p)),
                        max_new_tokens=10, do_sample=False, pad_token_id=0)[0].tolist()
        for p in prompts
    ]  # fmt: skip
    assert c04.greedy_batch(model, prompts, 10) == expected


# --- o que se recusa ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [-1, 2.5, True, None, "3"])
def test_numero_impossivel_de_tokens(c04, n):
    model = build(c04)
    for write in (c04.greedy, c04.greedy_cached):
        with pytest.raises(ValueError, match="max_new_tokens.*zero ou mais"):
            write(model, some_ids(1, 3), n)
    with pytest.raises(ValueError, match="max_new_tokens"):
        c04.greedy_batch(model, [[1, 2]], n)


def test_deixas_impossiveis(c04):
    model = build(c04)
    for write in (c04.greedy, c04.greedy_cached):
        with pytest.raises(ValueError, match="vazio"):
            write(model, torch.zeros(1, 0, dtype=torch.long), 3)
        with pytest.raises(ValueError, match="vocabulário.*49"):
            write(model, torch.tensor([[1, 50]]), 3)
    for prompts in ([], [[]], [[1, 2], []]):
        with pytest.raises(ValueError, match="ao menos um token"):
            c04.greedy_batch(model, prompts, 3)
    for prompts in ([[1, 50]], [[1, 2, 3, 50], [4]], [[-1], [4]]):
        with pytest.raises(ValueError, match="vocabulário"):
            c04.greedy_batch(model, prompts, 3)


# --- os mapas ----------------------------------------------------------------------------


def test_o_mapa_e_o_da_camada(c04):
    model, ids = build(c04), some_ids(1, 9)
    for layer in (0, 1):
        weights = c04.attention_map(model, ids, layer)
        assert weights.shape == (3, 9, 9)
        assert not weights.triu(1).any()
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 9))
    assert not model.h[0].attn._forward_hooks  # o gancho não fica pendurado
    theirs = hugging_face(model)
    theirs.set_attn_implementation("eager")
    expected = theirs(ids, output_attentions=True).attentions[1][0]
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=1e-4)


# --- a corrida ---------------------------------------------------------------------------


def test_as_variantes_dao_os_mesmos_logits_e_a_mesma_perda(c04):
    model, ids = build(c04), some_ids(2, 12)
    runners = {name: c04.swapped(model, *change) for name, change in c04.DETOURS.items()}
    runners["nano"] = c04.NanoGPT(model.config).eval()
    runners["nano"].load_state_dict(model.state_dict())
    runners["hf"] = c04.HuggingFaceGPT(model).eval()
    for name, runner in runners.items():
        torch.testing.assert_close(runner(ids), model(ids), atol=1e-5, rtol=1e-4, msg=name)
        assert type(runner) is not type(model) or any(
            type(a) is not type(b)
            for a, b in zip(runner.modules(), model.modules(), strict=False)
        ), f"{name} não trocou nada"
    assert c04.NanoGPT(model.config).lm_head.weight is not None


def test_as_variantes_dao_os_mesmos_gradientes(c04):
    model, ids = build(c04), some_ids(2, 13)

    def table_gradient(runner, weight):
        logits = runner(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        return torch.autograd.grad(loss, weight)[0]

    expected = table_gradient(model, model.wte.weight)
    for name, change in c04.DETOURS.items():
        runner = c04.swapped(model, *change)
        torch.testing.assert_close(table_gradient(runner, runner.wte.weight), expected,
                                   atol=1e-5, rtol=1e-4, msg=name)  # fmt: skip


def test_trocar_uma_peca_nao_mexe_no_original(c04):
    model = build(c04)
    before = copy.deepcopy(model.state_dict())
    other = c04.swapped(model, *c04.DETOURS["uma Linear por cabeça"])
    assert other.lm_head.weight is other.wte.weight and other.wte is not model.wte
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())


def test_a_corrida_conta_as_voltas_e_a_razao_e_da_mesma_volta(c04):
    model = build(c04)
    clock = c04.race({"a": model, "b": model}, some_ids(2, 7), 3)
    assert {name: len(s) for name, s in clock.items()} == {"a": 3, "b": 3}
    assert all(p.grad is None for p in model.parameters())
    # Máquina que fica dez vezes mais lenta no meio: a razão volta a volta não se engana.
    clock = {"nosso": [1.0, 10.0, 1.0], "lento": [2.0, 20.0, 2.0]}
    assert c04.ratios(clock, "nosso") == {"nosso": 1.0, "lento": 2.0}


def test_os_tres_adamw_dao_o_mesmo_passo(c04):
    model, ids = build(c04), some_ids(2, 9)
    weights = [c04.step_seconds(model, ids, kind, 3)[1] for kind in c04.STEPPERS]
    assert not torch.equal(weights[0], model.wte.weight)
    for other in weights[1:]:
        torch.testing.assert_close(other, weights[0], atol=1e-6, rtol=1e-5)


# --- o orçamento -------------------------------------------------------------------------


def budget(c, **changes):
    base = {"memory_mb": 60, "minutes": 5, "tokens": 200_000, "batch_size": 4,
            "context_length": 32, "vocab_size": 300}  # fmt: skip
    return c.Budget(**(base | changes))


@pytest.mark.parametrize("shape", [(32, 1, 2), (64, 2, 3), (96, 3, 1)])
def test_a_previsao_contra_o_que_se_mede(c04, shape):
    C, H, L = shape
    plan = c04.GPTConfig(300, 32, C, H, L)
    asked = budget(c04)
    predicted = c04.predict(plan, asked, 1e9)
    model = c04.GPT(plan)
    assert predicted["parâmetros"] == sum(p.numel() for p in model.parameters())
    ids = some_ids(4, 33, V=300)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    kept = c04.saved_bytes(model, ids)
    F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
    optimizer.step()
    held = [t for p in model.parameters() for t in (p, p.grad, *optimizer.state[p].values())]
    measured = kept + sum(t.numel() * t.element_size() for t in held)
    assert measured / 1e6 == pytest.approx(predicted["MB"], rel=0.01)
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
    assert predicted["segundos por passo"] == pytest.approx(counter.get_total_flops() / 1e9)
    assert predicted["passos"] == math.ceil(200_000 / (4 * 32))
    assert predicted["minutos"] == pytest.approx(
        predicted["segundos por passo"] * predicted["passos"] / 60)  # fmt: skip


@pytest.mark.parametrize("shape", [(32, 1, 2), (64, 2, 3), (256, 4, 2)])
def test_o_pico_previsto_nao_fica_abaixo_do_medido(c00, c04, shape):
    """Contra o pico que o profiler do PyTorch viu, com a balança do capítulo 00."""
    C, H, L = shape
    asked = budget(c04, context_length=64, batch_size=8, vocab_size=2000)
    predicted = c04.predict(c04.GPTConfig(2000, 64, C, H, L), asked, 1e9)
    measured = max(c00.memory_curve(c00.TrainingPlan(2000, 64, C, H, L, 8))) / 1e6
    assert 0.97 * measured <= predicted["MB no pico"] <= 1.5 * measured
    if C == 32:  # aqui quem manda são as notas, e a soma sozinha prometeria demais
        assert predicted["MB"] < 0.9 * measured


@settings(max_examples=25)
@given(memory=st.floats(5, 400), minutes=st.floats(0.5, 60))
def test_o_maior_que_cabe_cabe_e_e_o_maior(c04, memory, minutes):
    asked = budget(c04, memory_mb=memory, minutes=minutes)
    chosen = c04.largest_model(asked, 1e10)
    best = c04.predict(chosen, asked, 1e10)
    assert best["MB"] <= best["MB no pico"] <= memory and best["minutos"] <= minutes
    for plan in c04.plans(asked):
        cost = c04.predict(plan, asked, 1e10)
        if cost["MB no pico"] <= memory and cost["minutos"] <= minutes:
            assert cost["parâmetros"] <= best["parâmetros"]


@pytest.mark.parametrize(("changes", "advice"), [
    ({"memory_mb": 0.5}, "Diminua batch_size"), ({"minutes": 1e-6}, "Leia menos tokens"),
])  # fmt: skip
def test_orcamento_impossivel_diz_o_que_falta(c04, changes, advice):
    with pytest.raises(ValueError, match=f"Nada cabe.*MB.*min.*{advice}"):
        c04.largest_model(budget(c04, **changes), 1e10)


@pytest.mark.parametrize("name", ["memory_mb", "minutes", "tokens", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "10", None])
def test_orcamento_sem_sentido(c04, name, value):
    with pytest.raises(ValueError, match=f"{name}.*maiores que"):
        budget(c04, **{name: value})
