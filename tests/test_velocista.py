"""O velocista da seção 16 do capítulo 05, e a mistura de duas previsões da seção 10."""

import inspect
import json
import math
from dataclasses import replace

import pecas
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = {"vocab_size": 61, "context_length": 24, "d_model": 16, "n_head": 2, "n_layer": 2,
         "bigram_size": 97}


def awake(c, seed=0, **changes):
    """Um SprintGPT com todos os pesos ao acaso."""
    torch.manual_seed(seed)
    model = c.SprintGPT(c.ModernConfig(**SMALL | changes)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.4)
    return model


def ids(V=61, B=3, T=24, seed=1):
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))


# --- as memórias ------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(st.integers(0, 2047), min_size=1, max_size=20), st.integers(1, 9000),
       st.one_of(st.none(), st.tuples(st.integers(0, 2047), st.integers(0, 2047))))
def test_a_linha_de_cada_trio(c05, tokens, size, previous):
    memory = c05.TrigramMemory(size, 4)
    first = None if previous is None else torch.tensor([previous])
    row = [*(previous or (0, 0)), *tokens]
    assert memory.rows(torch.tensor([tokens]), first)[0].tolist() == [
        (a * 51_787 + b * 36_313 + c * 27_191) % size
        for a, b, c in zip(row, row[1:], row[2:], strict=False)]


def test_a_ordem_do_trio_importa_e_o_mais_antigo_tambem(c05):
    memory = c05.TrigramMemory(32_768, 4)
    rows = {tuple(t): memory.rows(torch.tensor([t]))[0, 2].item()
            for t in ([5, 9, 7], [9, 5, 7], [5, 7, 9], [6, 9, 7])}
    assert len(set(rows.values())) == 4
    assert not memory(ids(V=2048)).any()                     # nasce calada


# --- o modelo ---------------------------------------------------------------------------


def by_hand(model, tokens: list[int]) -> torch.Tensor:
    """Os logits de um texto, posição por posição, sem reaproveitar o forward: (T, V)."""
    c = model.config
    H, D = c.n_head, c.d_model // c.n_head
    padded = [0, 0, 0, *tokens]

    def norm(v):
        return v / (v.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()

    def entry(t: int):
        a, b, now = padded[t + 1:t + 4]
        pair = (b * 36_313 + now * 27_191) % model.bigrams.table.num_embeddings
        trio = (a * 51_787 + b * 36_313 + now * 27_191) % model.trigrams.table.num_embeddings
        return (model.wte.weight[now] + model.bigrams.table.weight[pair]
                + model.trigrams.table.weight[trio])

    def turn(v, t: int):
        """O giro de uma cabeça, (D,), canal por canal."""
        angle = t * 10_000.0 ** (-2 * torch.arange(D // 2) / D)
        a, b = v[:D // 2], v[D // 2:]
        return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()])

    x = [norm(entry(t) + (model.smear * entry(t - 1) if t else 0))
         for t in range(len(tokens))]
    for block, values in zip(model.h, model.values, strict=True):
        qkv = [block.attn.c_attn.weight @ norm(v) for v in x]
        out = []
        for t in range(len(tokens)):
            heads = []
            for h in range(H):
                cut = slice(h * D, (h + 1) * D)
                q = turn(norm(qkv[t][:c.d_model][cut]), t)
                keys = [turn(norm(qkv[s][c.d_model:2 * c.d_model][cut]), s)
                        for s in range(t + 1)]
                vs = [qkv[s][2 * c.d_model:][cut] + values.weight[tokens[s]][cut]
                      for s in range(t + 1)]
                weights = (torch.stack(keys) @ q / math.sqrt(D)).softmax(0)
                heads.append(weights @ torch.stack(vs))
            out.append(block.attn.c_proj.weight @ torch.cat(heads))
        x = [v + y for v, y in zip(x, out, strict=True)]
        x = [v + block.mlp.c_proj.weight @ (block.mlp.c_fc.weight @ norm(v)).relu().pow(2)
             for v in x]
    return torch.stack([model.lm_head.weight @ norm(v) for v in x])


@pytest.mark.parametrize("layers", [1, 2])
def test_os_logits_sao_os_da_conta_por_extenso(c05, layers):
    model, x = awake(c05, n_layer=layers), ids(B=1, T=9)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[0], by_hand(model, x[0].tolist()),
                                   atol=1e-4, rtol=1e-3)


def test_com_as_pecas_em_zero_e_o_gpt_de_hoje(c05):
    model, x = awake(c05), ids()
    plain = c05.ModernGPT(model.config).eval()
    with torch.no_grad():
        state = model.state_dict()
        plain.load_state_dict({n: w for n, w in state.items() if n in plain.state_dict()})
        assert not torch.allclose(model(x), plain(x))
        for piece in (model.trigrams.table.weight, model.smear,
                      *(table.weight for table in model.values)):
            piece.zero_()
        torch.testing.assert_close(model(x), plain(x))


def test_ao_nascer_so_com_as_saidas_acordadas_ja_e_o_gpt_de_hoje(c05):
    """Sem ninguém zerar peça nenhuma: elas nascem em zero."""
    torch.manual_seed(0)
    model, x = c05.SprintGPT(c05.ModernConfig(**SMALL)).eval(), ids()
    plain = c05.ModernGPT(model.config).eval()
    with torch.no_grad():
        for w in (model.lm_head.weight, *(b.attn.c_proj.weight for b in model.h)):
            w.normal_(std=0.3)
        plain.load_state_dict({n: w for n, w in model.state_dict().items()
                               if n in plain.state_dict()})
        torch.testing.assert_close(model(x), plain(x))
    assert model.wte.weight.std().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("piece", ["trigrams", "values", "smear"])
def test_cada_peca_muda_os_logits(c05, piece):
    model, x = awake(c05), ids()
    with torch.no_grad():
        before = model(x)
        weights = {"trigrams": [model.trigrams.table.weight], "smear": [model.smear],
                   "values": [t.weight for t in model.values]}[piece]
        for w in weights:
            w.zero_()
        assert (model(x) - before).abs().max() > 1e-2


def test_o_velocista_nao_ve_o_futuro(c05):
    model, x = awake(c05), ids()
    with torch.no_grad():
        before = model(x)
        for t in range(1, 24):
            other = x.clone()
            other[:, t:] = (other[:, t:] + 1 + torch.arange(24 - t)) % 61
            after = model(other)
            torch.testing.assert_close(after[:, :t], before[:, :t], atol=1e-6, rtol=1e-6)
            assert (after[:, t] - before[:, t]).abs().amax(-1).min() > 1e-4


@settings(max_examples=40)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=24), st.integers(0, 99))
def test_o_velocista_com_gaveta_e_sem_gaveta(c05, sizes, seed):
    model = awake(c05, seed)
    T = min(sum(sizes), 24)
    x, cache, pieces, at = ids(T=T, seed=seed), model.new_cache(), [], 0
    with torch.no_grad():
        for size in sizes:
            if at < T:
                pieces.append(model(x[:, at:at + size], cache))
                at += size
        torch.testing.assert_close(torch.cat(pieces, dim=1), model(x), atol=1e-4, rtol=1e-4)


def test_o_velocista_nasce_sem_opiniao_e_acorda_inteiro(c05):
    torch.manual_seed(0)
    model, x = c05.SprintGPT(c05.ModernConfig(**SMALL)), ids()
    assert not model(x).any()
    for piece in (model.trigrams.table.weight, model.smear, *(t.weight for t in model.values)):
        assert not piece.any()
    for block in model.h:
        assert not block.attn.c_proj.weight.any()
        assert block.attn.c_attn.weight.std().item() == pytest.approx(0.7 / 4, rel=0.15)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        sgd.zero_grad()
        F.cross_entropy(model(x)[:, :-1].flatten(0, 1), x[:, 1:].flatten()).backward()
        sgd.step()
    assert all(p.grad.any() for p in model.parameters())


def test_a_gaveta_cheia_e_recusada_em_portugues(c05):
    model, x = awake(c05), ids()
    cache = model.new_cache()
    with torch.no_grad():
        model(x, cache)
        with pytest.raises(ValueError, match="contexto"):
            model(x[:, :1], cache)


@pytest.mark.parametrize("where", ["entrada", "attn", "mlp", "pesos da atenção"])
def test_cada_sorteio_do_dropout_acontece_no_treino_e_so_nele(c05, where):
    """Cada um sozinho: o outro ramo do bloco é calado."""
    model, x = awake(c05, dropout=0.5), ids()
    with torch.no_grad():
        assert torch.equal(model(x), model(x))
        if where == "entrada":
            model.drop.train()
        for block in model.h:
            if where in ("attn", "mlp"):
                block.drop.train()
                other = block.mlp if where == "attn" else block.attn
                other.c_proj.weight.zero_()
            elif where == "pesos da atenção":
                block.attn.training = True
        assert not torch.equal(model(x), model(x))


def test_o_velocista_escreve_com_o_gerador_do_curso(c05):
    """Com gaveta e sem ela, também depois que o texto passa do contexto."""
    model = awake(c05)
    told = [c05.generate(model, ids(B=2, T=5), 40, generator=3, use_cache=way)
            for way in (True, False)]
    assert told[0].shape == (2, 45) and torch.equal(*told)


def test_o_velocista_sem_memoria_e_textos_impossiveis_sao_recusados(c05):
    with pytest.raises(ValueError, match="bigram_size"):
        c05.SprintGPT(c05.ModernConfig(**SMALL | {"bigram_size": 0}))
    model = awake(c05)
    for wrong, word in ((ids(T=25), "contexto"), (ids()[:, :0], "vazio"),
                        (ids() + 61, "vocabulário")):
        with pytest.raises(ValueError, match=word):
            model(wrong)


# --- a receita --------------------------------------------------------------------------


def test_a_receita_do_velocista_e_a_que_a_pagina_diz(c05):
    plan, usual = c05.sprint_plan(2048), c05.modern_plan(2048)
    assert (plan.n_layer, plan.bigram_size) == (1, 2 * usual.bigram_size)
    assert replace(plan, n_layer=2, bigram_size=usual.bigram_size) == usual
    options = c05.sprint_options(100, seed=4)
    assert options == c05.modern_options(100, 4, batch_size=16)
    assert c05.sprint_options(100, batch_size=4).batch_size == 4
    model = c05.SprintGPT(c05.ModernConfig(**SMALL))
    optimizer = c05.sprint_optimizer(model, options)
    rate = {id(p): g["lr_scale"] * options.learning_rate
            for g in optimizer.param_groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(rate) == len(list(model.parameters()))
    tables = [model.wte, model.bigrams.table, model.trigrams.table, *model.values]
    assert {round(rate[id(t.weight)], 9) for t in tables} == {0.1}
    assert [decay[id(t.weight)] for t in tables] == [0, 0.15, 0.15, 0, 0]
    assert rate[id(model.smear)] == pytest.approx(options.learning_rate)
    assert rate[id(model.lm_head.weight)] == pytest.approx(0.006)
    muon = optimizer.parts[0].param_groups[0]
    assert muon["steps"] == 3 and muon["lr_scale"] * options.learning_rate == pytest.approx(0.02)
    assert {id(p) for p in muon["params"]} == {
        id(p) for n, p in model.named_parameters() if n.startswith("h.")}
    default = inspect.signature(c05.make_modern_optimizer).parameters["embedding_lr"].default
    assert 2 * default == 0.1                            # "a taxa de todas as tabelas dobra"


def test_quase_todos_os_pesos_moram_nas_tabelas(c05):
    model = c05.SprintGPT(c05.sprint_plan(2048))
    tables = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Embedding))
    assert tables / model.num_parameters() > 0.9


def test_o_velocista_treina_e_repete_os_bits(c05):
    flat = torch.arange(400) % 7
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = c05.SprintGPT(c05.ModernConfig(**SMALL | {"vocab_size": 7}))
        options = c05.sprint_options(300, seed=5, batch_size=4)
        c05.train(model, flat, options, progress=False,
                  optimizer=c05.sprint_optimizer(model, options))
        found.append(c05.evaluate(model.eval(), flat, 400).nats_per_token)
    assert found[0] == found[1] < 0.3            # ln 7 = 1,95 é não saber nada


# --- a mistura --------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 999))
def test_a_mistura_e_uma_distribuicao_e_a_conta_por_extenso(c05, V, share, seed):
    g = torch.Generator().manual_seed(seed)
    p, q = torch.randn(2, V, generator=g, dtype=torch.float64).mul(3).softmax(-1)
    got = c05.mixed_nats(-p.log(), -q.log(), share)
    assert got.neg().exp().sum().item() == pytest.approx(1)
    torch.testing.assert_close(got, -((1 - share) * p + share * q).log())


def test_a_mistura_aguenta_uma_chance_que_o_float_nao_guarda(c05):
    got = c05.mixed_nats(torch.tensor([2000.0, 2000.0]), torch.tensor([1.0, 2001.0]), 0.25)
    assert got[0].item() == pytest.approx(1 - math.log(0.25))
    assert torch.isfinite(got).all()


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, math.nan])
def test_fatia_impossivel_e_recusada_em_portugues(c05, share):
    with pytest.raises(ValueError, match="fatia"):
        c05.mixed_nats(torch.ones(2), torch.ones(2), share)


# --- a corrida gravada ------------------------------------------------------------------


def race() -> dict:
    path = pecas.ROOT / "tests" / "benchmarks" / "resultados" / "corrida.json"
    return json.loads(path.read_text(encoding="utf-8"))


def mean(runs: list[dict], key: str = "bits_por_byte") -> float:
    return sum(run[key] for run in runs) / len(runs)


def test_a_corrida_tem_todos_os_tempos_e_sementes():
    told = race()
    for recipe, budgets in told["tarefa"]["orçamentos"].items():
        assert set(told["medidas"]["receitas"][recipe]) == set(map(str, budgets))
        for runs in told["medidas"]["receitas"][recipe].values():
            assert [run["semente"] for run in runs] == told["sementes"] == [0, 1, 2]
    assert {"velocista", "gpt2"} <= {r for r, b in told["tarefa"]["orçamentos"].items()
                                     if b == [30, 60, 120, 240]}


def test_a_taxa_da_adversaria_na_corrida_saiu_da_busca_e_nao_da_ponta():
    asked = race()["medidas"]["busca"]["gpt2"]
    notes = {float(r): note["bits_por_byte"] for r, note in asked["validação"].items()}
    assert asked["taxa"] == min(notes, key=notes.get)
    assert min(notes) < asked["taxa"] < max(notes)


def test_os_passos_sao_os_que_cabem_e_a_contagem_sai_do_velocista():
    told = race()["medidas"]
    assert told["segundos_da_contagem"] > 1
    for recipe, times in told["receitas"].items():
        for budget, runs in times.items():
            left = int(budget) - (told["segundos_da_contagem"] if recipe == "velocista" else 0)
            assert {run["passos"] for run in runs} == {
                round(left / told["segundos_por_passo"][recipe])}, (recipe, budget)


def test_na_corrida_os_dois_lados_levaram_o_tempo_que_dizem():
    """O relógio do velocista inclui a contagem; e ele não pode ter corrido mais que a outra."""
    table = race()["medidas"]["receitas"]
    spent = {r: {s: mean(runs, "segundos") for s, runs in t.items()} for r, t in table.items()}
    for recipe, times in spent.items():
        for budget, seconds in times.items():
            assert 0.75 * float(budget) < seconds < 1.1 * float(budget), (recipe, budget)
            assert spent["velocista"][budget] < 1.12 * seconds, (recipe, budget)


def test_a_dupla_ganha_da_rede_e_do_contador():
    told = race()["medidas"]
    for budget, runs in told["receitas"]["velocista"].items():
        for run in runs:
            assert run["dupla"] < min(run["bits_por_byte"], told["contador"]), budget


def test_a_fatia_fixa_esta_perto_da_que_a_validacao_escolheria():
    """Um quinto, em 120 s, custa menos de dois milésimos mais que a melhor fatia."""
    told = race()
    for run in told["medidas"]["receitas"]["velocista"]["120"]:
        costs = run["mistura"]["validação"]
        assert costs[str(told["tarefa"]["fatia do contador"])] <= min(costs.values()) + 0.002
        assert float(min(costs, key=costs.get)) == run["mistura"]["fatia"]


def test_com_o_mesmo_contador_dos_dois_lados_o_velocista_ainda_ganha():
    """O controle: a adversária mistura com a fatia dela e não paga o tempo da contagem."""
    table = race()["medidas"]["receitas"]
    for budget in ("120", "240"):
        ours, theirs = ([run["mistura"]["dupla"] for run in table[r][budget]]
                        for r in ("velocista", "gpt2"))
        assert max(ours) < min(theirs), budget
        for plain in table["gpt2"][budget]:
            assert plain["mistura"]["dupla"] < plain["bits_por_byte"]


def test_o_artigo_e_a_pagina_dizem_da_corrida_o_que_se_gravou():
    told = race()["medidas"]
    table = told["receitas"]

    def br(value: float, digits: int = 3) -> str:
        return f"{value:.{digits}f}".replace(".", ",")

    def share(runs: list[dict], exam: str) -> str:
        part = {"lacunas": "todas", "pares": "todos"}[exam]
        return f"{100 * sum(run[exam][part]['valor'] for run in runs) / len(runs):.0f}%"

    plain, now, alone, pair = (mean(table["gpt2"]["120"]), mean(table["hoje"]["120"]),
                               mean(table["velocista"]["120"]),
                               mean(table["velocista"]["120"], "dupla"))
    mixed = {r: sum(run["mistura"]["dupla"] for run in table[r]["120"]) / 3
             for r in ("gpt2", "velocista")}
    text = (pecas.ROOT / "05-pre-treinamento" / "README.md").read_text(encoding="utf-8")
    for phrase in (
            f"o GPT-2 chega a {br(plain)} bits por byte, o GPT de hoje a {br(now)}, e o "
            f"velocista a {br(alone)}: {br(alone / plain)} da receita antiga",
            f"os {br(told['segundos_da_contagem'], 0)} segundos da contagem, {br(pair)}: "
            f"{br(pair / plain)}.",
            f"de graça, vai a {br(mixed['gpt2'])}, ainda longe dos {br(mixed['velocista'])}",
            f"o velocista acerta {share(table['velocista']['240'], 'lacunas')} das lacunas",
            f"e {share(table['velocista']['240'], 'pares')} dos pares mínimos"):
        assert phrase in text, phrase
    # "chega em um minuto aonde a do GPT-2 não chega em quatro"
    assert max(run["bits_por_byte"] for run in table["velocista"]["60"]) < min(
        run["bits_por_byte"] for run in table["gpt2"]["240"])
    # "quanto mais rápida a máquina, mais passos, e menor a vantagem"
    ratios = [mean(table["velocista"][s]) / mean(table["gpt2"][s])
              for s in ("30", "60", "120", "240")]
    assert ratios == sorted(ratios)
    # "acerta tanto quanto o modelo base": a taxa dele cai dentro dos três intervalos
    path = pecas.ROOT / "05-pre-treinamento" / "modelo" / "treino.json"
    base = json.loads(path.read_text(encoding="utf-8"))["medidas"]["lacunas"]["todas"]["valor"]
    for run in table["velocista"]["240"]:
        assert run["lacunas"]["todas"]["de"] < base < run["lacunas"]["todas"]["ate"]
    # "dos 120 aos 240 segundos o velocista quase não melhora"
    assert 0 < alone - mean(table["velocista"]["240"]) < 0.1 * (
        mean(table["velocista"]["60"]) - alone) + 0.005


def test_o_que_ficou_de_fora_nao_e_o_que_entrou():
    text = pecas.notebooks()["05"].read_text(encoding="utf-8")
    tail = text[text.index("### O que tentamos e não está na página"):text.index("## 17. Fecho")]
    for piece in ("**Memória de trios**", "**Uma tabela a mais por camada**",
                  "**Misturar a cada token"):
        assert piece not in tail, piece
