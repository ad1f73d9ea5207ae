"""Velocidade, placa e exportação do capítulo 05, contra a transformers e o tokenizers."""

import copy
import itertools
import json
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

END = 40
PLAN = {"vocab_size": 41, "context_length": 16, "d_model": 16, "n_head": 2, "n_layer": 2}


def shaken(model):
    """O modelo com todos os pesos sorteados: nada de zeros que escondam erros."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.3 * torch.randn_like(p))
    return model.eval()


@pytest.fixture(scope="module")
def gpt(c05):
    return shaken(c05.GPT(c05.GPTConfig(**PLAN)))


@pytest.fixture(scope="module")
def modern(c05):
    return {size: shaken(c05.ModernGPT(c05.ModernConfig(**PLAN, bigram_size=size)))
            for size in (0, 37)}


@pytest.fixture(scope="module")
def stream() -> torch.Tensor:
    """Trinta documentos de 1 a 40 tokens, com o fim entre eles."""
    g, ids = torch.Generator().manual_seed(1), [END]
    for n in torch.randint(1, 41, (30,), generator=g).tolist():
        ids += torch.randint(0, END, (n,), generator=g).tolist() + [END]
    return torch.tensor(ids)


@pytest.fixture(scope="module")
def bpe(c05, corpus):
    return c05.BPETokenizer.train([row["texto"] for row in corpus["treino"][:60]], 400)


def small(c05, bpe, size: int):
    plan = PLAN | {"vocab_size": bpe.vocab_size}
    return shaken(c05.ModernGPT(c05.ModernConfig(**plan, bigram_size=size)))


# --- a escada ----------------------------------------------------------------------------


def test_as_duas_atencoes_ingenuas_dao_os_mesmos_logits_e_gradientes(c05, gpt):
    ids, grads = torch.randint(0, END, (3, 12)), []
    wanted = gpt(ids)
    for once in (False, True):
        naive = c05.with_naive_attention(gpt, once)
        torch.testing.assert_close(naive(ids), wanted, atol=1e-5, rtol=1e-4)
        naive(ids).square().mean().backward()
        grads.append(naive.h[0].attn.c_attn.weight.grad)
    torch.testing.assert_close(*grads)


def test_a_mascara_ingenua_e_o_triangulo_e_so_a_curada_a_guarda(c05, gpt):
    lazy, once = (c05.NaiveAttention(gpt.h[0].attn, o) for o in (False, True))
    expected = ~torch.ones(7, 7, dtype=torch.bool).tril()
    assert torch.equal(lazy.make_mask(7, "cpu"), expected)
    x = torch.randn(1, 7, 16)
    for layer, kept in ((lazy, False), (once, True)):
        layer(x)
        first = layer.mask
        layer(x)
        assert (layer.mask is first) == kept
    once(torch.randn(1, 4, 16))                     # outro tamanho: refaz
    assert len(once.mask) == 4


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8), T=st.integers(1, 9))
def test_o_enchimento_conta_cada_alvo_uma_vez(c05, sizes, T):
    ids = [END] + list(itertools.chain.from_iterable(
        [k % END] * n + [END] for k, n in enumerate(sizes)))
    x, y = c05.padded_rows(torch.tensor(ids), END, T)
    assert x.shape == y.shape and x.shape[1] == T
    assert y[y >= 0].tolist() == ids[1:]            # todos, uma vez, em ordem
    assert x[y >= 0].tolist() == ids[:-1]
    assert len(x) == sum(math.ceil((n + 1) / T) for n in sizes)


def test_o_enchimento_nao_muda_a_perda(c05, gpt, stream):
    x, y = c05.padded_rows(stream, END, 16)
    loss = F.cross_entropy(gpt(x).flatten(0, 1), y.flatten(), reduction="sum")
    alone = sum(F.cross_entropy(gpt(a[None, :n])[0], b[:n], reduction="sum")
                for a, b in zip(x, y, strict=True) for n in [(b >= 0).sum().item()])
    torch.testing.assert_close(loss, alone, rtol=1e-4, atol=1e-3)


def test_o_otimizador_ingenuo_da_o_mesmo_passo(c05, gpt):
    weights = []
    for make in (c05.make_optimizer, c05.naive_optimizer):
        model = copy.deepcopy(gpt)
        optimizer = make(model, c05.TrainConfig(embedding_lr_scale=1.0))
        model(torch.randint(0, END, (2, 8), generator=torch.Generator().manual_seed(3))
              ).square().mean().backward()
        optimizer.step()
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*weights, atol=1e-5, rtol=1e-4)


def test_a_escada_corre_todos_os_degraus(c05, gpt, stream):
    before = [p.clone() for p in gpt.parameters()]
    speed = c05.climb_stairs(gpt, stream, END, 2, c05.TrainConfig(batch_size=2))
    assert list(speed) == list(c05.STAIRS)
    assert all(len(v) == 2 and min(v) > 0 for v in speed.values())
    assert c05.gains({"a": [2.0, 4.0, 9.0], "b": [4.0, 4.0, 27.0]}) == {"a": 1, "b": 2}
    assert all(torch.equal(a, b) for a, b in zip(before, gpt.parameters(), strict=True))


def test_as_partes_do_passo_fazem_o_passo(c05, gpt, stream):
    options = c05.TrainConfig(batch_size=2)
    one, other = copy.deepcopy(gpt), copy.deepcopy(gpt)
    parts = c05.step_parts(one, c05.make_optimizer(one, options), stream, 0, options)
    assert list(parts) == ["lote", "ida", "volta", "freio", "AdamW"]
    assert min(parts.values()) >= 0
    optimizer = c05.make_optimizer(other, options)
    x, y = c05.get_batch(stream, 0, 2, 16, options.seed)
    F.cross_entropy(other(x).flatten(0, 1), y.flatten()).backward()
    torch.nn.utils.clip_grad_norm_(other.parameters(), options.grad_clip)
    optimizer.step()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


# --- escrever em lote --------------------------------------------------------------------


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4), n=st.integers(0, 22),
       size=st.sampled_from([0, 37]), cached=st.booleans())
def test_cada_linha_do_lote_e_a_deixa_sozinha(c05, modern, lengths, n, size, cached):
    g = torch.Generator().manual_seed(sum(lengths) + n)
    model = modern[size]
    prompts = [torch.randint(0, END, (k,), generator=g).tolist() for k in lengths]
    rows = c05.generate_batch(model, prompts, n, temperature=0, use_cache=cached)
    for row, p in zip(rows, prompts, strict=True):
        alone = c05.generate(model, torch.tensor([p]), n, 0, use_cache=False)
        assert row == alone[0].tolist()


def test_o_lote_para_no_fim_e_respeita_a_semente(c05, modern):
    model, prompts = modern[37], [[1], [2, 3, 4], [END, 5]]
    full = c05.generate_batch(model, prompts, 12, temperature=0)
    stop = full[1][5]                               # o terceiro token novo da segunda
    cut = c05.generate_batch(model, prompts, 12, stop_id=stop, temperature=0)
    for p, row, short in zip(prompts, full, cut, strict=True):
        new = row[len(p):]
        k = new.index(stop) + 1 if stop in new else 12
        assert short == p + new[:k]

    def drawn(seed):
        g = torch.Generator().manual_seed(seed)
        return c05.generate_batch(model, prompts, 12, generator=g, top_p=0.9)

    assert drawn(5) == drawn(5) != drawn(6)
    model.train()
    c05.generate_batch(model, prompts, 1)
    assert model.training
    model.eval()


@pytest.mark.parametrize("prompts, n", [([], 3), ([[1], []], 3), ([[1]], -1), ([[1]], 1.5)])
def test_lote_sem_deixa_ou_sem_conta_e_recusado(c05, modern, prompts, n):
    with pytest.raises(ValueError, match="deixa|inteiro"):
        c05.generate_batch(modern[0], prompts, n)
    with pytest.raises(ValueError, match="top_p"):
        c05.generate_batch(modern[0], [[1]], 2, top_p=0.0)


# --- a placa -----------------------------------------------------------------------------


@pytest.mark.parametrize("bf16, half", [(True, "bfloat16"), (False, "float16")])
def test_a_placa_diz_o_seu_formato_e_os_dois_lugares_concordam(c05, monkeypatch, bf16, half):
    """Sem placa: as perguntas ao CUDA são respondidas por nós, como uma T4 e uma A100."""
    asked = {}

    def supported(including_emulation=True):
        asked["emulation"] = including_emulation
        return bf16

    class Scaler:
        def __init__(self, device, enabled):
            asked["enabled"] = enabled

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * 2**30, 15 * 2**30))
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: dtype)
    monkeypatch.setattr(torch.amp, "GradScaler", Scaler)
    machine = c05.this_machine(torch.device("cuda"))
    assert machine == c05.Machine("cuda", 3 * 2**30, half)
    assert asked.pop("emulation") is False          # a T4 emula bf16, e devagar
    dtype, _ = c05.mixed_precision(torch.device("cuda"))
    assert str(dtype) == f"torch.{half}" and asked["enabled"] == machine.needs_scale


@settings(max_examples=20)
@given(C=st.sampled_from([16, 32, 64]), H=st.sampled_from([2, 4]), L=st.integers(1, 3),
       B=st.integers(2, 4), T=st.sampled_from([16, 32]))
def test_a_conta_das_ativacoes_bate_com_a_balanca(c05, C, H, L, B, T):
    config = c05.ModernConfig(101, T, C, H, L, bigram_size=64)
    model = c05.ModernGPT(config).train()
    ids = torch.randint(101, (B, T + 1))
    measured = c05.saved_bytes(model, ids)
    predicted = 4 * c05.modern_activations(config, B, T)
    small_change = 8 * (6 * B * (T + 1) + 2 * T * C)      # ids, linhas da memória, senos
    assert predicted <= measured * 1.001 and measured - predicted <= small_change
    copies = 2 * sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    with torch.autocast("cpu", torch.bfloat16):       # cada matriz ganha uma cópia de 16 bits
        assert c05.saved_bytes(model, ids) - copies < 0.8 * measured


def test_o_teto_da_memoria_conta_cada_peso(c05):
    config = c05.ModernConfig(**PLAN, bigram_size=37)
    P = c05.ModernGPT(config).num_parameters()
    parts = c05.modern_memory(config, 3)
    assert parts["pesos, gradientes e AdamW"] == 16 * P
    assert parts["notas"] == 12 * 3 * 16 * 41
    assert parts["ativações"] == 4 * c05.modern_activations(config, 3, 16)


@settings(max_examples=60)
@given(kind=st.sampled_from(["cpu", "cuda", "mps"]), mib=st.integers(200, 80_000),
       V=st.sampled_from([512, 8192, 50_257]), pairs=st.sampled_from([0, 16_384]))
def test_a_receita_cabe_e_o_lote_inteiro_nao_muda(c05, kind, mib, V, pairs):
    machine = c05.Machine(kind, mib * 2**20)
    room = min(c05.CEILING, 0.8 * machine.memory)
    try:
        config, lot = c05.pick_recipe(machine, V, pairs)
    except ValueError as error:
        assert "MiB livres" in str(error)
        least = c05.ModernConfig(V, **c05.PLANS[kind][0], bigram_size=pairs)
        assert sum(c05.modern_memory(least, 1).values()) > room
        return
    assert sum(c05.modern_memory(config, lot["batch_size"]).values()) <= room <= 4 * 2**30
    assert lot["batch_size"] * lot["accumulation"] == c05.PLANS[kind][1]
    if lot["accumulation"] > 1:                     # e não é menor do que precisa
        assert sum(c05.modern_memory(config, 2 * lot["batch_size"]).values()) > room


def test_aparelho_desconhecido_e_recusado(c05):
    with pytest.raises(ValueError, match="tpu"):
        c05.pick_recipe(c05.Machine("tpu"), 512)


def test_o_caminho_da_t4_na_cpu(c05, stream):
    """fp16 com escala, nos dois otimizadores: perto do treino em 32 bits."""
    options = c05.TrainConfig(steps=12, batch_size=4, warmup_steps=2, embedding_lr_scale=3)

    def losses(half):
        torch.manual_seed(2)
        model = c05.ModernGPT(c05.ModernConfig(**PLAN, bigram_size=37))
        optimizer = c05.make_optimizer(model, options)
        autocast = torch.autocast("cpu", torch.float16, enabled=half)
        scaler = torch.amp.GradScaler("cpu", enabled=half)
        found = [c05.train_step(model, optimizer, stream, i, options, autocast, scaler)
                 for i in range(12)]
        return found, scaler

    exact, _ = losses(False)
    close, scaler = losses(True)
    assert scaler.get_scale() >= 2**16              # nenhum passo foi pulado
    far = max(abs(a - b) / a for a, b in zip(exact, close, strict=True))
    assert 0 < far < 0.02                           # zero: as contas foram em 32 bits
    assert close[-1] < close[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="não há GPU nesta máquina")
def test_o_pico_na_placa_fica_sob_o_teto(c05):
    device = torch.device("cuda")
    config, lot = c05.pick_recipe(c05.this_machine(device), 8192, 16_384)
    assert c05.gpu_peak(config, lot["batch_size"], device) < c05.CEILING == 4 * 2**30


# --- português em fila -------------------------------------------------------------------


@pytest.fixture
def parquet(tmp_path, corpus):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = corpus["treino"][:120]
    path = tmp_path / "wiki.parquet"
    texts = [row["texto"] for row in rows]
    texts[2] += " <|fim|> no meio"
    pq.write_table(pa.table({"id": [row["id"] for row in rows],
                             "title": [row["titulo"] for row in rows], "text": texts}), path)
    return str(path)


def test_a_fatia_fecha_a_torneira_e_reparte_pelo_id(c05, corpus, parquet):
    wiki = list(c05.SOURCES)[1]
    parts = c05.read_slice(wiki, 40_000, [parquet], held_out=0.2)
    total = sum(len(t) for texts in parts.values() for t in texts)
    longest = max(len(t) for texts in parts.values() for t in texts)
    assert 40_000 <= total < 40_000 + longest
    assert not set(parts["treino"]) & set(parts["validacao"])
    home = {}                                       # título: em que partes pode estar
    for row in corpus["treino"][:120]:
        home.setdefault(row["titulo"], set()).add(c05.part_of(row["id"], 0.2))
    for part, texts in parts.items():
        assert all(part in home[t.split("\n")[0]] for t in texts)
        assert not any("<|fim|>" in t for t in texts)


def test_fatia_curta_ou_sem_tamanho_e_recusada(c05, parquet, tmp_path):
    wiki = list(c05.SOURCES)[1]
    with pytest.raises(ValueError, match="validacao"):
        c05.read_slice(wiki, 10, [parquet], held_out=1e-9)
    with pytest.raises(ValueError, match="n_chars"):
        c05.read_slice(wiki, 0, [parquet])
    with pytest.raises(FileNotFoundError):
        c05.read_slice(wiki, 10, [str(tmp_path / "nada.parquet")])


def test_treinar_na_fatia_continua_do_checkpoint(c05, parquet, tmp_path):
    parts = c05.read_slice(list(c05.SOURCES)[1], 30_000, [parquet], held_out=0.2)
    path, cpu = tmp_path / "fatia.pt", torch.device("cpu")
    model, tokenizer, history = c05.train_on_slice(parts, c05.Machine(), cpu, 4, 400, path)
    assert tokenizer.vocab_size == model.config.vocab_size == 400
    assert history[-1]["step"] == 4 and history[-1]["val_loss"] < math.log(400) + 0.1
    again = c05.train_on_slice(parts, c05.Machine(), cpu, 4, 400, path)[2]
    assert again == history                         # já acabado: nada a fazer


# --- painéis -----------------------------------------------------------------------------


def test_treinar_em_etapas_da_os_mesmos_bits(c05, stream, tmp_path):
    options = c05.TrainConfig(steps=10, batch_size=2, warmup_steps=2, eval_every=4,
                              checkpoint_every=4)
    seen, weights, histories = [], [], []
    for watched in (False, True):
        torch.manual_seed(4)
        model = c05.ModernGPT(c05.ModernConfig(**PLAN, dropout=0.1))
        rest = {"val_ids": stream[:80], "val_bytes": 200, "progress": False}
        path = tmp_path / f"{watched}.pt"
        histories.append(
            c05.train_watched(model, stream, options, path, seen.extend, **rest) if watched
            else c05.train(model, stream, options, checkpoint=path, **rest))
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)
    assert [row["step"] for row in seen] == [4, 8, 10]
    for a, b, c in zip(*histories, seen, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0} == {**c, "seconds": 0}


HISTORY = [{"step": 5, "train_loss": 3.5, "learning_rate": 1e-3, "seconds": 1.0},
           {"step": 9, "train_loss": 2.5, "learning_rate": 5e-4, "seconds": 2.0,
            "val_loss": 2.75, "bits_per_byte": 1.25}]


def test_o_painel_guarda_a_historia(c05, tmp_path):
    c05.to_tensorboard(HISTORY, tmp_path)
    for key, name in c05.PANEL_NAMES.items():
        expected = [(row["step"], row[key]) for row in HISTORY if key in row]
        found = c05.read_panel(tmp_path, name)
        assert [s for s, _ in found] == [s for s, _ in expected]
        assert [v for _, v in found] == pytest.approx([v for _, v in expected])


def test_o_wandb_grava_sem_rede(c05, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    where = c05.to_wandb(HISTORY, {"steps": 9}, tmp_path)
    assert where.is_dir() and list(where.glob("*.wandb")) and tmp_path in where.parents


@pytest.mark.parametrize("tool, package", [
    ("to_tensorboard", "torch.utils.tensorboard"), ("to_wandb", "wandb")])
def test_sem_a_ferramenta_sai_uma_frase_e_a_pagina_segue(
        c05, monkeypatch, capsys, tmp_path, tool, package):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    arguments = (HISTORY, tmp_path) if tool == "to_tensorboard" else (HISTORY, {}, tmp_path)
    assert c05.try_panel(getattr(c05, tool), *arguments) is None
    assert "não está instalado aqui" in capsys.readouterr().out


# --- exportar ----------------------------------------------------------------------------


@settings(max_examples=30)
@given(H=st.integers(1, 4), half=st.integers(1, 5), columns=st.integers(1, 6))
def test_a_troca_das_metades_desfaz_a_si_mesma(c05, H, half, columns):
    weight = torch.randn(2 * half * H, columns)
    swapped = c05.swap_halves(weight, H)
    assert torch.equal(c05.swap_halves(swapped, H), weight)
    D = 2 * half
    for h in range(H):
        head = weight[h * D:(h + 1) * D]
        expected = torch.cat([head[half:], head[:half]])
        assert torch.equal(swapped[h * D:(h + 1) * D], expected)


@pytest.mark.parametrize("kind", ["gpt2", "sem pares", "com pares"])
def test_a_transformers_abre_com_os_mesmos_logits(c05, bpe, tmp_path, kind):
    if kind == "gpt2":
        model = shaken(c05.GPT(c05.GPTConfig(**PLAN | {"vocab_size": bpe.vocab_size})))
    else:
        model = small(c05, bpe, 37 if kind == "com pares" else 0)
    c05.save_pretrained(model, bpe, tmp_path / "m")
    theirs, _ = c05.open_exported(tmp_path / "m")
    ids = torch.randint(bpe.vocab_size, (3, 16))
    answer = theirs(ids, labels=ids)
    torch.testing.assert_close(answer.logits, model(ids), atol=1e-4, rtol=1e-4)
    loss = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(answer.loss, loss, atol=1e-4, rtol=1e-4)
    for start in ids[:, None, :4]:                  # (1, 4): eles param no <|fim|>
        said = theirs.generate(start, attention_mask=torch.ones_like(start),
                               max_new_tokens=8, do_sample=False)
        ours = c05.generate(model, start, 8, 0)
        assert said.shape[1] > 4 and torch.equal(said, ours[:, : said.shape[1]])


def test_o_codigo_proprio_le_em_pedacos_com_a_gaveta_deles(c05, bpe, tmp_path):
    model = small(c05, bpe, 37)
    c05.save_pretrained(model, bpe, tmp_path / "m")
    theirs, _ = c05.open_exported(tmp_path / "m")
    ids = torch.randint(bpe.vocab_size, (2, 12))
    first = theirs(ids[:, :7], use_cache=True)
    rest = theirs(ids[:, 7:], previous=ids[:, 6:7], past_key_values=first.past_key_values)
    both = torch.cat([first.logits, rest.logits], dim=1)
    torch.testing.assert_close(both, model(ids), atol=1e-4, rtol=1e-4)


def test_sem_a_memoria_de_pares_as_notas_sao_outras(c05, bpe, tmp_path):
    """O que a página diz do exercício: abre sem reclamar, e é outro modelo."""
    from transformers import NanoChatForCausalLM

    model = small(c05, bpe, 37)
    folder = c05.save_pretrained(model, bpe, tmp_path / "m")
    plan = json.loads((folder / "config.json").read_text("utf-8"))
    assert plan.pop("auto_map") == {
        "AutoModelForCausalLM": "modelo_com_pares.NanoChatWithPairs"}
    (folder / "config.json").write_text(json.dumps(plan), encoding="utf-8")
    ids = torch.randint(bpe.vocab_size, (2, 12))
    poorer = NanoChatForCausalLM.from_pretrained(str(folder)).eval()
    assert (poorer(ids).logits - model(ids)).abs().max() > 1e-2


def test_a_pasta_em_meia_precisao_pesa_a_metade(c05, bpe, tmp_path):
    model = small(c05, bpe, 37)
    sizes = [(c05.save_pretrained(model, bpe, tmp_path / str(d), d) / "model.safetensors")
             .stat().st_size for d in (torch.float32, torch.float16)]
    assert 0.45 < sizes[1] / sizes[0] < 0.6


@settings(max_examples=150)
@given(text=st.text(max_size=60))
def test_o_tokenizador_exportado_e_o_nosso(exported_tokenizer, bpe, text):
    end = bpe.special_tokens["<|fim|>"]
    ids = exported_tokenizer(text)["input_ids"]
    assert ids == [end] + bpe.encode(text)
    assert exported_tokenizer.decode(ids[1:]) == text
    assert exported_tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.fixture(scope="module")
def exported_tokenizer(c05, bpe, tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("bpe")
    c05.save_pretrained(small(c05, bpe, 0), bpe, folder)
    return AutoTokenizer.from_pretrained(str(folder))


def test_o_fim_escrito_no_texto_e_so_texto(exported_tokenizer, bpe):
    end = bpe.special_tokens["<|fim|>"]
    ids = exported_tokenizer("a <|fim|> b")["input_ids"]
    assert ids.count(end) == 1 and ids[0] == end
    assert exported_tokenizer.eos_token_id == exported_tokenizer.bos_token_id == end
    assert exported_tokenizer.model_max_length == 16


def test_o_que_nao_cabe_e_recusado_antes_do_disco(c05, bpe, gpt, tmp_path):
    with pytest.raises(TypeError, match="Linear"):
        c05.save_pretrained(torch.nn.Linear(2, 2), bpe, tmp_path / "m")
    with pytest.raises(ValueError, match="41"):
        c05.save_pretrained(gpt, bpe, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    (tmp_path / "arquivo").write_text("não sou uma pasta", encoding="utf-8")
    with pytest.raises(OSError, match="pasta"):
        c05.save_pretrained(small(c05, bpe, 0), bpe, tmp_path / "arquivo")
    assert (tmp_path / "arquivo").read_text("utf-8") == "não sou uma pasta"
