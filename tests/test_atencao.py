"""A atenção do capítulo 03: a escada, as máscaras, as entradas ruins, os ladrilhos, os bytes."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

seeds = st.integers(0, 2**31 - 1)


def drawn(seed: int, *shape: int, dtype=torch.float32) -> torch.Tensor:
    """Um tensor sorteado, sempre o mesmo para a mesma semente."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=dtype)


def drawn_mask(seed: int, *shape: int) -> torch.Tensor:
    """Uma máscara sorteada, com linhas vazias no meio."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(*shape, generator=g) < 0.6
    empty = torch.rand(*shape[:-1], 1, generator=g) < 0.3
    return mask & ~empty


def close(a, b, atol=1e-5):
    torch.testing.assert_close(a, b, atol=atol, rtol=atol)


# --- a escada: cada degrau é o anterior --------------------------------------------------


@given(seed=seeds, T=st.integers(1, 20), C=st.integers(1, 9))
def test_as_tres_medias_sao_a_mesma(c03, seed, T, C):
    x = drawn(seed, T, C)
    expected = torch.stack([x[: t + 1].sum(0) / (t + 1) for t in range(T)])
    for mean in (c03.mean_loop, c03.mean_matmul, c03.mean_softmax):
        close(mean(x), expected)


@given(seed=seeds, T=st.integers(1, 12), C=st.integers(1, 6))
def test_uma_consulta_e_todas(c03, seed, T, C):
    x = drawn(seed, T, C)
    out, weights = c03.dot_attention(x)
    assert (weights >= 0).all()
    close(weights.sum(-1), torch.ones(T))
    for t in range(T):
        one, one_weights = c03.listen(x[t], x)
        close(out[t], one)
        close(weights[t], one_weights)


@given(seed=seeds, T=st.integers(1, 12))
def test_so_o_produto_de_consulta_e_chave_conta(c03, seed, T):
    x, W_q, W_k, turn = (drawn(seed + i, *s) for i, s in
                         enumerate([(T, 4), (4, 3), (4, 3), (3, 3)]))
    turn, _ = torch.linalg.qr(turn)                      # um giro: Q Qᵀ = 1
    _, before = c03.qkv_attention(x, W_q, W_k, torch.eye(4))
    _, after = c03.qkv_attention(x, W_q @ turn, W_k @ turn, torch.eye(4))
    close(before, after, 1e-4)


@given(seed=seeds, n_head=st.sampled_from([1, 2, 3, 6]), T=st.integers(1, 9))
def test_as_cabecas_em_laco_e_de_uma_vez(c03, seed, n_head, T):
    torch.manual_seed(seed)
    loop, once = c03.HeadsByLoop(12, n_head), c03.HeadsAtOnce(12, n_head)
    parts = [getattr(h, n) for n in ("query", "key", "value") for h in loop.heads]
    with torch.no_grad():
        once.c_attn.weight.copy_(torch.cat([p.weight for p in parts]))
        once.c_attn.bias.copy_(torch.cat([p.bias for p in parts]))
    x = drawn(seed, 2, T, 12)
    close(loop(x), once(x))


@given(seed=seeds, H=st.integers(1, 5), D=st.integers(1, 5), T=st.integers(1, 6))
def test_repartir_e_juntar_se_desfazem(c03, seed, H, D, T):
    x = drawn(seed, 2, T, H * D)
    heads = c03.split_heads(x, H)
    assert heads.shape == (2, H, T, D)
    assert torch.equal(heads[:, H - 1, T - 1], x[:, T - 1, (H - 1) * D :])
    assert torch.equal(c03.merge_heads(heads), x)


def test_a_notacao_das_formas_com_frase_vazia(c03):
    assert c03.split_heads(torch.empty(2, 0, 12), 3).shape == (2, 3, 0, 4)


# --- o juiz: a rotina fundida e a camada do PyTorch ---------------------------------------


@given(seed=seeds, T=st.integers(1, 12), S=st.integers(1, 12), D=st.integers(1, 9))
def test_atencao_igual_a_do_pytorch(c03, seed, T, S, D):
    q, k, v = drawn(seed, 2, 3, T, D), drawn(seed + 1, 2, 3, S, D), drawn(seed + 2, 2, 3, S, D)
    close(c03.attention(q, k, v), F.scaled_dot_product_attention(q, k, v))
    mask = drawn_mask(seed, 2, 1, T, S) | (torch.arange(S) == 0)      # sem linhas vazias
    close(c03.attention(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


def test_atencao_em_precisao_dupla(c03):
    q, k, v = drawn(5, 3, 2, 3, 20, 16, dtype=torch.float64)
    mask = c03.causal_mask(20)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(c03.attention(q, k, v, mask), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("C", "H", "B", "T"), [(8, 1, 1, 1), (12, 3, 2, 7), (32, 8, 3, 20)])
def test_camada_igual_a_nn_multiheadattention(c03, causal, C, H, B, T):
    torch.manual_seed(C)
    ours = c03.MultiHeadAttention(C, H, causal=causal)
    theirs = nn.MultiheadAttention(C, H, batch_first=True)
    with torch.no_grad():
        for p in ours.parameters():
            p.add_(torch.randn_like(p) * 0.3)
        theirs.in_proj_weight.copy_(ours.c_attn.weight)
        theirs.in_proj_bias.copy_(ours.c_attn.bias)
    theirs.out_proj.load_state_dict(ours.c_proj.state_dict())
    x = drawn(1, B, T, C)
    length = torch.randint(1, T + 1, (B,), generator=torch.Generator().manual_seed(2))
    padding = torch.arange(T) < length[:, None]                        # (B, T)
    forbidden = ~torch.ones(T, T, dtype=torch.bool).tril() if causal else None
    expected, _ = theirs(x, x, x, key_padding_mask=~padding, attn_mask=forbidden)
    got = ours(x, padding[:, None, None])
    close(got, expected)

    got.square().sum().backward()
    expected.square().sum().backward()
    close(ours.c_attn.weight.grad, theirs.in_proj_weight.grad, 1e-3)
    close(ours.c_proj.weight.grad, theirs.out_proj.weight.grad, 1e-3)


def test_dropout_so_no_treino_e_sem_puxar(c03):
    torch.manual_seed(0)
    layer = c03.MultiHeadAttention(16, 4, dropout=0.3)
    x = drawn(4, 1, 6, 16)
    still = layer.eval()(x)
    assert torch.equal(layer(x), still)
    layer.train()
    assert not torch.equal(layer(x), still)
    many = layer(x.expand(4000, 6, 16)).mean(0)
    assert (many - still[0]).abs().max() < 0.05


# --- a escala --------------------------------------------------------------------------------


@pytest.mark.parametrize("D", [4, 64, 512])
def test_a_variancia_das_notas_e_D(c03, D):
    scores = c03.random_scores(D, n=4000)
    assert scores.var().item() == pytest.approx(D, rel=0.1)
    assert 1.8 < c03.indecision((scores / math.sqrt(D)).softmax(-1)) < 2.6


def test_os_pesos_nao_mudam_de_largura_com_D(c03):
    """Notas de desvio 1 entram no softmax, qualquer que seja D."""
    for D in (4, 256):
        q, k = drawn(D, 3000, 1, D), drawn(D + 1, 3000, 8, D)
        entropy = c03.indecision(c03.attention_weights(q, k))
        assert 1.8 < entropy < 2.6


def test_entropia_dos_extremos(c03):
    assert c03.indecision(torch.full((3, 8), 1 / 8)) == pytest.approx(3.0)
    assert c03.indecision(torch.eye(4)) == pytest.approx(0.0)
    assert c03.slope(torch.eye(4)) == 0


# --- as máscaras -----------------------------------------------------------------------------


@settings(max_examples=40)
@given(seed=seeds, T=st.integers(2, 10), n_head=st.sampled_from([1, 2, 4]))
def test_ninguem_ve_o_futuro(c03, seed, T, n_head):
    torch.manual_seed(seed)
    x = drawn(seed, 2, T, 8)
    for layer in (c03.HeadsByLoop(8, n_head), c03.HeadsAtOnce(8, n_head),
                  c03.MultiHeadAttention(8, n_head, causal=True).eval()):
        assert not any(c03.sees_future(layer, x, t) for t in range(T - 1))
    everyone = torch.ones(T, T, dtype=torch.bool)
    both = c03.MultiHeadAttention(8, n_head, causal=True)
    assert not any(c03.sees_future(lambda z: both(z, everyone), x, t) for t in range(T - 1))


def test_sees_future_acusa_quem_espia(c03):
    torch.manual_seed(0)
    x = drawn(1, 2, 6, 8)
    assert all(c03.sees_future(c03.MultiHeadAttention(8, 2), x, t) for t in range(5))


@given(seed=seeds, T=st.integers(1, 8), S=st.integers(1, 8))
def test_linha_vazia_sem_nan_e_com_peso_zero(c03, seed, T, S):
    mask = drawn_mask(seed, 2, T, S)
    q, k, v = (drawn(seed + i, 2, n, 4).requires_grad_() for i, n in enumerate((T, S, S)))
    weights = c03.attention_weights(q, k, mask)
    assert (weights[~mask] == 0).all()
    close(weights.sum(-1), mask.any(-1).float())
    c03.attention(q, k, v, mask).square().sum().backward()
    assert all(t.grad.isfinite().all() for t in (q, k, v))
    assert q.grad[~mask.any(-1)].abs().sum() == 0         # quem não ouve não é mexido


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_nenhum_nan_no_meio_do_caminho(c03):
    """Nem um nan que depois se jogaria fora: o vigia do PyTorch para no primeiro."""
    q = drawn(1, 2, 5, 4).requires_grad_()
    mask = drawn_mask(2, 2, 5, 5)
    mask[:, 1] = False
    with torch.autograd.detect_anomaly():
        c03.attention(q, q, q, mask).square().sum().backward()
    assert q.grad.isfinite().all()


@given(seed=seeds, T=st.integers(1, 8), causal=st.booleans())
def test_linha_vazia_na_camada(c03, seed, T, causal):
    torch.manual_seed(seed)
    layer = c03.MultiHeadAttention(8, 2, causal=causal)
    mask = drawn_mask(seed, 1, 1, T, T)
    x = drawn(seed, 2, T, 8).requires_grad_()
    y = layer(x, mask)
    y.square().sum().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    seen = mask[0, 0] & c03.causal_mask(T) if causal else mask[0, 0]
    nobody = ~seen.any(-1)
    close(y[:, nobody], layer.c_proj.bias.expand(2, int(nobody.sum()), 8))


@given(seed=seeds, T=st.integers(1, 8))
def test_o_gradiente_passa_por_onde_a_mascara_deixa(c03, seed, T):
    mask = drawn_mask(seed, T, T)
    # onde um só é ouvido, o valor passa inteiro; o que está mascarado nunca passa
    assert torch.equal(c03.who_hears(mask), mask)


@given(seed=seeds, extra=st.integers(0, 5), length=st.integers(1, 6))
def test_enchimento_nao_muda_a_frase(c03, seed, extra, length):
    torch.manual_seed(seed)
    layer = c03.MultiHeadAttention(8, 2).eval()
    x = drawn(seed, 1, length + extra, 8)
    padding = (torch.arange(length + extra) < length)[None, None, None]
    close(layer(x, padding)[:, :length], layer(x[:, :length]))


# --- posições --------------------------------------------------------------------------------


@given(seed=seeds, T=st.integers(1, 10))
def test_embaralhar_a_entrada_embaralha_a_saida(c03, seed, T):
    torch.manual_seed(seed)
    layer, x = c03.MultiHeadAttention(8, 2), drawn(seed, 2, T, 8)
    order = torch.randperm(T, generator=torch.Generator().manual_seed(seed))
    close(layer(x[:, order]), layer(x)[:, order])


@pytest.mark.parametrize("seed", range(3))
def test_sem_posicoes_as_duas_ordens_dao_a_mesma_resposta(c03, seed):
    torch.manual_seed(seed)
    one, other = torch.tensor([[12, 3, 13, 12, 7]]), torch.tensor([[12, 7, 13, 12, 3]])
    blind, placed = c03.WhoBit(False), c03.WhoBit(True)
    close(blind(one), blind(other))
    assert (placed(one) - placed(other)).abs().max() > 1e-3


# --- entradas ruins --------------------------------------------------------------------------


@pytest.mark.parametrize(("C", "H"), [(100, 8), (12, 5), (8, 0), (8, -2), (0, 1), (4, 8)])
def test_cabecas_que_nao_dividem(c03, C, H):
    for build in (c03.MultiHeadAttention, c03.HeadsByLoop, c03.HeadsAtOnce):
        with pytest.raises(ValueError, match="cabeças iguais"):
            build(C, H)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_mascara_que_nao_e_booleana(c03, dtype):
    x, layer = drawn(0, 2, 5, 8), c03.MultiHeadAttention(8, 2)
    with pytest.raises(TypeError, match="booleana"):
        c03.attention(x, x, x, torch.ones(5, 5, dtype=dtype))
    with pytest.raises(TypeError, match="booleana"):
        layer(x, torch.ones(5, 5, dtype=dtype))


@pytest.mark.parametrize(
    "shape",
    [(4, 5), (5, 4), (3, 1, 5, 5), (2, 3, 5, 5), (2, 5, 5), (1, 2, 2, 5, 5), (2, 5), (5,),
     (3, 2, 4, 5, 5)],
)
def test_mascara_de_forma_errada(c03, shape):
    layer = c03.MultiHeadAttention(8, 4)
    with pytest.raises(ValueError, match="não cabe nas notas"):
        layer(drawn(0, 2, 5, 8), torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("shape", [(5, 5), (1, 5), (1, 1, 1, 5), (2, 1, 5, 5), (2, 4, 5, 5)])
def test_mascara_de_forma_certa(c03, shape):
    layer = c03.MultiHeadAttention(8, 4)
    layer(drawn(0, 2, 5, 8), torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("shape", [(2, 5, 7), (5, 8), (8,), (1, 2, 5, 8)])
def test_vetores_de_forma_errada(c03, shape):
    with pytest.raises(ValueError, match=r"Esperava vetores \(B, T, 8\)"):
        c03.MultiHeadAttention(8, 2)(torch.randn(shape))


def test_formatos_que_nao_combinam(c03):
    layer = c03.MultiHeadAttention(8, 2)
    with pytest.raises(TypeError, match="torch.float16 e os pesos"):
        layer(drawn(0, 1, 3, 8).half())
    with torch.autocast("cpu", dtype=torch.bfloat16):     # aqui eles se acertam sozinhos
        assert layer(drawn(0, 1, 3, 8).bfloat16()).isfinite().all()


@pytest.mark.parametrize("causal", [False, True])
def test_frase_vazia_e_lote_vazio(c03, causal):
    layer = c03.MultiHeadAttention(8, 2, causal=causal)
    for shape in ((2, 0, 8), (0, 3, 8)):
        y = layer(torch.randn(shape))
        assert y.shape == shape
        mask = torch.ones(shape[1], shape[1], dtype=torch.bool)
        assert layer(torch.randn(shape), mask).shape == shape
    empty = torch.randn(1, 0, 8)
    assert c03.attention(empty, empty, empty, c03.causal_mask(0)).shape == (1, 0, 8)
    assert c03.flash_attention(empty, empty, empty, causal=causal).shape == (1, 0, 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1, 30])
def test_meia_precisao_na_cpu(c03, dtype, scale):
    """Notas grandes e linhas vazias, sem inf nem nan, perto da conta em float32."""
    torch.manual_seed(0)
    layer, x = c03.MultiHeadAttention(16, 4), drawn(3, 2, 9, 16) * scale
    mask = drawn_mask(1, 9, 9)
    rough = layer.to(dtype)(x.to(dtype), mask)
    assert rough.dtype == dtype and rough.isfinite().all()
    if scale == 1:
        layer = layer.float()
        atol = 5e-3 if dtype == torch.float16 else 5e-2
        torch.testing.assert_close(rough.float(), layer(x.to(dtype).float(), mask),
                                   atol=atol, rtol=atol)
    q = (drawn(2, 9, 8) * scale).to(dtype)
    weights = c03.attention_weights(q, q, mask)
    assert weights.isfinite().all() and (weights[~mask] == 0).all()


# --- ladrilhos ---------------------------------------------------------------------------------


@settings(max_examples=60)
@given(seed=seeds, T=st.integers(1, 70), block=st.integers(1, 80), causal=st.booleans(),
       scale=st.sampled_from([0.1, 1.0, 12.0]))
def test_ladrilhos_iguais_a_forma_comum(c03, seed, T, block, causal, scale):
    q, k, v = drawn(seed, 3, 2, T, 8)
    expected = F.scaled_dot_product_attention(q * scale, k, v, is_causal=causal)
    close(c03.flash_attention(q * scale, k, v, block, causal), expected)


@given(seed=seeds, T=st.integers(1, 20), S=st.integers(1, 40), block=st.integers(1, 16))
def test_ladrilhos_com_outra_quantidade_de_chaves_e_valores(c03, seed, T, S, block):
    q, k, v = drawn(seed, 2, T, 6), drawn(seed + 1, 2, S, 6), drawn(seed + 2, 2, S, 3)
    close(c03.flash_attention(q, k, v, block), c03.attention(q, k, v))


def test_ladrilhos_com_notas_enormes(c03):
    """exp(200) não existe em float32; o máximo subtraído salva."""
    q, k, v = drawn(3, 3, 1, 33, 8)
    q = q * 300
    got = c03.flash_attention(q, k, v, 7, causal=True)
    assert got.isfinite().all()
    close(got, c03.attention(q, k, v, c03.causal_mask(33)), 1e-4)


def test_o_gradiente_dos_ladrilhos(c03):
    one, other = (drawn(8, 3, 2, 20, 8).requires_grad_() for _ in range(2))
    c03.flash_attention(*one.unbind(), 6, causal=True).square().sum().backward()
    c03.attention(*other.unbind(), c03.causal_mask(20)).square().sum().backward()
    close(one.grad, other.grad, 1e-4)


@pytest.mark.parametrize(("T", "S", "block", "causal"), [(4, 4, 0, False), (4, 4, -3, True),
                                                         (4, 6, 2, True)])
def test_ladrilhos_impossiveis(c03, T, S, block, causal):
    with pytest.raises(ValueError, match="ladrilho"):
        c03.flash_attention(drawn(0, T, 4), drawn(1, S, 4), drawn(2, S, 4), block, causal)


# --- contas e bytes ----------------------------------------------------------------------------


def profiled_peak(work) -> int:
    """O pico segundo o profiler do PyTorch, que ouve o alocador de memória."""
    from torch.profiler import ProfilerActivity, profile

    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as p:
        work()
    events = [e for e in p.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize("T", [64, 200])
def test_o_medidor_concorda_com_o_profiler(c03, T):
    q, k, v = drawn(0, 3, 1, 4, T, 32)
    for work in (lambda: c03.attention(q, k, v, c03.causal_mask(T)),
                 lambda: c03.flash_attention(q, k, v, 64, causal=True)):
        work()                                            # aquece: caches internos
        counted, heard = c03.peak_bytes(work), profiled_peak(work)
        assert abs(counted - heard) <= 64                 # um escalar, no máximo


def test_o_medidor_ve_nascer_e_morrer(c03):
    with c03.MemoryMeter() as meter:
        a = torch.zeros(1000)
        assert meter.now == 4000
        b = a.view(10, 100).t()                           # vista: não ocupa nada
        assert meter.now == 4000
        c = b + 1
        assert meter.now == meter.peak == 8000
        del a, b
        assert meter.now == 4000
        del c
        assert (meter.now, meter.peak) == (0, 8000)


def test_a_memoria_dos_ladrilhos_e_uma_reta(c03):
    def peaks(form):
        return [c03.peak_bytes(lambda T=T: form(T)) for T in (256, 512, 1024)]

    tensors = {T: drawn(0, 3, 1, 2, T, 16) for T in (256, 512, 1024)}
    table = peaks(lambda T: c03.attention(*tensors[T], c03.causal_mask(T)))
    tiles = peaks(lambda T: c03.flash_attention(*tensors[T], 64, causal=True))
    assert table[2] / table[1] == pytest.approx(4, rel=0.03)
    assert tiles[2] - tiles[1] == pytest.approx(2 * (tiles[1] - tiles[0]), rel=0.01)
    assert tiles[2] < table[2] / 10
    # a fundida também cresce em reta, por dentro (o alocador é quem conta)
    fused = []
    for T in (1024, 2048):
        q, k, v = drawn(0, 3, 1, 2, T, 16)
        work = functools.partial(F.scaled_dot_product_attention, q, k, v, is_causal=True)
        fused.append(profiled_peak(work))
    assert fused[1] < 2.2 * fused[0] and fused[0] < table[2] / 4


@pytest.mark.parametrize(("T", "C", "H"), [(5, 8, 2), (50, 24, 3)])
def test_as_contas_da_camada(c03, T, C, H):
    from torch.utils.flop_counter import FlopCounterMode

    heads, project = c03.HeadsAtOnce(C, H), nn.Linear(C, C)
    with FlopCounterMode(display=False) as counter:
        project(heads(torch.randn(1, T, C)))
    assert counter.get_total_flops() == sum(c03.attention_flops(T, C))
    assert c03.attention_flops(2 * C, C)[0] == c03.attention_flops(2 * C, C)[1]


# --- a feira -------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000))
def test_a_feira_tem_resposta(c03, seed):
    x, answer = c03.fair(20, torch.Generator().manual_seed(seed))
    assert x.shape == (20, 7, 16)
    for stalls, question, right in zip(x[:, :6], x[:, 6], answer, strict=True):
        names, goods = stalls[:, :8].argmax(1).tolist(), stalls[:, 8:].argmax(1).tolist()
        assert len(set(names)) == 6 and question[8:].sum() == 0
        assert goods[names.index(question[:8].argmax().item())] == right
