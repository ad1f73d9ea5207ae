"""O GPT contra o GPT-2 da Hugging Face, contra o PyTorch, e contra as suas promessas."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import agitated_gpt as build
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

SHAPES = [
    # V, T, C, H, L, B, tokens lidos
    (11, 5, 4, 1, 1, 1, 1),
    (50, 16, 12, 3, 2, 3, 16),
    (97, 24, 32, 4, 3, 2, 17),
    (300, 64, 48, 6, 2, 2, 50),
]


def oracle(V, T, C, H, L, seed=0):
    """Um GPT2LMHeadModel com os mesmos tamanhos e pesos ao acaso."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=V, n_positions=T, n_embd=C, n_head=H, n_layer=L,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        attn_implementation="eager", bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.15)
    return model.eval()


def pair(c, V, T, C, H, L, dtype=torch.float32):
    """Os dois modelos, com os mesmos pesos."""
    theirs = oracle(V, T, C, H, L).to(dtype)
    ours = c.GPT(c.GPTConfig(V, T, C, H, L)).to(dtype).eval()
    ours.load_state_dict(c.from_gpt2_state_dict(theirs.state_dict()))
    return ours, theirs


# --- o GPT-2 como juiz -----------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_logits_perda_e_gradientes_iguais_ao_gpt2(c04, shape, dtype, atol):
    *sizes, B, n = shape
    ours, theirs = pair(c04, *sizes, dtype=dtype)
    ids = torch.randint(sizes[0], (B, n + 1), generator=torch.Generator().manual_seed(3))
    x, y = ids[:, :-1], ids[:, 1:]
    logits, expected = ours(x), theirs(x).logits
    torch.testing.assert_close(logits, expected, atol=atol, rtol=atol)

    loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
    expected_loss = F.cross_entropy(expected.flatten(0, 1), y.flatten())
    torch.testing.assert_close(loss, expected_loss, atol=atol, rtol=atol)
    loss.backward()
    expected_loss.backward()
    grads = c04.from_gpt2_state_dict({n: p.grad for n, p in theirs.named_parameters()})
    compared = 0
    for name, p in ours.named_parameters():
        torch.testing.assert_close(p.grad, grads[name], atol=atol, rtol=1e-4, msg=name)
        compared += 1
    assert compared == len(list(theirs.parameters()))


def test_perda_igual_a_que_o_transformers_calcula(c04):
    ours, theirs = pair(c04, 97, 24, 32, 4, 2)
    ids = torch.randint(97, (3, 20), generator=torch.Generator().manual_seed(4))
    loss = F.cross_entropy(ours(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(loss, theirs(ids, labels=ids).loss, atol=1e-5, rtol=1e-5)


def test_nomes_e_formas_do_estado_sao_os_do_gpt2(c04):
    theirs = oracle(50, 16, 12, 3, 2)
    ours = build(c04)
    converted = c04.from_gpt2_state_dict(theirs.state_dict())
    state = ours.state_dict()
    assert {n.removeprefix("transformer.") for n in theirs.state_dict()} == set(state)
    assert {n: t.shape for n, t in converted.items()} == {n: t.shape for n, t in state.items()}
    # O caminho de volta: as lineares transpostas cabem no modelo deles.
    back = {}
    for name, tensor in state.items():
        linear = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        prefix = "" if name == "lm_head.weight" else "transformer."
        back[prefix + name] = tensor.T if linear else tensor
    theirs.load_state_dict(back)
    ids = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(theirs(ids).logits, ours(ids), atol=1e-5, rtol=1e-5)


def test_le_tambem_os_checkpoints_antigos(c04):
    """Os primeiros guardavam a máscara, não tinham prefixo nem lm_head."""
    theirs = oracle(50, 16, 12, 3, 2)
    old = {
        name.removeprefix("transformer."): tensor
        for name, tensor in theirs.state_dict().items()
        if name != "lm_head.weight"
    }
    for i in range(2):
        old[f"h.{i}.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
        old[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    ours = c04.GPT(c04.GPTConfig(50, 16, 12, 3, 2)).eval()
    ours.load_state_dict(c04.from_gpt2_state_dict(old))
    ids = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=1e-5)


def test_converter_nao_muda_o_original(c04):
    state = oracle(50, 16, 12, 3, 2).state_dict()
    before = {n: t.clone() for n, t in state.items()}
    c04.from_gpt2_state_dict(state)
    assert list(state) == list(before)
    assert all(torch.equal(state[n], before[n]) for n in before)


# --- as partes contra o PyTorch --------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 33])
def test_layernorm_igual_a_do_pytorch(c04, size):
    torch.manual_seed(1)
    x = (torch.randn(2, 7, size) * 5 + 3).requires_grad_()
    ours, theirs = c04.LayerNorm(size), nn.LayerNorm(size)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        with torch.no_grad():
            p.copy_(torch.randn_like(p))
            q.copy_(p)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
    [ours_grad] = torch.autograd.grad(ours(x).square().sum(), x)
    [theirs_grad] = torch.autograd.grad(theirs(x).square().sum(), x)
    torch.testing.assert_close(ours_grad, theirs_grad, atol=1e-4, rtol=1e-4)


def test_gelu_igual_a_do_pytorch(c04):
    x = torch.linspace(-9, 9, 2001)
    torch.testing.assert_close(c04.GELU()(x), nn.GELU("tanh")(x), atol=1e-6, rtol=1e-6)
    assert (c04.GELU()(x) - nn.GELU()(x)).abs().max() > 1e-5, "é a aproximação, não a exata"


def plain_attention(module, x, n_head):
    """A conta escrita por extenso, em float64, uma cabeça e uma pergunta por vez."""
    x = x.double()
    W, b = module.c_attn.weight.double(), module.c_attn.bias.double()
    q, k, v = (x @ W.T + b).chunk(3, dim=-1)
    B, T, C = x.shape
    D = C // n_head
    out = torch.zeros_like(x)
    for batch in range(B):
        for h in range(n_head):
            here = slice(h * D, (h + 1) * D)
            for t in range(T):
                scores = k[batch, : t + 1, here] @ q[batch, t, here] / math.sqrt(D)
                weights = torch.exp(scores - scores.max())
                weights = weights / weights.sum()
                out[batch, t, here] = weights @ v[batch, : t + 1, here]
    return out @ module.c_proj.weight.double().T + module.c_proj.bias.double()


@pytest.mark.parametrize(("C", "H", "T"), [(4, 1, 1), (12, 3, 9), (16, 16, 5), (32, 4, 12)])
def test_atencao_igual_a_conta_por_extenso(c04, C, H, T):
    torch.manual_seed(2)
    module = c04.MultiHeadAttention(c04.GPTConfig(10, 16, C, H, 1)).eval()
    x = torch.randn(2, T, C) * 2
    expected = plain_attention(module, x, H).float()
    torch.testing.assert_close(module(x), expected, atol=1e-5, rtol=1e-5)


def test_atencao_igual_a_nn_multiheadattention(c04):
    torch.manual_seed(3)
    C, H, T = 24, 4, 10
    ours = c04.MultiHeadAttention(c04.GPTConfig(10, 16, C, H, 1)).eval()
    theirs = nn.MultiheadAttention(C, H, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.c_attn.weight)
        theirs.in_proj_bias.copy_(ours.c_attn.bias)
        theirs.out_proj.weight.copy_(ours.c_proj.weight)
        theirs.out_proj.bias.copy_(ours.c_proj.bias)
    x = torch.randn(3, T, C)
    mask = torch.ones(T, T, dtype=torch.bool).triu(1)
    expected, _ = theirs(x, x, x, attn_mask=mask, need_weights=False)
    torch.testing.assert_close(ours(x), expected, atol=1e-5, rtol=1e-5)


# --- as propriedades -------------------------------------------------------------------


@settings(max_examples=60)
@given(t=st.integers(0, 14), seed=st.integers(0, 2**31))
def test_mudar_o_futuro_nao_muda_o_passado(c04, t, seed):
    model = build(c04)
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(50, (2, 16), generator=g)
    other = ids.clone()
    other[:, t + 1 :] = torch.randint(50, (2, 15 - t), generator=g)
    with torch.no_grad():
        a, b = model(ids), model(other)
    torch.testing.assert_close(a[:, : t + 1], b[:, : t + 1], atol=1e-6, rtol=1e-6)


def test_cada_saida_ve_todo_o_passado_e_a_si_mesma(c04):
    """O gradiente diz quem foi lido: nada do futuro, e nada do passado de fora."""
    model = build(c04)
    ids = torch.arange(12)[None]
    x = model.wte(ids).detach().requires_grad_()
    stream = x + model.wpe(torch.arange(12))
    for block in model.h:
        stream = block(stream)
    out = model.ln_f(stream)
    direction = torch.randn(12, generator=torch.Generator().manual_seed(0))
    for t in range(12):
        [grad] = torch.autograd.grad((out[0, t] * direction).sum(), x, retain_graph=True)
        reached = grad[0].abs().sum(-1) > 1e-9
        assert reached.tolist() == [i <= t for i in range(12)]


def test_cada_linha_do_lote_e_independente(c04):
    model = build(c04)
    ids = torch.randint(50, (4, 16), generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        together, alone = model(ids), torch.cat([model(row[None]) for row in ids])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_posicao_importa(c04):
    model = build(c04)
    with torch.no_grad():
        logits = model(torch.full((1, 8), 3))
    assert (logits[0, 1:] - logits[0, :-1]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize("V", [64, 512, 2048])
def test_a_primeira_perda_e_a_de_quem_nao_sabe_nada(c04, V):
    torch.manual_seed(5)
    model = c04.GPT(c04.GPTConfig(V, 32, 64, 4, 2))
    ids = torch.randint(V, (8, 33))
    with torch.no_grad():
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    assert abs(loss.item() - math.log(V)) < 0.1


def test_um_lote_so_e_decorado(c04):
    torch.manual_seed(6)
    model = c04.GPT(c04.GPTConfig(64, 16, 32, 4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    ids = torch.randint(64, (4, 17))
    for _ in range(120):
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_dropout_so_no_treino(c04):
    model = build(c04, dropout=0.5)
    ids = torch.arange(16)[None]
    with torch.no_grad():
        assert torch.equal(model(ids), model(ids))
        quiet = build(c04, dropout=0.0)
        torch.testing.assert_close(model(ids), quiet(ids))
        model.train()
        assert not torch.allclose(model(ids), model(ids))


def test_dropout_tambem_nos_pesos_da_atencao(c04):
    """Com valores iguais em toda parte, só o sorteio dos pesos muda a saída."""
    module = c04.MultiHeadAttention(c04.GPTConfig(10, 16, 8, 2, 1, dropout=0.5)).train()
    module.c_proj = nn.Identity()
    for part in module.children():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    x = torch.randn(1, 16, 8)
    assert not torch.allclose(module(x), module(x))


# --- tamanhos e pesos ------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_formula_dos_parametros(c04, shape):
    V, T, C, H, L, *_ = shape
    model = c04.GPT(c04.GPTConfig(V, T, C, H, L))
    formula = V * C + T * C + L * (12 * C**2 + 13 * C) + 2 * C
    theirs = sum(p.numel() for p in oracle(V, T, C, H, L).parameters())
    assert model.num_parameters() == formula == theirs


def test_o_gpt2_pequeno_tem_124_439_808_parametros(c04):
    with torch.device("meta"):
        model = c04.GPT(c04.GPTConfig(50257, 1024, 768, 12, 12))
    assert model.num_parameters() == 124_439_808


def test_a_inicializacao_e_a_do_gpt2(c04):
    torch.manual_seed(7)
    n_layer = 3
    model = c04.GPT(c04.GPTConfig(1000, 200, 256, 4, n_layer))
    for name, p in model.named_parameters():
        if name.endswith("c_proj.weight"):
            std = 0.02 / math.sqrt(2 * n_layer)
        elif ".ln_" in name or name.startswith("ln_"):
            assert torch.equal(p, torch.ones_like(p) * name.endswith("weight")), name
            continue
        elif name.endswith("bias"):
            assert not p.any(), name
            continue
        else:
            std = 0.02
        assert p.std().item() == pytest.approx(std, rel=0.03), name
        assert abs(p.mean().item()) < std / 20, name


def test_os_pesos_atados_continuam_atados(c04):
    model = build(c04)
    assert model.lm_head.weight is model.wte.weight
    model.load_state_dict(build(c04, seed=9).state_dict())
    assert model.lm_head.weight is model.wte.weight
    for other in (copy.deepcopy(model), model.double()):
        assert other.lm_head.weight is other.wte.weight
    model.float().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.arange(8)[None]).logsumexp(-1).sum().backward()
    optimizer.step()
    assert torch.equal(model.lm_head.weight, model.wte.weight)
    assert len([n for n, _ in model.named_parameters() if "lm_head" in n]) == 0


# --- o cache de chaves e valores -------------------------------------------------------


@settings(max_examples=60)
@given(chunks=st.lists(st.integers(1, 6), min_size=1, max_size=16), seed=st.integers(0, 999))
def test_com_cache_em_qualquer_fatiamento_da_o_mesmo(c04, chunks, seed):
    model = build(c04)
    ids = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(seed))
    cache, parts, start = model.new_cache(), [], 0
    with torch.no_grad():
        for size in chunks:
            piece = ids[:, start : start + size]
            if piece.shape[1] == 0:
                break
            parts.append(model(piece, cache))
            start += piece.shape[1]
            assert len(cache[0]) == len(cache[-1]) == start
        expected = model(ids[:, :start])
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-5, rtol=1e-5)


def test_o_cache_nao_passa_do_contexto(c04):
    model = build(c04)
    cache = model.new_cache()
    model(torch.zeros(1, 16, dtype=torch.long), cache)
    with pytest.raises(ValueError, match="17.*contexto.*16"):
        model(torch.zeros(1, 1, dtype=torch.long), cache)


# --- o que se recusa -------------------------------------------------------------------

NAMES = ("vocab_size", "context_length", "d_model", "n_head", "n_layer")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "4", None, float("nan")])
def test_tamanho_impossivel_e_recusado(c04, name, value):
    with pytest.raises(ValueError, match=f"{name}.*inteiro maior que zero"):
        c04.GPTConfig(**{name: value})


@pytest.mark.parametrize(("d_model", "n_head"), [(10, 3), (4, 8), (128, 5)])
def test_cabecas_que_nao_dividem_sao_recusadas(c04, d_model, n_head):
    with pytest.raises(ValueError, match=f"{d_model}.*{n_head}"):
        c04.GPTConfig(d_model=d_model, n_head=n_head)


@pytest.mark.parametrize("value", [1.0, 1, -0.1, 2, float("nan"), float("inf")])
def test_dropout_impossivel_e_recusado(c04, value):
    with pytest.raises(ValueError, match="dropout"):
        c04.GPTConfig(dropout=value)


def test_a_configuracao_nao_muda_depois_de_feita(c04):
    config = c04.GPTConfig()
    with pytest.raises(AttributeError):
        config.d_model = 7
    assert hash(config) == hash(c04.GPTConfig())


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (torch.zeros(1, 17, dtype=torch.long), "17.*contexto.*16"),
        (torch.zeros(1, 0, dtype=torch.long), r"\(B, T\)"),
        (torch.zeros(5, dtype=torch.long), r"\(B, T\)"),
        (torch.zeros(1, 2, 3, dtype=torch.long), r"\(B, T\)"),
        (torch.tensor([[0, 50]]), "vocabulário.*49"),
        (torch.tensor([[-1, 3]]), "vocabulário.*0"),
    ],
)
def test_ids_que_o_modelo_nao_le(c04, ids, says):
    with pytest.raises(ValueError, match=says):
        build(c04)(ids)
