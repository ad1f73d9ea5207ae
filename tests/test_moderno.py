"""O GPT de hoje, a escada que leva a ele e o Muon, do capítulo 05."""

import copy
import json
import math
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

SMALL = {"vocab_size": 61, "context_length": 24, "d_model": 16, "n_head": 2, "n_layer": 2}


def small(c, **changes):
    return c.ModernConfig(**(SMALL | {"bigram_size": 97} | changes))


def ids(V=61, B=3, T=24, seed=1):
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))


def awake(c, config, seed=0):
    """Um ModernGPT com todos os pesos ao acaso: ao nascer, os que saem são zero."""
    torch.manual_seed(seed)
    model = c.ModernGPT(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.4)
    return model


# --- contra quem ninguém aqui escreveu --------------------------------------------------


def to_nanochat(model):
    """Os pesos com os nomes do transformers. O giro deles vai para o outro lado: trocar as
    metades de q e k em cada cabeça o desfaz."""
    H, C = model.config.n_head, model.config.d_model
    state = {"model.embed_tokens.weight": model.wte.weight,
             "lm_head.weight": model.lm_head.weight}
    for i, block in enumerate(model.h):
        name = f"model.layers.{i}."
        q, k, v = block.attn.c_attn.weight.split(C)
        q, k = (w.view(H, 2, C // H // 2, C).flip(1).reshape(C, C) for w in (q, k))
        state |= {name + "self_attn.q_proj.weight": q, name + "self_attn.k_proj.weight": k,
                  name + "self_attn.v_proj.weight": v,
                  name + "self_attn.o_proj.weight": block.attn.c_proj.weight,
                  name + "mlp.fc1.weight": block.mlp.c_fc.weight,
                  name + "mlp.fc2.weight": block.mlp.c_proj.weight}
    return {name: w.detach().clone() for name, w in state.items()}


def nanochat(config):
    import transformers

    theirs = transformers.NanoChatConfig(
        vocab_size=config.vocab_size, hidden_size=config.d_model,
        intermediate_size=4 * config.d_model, num_hidden_layers=config.n_layer,
        num_attention_heads=config.n_head, max_position_embeddings=config.context_length,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        final_logit_softcapping=None, tie_word_embeddings=False,
        bos_token_id=0, eos_token_id=0, pad_token_id=None)
    return transformers.NanoChatForCausalLM(theirs).eval()


@pytest.mark.parametrize("shape", [{}, {"n_head": 4}, {"n_head": 1, "n_layer": 3}])
def test_os_logits_sao_os_do_nanochat_do_transformers(c05, shape):
    config = small(c05, bigram_size=0, **shape)
    ours, theirs = awake(c05, config).double(), nanochat(config).double()
    theirs.load_state_dict(to_nanochat(ours), strict=True)
    x = ids()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x).logits, atol=1e-5, rtol=1e-5)


def test_os_gradientes_tambem_sao_os_do_nanochat(c05):
    config = small(c05, bigram_size=0)
    ours, theirs = awake(c05, config), nanochat(config)
    theirs.load_state_dict(to_nanochat(ours))
    x = ids()
    for model in (ours, theirs):
        out = model(x)
        logits = out if torch.is_tensor(out) else out.logits
        F.cross_entropy(logits[:, :-1].flatten(0, 1), x[:, 1:].flatten()).backward()
    pairs = [(ours.wte.weight, theirs.model.embed_tokens.weight),
             (ours.lm_head.weight, theirs.lm_head.weight),
             (ours.h[0].mlp.c_fc.weight, theirs.model.layers[0].mlp.fc1.weight),
             (ours.h[1].attn.c_proj.weight, theirs.model.layers[1].self_attn.o_proj.weight)]
    for a, b in pairs:
        torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-3)


def test_sem_trocar_as_metades_o_nanochat_discorda(c05):
    """Se o oráculo aceitasse qualquer giro, não seria oráculo."""
    config = small(c05, bigram_size=0)
    ours, theirs = awake(c05, config), nanochat(config)
    state = to_nanochat(ours)
    C = config.d_model
    state["model.layers.0.self_attn.q_proj.weight"] = ours.h[0].attn.c_attn.weight[:C]
    theirs.load_state_dict(state)
    with torch.no_grad():
        assert (ours(ids()) - theirs(ids()).logits).abs().max() > 1e-3


@settings(max_examples=50)
@given(st.integers(1, 40), st.floats(0, 6), st.integers(0, 999))
def test_a_rms_norm_e_a_conta_por_extenso_e_nao_ve_o_tamanho(c05, C, power, seed):
    x = torch.randn(5, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(c05.rms_norm(x), expected)
    torch.testing.assert_close(c05.RMSNorm()(x), expected)
    plain, big = c05.rms_norm(x), c05.rms_norm(10.0**power * x)
    limit = 1e-6 / (2 * x.square().mean(-1, keepdim=True))    # o que o `eps` deixa ver
    assert ((big - plain).abs() <= plain.abs() * limit + 1e-12).all()


def test_a_norma_de_um_vetor_nulo_e_zero_e_nao_nan(c05):
    assert not c05.rms_norm(torch.zeros(2, 8)).any()


def test_a_relu_ao_quadrado_e_a_do_transformers(c05):
    from transformers.activations import ACT2FN

    x = torch.linspace(-4, 4, 801)
    torch.testing.assert_close(c05.ReluSquared()(x), ACT2FN["relu2"](x))


# --- o giro -----------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(1, 8), st.integers(1, 30), st.integers(0, 999))
def test_o_giro_e_a_multiplicacao_por_um_numero_complexo(c05, half, T, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, T, 2 * half, generator=g, dtype=torch.float64)
    cos, sin = (t.double() for t in c05.rotary_tables(T, 2 * half))
    z = torch.complex(x[..., :half], x[..., half:]) * torch.complex(cos, sin)
    torch.testing.assert_close(c05.rotate_halves(x, cos, sin),
                               torch.cat([z.real, z.imag], dim=-1))


def test_o_giro_e_o_do_capitulo_02_com_os_canais_em_outra_ordem(c05, c02):
    x = torch.randn(1, 1, 9, 12)
    cos, sin = c05.rotary_tables(9, 12)
    neighbours = torch.stack(x.chunk(2, dim=-1), dim=-1).flatten(-2)
    theirs = c02.rotate(neighbours, torch.arange(9))
    torch.testing.assert_close(c05.rotate_halves(x, cos, sin),
                               torch.cat([theirs[..., 0::2], theirs[..., 1::2]], dim=-1))


@settings(max_examples=60)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60), st.integers(0, 999))
def test_o_produto_so_depende_da_distancia(c05, i, j, shift, seed):
    g = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, 16, generator=g, dtype=torch.float64)
    cos, sin = (t.double() for t in c05.rotary_tables(128, 16))

    def dot(a, b):
        turned = [c05.rotate_halves(v.view(1, 1, 1, 16), cos[p:p + 1], sin[p:p + 1])
                  for v, p in ((q, a), (k, b))]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(dot(i + shift, j + shift), dot(i, j), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dot(i, i), (q * k).sum(), atol=1e-5, rtol=1e-5)


def test_a_posicao_zero_nao_gira_e_ninguem_estica(c05):
    x = torch.randn(2, 2, 24, 8)
    cos, sin = c05.rotary_tables(24, 8)
    turned = c05.rotate_halves(x, cos, sin)
    assert torch.equal(turned[:, :, 0], x[:, :, 0])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert (turned[:, :, 1:] - x[:, :, 1:]).abs().amax(dim=-1).min() > 1e-4


# --- a atenção e o modelo ---------------------------------------------------------------


@settings(max_examples=25)
@given(st.lists(st.floats(1, 1000), min_size=4, max_size=4), st.integers(0, 99))
def test_o_tamanho_de_q_e_de_k_nao_importa(c05, scales, seed):
    """Cada cabeça pode ter q e k de qualquer tamanho: a atenção lê só a direção.

    Só se aumenta: num vetor miúdo o `eps` de 1e-6 já pesa, e a direção não é tudo.
    """
    model = awake(c05, small(c05), seed)
    x = ids(seed=seed)
    with torch.no_grad():
        before = model(x)
        rows = model.h[0].attn.c_attn.weight[:32].view(4, 8, 16)      # q e k, 2 cabeças
        rows *= torch.tensor(scales).view(4, 1, 1)
        torch.testing.assert_close(model(x), before, atol=2e-3, rtol=2e-3)


def test_q_e_k_chegam_a_atencao_com_comprimento_raiz_de_D(c05, monkeypatch):
    seen = []
    real = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention",
                        lambda q, k, v, **kw: seen.append((q, k)) or real(q, k, v, **kw))
    with torch.no_grad():
        awake(c05, small(c05))(ids())
    assert len(seen) == 2
    for t in (t for pair in seen for t in pair):
        assert t.shape == (3, 2, 24, 8)
        assert (t.norm(dim=-1) - math.sqrt(8)).abs().max() < 1e-3


@pytest.mark.parametrize("pairs", [0, 1, 97])
def test_o_futuro_nao_e_visto(c05, pairs):
    model, x = awake(c05, small(c05, bigram_size=pairs)), ids()
    with torch.no_grad():
        before = model(x)
        for t in range(1, 24):
            other = x.clone()
            other[:, t:] = (other[:, t:] + 1 + torch.arange(24 - t)) % 61
            after = model(other)
            torch.testing.assert_close(after[:, :t], before[:, :t], atol=1e-6, rtol=1e-6)
            assert (after[:, t] - before[:, t]).abs().amax(-1).min() > 1e-4


@settings(max_examples=40)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=24), st.sampled_from([0, 5, 97]),
       st.integers(0, 99))
def test_com_gaveta_e_sem_gaveta_sao_iguais(c05, sizes, pairs, seed):
    """Em pedaços de tamanhos quaisquer, com e sem memória de pares."""
    model = awake(c05, small(c05, bigram_size=pairs), seed)
    T = min(sum(sizes), 24)
    x, cache, pieces, at = ids(T=T, seed=seed), model.new_cache(), [], 0
    with torch.no_grad():
        for size in sizes:
            if at < T:
                pieces.append(model(x[:, at:at + size], cache))
                at += size
        torch.testing.assert_close(torch.cat(pieces, dim=1), model(x), atol=1e-4, rtol=1e-4)


def test_duas_gavetas_nao_se_misturam(c05):
    """Dois textos lidos ao mesmo tempo, cada um com a sua gaveta."""
    model = awake(c05, small(c05))
    a, b = ids(B=1, seed=3), ids(B=1, seed=4)
    caches, out = [model.new_cache(), model.new_cache()], ([], [])
    with torch.no_grad():
        for t in range(24):
            for text, cache, found in ((a, caches[0], out[0]), (b, caches[1], out[1])):
                found.append(model(text[:, t:t + 1], cache))
        for text, found in ((a, out[0]), (b, out[1])):
            torch.testing.assert_close(torch.cat(found, 1), model(text), atol=1e-4, rtol=1e-4)


def test_ao_nascer_ele_nao_sabe_nada(c05):
    torch.manual_seed(0)
    model, x = c05.ModernGPT(small(c05)), ids()
    assert not model(x).any()
    loss = F.cross_entropy(model(x).flatten(0, 1), x.flatten())
    assert loss.item() == pytest.approx(math.log(61), abs=1e-5)
    for block in model.h:
        assert not block.attn.c_proj.weight.any() and not block.mlp.c_proj.weight.any()
        for layer in (block.attn.c_attn, block.mlp.c_fc):
            assert layer.weight.std().item() == pytest.approx(0.7 / 4, rel=0.15)


def test_em_tres_passos_todas_as_matrizes_acordam(c05):
    torch.manual_seed(0)
    model, x = c05.ModernGPT(small(c05)), ids()
    sgd, found = torch.optim.SGD(model.parameters(), lr=0.1), []
    for _ in range(3):
        sgd.zero_grad()
        F.cross_entropy(model(x)[:, :-1].flatten(0, 1), x[:, 1:].flatten()).backward()
        found.append({n for n, p in model.named_parameters() if p.grad.any()})
        sgd.step()
    everything = {n for n, _ in model.named_parameters()}
    assert found[0] == {"lm_head.weight"}
    assert found[0] < found[1] < everything
    assert found[2] == everything


def test_a_conta_dos_parametros(c05):
    for pairs in (0, 97):
        model = c05.ModernGPT(small(c05, bigram_size=pairs))
        assert model.num_parameters() == 2 * (12 * 16**2) + 2 * 61 * 16 + pairs * 16
    assert c05.ModernGPT(small(c05, bigram_size=0)).bigrams is None


@pytest.mark.parametrize("wrong, word", [
    ({"bigram_size": -1}, "bigram_size"), ({"bigram_size": 1.5}, "bigram_size"),
    ({"bigram_size": True}, "bigram_size"), ({"bigram_size": "8192"}, "bigram_size"),
    ({"d_model": 12, "n_head": 4}, "par"), ({"d_model": 0}, "d_model"),
    ({"n_head": 5}, "n_head"), ({"dropout": 1.0}, "dropout"),
])
def test_plantas_impossiveis_sao_recusadas_em_portugues(c05, wrong, word):
    with pytest.raises(ValueError, match=word):
        small(c05, **wrong)


def test_textos_impossiveis_sao_recusados_em_portugues(c05):
    model = c05.ModernGPT(small(c05))
    for wrong, word in ((ids(T=25), "contexto"), (ids()[:, :0], "vazio"),
                        (ids() + 61, "vocabulário"), (-1 - ids(), "vocabulário")):
        with pytest.raises(ValueError, match=word):
            model(wrong)
    cache = model.new_cache()
    model(ids(), cache)
    with pytest.raises(ValueError, match="contexto"):
        model(ids(T=1), cache)


def test_o_dropout_sorteia_no_treino_e_se_cala_na_avaliacao(c05):
    model = awake(c05, small(c05, dropout=0.5))
    with torch.no_grad():
        assert torch.equal(model(ids()), model(ids()))
        model.train()
        assert not torch.equal(model(ids()), model(ids()))


# --- a memória de pares -----------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(st.integers(0, 2047), min_size=1, max_size=20), st.integers(1, 9000),
       st.one_of(st.none(), st.integers(0, 2047)))
def test_a_linha_de_cada_par(c05, tokens, size, previous):
    memory = c05.BigramMemory(size, 4)
    first = None if previous is None else torch.tensor([[previous]])
    got = memory.rows(torch.tensor([tokens]), first)[0].tolist()
    before = [previous or 0, *tokens[:-1]]
    assert got == [(b * 36_313 + t * 27_191) % size
                   for b, t in zip(before, tokens, strict=True)]


def test_a_memoria_nasce_calada_e_a_ordem_do_par_importa(c05):
    memory = c05.BigramMemory(8192, 4)
    assert not memory(ids(V=2048)).any()
    rows = memory.rows(torch.tensor([[5, 9, 5]]))[0]
    assert rows[1] != rows[2]


# --- a escada ---------------------------------------------------------------------------


def bench(c):
    return c.GPTConfig(**SMALL)


def names(state):
    return {n.replace("wte.wte", "wte").replace("wte.bigrams", "bigrams"): w
            for n, w in state.items()}


def test_o_ultimo_degrau_e_o_gpt_de_hoje(c05):
    torch.manual_seed(3)
    top = c05.climb(len(c05.LADDER) - 1, bench(c05)).eval()
    with torch.no_grad():
        for p in top.parameters():
            p.copy_(torch.randn_like(p) * 0.4)
    config = c05.ModernConfig(**SMALL, bigram_size=top.wte.bigrams.table.num_embeddings)
    modern = c05.ModernGPT(config).eval()
    modern.load_state_dict(names(top.state_dict()), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(modern(ids()), top(ids()), atol=1e-5, rtol=1e-5)


def test_o_ultimo_degrau_nasce_como_o_gpt_de_hoje(c05):
    """As mesmas matrizes em zero, e as outras com os mesmos desvios."""
    torch.manual_seed(3)
    big = replace(bench(c05), d_model=64, vocab_size=512)
    top = names(c05.climb(len(c05.LADDER) - 1, big).state_dict())
    size = len(top["bigrams.table.weight"])
    modern = c05.ModernGPT(c05.ModernConfig(**asdict(big), bigram_size=size)).state_dict()
    assert top.keys() == modern.keys()
    for name, w in modern.items():
        if not w.any():
            assert not top[name].any(), name
        else:
            assert top[name].std().item() == pytest.approx(w.std().item(), rel=0.05), name


def test_o_primeiro_degrau_e_o_gpt_do_capitulo_04(c05):
    torch.manual_seed(3)
    first = c05.climb(0, bench(c05))
    torch.manual_seed(3)
    gpt = c05.GPT(bench(c05))
    for a, b in zip(first.parameters(), gpt.parameters(), strict=True):
        assert torch.equal(a, b)


def test_cada_degrau_do_modelo_troca_a_sua_peca_e_so_ela(c05):
    C, V, T, L = 16, 61, 24, 2
    gpt = c05.climb(0, bench(c05)).num_parameters()
    counts = [c05.climb(k, bench(c05)).num_parameters() for k in range(len(c05.LADDER))]
    vectors = L * (4 * C + 3 * C + C + 4 * C + C) + 2 * C             # normas e vieses
    assert counts[0] == gpt
    assert counts[1] == gpt - vectors
    assert counts[2] == counts[1] - T * C                              # sem tabela de posições
    assert counts[3] == counts[4] == counts[2]
    assert counts[5] == counts[4] + V * C                              # saída solta
    assert counts[6] == counts[7] == counts[8] == counts[9] == counts[5]
    pairs = c05.climb(10, bench(c05)).wte.bigrams.table.num_embeddings
    assert counts[10] == counts[9] + pairs * C > counts[9]
    assert counts[6] == 2 * V * C + L * 12 * C * C


def test_todo_degrau_e_causal(c05):
    x, other = ids(), ids()
    other[:, 12:] = (other[:, 12:] + 1) % 61
    for level in range(len(c05.LADDER)):
        torch.manual_seed(level)
        model = c05.climb(level, bench(c05)).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.3)
            a, b = model(x), model(other)
        torch.testing.assert_close(a[:, :12], b[:, :12], atol=1e-5, rtol=1e-5)
        assert (a[:, 12] - b[:, 12]).abs().max() > 1e-4, level


def test_a_agenda_e_o_otimizador_de_cada_degrau(c05):
    for level in range(len(c05.LADDER)):
        model = c05.climb(level, bench(c05))
        options = c05.ladder_options(level, 200, 6e-3)
        assert (options.decay, options.min_lr_ratio) == (
            ("linear", 0.0) if level >= 7 else ("cosine", 0.1))
        optimizer = c05.ladder_optimizer(level, model, options)
        kind = c05.TwoOptimizers if level >= 9 else torch.optim.AdamW
        assert type(optimizer) is kind
        scales = {round(g["lr_scale"], 3) for g in optimizer.param_groups if g["params"]}
        assert (scales == {1.0}) == (level < 8), level


def test_a_escada_treina_e_e_repetivel(c05):
    line = torch.randint(61, (3000,), generator=torch.Generator().manual_seed(0))
    for level in (0, 10):
        runs = [c05.climb_and_train(level, bench(c05), line, 20, 6e-3, seed=s, batch_size=4)
                for s in (1, 1, 2)]
        weights = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in runs]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])


# --- Muon -------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(2, 24), st.integers(2, 24), st.floats(-4, 4), st.integers(0, 999))
def test_newton_schulz_guarda_as_direcoes_e_iguala_as_forcas(c05, m, n, power, seed):
    g = torch.Generator().manual_seed(seed)
    r = min(m, n)
    U = torch.linalg.qr(torch.randn(m, r, generator=g, dtype=torch.float64))[0]
    V = torch.linalg.qr(torch.randn(n, r, generator=g, dtype=torch.float64))[0]
    s = torch.rand(r, generator=g, dtype=torch.float64) * 0.9 + 0.1
    G = 10.0**power * (U * s) @ V.mT
    D = U.mT @ c05.orthogonalize(G) @ V
    torch.testing.assert_close(D, D.diag().diag(), atol=1e-6, rtol=0)
    assert 0.6 < D.diag().min() and D.diag().max() < 1.3
    line = (s / s.norm()).clone()
    for _ in range(5):
        line = 3.4445 * line - 4.7750 * line**3 + 2.0315 * line**5
    torch.testing.assert_close(D.diag(), line, atol=1e-6, rtol=1e-6)


def test_a_pilha_e_o_mesmo_que_uma_de_cada_vez_e_a_transposta_acompanha(c05):
    G = torch.randn(4, 20, 12)
    together = c05.orthogonalize(G)
    for one, each in zip(G, together, strict=True):
        torch.testing.assert_close(c05.orthogonalize(one), each, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(c05.orthogonalize(one.mT).mT, each, atol=1e-4, rtol=1e-3)
    assert not c05.orthogonalize(torch.zeros(3, 5)).any()


@pytest.mark.parametrize("shape", [(48, 16), (16, 48), (24, 24)])
def test_o_muon_e_o_do_pytorch(c05, shape):
    """O dele faz Newton–Schulz em 16 bits: comparamos o caminho, com folga de 3%."""
    g = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=g)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    a = c05.Muon([ours], lr=0.02, weight_decay=0.3, steps=5)
    b = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.3)
    for _ in range(4):
        grad = torch.randn(shape, generator=g)
        for p, optimizer in ((ours, a), (theirs, b)):
            p.grad = grad.clone()
            optimizer.step()
    walked = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.03 * walked


def test_o_muon_nao_toca_em_quem_nao_tem_gradiente(c05):
    still, moving = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))
    before = still.detach().clone()
    optimizer = c05.Muon([still, moving], lr=0.1, weight_decay=0.5)
    moving.grad = torch.randn(4, 4)
    optimizer.step()
    assert torch.equal(still, before)


# --- o otimizador de hoje ---------------------------------------------------------------


@pytest.mark.parametrize("muon_lr", [None, 0.02])
@pytest.mark.parametrize("kind", ["GPT", "ModernGPT"])
def test_cada_peso_em_um_grupo_e_cada_papel_com_a_sua_taxa(c05, kind, muon_lr):
    config = bench(c05) if kind == "GPT" else small(c05)
    model = getattr(c05, kind)(config)
    options = c05.TrainConfig(steps=10, warmup_steps=0, learning_rate=4e-3)
    optimizer = c05.make_modern_optimizer(model, options, muon_lr=muon_lr, embedding_lr=0.1,
                                          head_lr=0.01)
    grouped = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    rate = {id(p): g["lr_scale"] * options.learning_rate
            for g in optimizer.param_groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert rate[id(model.wte.weight)] == pytest.approx(0.1)
    matrix = model.h[0].mlp.c_fc.weight
    assert rate[id(matrix)] == pytest.approx(muon_lr or 4e-3)
    assert decay[id(matrix)] == options.weight_decay and decay[id(model.wte.weight)] == 0
    if kind == "ModernGPT":
        assert rate[id(model.lm_head.weight)] == pytest.approx(0.01)
        assert rate[id(model.bigrams.table.weight)] == pytest.approx(0.1)
        assert decay[id(model.bigrams.table.weight)] == model.bigrams.table.weight_decay > 0


@pytest.mark.parametrize("name", ["muon_lr", "embedding_lr", "head_lr"])
@pytest.mark.parametrize("rate", [0, -0.1, 30.0, math.nan, math.inf])
def test_taxas_impossiveis_sao_recusadas_em_portugues(c05, name, rate):
    model = c05.ModernGPT(small(c05))
    with pytest.raises(ValueError, match=f"{name}.*acima de 0"):
        c05.make_modern_optimizer(model, c05.TrainConfig(), **{name: rate})


def rehearse(c, path, seed, stop_at=None, muon_lr=0.02):
    torch.manual_seed(seed)
    model = c.ModernGPT(small(c, dropout=0.1))
    options = c.TrainConfig(steps=12, batch_size=2, warmup_steps=2, decay="linear",
                            eval_every=6, checkpoint_every=6)
    line = torch.randint(61, (1500,), generator=torch.Generator().manual_seed(0))
    history = c.train(model, line, options, line[:200], 300, checkpoint=path,
                      stop_at=stop_at, progress=False,
                      optimizer=c.make_modern_optimizer(model, options, muon_lr=muon_lr))
    return model, history


@pytest.mark.parametrize("stop_at", [1, 5, 6, 11])
def test_com_muon_cair_e_levantar_da_os_mesmos_bits(c05, tmp_path, stop_at):
    straight, full = rehearse(c05, tmp_path / "direto.pt", seed=1)
    rehearse(c05, tmp_path / "tombo.pt", seed=1, stop_at=stop_at)
    resumed, again = rehearse(c05, tmp_path / "tombo.pt", seed=999)
    for name, w in straight.state_dict().items():
        assert torch.equal(w, resumed.state_dict()[name]), name
    assert [{**r, "seconds": 0} for r in full] == [{**r, "seconds": 0} for r in again]


def test_o_estado_guarda_os_dois_e_o_de_outro_tipo_e_recusado(c05, tmp_path):
    model = c05.ModernGPT(small(c05))
    both = c05.make_modern_optimizer(model, c05.TrainConfig())
    model(ids()).sum().backward()
    both.step()
    torch.save(both.state_dict(), tmp_path / "estado.pt")
    read = torch.load(tmp_path / "estado.pt", weights_only=True)
    other = c05.make_modern_optimizer(model, c05.TrainConfig())
    other.load_state_dict(read)
    assert len(other.state_dict()["parts"]) == 2
    for a, b in zip(both.parts, other.parts, strict=True):
        assert a.state_dict()["state"].keys() == b.state_dict()["state"].keys()
        assert a.state_dict()["state"]
    alone = c05.make_modern_optimizer(model, c05.TrainConfig(), muon_lr=None)
    with pytest.raises(ValueError, match="outro tipo de otimizador"):
        both.load_state_dict(alone.state_dict())


def test_com_a_escala_do_fp16_o_passo_e_o_mesmo_e_o_infinito_e_pulado(c05):
    """O GradScaler divide os gradientes dos dois; se um estourou, nenhum dos dois anda."""
    torch.manual_seed(0)
    plain = awake(c05, small(c05))
    scaled = copy.deepcopy(plain)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    options = c05.TrainConfig()
    pair = [c05.make_modern_optimizer(m, options) for m in (plain, scaled)]
    for model, optimizer, s in ((plain, pair[0], None), (scaled, pair[1], scaler)):
        loss = F.cross_entropy(model(ids()).flatten(0, 1), ids(seed=2).flatten())
        (loss if s is None else s.scale(loss)).backward()
        if s is None:
            optimizer.step()
        else:
            s.unscale_(optimizer)
            s.step(optimizer)
            s.update()
        optimizer.zero_grad(set_to_none=True)
        assert all(p.grad is None for p in model.parameters())
    for a, b in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
    before = [p.detach().clone() for p in scaled.parameters()]
    scaler.scale(scaled(ids()).sum()).backward()
    scaled.wte.weight.grad[0, 0] = math.inf
    scaler.unscale_(pair[1])
    scaler.step(pair[1])
    scaler.update()
    for p, old in zip(scaled.parameters(), before, strict=True):
        assert torch.equal(p, old)


def test_decora_um_lote(c05):
    torch.manual_seed(0)
    model, x = c05.ModernGPT(small(c05)), ids(B=2)
    optimizer = c05.make_modern_optimizer(model, c05.TrainConfig())
    for _ in range(150):
        loss = F.cross_entropy(model(x)[:, :-1].flatten(0, 1), x[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.2


# --- o resultado gravado ----------------------------------------------------------------


def test_a_escada_gravada_tem_todos_os_degraus_e_as_mesmas_sementes(c05):
    import pecas

    result = json.loads((pecas.ROOT / c05.LADDER_PATH).read_text("utf-8"))
    assert list(result["medidas"]) == list(c05.LADDER)
    for measured in result["medidas"].values():
        assert [run["semente"] for run in measured["execuções"]] == result["sementes"]
        assert str(measured["taxa"]) in measured["ensaios"]
        assert {run["passos"] for run in measured["execuções"]} == {measured["passos"]}
        budget = result["tarefa"]["segundos_de_processador"]
        assert all(0.7 * budget < run["segundos"] < 1.3 * budget
                   for run in measured["execuções"])
    time, pace = (result["tarefa"][key] for key in
                  ("segundos_de_processador", "milissegundos_por_passo"))
    for measured, each in zip(result["medidas"].values(), pace, strict=True):
        assert abs(measured["passos"] * each / 1000 - time) < 0.02 * time
    first, last = (result["medidas"][n]["execuções"] for n in ("GPT-2", "memória de pares"))
    assert max(r["bits_por_byte"] for r in last) < min(r["bits_por_byte"] for r in first)
