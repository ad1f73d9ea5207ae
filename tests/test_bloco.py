"""O bloco, o GPT recém-nascido e a bancada de ablações do capítulo 04."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

SMALL = {"vocab_size": 60, "context_length": 16, "d_model": 16, "n_head": 2, "n_layer": 3}


def small(c, **changes):
    return c.GPTConfig(**(SMALL | changes))


def ids(V=60, B=3, T=16, seed=1):
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))


# --- as peças, contra quem ninguém aqui escreveu ----------------------------------------


def test_a_gelu_a_mao_e_a_do_pytorch(c04):
    x = torch.linspace(-12, 12, 4001)
    torch.testing.assert_close(c04.gelu_by_hand(x), F.gelu(x, approximate="tanh"))
    assert torch.equal(c04.GELU()(x), F.gelu(x, approximate="tanh"))


@settings(max_examples=60)
@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=24), st.integers(0, 9999))
def test_a_norma_a_mao_e_a_do_pytorch(c04, values, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.tensor(values, dtype=torch.float64)
    w, b = torch.randn(2, len(values), generator=g, dtype=torch.float64)
    expected = F.layer_norm(x, x.shape, w, b)
    torch.testing.assert_close(c04.layer_norm_by_hand(x, w, b), expected, atol=1e-8, rtol=1e-8)


@settings(max_examples=40)
@given(scale=st.floats(1, 1e3), shift=st.floats(-100, 100), seed=st.integers(0, 9999))
def test_a_norma_nao_ve_escala_nem_deslocamento(c04, scale, shift, seed):
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    norm = c04.LayerNorm(32).double()
    torch.testing.assert_close(norm(scale * x + shift), norm(x), atol=1e-4, rtol=1e-4)
    out = norm(x)
    assert out.mean(-1).abs().max() < 1e-9
    assert (out.var(-1, unbiased=False) - 1).abs().max() < 1e-3


def test_a_norma_de_canais_iguais_e_zero_e_nao_nan(c04):
    for value in (0.0, 7.0, -1e6):
        assert not c04.LayerNorm(8)(torch.full((2, 3, 8), value)).any()


@pytest.mark.parametrize("first", [True, False])
def test_o_bloco_e_o_do_pytorch(c04, first):
    """nn.TransformerEncoderLayer, mascarada e com os mesmos pesos: norma antes e depois."""
    torch.manual_seed(2)
    config = c04.GPTConfig(10, 16, 24, 4, 1)
    ours = c04.TransformerBlock(config) if first else c04.AblatedBlock(config, norm="depois")
    theirs = nn.TransformerEncoderLayer(
        24, 4, 96, dropout=0.0, batch_first=True, norm_first=first,
        activation=lambda x: F.gelu(x, approximate="tanh")).eval()
    same = {"self_attn.in_proj_": "attn.c_attn.", "self_attn.out_proj.": "attn.c_proj.",
            "linear1.": "mlp.c_fc.", "linear2.": "mlp.c_proj.",
            "norm1.": "ln_1.", "norm2.": "ln_2."}
    with torch.no_grad():
        for p in ours.eval().parameters():
            p.copy_(torch.randn_like(p) * 0.3)
        state = ours.state_dict()
        for there, here in same.items():
            for kind in ("weight", "bias"):
                theirs.get_parameter(there + kind).copy_(state[here + kind])
    x = torch.randn(2, 11, 24)
    mask = torch.ones(11, 11, dtype=torch.bool).triu(1)
    torch.testing.assert_close(ours(x), theirs(x, src_mask=mask), atol=1e-5, rtol=1e-5)


# --- a bancada ---------------------------------------------------------------------------


def test_com_os_interruptores_de_fabrica_e_o_mesmo_gpt(c04):
    torch.manual_seed(4)
    plain = c04.GPT(small(c04))
    torch.manual_seed(4)
    bench = c04.ablated_gpt(small(c04))
    assert torch.equal(plain(ids()), bench(ids()))
    assert plain.state_dict().keys() == bench.state_dict().keys()
    caches = bench.new_cache()
    parts = torch.cat([bench(part, caches) for part in ids().split([5, 1, 10], 1)], 1)
    torch.testing.assert_close(parts, plain(ids()), atol=1e-5, rtol=1e-5)


def test_cada_troca_muda_so_o_que_diz(c04):
    """Os pesos que duas variantes têm em comum nascem iguais; o resto é a troca."""
    assert list(c04.ABLATED)[0] == "completo" and c04.ABLATED["completo"] == {}
    built = {}
    for name, switches in c04.ABLATED.items():
        torch.manual_seed(5)
        built[name] = c04.ablated_gpt(small(c04), **switches)
    full = built["completo"].state_dict()
    changed = {
        name: {k for k in full.keys() & m.state_dict().keys()
               if not torch.equal(full[k], m.state_dict()[k])}
        for name, m in built.items()
    }
    assert not changed["completo"] | changed["sem atalho"] | changed["norma depois"]
    assert not changed["sem norma"] | changed["ReLU"]
    assert changed["sem ÷ √(2L)"] == {k for k in full if k.endswith("c_proj.weight")}
    assert changed["sem atar"] == {"lm_head.weight"}
    assert {"wte.weight", "wpe.weight", "h.0.mlp.c_fc.weight"} <= changed["pesos do PyTorch"]
    gone = full.keys() - built["sem norma"].state_dict().keys()
    assert gone == {k for k in full if "ln_" in k}


def test_sem_atalho_cada_parte_substitui_o_que_recebeu(c04):
    torch.manual_seed(13)
    block = c04.AblatedBlock(small(c04), residual=False)
    x = torch.randn(2, 7, 16)
    expected = block.mlp(block.ln_2(block.attn(block.ln_1(x))))
    torch.testing.assert_close(block(x), expected)
    bare = c04.AblatedBlock(small(c04), norm="nenhuma")
    y = x + bare.attn(x)
    torch.testing.assert_close(bare(x), y + bare.mlp(y))


def test_os_desvios_ao_nascer(c04):
    torch.manual_seed(6)
    config = small(c04, d_model=128, vocab_size=500)
    raw = c04.ablated_gpt(config, init="sem escala")
    for block in raw.h:
        for linear in (block.attn.c_proj, block.mlp.c_proj):
            assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    torch_born = c04.ablated_gpt(config, init="pytorch")
    assert torch_born.wte.weight.std().item() == pytest.approx(1, rel=0.05)
    assert torch_born.lm_head.weight is torch_born.wte.weight
    loose = c04.ablated_gpt(config, tied=False)
    assert loose.lm_head.weight is not loose.wte.weight
    assert loose.num_parameters() == raw.num_parameters() + 500 * 128


@pytest.mark.parametrize("name", ["completo", "sem atalho", "norma depois", "sem norma",
                                  "sem ÷ √(2L)", "pesos do PyTorch", "sem atar", "ReLU"])
def test_toda_variante_e_causal_e_treina_sem_nan(c04, name):
    torch.manual_seed(7)
    model = c04.ablated_gpt(small(c04), **c04.ABLATED[name])
    other = ids().clone()
    other[:, 9:] = (other[:, 9:] + 1) % 60
    with torch.no_grad():
        a, b = model(ids()), model(other)
    torch.testing.assert_close(a[:, :9], b[:, :9], atol=1e-5, rtol=1e-5)
    losses = c04.train_ablated(model, torch.arange(600) % 60, 3e-3, steps=30)
    assert len(losses) == 30 and all(map(math.isfinite, losses))


def test_o_modelo_completo_aprende_uma_sequencia_que_so_conta(c04):
    torch.manual_seed(8)
    model, stream = c04.GPT(small(c04)), torch.arange(900) % 60
    c04.train_ablated(model, stream, 1e-2, steps=120)
    assert c04.held_out_loss(model, stream, 20) < 0.3
    assert c04.unigram_loss(stream, stream, 60) == pytest.approx(math.log(60), abs=1e-2)


def test_uma_norma_que_nao_existe_e_recusada(c04):
    with pytest.raises(ValueError, match="antes"):
        c04.AblatedBlock(small(c04), norm="no meio")


def test_o_treino_para_quando_a_perda_deixa_de_ser_numero(c04):
    torch.manual_seed(9)
    model = c04.GPT(small(c04))
    with torch.no_grad():
        model.wte.weight[:] = math.nan
    losses = c04.train_ablated(model, torch.arange(600) % 60, 1e-3, steps=30)
    assert len(losses) == 1 and math.isnan(losses[0])


def test_o_relogio_do_processador_tambem_encerra(c04):
    model = c04.GPT(small(c04))
    losses = c04.train_ablated(model, torch.arange(600) % 60, 1e-3, cpu_seconds=0.2)
    assert 1 <= len(losses) < 5000


def test_a_perda_na_validacao_e_a_media_das_janelas(c04):
    torch.manual_seed(10)
    model, stream = c04.GPT(small(c04)), ids(B=1, T=200)[0]
    starts = [round(i * (200 - 17) / 3 - 1e-9) if i else 0 for i in range(4)]
    with torch.no_grad():
        each = [F.cross_entropy(model(stream[s:s + 16][None])[0], stream[s + 1:s + 17])
                for s in (0, 61, 122, 183)]
    assert starts == [0, 61, 122, 183]
    assert c04.held_out_loss(model, stream, 4) == pytest.approx(
        torch.stack(each).mean().item(), rel=1e-5)


def test_sem_atalho_o_gradiente_some_no_comeco_da_pilha(c04):
    plain, _ = c04.run_stack(24)
    skip, _ = c04.run_stack(24, residual=True)
    assert plain[0] < 1e-9 * plain[-1] and skip[0] > 0.1 * skip[-1]


def test_o_gradiente_por_bloco_e_a_norma_de_todos_os_pesos_dele(c04):
    torch.manual_seed(11)
    model = c04.GPT(small(c04))
    got = c04.depth_gradients(model, ids(T=17))
    loss = F.cross_entropy(model(ids(T=17)[:, :-1]).flatten(0, 1), ids(T=17)[:, 1:].flatten())
    for i, block in enumerate(model.h):
        grads = torch.autograd.grad(loss, list(block.parameters()), retain_graph=True)
        flat = torch.cat([g.flatten() for g in grads])
        assert got[i] == pytest.approx(flat.norm().item(), rel=1e-4)


# --- a portaria da precisão -------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_precisoes_que_servem_passam(c04, dtype):
    assert c04.check_precision(c04.GPT(small(c04)).to(dtype)) is None


def test_float16_na_cpu_e_recusado_com_o_que_fazer(c04):
    with pytest.raises(ValueError, match=r"wte\.weight está em float16 na CPU.*bfloat16"):
        c04.check_precision(c04.GPT(small(c04)).half())


def test_tipos_misturados_sao_recusados(c04):
    model = c04.GPT(small(c04))
    model.h[1].mlp.half()
    with pytest.raises(ValueError, match="tipos diferentes"):
        c04.check_precision(model)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_peso_que_nao_e_numero_e_recusado(c04, value):
    model = c04.GPT(small(c04))
    with torch.no_grad():
        model.h[2].attn.c_attn.weight[0, 0] = value
    with pytest.raises(ValueError, match=r"h\.2\.attn\.c_attn\.weight tem nan ou infinito"):
        c04.check_precision(model)


def test_no_meta_nao_ha_o_que_olhar(c04):
    with torch.device("meta"):
        model = c04.GPT(small(c04))
    c04.check_precision(model)
    c04.check_precision(model.half())


def test_um_passo_em_float16_na_cpu_estraga_os_pesos(c04):
    """O motivo da portaria, visto: se um dia deixar de acontecer, ela pode ir embora."""
    torch.manual_seed(12)
    model = c04.GPT(small(c04)).half()
    c04.next_token_loss(model, ids(T=17)).backward()
    torch.optim.AdamW(model.parameters(), lr=1e-3).step()
    assert any(not p.isfinite().all() for p in model.parameters())
