"""O treino: cada conta contra a sua definição, e a retomada contra quem não parou."""

import copy
import math
import os
import pickle
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pecas import ROOT

V, T = 40, 8
SMALL = {"vocab_size": V, "context_length": T, "d_model": 16, "n_head": 2, "n_layer": 2}


def build(c, seed=0, **changes):
    torch.manual_seed(seed)
    return c.GPT(c.GPTConfig(**(SMALL | changes)))


def text_ids(n=400, seed=1) -> torch.Tensor:
    """Um 'texto' com alguma regularidade, para que haja o que aprender."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 3, (n,), generator=g)
    return (torch.arange(n) * 3 + noise) % V


def config(c, **changes):
    base = {"steps": 12, "batch_size": 4, "warmup_steps": 3, "eval_every": 4,
            "checkpoint_every": 3, "learning_rate": 1e-2}  # fmt: skip
    return c.TrainConfig(**(base | changes))


# --- a taxa de aprendizado -------------------------------------------------------------


def test_a_taxa_sobe_em_reta_e_desce_em_cosseno(c05):
    cfg = c05.TrainConfig(steps=110, warmup_steps=10, learning_rate=0.01, min_lr_ratio=0.1)
    rate = [c05.learning_rate_at(s, cfg) for s in range(111)]
    assert rate[0] == pytest.approx(0.001)
    assert rate[4] == pytest.approx(0.005)
    assert rate[9] == pytest.approx(0.01)
    assert rate[10] == pytest.approx(0.01) == max(rate)
    assert rate[60] == pytest.approx((0.01 + 0.001) / 2)
    assert rate[110] == pytest.approx(0.001) == min(rate)
    assert rate[:10] == sorted(rate[:10]) and rate[10:] == sorted(rate[10:], reverse=True)


def test_a_descida_e_a_do_cosineannealinglr(c05):
    cfg = c05.TrainConfig(steps=50, warmup_steps=0, learning_rate=0.02, min_lr_ratio=0.25)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=0.005)
    for step in range(50):
        assert c05.learning_rate_at(step, cfg) == pytest.approx(oracle.get_last_lr()[0])
        optimizer.step()
        oracle.step()


def test_a_taxa_da_conta_e_a_taxa_usada(c05, monkeypatch):
    cfg, model, used = config(c05), build(c05), []
    make = c05.make_optimizer

    def spy(*args, **kwargs):
        optimizer = make(*args, **kwargs)
        optimizer.register_step_pre_hook(
            lambda opt, *_: used.append([g["lr"] / g["lr_scale"] for g in opt.param_groups])
        )
        return optimizer

    monkeypatch.setattr(c05, "make_optimizer", spy)
    history = c05.train(model, text_ids(), cfg, progress=False)
    expected = [c05.learning_rate_at(s, cfg) for s in range(cfg.steps)]
    assert len(used) == cfg.steps
    for rates, rate in zip(used, expected, strict=True):
        assert rates == pytest.approx([rate] * len(rates))
    assert [row["learning_rate"] for row in history] == [expected[s - 1] for s in (4, 8, 12)]


# --- os lotes --------------------------------------------------------------------------


@given(
    n=st.integers(2 * T + 1, 300), batch=st.integers(1, 9),
    index=st.integers(0, 200), seed=st.integers(0, 9999),
)  # fmt: skip
def test_o_lote_e_do_texto_e_o_alvo_vem_um_depois(c05, n, batch, index, seed):
    ids = torch.arange(n) * 10
    x, y = c05.get_batch(ids, index, batch, T, seed)
    again = c05.get_batch(ids, index, batch, T, seed)
    assert torch.equal(x, again[0]) and torch.equal(y, again[1])
    assert x.shape == y.shape == (batch, T)
    assert torch.equal(y, x + 10)  # o vizinho seguinte, em toda posição
    assert torch.equal(x - x[:, :1], (torch.arange(T) * 10).expand(batch, T))
    assert 0 <= x.min() and y.max() < n * 10


@pytest.mark.parametrize(("n", "batch"), [(8 * 13 + 1, 4), (8 * 13 + 7, 3), (8 * 9 + 1, 8)])
def test_numa_epoca_nenhuma_janela_se_repete(c05, n, batch):
    ids, seed = torch.arange(n), 5
    windows = (n - 1) // T - 1
    per_epoch = windows // batch
    orders = []
    for epoch in range(3):
        batches = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        starts = torch.cat([c05.get_batch(ids, i, batch, T, seed)[0][:, 0] for i in batches])
        offset = starts.min() % T
        seen = sorted(((starts - offset) // T).tolist())
        assert len(set(seen)) == per_epoch * batch  # sem repetir
        assert set(seen) <= set(range(windows))
        assert len(seen) > windows - batch  # e só o resto da divisão fica de fora
        if windows % batch == 0:
            assert seen == list(range(windows))
        orders.append(starts.tolist())
    assert orders[0] != orders[1] != orders[2], "cada época tem a sua ordem"


def test_ao_longo_das_epocas_as_janelas_mudam_de_lugar(c05):
    ids = torch.arange(8 * 9 + 1)
    starts = {int(s) % T for i in range(40) for s in c05.get_batch(ids, i, 8, T, 5)[0][:, 0]}
    assert starts == set(range(T))


def test_sementes_diferentes_lotes_diferentes(c05):
    ids = torch.arange(400)
    batches = [c05.get_batch(ids, 0, 8, T, seed)[0] for seed in range(5)]
    assert not any(torch.equal(batches[0], other) for other in batches[1:])


def test_o_lote_nao_mexe_no_sorteio_global(c05):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    c05.get_batch(text_ids(), 7, 4, T, 1)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("n", [0, 1, T, T + 1, 2 * T])
def test_texto_mais_curto_que_o_contexto_e_recusado(c05, n):
    with pytest.raises(ValueError, match="(?s)tokens.*contexto.*[Uu]se mais texto"):
        c05.get_batch(torch.arange(n), 0, 2, T, 1)
    with pytest.raises(ValueError, match="tokens"):
        c05.train(build(c05), torch.arange(n), config(c05), progress=False)


# --- um passo --------------------------------------------------------------------------


def one_step(c, model, cfg, step=0):
    """Um passo com SGD: o quanto os pesos andam é o gradiente, sem disfarce."""
    groups = [{"params": list(model.parameters()), "lr_scale": 1.0}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    autocast, scaler = c.mixed_precision(torch.device("cpu"))
    return c.train_step(model, optimizer, text_ids(), step, cfg, autocast, scaler)


def test_somar_lotes_da_o_lote_grande(c05):
    ids = text_ids()
    assert ((len(ids) - 1) // T - 1) % 8 == 0, "o exemplo precisa de épocas sem resto"
    results = []
    for batch, accumulation in [(8, 1), (4, 2), (2, 4)]:
        model = build(c05).double().train()
        cfg = config(c05, batch_size=batch, accumulation=accumulation, grad_clip=1e9)
        loss = one_step(c05, model, cfg, step=2)
        results.append((loss, torch.cat([p.flatten() for p in model.parameters()])))
    for loss, weights in results[1:]:
        assert loss == pytest.approx(results[0][0], abs=1e-12)
        torch.testing.assert_close(weights, results[0][1], atol=1e-12, rtol=1e-12)


def test_a_perda_do_passo_e_a_do_lote(c05):
    model, cfg = build(c05).train(), config(c05)
    x, y = c05.get_batch(text_ids(), 5, 4, T, cfg.seed)
    expected = F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item()
    assert one_step(c05, model, cfg, step=5) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("clip", "moved"), [(1e-3, 1e-3), (1e9, None)])
def test_o_gradiente_e_cortado_pela_norma(c05, clip, moved):
    model, cfg = build(c05).train(), config(c05, grad_clip=clip, warmup_steps=0)
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    one_step(c05, model, cfg)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    norm = (after - before).norm().item() / cfg.learning_rate
    if moved is None:
        assert norm > 0.05
    else:
        assert norm == pytest.approx(moved, rel=0.02)


def test_os_gradientes_sao_zerados_entre_os_passos(c05):
    """Dois passos seguidos não podem somar o gradiente velho ao novo."""
    a, b = build(c05).train(), build(c05).train()
    cfg = config(c05, grad_clip=1e9)
    one_step(c05, a, cfg, step=4)
    one_step(c05, a, cfg, step=5)
    one_step(c05, b, cfg, step=4)
    for p in b.parameters():
        p.grad = None
    one_step(c05, b, cfg, step=5)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def optimizer_of(c, model, **changes):
    """O otimizador do curso, com a taxa 0,1 posta à mão em todos os grupos."""
    optimizer = c.make_optimizer(model, config(c, **changes))
    for group in optimizer.param_groups:
        group["lr"] = 0.1 * group["lr_scale"]
    return optimizer


def test_so_as_matrizes_dos_blocos_encolhem(c05):
    model = build(c05)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = optimizer_of(c05, model, weight_decay=0.5)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        shrinks = p.ndim >= 2 and name.startswith("h.")
        expected = before[name] * (1 - 0.1 * 0.5) if shrinks else before[name]
        torch.testing.assert_close(p.detach(), expected, msg=name)


def test_as_tabelas_andam_mais_depressa(c05):
    """No primeiro passo do AdamW cada peso anda a sua taxa: na tabela, 7 vezes a dos outros."""
    model = build(c05)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = optimizer_of(c05, model, weight_decay=0.0, embedding_lr_scale=7.0)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        moved = 0.7 if name.startswith(("wte", "wpe")) else 0.1
        torch.testing.assert_close(p.detach(), before[name] - moved, msg=name)


def test_o_otimizador_e_o_adamw_do_pytorch_com_cada_peso_uma_vez(c05):
    model = build(c05)
    optimizer = c05.make_optimizer(model, config(c05))
    assert isinstance(optimizer, torch.optim.AdamW)
    grouped = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert sorted(grouped) == sorted(map(id, model.parameters()))
    assert len(grouped) == len(set(grouped))


def test_a_perda_que_explode_para_o_treino_com_um_diagnostico(c05, tmp_path):
    path = tmp_path / "ck.pt"
    cfg = config(c05)
    model = build(c05)
    c05.train(model, text_ids(), cfg, checkpoint=path, stop_at=6, progress=False)
    sick = build(c05)
    saved = path.read_bytes()

    def poison(module, inputs, output):
        return output * float("nan")

    sick.register_forward_hook(poison)
    with pytest.raises(ValueError, match="(?s)passo 6.*learning_rate") as caught:
        c05.train(sick, text_ids(), cfg, checkpoint=path, progress=False)
    assert "nan" in str(caught.value)
    assert path.read_bytes() == saved, "o último checkpoint bom foi perdido"


def test_um_passo_doente_nao_estraga_os_pesos(c05):
    model, cfg = build(c05).train(), config(c05)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    handle = model.register_forward_hook(lambda m, i, out: out * float("inf"))
    with pytest.raises(ValueError, match="divergiu|explodiu|infinit|nan"):
        one_step(c05, model, cfg)
    handle.remove()
    assert all(torch.equal(before[n], p) for n, p in model.state_dict().items())


# --- a avaliação -----------------------------------------------------------------------


def brute_force(model, ids, stride: int) -> tuple[float, int]:
    """Nats do texto inteiro, um alvo de cada vez.

    As janelas terminam em T, T + passo, …, e no fim do texto; o alvo j é previsto na
    primeira janela que o alcança, com tudo o que ela mostra antes dele.
    """
    n, total, count = len(ids), 0.0, 0
    context = model.config.context_length
    ends = [e for e in range(min(context, n - 1), n, stride)]
    ends = ends if ends[-1] == n - 1 else [*ends, n - 1]
    for j in range(1, n):
        end = next(e for e in ends if e >= j)
        seen = ids[max(0, end - context) : j]
        with torch.no_grad():
            logits = model(seen[None])[0, -1].double()
        total -= logits.log_softmax(-1)[ids[j]].item()
        count += 1
    return total, count


@pytest.mark.parametrize("n", [2, 3, T, T + 1, T + 2, 2 * T + 1, 37, 70])
@pytest.mark.parametrize("stride", [None, 1, 3, T])
def test_a_avaliacao_e_a_soma_token_por_token(c05, n, stride):
    model, ids = build(c05).eval(), text_ids(n, seed=4)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(3)) * 0.1)
    total, count = brute_force(model, ids, stride or T // 2)
    result = c05.evaluate(model, ids, n_bytes=123, stride=stride)
    assert (result.n_tokens, result.n_bytes) == (count, 123) == (n - 1, 123)
    assert result.nats_per_token == pytest.approx(total / count, abs=1e-5)
    assert result.bits_per_byte == pytest.approx(total / math.log(2) / 123, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_a_avaliacao_nao_depende_do_lote(c05, batch_size):
    model, ids = build(c05), text_ids(101)
    a = c05.evaluate(model, ids, 300)
    b = c05.evaluate(model, ids, 300, batch_size=batch_size)
    assert a.n_tokens == b.n_tokens == 100
    assert a.nats_per_token == pytest.approx(b.nats_per_token, abs=1e-6)


@pytest.mark.parametrize("where", [1, 50, 99, 100])
def test_a_avaliacao_le_ate_o_ultimo_token(c05, where):
    model, ids = build(c05), text_ids(101)
    other = ids.clone()
    other[where] = (other[where] + 17) % V
    a, b = (c05.evaluate(model, x, 300).nats_per_token for x in (ids, other))
    assert a != b


def test_um_modelo_que_nao_sabe_nada_gasta_log_v(c05):
    model = build(c05)
    with torch.no_grad():
        model.wte.weight.zero_()
    result = c05.evaluate(model, text_ids(101), n_bytes=250)
    assert result.nats_per_token == pytest.approx(math.log(V), abs=1e-5)
    assert result.bits_per_byte == pytest.approx(100 * math.log2(V) / 250, abs=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_avaliacao_nao_deixa_rastro(c05, training):
    model = build(c05, dropout=0.5).train(training)
    torch.manual_seed(8)
    expected = torch.rand(3)
    torch.manual_seed(8)
    a = c05.evaluate(model, text_ids(60), 100)
    assert torch.equal(torch.rand(3), expected), "a avaliação gastou números aleatórios"
    assert model.training is training
    assert all(p.grad is None for p in model.parameters())
    assert a == c05.evaluate(model, text_ids(60), 100), "havia dropout na avaliação"


def test_a_avaliacao_interrompida_devolve_o_modo(c05):
    model = build(c05).train()
    with pytest.raises(ValueError):
        c05.evaluate(model, torch.full((30,), V + 5), 100)
    assert model.training


@pytest.mark.parametrize("ids", [[], [3]])
def test_avaliar_texto_vazio_e_recusado(c05, ids):
    with pytest.raises(ValueError, match="(?i)vazi|curto"):
        c05.evaluate(build(c05), torch.tensor(ids, dtype=torch.long), 10)


def test_avaliar_sem_bytes_e_recusado(c05):
    with pytest.raises(ValueError):
        c05.evaluate(build(c05), text_ids(20), 0)


@pytest.mark.parametrize("stride", [-1, T + 1])
def test_passo_de_avaliacao_impossivel(c05, stride):
    with pytest.raises(ValueError, match="stride"):
        c05.evaluate(build(c05), text_ids(20), 10, stride=stride)


# --- o treino inteiro ------------------------------------------------------------------


def test_o_treino_aprende_e_conta_a_historia(c05):
    model, ids = build(c05), text_ids(600)
    cfg = config(c05, steps=60, eval_every=20, batch_size=8)
    before = c05.evaluate(model, ids[400:], 500).bits_per_byte
    history = c05.train(model, ids[:400], cfg, ids[400:], 500, progress=False)
    assert [row["step"] for row in history] == [20, 40, 60]
    after = c05.evaluate(model, ids[400:], 500).bits_per_byte
    assert after < before - 0.5
    assert after == min(row["bits_per_byte"] for row in history)
    for row in history:
        assert {"step", "train_loss", "learning_rate", "val_loss"} <= set(row)


def test_fica_com_os_pesos_da_melhor_avaliacao(c05, monkeypatch):
    """A avaliação piora de propósito depois da segunda: o fim volta a ela."""
    model, cfg = build(c05), config(c05)
    scores, weights = iter([3.0, 1.0, 2.0]), []

    def fake(model, *args, **kwargs):
        weights.append(copy.deepcopy(model.state_dict()))
        score = next(scores)
        return c05.Evaluation(score, score, 10, 10)

    monkeypatch.setattr(c05, "evaluate", fake)
    c05.train(model, text_ids(), cfg, text_ids(50), 50, progress=False)
    state = model.state_dict()
    assert all(torch.equal(state[n], weights[1][n]) for n in state)
    assert not all(torch.equal(state[n], weights[2][n]) for n in state)


def test_mesma_semente_mesmo_treino(c05):
    runs = []
    for _ in range(2):
        torch.rand(7)  # o sorteio de antes não importa
        model = build(c05, dropout=0.3)
        torch.rand(3)
        c05.train(model, text_ids(), config(c05), progress=False)
        runs.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*runs)


def test_a_barra_de_progresso_aparece_e_se_cala(c05, capsys):
    c05.train(build(c05), text_ids(), config(c05), progress=False)
    assert capsys.readouterr().err == ""
    c05.train(build(c05), text_ids(), config(c05), progress=True)
    assert "12/12" in capsys.readouterr().err


# --- guardar e retomar -----------------------------------------------------------------


def assert_same(a, b, where="estado"):
    """Igualdade bit a bit de estruturas com tensores; o relógio não conta."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor) and torch.equal(a, b), where
    elif isinstance(a, dict):
        assert set(a) == set(b), where
        for key in set(a) - {"seconds"}:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


RESUME = {"accumulation": 2, "batch_size": 2, "steps": 12, "checkpoint_every": 5}


def run(c, path, stop_at=None, **changes):
    """Um treino de dropout ligado e lotes somados, com avaliação e checkpoint."""
    ids, model = text_ids(500), build(c, dropout=0.2)
    history = c.train(
        model, ids[:400], config(c, **(RESUME | changes)), ids[400:], 200,
        checkpoint=path, stop_at=stop_at, progress=False,
    )  # fmt: skip
    return model, history


@pytest.fixture(scope="module")
def uninterrupted(c05, tmp_path_factory):
    """O treino que nunca parou: modelo, história e último checkpoint."""
    path = tmp_path_factory.mktemp("inteiro") / "ck.pt"
    model, history = run(c05, path)
    return model.state_dict(), history, c05.load_checkpoint(path)


def assert_as_uninterrupted(c, path, model, history, uninterrupted):
    weights, expected_history, expected_state = uninterrupted
    assert_same(model.state_dict(), weights, "modelo")
    assert_same(history, expected_history, "história")
    assert_same(c.load_checkpoint(path), expected_state, "checkpoint")


@pytest.mark.parametrize("stops", [[1], [3], [4], [5], [6], [11], [2, 7], [1, 2, 3, 9, 10]])
def test_retomar_continua_bit_a_bit(c05, tmp_path, uninterrupted, stops):
    path = tmp_path / "ck.pt"
    for stop in stops:
        _, history = run(c05, path, stop_at=stop)
        assert c05.load_checkpoint(path)["step"] == stop
        assert len(history) == stop // 4
        torch.manual_seed(random.randrange(2**31))  # o mundo lá fora não importa
    model, history = run(c05, path)
    assert_as_uninterrupted(c05, path, model, history, uninterrupted)


def test_interrompido_no_teclado_entre_dois_passos(c05, tmp_path, uninterrupted, monkeypatch):
    path, step = tmp_path / "ck.pt", c05.train_step

    def stop_at_eight(model, optimizer, ids, number, *args, **kwargs):
        if number == 8:
            raise KeyboardInterrupt
        return step(model, optimizer, ids, number, *args, **kwargs)

    monkeypatch.setattr(c05, "train_step", stop_at_eight)
    with pytest.raises(KeyboardInterrupt):
        run(c05, path)
    monkeypatch.undo()
    assert c05.load_checkpoint(path)["step"] == 5
    model, history = run(c05, path)
    assert_as_uninterrupted(c05, path, model, history, uninterrupted)


def test_retomar_um_treino_terminado_nao_treina_mais(c05, tmp_path, uninterrupted):
    path = tmp_path / "ck.pt"
    run(c05, path)
    saved = path.read_bytes()
    model, history = run(c05, path)
    assert_as_uninterrupted(c05, path, model, history, uninterrupted)
    assert path.read_bytes() == saved


def test_a_pasta_que_falta_e_criada(c05, tmp_path):
    path = tmp_path / "nova" / "pasta" / "ck.pt"
    run(c05, path, stop_at=5)
    assert c05.load_checkpoint(path)["step"] == 5
    assert [p.name for p in path.parent.iterdir()] == ["ck.pt"], "sobrou um pedaço"


# Um processo filho treina; as suas gravações param no ponto em que o pai quer matá-lo.
CHILD = """
import io, os, sys, time
sys.path.insert(0, {tests!r})
import pecas, torch
torch.set_num_threads({threads})
c = pecas.lift(pecas.notebooks()["05"])
import test_treino as here
where, number = {where!r}, {number}
counts = dict(save=0, replace=0)
def stop():
    print("no meio", flush=True)
    time.sleep(600)
real_save, real_replace = torch.save, os.replace
def save(state, f, *args, **kwargs):
    counts["save"] += 1
    if where == "metade" and counts["save"] == number:
        whole = io.BytesIO()
        real_save(state, whole)
        f = f if hasattr(f, "write") else open(f, "wb")
        f.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        f.flush()
        stop()
    return real_save(state, f, *args, **kwargs)
def replace(*args, **kwargs):
    counts["replace"] += 1
    if where == "antes da troca" and counts["replace"] == number:
        stop()
    real_replace(*args, **kwargs)
    if where == "depois da troca" and counts["replace"] == number:
        stop()
torch.save, os.replace = save, replace
print("pronto", flush=True)
here.run(c, {path!r}, **{changes!r})
print("fim", flush=True)
"""


def start_child(path, where="", number=0, **changes):
    code = textwrap.dedent(CHILD).format(
        tests=str(ROOT / "tests"), threads=torch.get_num_threads(), where=where,
        number=number, path=str(path), changes=changes,
    )  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
    )  # fmt: skip


def wait_for(child, word: str) -> None:
    for line in child.stdout:
        if line.strip() == word:
            return
    raise AssertionError(f"o filho terminou sem dizer {word!r}")


@pytest.mark.parametrize(
    ("where", "survives"), [("metade", 5), ("antes da troca", 5), ("depois da troca", 10)]
)
def test_morto_com_sigkill_no_meio_da_gravacao(c05, tmp_path, uninterrupted, where, survives):
    path = tmp_path / "ck.pt"
    child = start_child(path, where, number=2)
    try:
        wait_for(child, "no meio")
    finally:
        child.kill()  # SIGKILL: sem aviso, sem despedida
        child.wait()
        child.stdout.close()
    assert child.returncode != 0
    assert c05.load_checkpoint(path)["step"] == survives
    model, history = run(c05, path)
    assert_as_uninterrupted(c05, path, model, history, uninterrupted)
    assert [p.name for p in tmp_path.iterdir()] == ["ck.pt"], "sobrou um pedaço"


def test_morto_em_momentos_ao_acaso(c05, tmp_path):
    """Gravando a cada passo, morto três vezes sem hora marcada: sempre há um inteiro."""
    changes = {"steps": 4000, "checkpoint_every": 1, "eval_every": 100}
    path, reached = tmp_path / "ck.pt", 0
    for _ in range(3):
        child = start_child(path, **changes)
        try:
            wait_for(child, "pronto")
            while not path.exists():
                time.sleep(0.02)
                assert child.poll() is None, "o filho morreu sozinho"
            time.sleep(random.uniform(0.1, 0.7))
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        step = c05.load_checkpoint(path)["step"]
        assert step >= reached
        reached = step
    end = min(reached + 3, 4000)
    run(c05, path, stop_at=end, **changes)
    whole = tmp_path / "inteiro.pt"
    run(c05, whole, stop_at=end, **changes | {"checkpoint_every": 1})
    assert_same(c05.load_checkpoint(path), c05.load_checkpoint(whole), "checkpoint")


# --- checkpoints que se recusam --------------------------------------------------------


@pytest.fixture
def checkpoint(c05, tmp_path):
    path = tmp_path / "ck.pt"
    run(c05, path, stop_at=5)
    return path


def refuse(c, path, says, **changes):
    """Retomar é recusado com uma frase, e nada se perde: nem arquivo, nem pesos."""
    before = path.read_bytes()
    model = build(c, dropout=0.2)
    weights = copy.deepcopy(model.state_dict())
    ids = text_ids(500)
    with pytest.raises(ValueError, match=says):
        c.train(
            model, ids[:400], config(c, **(RESUME | changes)), ids[400:], 200,
            checkpoint=path, progress=False,
        )  # fmt: skip
    assert path.read_bytes() == before
    assert_same(model.state_dict(), weights)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.999])
def test_checkpoint_cortado_e_recusado(c05, checkpoint, fraction):
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: int(len(whole) * fraction)])
    refuse(c05, checkpoint, "(?s)ck.pt.*cortado")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"oi", b"\x80\x04N.", b"PK\x03\x04" + b"0" * 99])
def test_checkpoint_estranho_e_recusado(c05, checkpoint, content):
    checkpoint.write_bytes(content)
    refuse(c05, checkpoint, "ck.pt")


@pytest.mark.parametrize("state", [{}, {"format": "outro/1"}, [1, 2], {"model": {}}, 3])
def test_arquivo_do_torch_que_nao_e_checkpoint_e_recusado(c05, checkpoint, state):
    torch.save(state, checkpoint)
    refuse(c05, checkpoint, "ck.pt.*(não é um checkpoint|checkpoint deste curso)")


@pytest.mark.parametrize("missing", ["model", "optimizer", "step", "history", "rng"])
def test_checkpoint_a_que_falta_uma_parte_e_recusado(c05, checkpoint, missing):
    state = torch.load(checkpoint, weights_only=True)
    del state[missing]
    torch.save(state, checkpoint)
    refuse(c05, checkpoint, "(?i)checkpoint|falta")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"learning_rate": 0.02}, "learning_rate"),
        ({"steps": 13}, "steps: 12.*13"),
        ({"seed": 1}, "seed"),
        ({"accumulation": 1}, "accumulation"),
    ],
)
def test_checkpoint_de_outro_treino_e_recusado(c05, checkpoint, changes, says):
    refuse(c05, checkpoint, f"(?s)outra configuração.*{says}", **changes)


def test_checkpoint_de_outro_modelo_e_recusado(c05, checkpoint):
    before = checkpoint.read_bytes()
    model = build(c05, dropout=0.2, d_model=32)
    weights = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="(?s)outra configuração.*d_model: 16.*32"):
        c05.train(
            model, text_ids(400), config(c05, **RESUME), checkpoint=checkpoint, progress=False
        )
    assert checkpoint.read_bytes() == before
    assert_same(model.state_dict(), weights)


class Bomb:
    """Ao ser aberto por um pickle descuidado, cria um arquivo."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_checkpoint_com_codigo_dentro_nao_e_executado(c05, checkpoint, tmp_path, kind):
    mark = tmp_path / "executado"
    state = torch.load(checkpoint, weights_only=True) | {"history": Bomb(mark)}
    if kind == "torch":
        torch.save(state, checkpoint)
    else:
        checkpoint.write_bytes(pickle.dumps(Bomb(mark)))
    refuse(c05, checkpoint, "ck.pt")
    assert not mark.exists(), "o código do checkpoint foi executado"
    if kind == "pickle":  # a bomba de verdade funciona
        pickle.loads(checkpoint.read_bytes())
        assert mark.exists()


def test_checkpoint_que_nao_existe_ou_e_pasta(c05, tmp_path):
    for path in (tmp_path / "nada.pt", tmp_path):
        with pytest.raises(FileNotFoundError, match="checkpoint"):
            c05.load_checkpoint(path)


def test_disco_que_nao_aceita_gravar_nao_perde_o_antigo(c05, checkpoint, monkeypatch):
    saved = checkpoint.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="(?s)Não consegui gravar.*espaço em disco"):
        run(c05, checkpoint)
    monkeypatch.undo()
    assert checkpoint.read_bytes() == saved
    assert [p.name for p in checkpoint.parent.iterdir()] == ["ck.pt"], "sobrou um pedaço"


def test_pasta_em_que_nao_se_grava_e_acusada_com_uma_frase(c05, tmp_path):
    """No lugar da pasta há um arquivo: vale também para quem é root."""
    (tmp_path / "arquivo").write_text("no meio do caminho", encoding="utf-8")
    with pytest.raises(OSError, match="(?s)Não consegui gravar.*pasta"):
        run(c05, tmp_path / "arquivo" / "ck.pt")
    assert (tmp_path / "arquivo").read_text(encoding="utf-8") == "no meio do caminho"


# --- a configuração do treino ----------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("steps", [0, -1, 2.5, "10", None, True]),
        ("batch_size", [0, -4, 1.5]),
        ("accumulation", [0, -1]),
        ("eval_every", [0, 0.5]),
        ("checkpoint_every", [0, -3]),
        ("learning_rate", [0, -1e-3, 2, NAN, math.inf]),
        ("warmup_steps", [-1, 1000, 5000]),
        ("min_lr_ratio", [-0.1, 1.1, NAN]),
        ("weight_decay", [-0.1, NAN]),
        ("grad_clip", [0, -1, NAN]),
        ("embedding_lr_scale", [0, -1, NAN, math.inf]),
    ],
)
def test_configuracao_impossivel_e_recusada(c05, name, values):
    for value in values:
        with pytest.raises(ValueError, match=name):
            c05.TrainConfig(**{name: value})
            pytest.fail(f"aceitou {name} = {value!r}")


def test_a_configuracao_de_fabrica_vale(c05):
    assert c05.TrainConfig() == c05.TrainConfig()
    assert isinstance(c05.TrainConfig().steps, int)
