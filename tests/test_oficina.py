"""O capítulo 00: o autograd contra o torch, a calculadora contra a balança, o exame do dispositivo."""

import math
import operator
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

# --- o autograd ----------------------------------------------------------------------------

BINARY = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / (b * b + 1),
}
UNARY = {
    "exp": lambda a: a.tanh().exp(),
    "log": lambda a: (a * a + 1).log(),
    "tanh": lambda a: a.tanh(),
    "relu": lambda a: a.relu(),
    "cubo": lambda a: a.tanh() ** 3,
    "raiz": lambda a: (a * a + 1) ** 0.5,
    "inverso": lambda a: 1 / (a * a + 1),
    "oposto": lambda a: -a,
    "soma à esquerda": lambda a: 2 + a,
    "subtração à esquerda": lambda a: 2 - a,
    "produto à esquerda": lambda a: 3 * a,
    "divisão por número": lambda a: a / 4,
}
LEAVES = 4

expressions = st.recursive(
    st.integers(0, LEAVES - 1),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), inner),
        st.tuples(st.sampled_from(sorted(BINARY)), inner, inner),
    ),
    max_leaves=16,
)
numbers = st.lists(
    st.floats(-2, 2, allow_nan=False, width=32), min_size=LEAVES, max_size=LEAVES
)


def evaluate(expression, leaves):
    """A mesma expressão sobre `Value` ou tensores: quem é o número decide a conta."""
    if isinstance(expression, int):
        return leaves[expression]
    name, *parts = expression
    values = [evaluate(part, leaves) for part in parts]
    return (BINARY.get(name) or UNARY[name])(*values)


def both(c00, expression, start):
    """(nossos, deles): o valor e os gradientes, pela nossa máquina e pelo torch."""
    ours = [c00.Value(s) for s in start]
    theirs = [torch.tensor(s, dtype=torch.float64, requires_grad=True) for s in start]
    out, want = evaluate(expression, ours), evaluate(expression, theirs)
    out.backward()
    want.backward()
    zero = [0.0 if t.grad is None else t.grad.item() for t in theirs]
    return [out.data, *(v.grad for v in ours)], [want.item(), *zero]


@settings(max_examples=300)
@given(expression=expressions, start=numbers)
def test_valor_e_gradientes_iguais_aos_do_torch(c00, expression, start):
    if start and 0.0 in start:  # a derivada da relu em zero é escolha de cada um
        start = [s or 0.5 for s in start]
    ours, theirs = both(c00, expression, start)
    for a, b in zip(ours, theirs, strict=True):
        assert abs(a - b) <= 1e-6 * max(1, abs(b))


def test_uma_expressao_funda_nao_estoura_a_pilha(c00):
    x = c00.Value(1.0)
    y = x
    for _ in range(5_000):
        y = y + x
    y.backward()
    assert x.grad == 5_001


def test_caminhos_que_se_dividem_e_se_juntam_custam_pouco(c00):
    """Quarenta dobras: 2⁴⁰ caminhos, mas só quarenta nós."""
    x = c00.Value(0.5)
    y = x
    for _ in range(40):
        y = y * 0.5 + y * 0.5
    y.backward()
    assert x.grad == pytest.approx(1.0)


def test_duas_voltas_somam_nas_folhas_como_no_torch(c00):
    a, t = c00.Value(3.0), torch.tensor(3.0, requires_grad=True)
    (a * a).backward()
    (a * a + a).backward()
    (t * t).backward()
    (t * t + t).backward()
    assert a.grad == t.grad.item() == 13


def test_a_mesma_volta_duas_vezes_nao_conta_o_meio_em_dobro(c00):
    a = c00.Value(3.0)
    middle = a * a
    y = middle * 2
    y.backward()
    y.backward()
    assert a.grad == 24  # 12 por volta


def test_value_misturado_com_numero_dos_dois_lados(c00):
    a = c00.Value(2.0)
    for got, want in [(a + 1, 3), (1 + a, 3), (a - 1, 1), (1 - a, -1), (a * 3, 6), (3 * a, 6),
                      (a / 4, 0.5), (4 / a, 2), (-a, -2), (a**3, 8)]:  # fmt: skip
        assert got.data == want


def test_treinar_com_value_e_com_torch_da_a_mesma_curva(c00):
    rng = random.Random(4)
    points = [(rng.uniform(-5, 5), rng.uniform(-5, 5)) for _ in range(12)]
    labels = [1.0 if x > y else -1.0 for x, y in points]
    model = c00.ScalarMLP([2, 4, 1], seed=2)
    twin = c00.torch_twin(c00.ScalarMLP([2, 4, 1], seed=2))
    ours = c00.train_scalar(model, points, labels, steps=15)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5, momentum=0.9)
    x = torch.tensor(points, dtype=torch.float64) / 4
    t = torch.tensor(labels, dtype=torch.float64)
    theirs = []
    for _ in range(15):
        loss = torch.nn.functional.softplus(-twin(x).squeeze(1) * t).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())
    assert ours == pytest.approx(theirs, abs=1e-9)


# --- a calculadora de memória ----------------------------------------------------------------

PLANS = {
    "do curso": {},
    "um texto por vez": {"batch_size": 1},
    "lote grande": {"batch_size": 48},
    "largo": {"d_model": 384, "n_head": 6, "n_layer": 3, "batch_size": 2},
    "fundo": {"d_model": 64, "n_head": 2, "n_layer": 10, "batch_size": 8},
    "vocabulário grande": {"vocab_size": 16_000, "d_model": 96, "n_head": 3, "n_layer": 2},
    "contexto longo": {"context_length": 512, "batch_size": 4},
    "posições mandam": {"context_length": 2048, "d_model": 64, "n_head": 2, "n_layer": 1,
                        "vocab_size": 300, "batch_size": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_a_calculadora_erra_menos_de_dez_por_cento(c00, name):
    torch.manual_seed(0)
    plan = c00.TrainingPlan(**PLANS[name])
    measured = max(c00.memory_curve(plan))
    assert c00.training_memory(plan)["pico"] == pytest.approx(measured, rel=0.10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="não há GPU nesta máquina")
@pytest.mark.parametrize("name", ["largo", "vocabulário grande", "contexto longo"])
def test_a_calculadora_tambem_acerta_na_gpu(c00, name):
    big = PLANS[name] | {"n_layer": 8, "d_model": 768, "n_head": 12}
    plan = c00.TrainingPlan(**big)
    assert c00.training_memory(plan)["pico"] == pytest.approx(c00.cuda_peak(plan), rel=0.10)


def test_a_calculadora_separa_as_gavetas(c00):
    plan = c00.TrainingPlan()
    small, double = (c00.training_memory(p) for p in (plan, c00.TrainingPlan(batch_size=32)))
    for fixed in ("pesos", "AdamW", "gradientes"):
        assert small[fixed] == double[fixed]
    assert double["ativações"] == 2 * small["ativações"]
    assert small["AdamW"] == 2 * small["pesos"] == 8 * plan.parameters


def test_os_parametros_do_gpt2(c00):
    small = c00.TrainingPlan(50_257, 1024, 768, 12, 12, 1)
    assert small.parameters == 124_439_808


@pytest.mark.parametrize("bad", [{"n_head": 3}, {"d_model": 0}, {"batch_size": -1},
                                 {"vocab_size": 2.5}, {"n_layer": True}])  # fmt: skip
def test_plano_impossivel_e_dito(c00, bad):
    with pytest.raises(ValueError, match=r"\w+ = "):
        c00.TrainingPlan(**bad)


# --- o exame do dispositivo ------------------------------------------------------------------


def test_a_cpu_passa(c00):
    errors = c00.check_device(torch.device("cpu"))
    assert len(errors) >= 4 and all(error < 1e-5 for error in errors.values())


@pytest.mark.parametrize("error", [1e-1, 1e-2, 1e-3, -1e-2, math.nan, math.inf])
def test_o_dispositivo_torto_e_pego(c00, error):
    with pytest.raises(RuntimeError, match="matmul"):
        c00.check_device(torch.device("cpu"), c00.CrookedDevice(error))


def test_o_invólucro_sem_defeito_passa(c00):
    assert c00.check_device(torch.device("cpu"), c00.CrookedDevice(0.0))


def test_o_dispositivo_escolhido_existe(c00):
    assert (torch.ones(2, device=c00.find_device()) + 1).tolist() == [2, 2]


# --- a casa ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [(1234.5, 1, "1.234,5"), (0.5, 2, "0,50"), (1_000_000, 0, "1.000.000"), (-2.25, 2, "-2,25")],
)
def test_numeros_a_brasileira(c00, number, digits, text):
    assert c00.br(number, digits) == text


def test_a_soma_do_mundo_e_a_do_arquivo(c00):
    import hashlib

    from pecas import ROOT

    data = (ROOT / "02-texto-vira-numero/corpus/mundo.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == c00.WORLD_SHA256


def test_a_paleta_e_a_do_curso(c00):
    assert c00.PALETTE == {
        "treino": "#0072B2", "validação": "#E69F00", "acerto": "#009E73", "erro": "#D55E00",
        "destaque": "#CC79A7", "contexto": "#56B4E9", "base": "#8C8C8C",
    }  # fmt: skip
