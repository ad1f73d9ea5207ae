"""Os treinos doentes, o médico e a régua do capítulo 05."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

V = 64
LN_V = math.log(V)
PLAN = {"vocab_size": V, "context_length": 16, "d_model": 16, "n_head": 2, "n_layer": 2}


def language(n: int, seed: int = 0) -> torch.Tensor:
    """Uma língua de brinquedo: depois de cada token só vêm quatro, com chances fixas."""
    g = torch.Generator().manual_seed(1)
    after = torch.randint(V, (V, 4), generator=g).tolist()
    g.manual_seed(seed)
    ids, picks = [0], torch.multinomial(
        torch.tensor([0.5, 0.25, 0.15, 0.1]), n, replacement=True, generator=g)
    for k in picks.tolist():
        ids.append(after[ids[-1]][k])
    return torch.tensor(ids)


@pytest.fixture(scope="module")
def text():
    return language(40_000, seed=2), language(1_000, seed=3)


def options(c, **changes):
    return c.TrainConfig(**({"steps": 120, "batch_size": 8, "warmup_steps": 12,
                             "learning_rate": 1e-2, "embedding_lr_scale": 5} | changes))


def newborn(c, seed, **changes):
    return c.newborn(c.GPTConfig(**(PLAN | changes)), seed)


def epoch(ids, batch_size=8):
    return len(ids) / (batch_size * PLAN["context_length"])


def curve(train, val=None, every=10, rates=None, norms=None) -> list[dict]:
    """Uma história escrita à mão."""
    rates = rates or [1e-3] * len(train)
    rows = [{"step": 1 + every * i, "train_loss": x, "learning_rate": r}
            for i, (x, r) in enumerate(zip(train, rates, strict=True))]
    for key, values in (("val_loss", val), ("grad_norm", norms)):
        for row, value in zip(rows, values or [], strict=False):
            row[key] = value
    return rows


# --- a ficha -----------------------------------------------------------------------------


def test_observe_e_o_passo_do_capitulo(c05, text):
    """Sem doença, observe dá os mesmos pesos que train_step, bit a bit."""
    o = options(c05, steps=12, warmup_steps=2)
    seen, stepped = (newborn(c05, 5) for _ in range(2))
    history = c05.observe(seen, text[0], o, every=4)
    optimizer = c05.make_optimizer(stepped, o)
    tools = c05.mixed_precision(torch.device("cpu"))
    losses = [c05.train_step(stepped, optimizer, text[0], k, o, *tools) for k in range(12)]
    assert all(torch.equal(a, b) for a, b in zip(
        seen.parameters(), stepped.parameters(), strict=True))
    assert [row["step"] for row in history] == [1, 4, 8, 12]
    assert history[0]["train_loss"] == losses[0]
    assert history[1]["train_loss"] == pytest.approx(sum(losses[1:4]) / 3)
    assert history[-1]["learning_rate"] == c05.learning_rate_at(11, o)


def test_a_ficha_anota_a_norma_antes_do_corte_e_a_validacao_de_evaluate(c05, text):
    train, val = text
    o = options(c05, steps=2, warmup_steps=0, grad_clip=1e-6)
    model = newborn(c05, 5)
    [first, _] = c05.observe(model, train, o, val, every=2)
    fresh = newborn(c05, 5)
    assert first["val_loss"] == pytest.approx(c05.evaluate(fresh, val, 1).nats_per_token)
    x, y = c05.get_batch(train, 0, o.batch_size, 16, o.seed)
    torch.nn.functional.cross_entropy(fresh(x).flatten(0, 1), y.flatten()).backward()
    norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in fresh.parameters()))
    assert first["grad_norm"] == pytest.approx(norm, rel=1e-4)


def test_newborn_e_sempre_o_mesmo_e_zeroed_so_zera_o_que_se_pede(c05):
    a, b, other = newborn(c05, 5), newborn(c05, 5), newborn(c05, 6)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.wte.weight, other.wte.weight)
    half = c05.zeroed(b, "c_proj.weight")
    for (name, p), q in zip(half.named_parameters(), a.parameters(), strict=True):
        assert not p.any() if name.endswith("c_proj.weight") else torch.equal(p, q)
    assert not any(p.any() for p in c05.zeroed(a).parameters())


def test_o_lote_vazado_e_o_sadio_so_diferem_no_alvo(c05, text):
    x, y = c05.get_batch(text[0], 3, 4, 16, 9)
    leaked_x, leaked_y = c05.leaky_batch(text[0], 3, 4, 16, 9)
    assert torch.equal(x, leaked_x) and torch.equal(leaked_y, x)
    assert not torch.equal(y, leaked_y)


# --- os cinco, em outra língua, outro tamanho e outras sementes ---------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_os_sadios_nada_tem(c05, text, seed):
    train, val = text
    history = c05.observe(newborn(c05, seed), train, options(c05, seed=seed), val)
    assert history[-1]["val_loss"] < LN_V - 0.3
    assert c05.diagnose(history, V, epoch(train)) == {}


@pytest.mark.parametrize("seed", [0, 1])
def test_taxa_que_explode(c05, text, seed):
    o = options(c05, steps=60, learning_rate=0.5, embedding_lr_scale=30, seed=seed)
    history = c05.observe(newborn(c05, seed), text[0], o, text[1])
    assert list(c05.diagnose(history, V, epoch(text[0]))) == ["taxa alta"]


@pytest.mark.parametrize("seed", [0, 1])
def test_alvo_vazado(c05, text, seed):
    train, val = text
    model = newborn(c05, seed)
    history = c05.observe(model, train, options(c05, seed=seed), val, batch=c05.leaky_batch)
    assert list(c05.diagnose(history, V, epoch(train))) == ["alvo vazado"]
    shares = torch.bincount(train, minlength=V).double() / len(train)
    floor = -torch.special.xlogy(shares, shares).sum().item()
    assert c05.shuffled_loss(model, train, c05.leaky_batch) < 0.8 * floor
    assert c05.shuffled_loss(newborn(c05, seed), train, c05.get_batch) > 0.95 * floor


def test_tudo_em_zero(c05, text):
    history = c05.observe(c05.zeroed(newborn(c05, 0)), text[0], options(c05, steps=30))
    assert {row["grad_norm"] for row in history} == {0.0}
    assert all(abs(row["train_loss"] - LN_V) < 1e-5 for row in history)
    found = c05.diagnose(history, V, epoch(text[0]))
    assert list(found) == ["nada anda"] and "gradiente é zero" in found["nada anda"]


def test_pesos_que_nao_andam_sao_outra_frase(c05, text):
    o = options(c05, steps=30, learning_rate=1e-9)
    history = c05.observe(newborn(c05, 0), text[0][:600], o)
    found = c05.diagnose(history, V, epoch(text[0]))
    assert list(found) == ["nada anda"] and "otimizador" in found["nada anda"]


@pytest.mark.parametrize("seed", [0, 1])
def test_decorar(c05, text, seed):
    few = text[0][:700]
    o = options(c05, steps=240, seed=seed)
    history = c05.observe(newborn(c05, seed, d_model=32), few, o, text[1])
    assert list(c05.diagnose(history, V, epoch(few))) == ["decorou"]


# --- o médico, em curvas escritas ---------------------------------------------------------


def test_os_pacientes_inventados(c05):
    truth = c05.EXERCISES_05D["pacientes"].expected
    for letter in c05.PATIENTS:
        found = list(c05.diagnose(c05.patient_history(letter), 2048, 100))
        assert found == ([] if truth[letter] == "sadio" else [truth[letter]]), letter


@settings(max_examples=200)
@given(st.integers(2, 60_000), st.integers(3, 30), st.floats(0.05, 0.6),
       st.floats(0, 0.3), st.floats(0.5, 50), st.booleans(), st.integers(0, 10**6))
def test_curva_que_so_desce_com_a_validacao_ao_lado_e_sadia(
        c05, vocab, n, share, noise, epochs, warm, seed):
    """De ln V até uma fração dele, com ruído; a validação anda junto."""
    start = math.log(vocab)
    if start * (1 - share) < 1.4:                    # abaixo de 1 nat seria bom demais
        return
    g = torch.Generator().manual_seed(seed)
    fall = 1 - torch.exp(-torch.linspace(0, 3, n))
    wiggle = (torch.rand(2, n, generator=g) - 0.5) * noise
    train = (start - start * share * fall + wiggle[0].clamp(max=0.1)).tolist()
    val = (start - start * share * fall + 0.05 * wiggle[1]).tolist()
    if max(train) - min(train) <= 0.02:
        return
    rates = [1e-4 if warm and i == 0 else 1e-3 for i in range(n)]
    history = curve(train, val, rates=rates)
    assert c05.diagnose(history, vocab, history[-1]["step"] / epochs) == {}


@given(st.integers(0, 5), st.sampled_from(["train_loss", "val_loss"]),
       st.sampled_from([math.nan, math.inf]))
def test_um_nao_numero_em_qualquer_lugar_encerra_a_consulta(c05, where, key, value):
    history = c05.patient_history("D")
    history[where][key] = value
    found = c05.diagnose(history, 2048, 100)
    assert list(found) == ["não é número"]
    assert f"no passo {history[where]['step']} " in found["não é número"]


def test_a_mesma_distancia_depois_da_primeira_epoca_nao_e_vazamento(c05):
    train, val = [7.6, 6.0, 5.0, 4.2, 3.4], [7.6, 6.1, 5.6, 5.5, 5.7]
    late = c05.diagnose(curve(train, val), 2048, steps_per_epoch=15)
    early = c05.diagnose(curve(train, val), 2048, steps_per_epoch=45)
    assert list(late) == ["decorou"] and list(early) == ["alvo vazado"]


def test_vazamento_sem_validacao_ou_com_ela_tambem_vazada(c05):
    train = [7.6, 4.0, 1.5, 0.6, 0.3]
    for val in (None, train):
        assert list(c05.diagnose(curve(train, val), 2048, 1000)) == ["alvo vazado"]
    assert c05.diagnose(curve(train), 2048, steps_per_epoch=5) == {}    # deu para decorar


def test_largada_e_taxa_se_separam_pelo_fim_e_pela_agenda(c05):
    fall = [7.6, 9.0, 7.4, 6.9, 6.6, 6.4, 6.3, 6.2, 6.1]
    climb = [7.6, 9.0, 9.5, 9.1, 9.2, 9.0, 9.1, 9.0, 9.1]
    warm = [1e-4, 5e-4] + [1e-3] * 7
    assert list(c05.diagnose(curve(fall), 2048, 1000)) == ["sem aquecimento"]
    assert list(c05.diagnose(curve(climb), 2048, 1000)) == ["taxa alta"]
    assert list(c05.diagnose(curve(climb, rates=warm), 2048, 1000)) == ["taxa alta"]
    assert c05.diagnose(curve(fall, rates=warm), 2048, 1000) == {}


def test_um_vale_raso_na_validacao_nao_e_decoreba(c05):
    train, val = [7.6, 6.0, 5.5, 5.2, 4.7], [7.6, 6.0, 5.60, 5.58, 5.62]
    assert c05.diagnose(curve(train, val), 2048, 5) == {}


def test_poucas_avaliacoes_nao_derrubam_o_medico(c05):
    """Com três avaliações nenhuma cai no primeiro quarto do treino."""
    for losses in ([6.5, 6.2, 6.0], [7.0, 6.0, 5.5]):
        rows = curve(losses, losses, every=240)
        for row in rows:
            row["step"] += 239                        # a primeira avaliação no passo 240
        assert c05.diagnose(rows, 2048, 1e9) == {}


def test_a_historia_de_train_serve(c05, text):
    """As linhas de train (sem a norma, com outras colunas) se leem do mesmo jeito."""
    train, val = text
    model = newborn(c05, 3)
    o = options(c05, eval_every=10)
    history = c05.train(model, train, o, val, val_bytes=1000, progress=False)
    assert c05.diagnose(history, V, epoch(train)) == {}
    chart = c05.read_chart(history, V, epoch(train))
    assert chart.norm == [] and len(chart.val) == len(history)


@pytest.mark.parametrize("history, vocab, per_epoch, words", [
    ([], 2048, 100, "menos de 3"),
    (curve([7.0, 6.0]), 2048, 100, "menos de 3"),
    ([{"step": 1}] * 3, 2048, 100, "train_loss"),
    (curve([7, 6, 5]) + curve([7, 6, 5]), 2048, 100, "dois treinos"),
    (curve([7, 6, 5])[::-1], 2048, 100, "em ordem"),
    (curve([7, 6, 5]), 1, 100, "vocab_size"),
    (curve([7, 6, 5]), 2048, 0, "steps_per_epoch"),
    (curve([7, 6, 5]), 2048, math.nan, "steps_per_epoch"),
])
def test_o_medico_recusa_o_que_nao_e_historia(c05, history, vocab, per_epoch, words):
    with pytest.raises(ValueError, match=words):
        c05.diagnose(history, vocab, per_epoch)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=40))
def test_o_ponto_mais_alto_e_o_da_curva_inteira(c05, losses):
    assert c05.highest([{"train_loss": x} for x in losses]) == sorted(losses)[-1]


# --- a régua ------------------------------------------------------------------------------


RUNGS = [{"bits_por_byte": b} for b in (3.0, 2.2, 1.8, 1.5)]
TRAININGS = [{"tokens": n, "execuções": [{"bits_por_byte": b + d} for d in (-0.05, 0, 0.1)]}
             for n, b in ((400_000, 1.7), (100_000, 2.5), (1_600_000, 1.5))]


@given(st.floats(0, 5))
def test_o_degrau_alcancado(c05, bits):
    got = c05.nearest_rung(bits, RUNGS)["bits_por_byte"]
    above = [r["bits_por_byte"] for r in RUNGS if r["bits_por_byte"] >= bits]
    assert got == (min(above) if above else 3.0)


def test_a_faixa_passa_pelos_pontos_gravados_e_para_nas_pontas(c05):
    for t in TRAININGS:
        values = [run["bits_por_byte"] for run in t["execuções"]]
        assert c05.expected_bits(t["tokens"], TRAININGS) == pytest.approx(
            (min(values), max(values)))
    assert c05.expected_bits(1, TRAININGS) == c05.expected_bits(100_000, TRAININGS)
    assert c05.expected_bits(1e12, TRAININGS) == c05.expected_bits(1_600_000, TRAININGS)
    assert c05.expected_bits(200_000, TRAININGS) == pytest.approx((2.05, 2.2))


@settings(max_examples=30)
@given(st.floats(1e5, 1.6e6), st.floats(1e5, 1.6e6))
def test_mais_tokens_nunca_esperam_nota_pior(c05, a, b):
    (low_a, high_a), (low_b, high_b) = (c05.expected_bits(n, TRAININGS)
                                        for n in sorted((a, b)))
    assert low_b <= low_a + 1e-12 and high_b <= high_a + 1e-12


def test_as_operacoes_sao_as_que_o_pytorch_conta(c05):
    """O contador do PyTorch conta 2 por multiplicação, na ida; o treino faz três vezes."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = c05.GPTConfig(**(PLAN | {"d_model": 32, "n_layer": 3}))
    model = c05.GPT(config)
    ids = torch.zeros(2, config.context_length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(ids)
    per_token = 3 * counter.get_total_flops() / ids.numel()
    assert c05.flops_per_token(model) == pytest.approx(per_token, rel=0.01)


def test_a_linha_da_tabela_avisa_quando_sai_do_gravado(c05):
    inside = c05.expectation("x", 1_000, 10_000, 100, TRAININGS)
    beyond = c05.expectation("x", 1_000, 1e6, 100, TRAININGS)
    assert "ou menos" not in inside and beyond.endswith("ou menos")
