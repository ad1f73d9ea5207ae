"""As entradas ruins do capítulo 05, uma a uma: cada recusa é uma frase clara em português.

A lista é a da página: texto vazio ou curto, outra codificação, texto menor que um contexto,
vocabulário grande demais, taxa impossível, acumulação que não divide o lote, deixa com bytes
desconhecidos, top_p fora de (0, 1], semente que não é número. As recusas que moram com o seu
assunto (checkpoint, planta do modelo, médico) estão em test_robustez.py, test_moderno.py e
test_doentes.py.
"""

import contextlib
import copy
import io
import json
import math
import random

import pecas
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pecas import code_cells
from test_entradas_ruins import complaint


@pytest.fixture(scope="session")
def book05():
    """O caderno do capítulo 05."""
    return pecas.notebooks()["05"]



@pytest.fixture(scope="module")
def tokenizer(c02):
    return c02.BPETokenizer.train(["o pão quente da padaria e o pão de queijo " * 20], 270)


@pytest.fixture(scope="module", params=["GPT", "ModernGPT"])
def model(request, c05):
    torch.manual_seed(0)
    plan = dict(vocab_size=270, context_length=16, d_model=16, n_head=2, n_layer=1)
    if request.param == "GPT":
        return c05.GPT(c05.GPTConfig(**plan)).eval()
    return c05.ModernGPT(c05.ModernConfig(**plan, bigram_size=32)).eval()


def form(book, c, first_line: str, **fields) -> tuple[str, dict]:
    """Executa a célula de um formulário já preenchido: (o que ela imprime, os nomes)."""
    [source] = [s for _, s in code_cells(book) if s.startswith(first_line)]
    names, said = dict(vars(c)) | fields, io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(source, first_line, "exec"), names)
    return said.getvalue(), names


def one_sentence(said: str) -> str:
    """O que um formulário imprime ao recusar: uma frase em português, e nada mais."""
    def attempt():
        raise ValueError(said.strip())

    return complaint(ValueError, attempt)


WORDS = "o pão queijo da casa rio ponte menina feira milho doce barro Nair Anselmo gato".split()


def prose(n_words: int, seed: int = 0) -> str:
    """Texto sem sentido, mas com palavras e parágrafos."""
    rng = random.Random(seed)
    lines = [" ".join(rng.choices(WORDS, k=12)) + "." for _ in range(n_words // 12 + 1)]
    return "\n\n".join(lines)


def project(book05, c05, path, **fields) -> tuple[str, dict]:
    """O formulário do Projeto 4, com o arquivo dado e os outros campos como vêm."""
    config = c05.ModernConfig(300, context_length=64, d_model=16, n_head=2, n_layer=1)
    options = c05.TrainConfig(steps=100, warmup_steps=3)
    start = {"own_file": str(path), "own_vocab": 0, "own_steps": 30, "own_start": "",
             "own_seed": "1891", "config": config, "options": options,
             "device": torch.device("cpu")}  # fmt: skip
    return form(book05, c05, "problem = None", **(start | fields))


# --- .txt vazio, ou pequeno demais -----------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"   \n\t\r\n ", b"\xef\xbb\xbf", b"\xff\xfe", b"\xef\xbb\xbf \n"], ids=repr
)
def test_txt_vazio(c05, book05, tmp_path, data):
    path = tmp_path / "vazio.txt"
    path.write_bytes(data)
    message = complaint(ValueError, c05.read_text, path)
    assert "vazio.txt" in message and "não há o que aprender" in message
    said, names = project(book05, c05, path)
    assert one_sentence(said) == message and names["problem"] is not None


@pytest.mark.parametrize("text", ["", "a", "Oi.", "pão " * 399])
def test_txt_pequeno_demais(c05, text):
    size = len(text.encode("utf-8"))
    message = complaint(ValueError, c05.prepare, text, 16)
    assert c05.br(size) in message and "2.000" in message


def test_o_formulario_diz_que_e_curto_e_o_resto_espera(c05, book05, tmp_path):
    path = tmp_path / "curto.txt"
    path.write_text("Batatinha quando nasce.", encoding="utf-8")
    said, names = project(book05, c05, path)
    assert "bytes" in one_sentence(said) and names["problem"] is not None
    sources = [source for _, source in code_cells(book05)]
    [start] = [i for i, s in enumerate(sources) if s.startswith("problem = None")]
    [diary] = [i for i, s in enumerate(sources) if s.startswith("DIARY_SHA256")]   # seção 16
    rest = [s for s in sources[start + 1:diary] if "own_" in s or "rows" in s]
    assert len(rest) >= 5
    for source in rest:                            # nada depois dele roda com um texto ruim
        exec(compile(source, "espera", "exec"), names)


def test_txt_que_nao_existe(c05, book05, tmp_path):
    said, _ = project(book05, c05, tmp_path / "nada.txt")
    assert "nada.txt" in one_sentence(said)


# --- outra codificação: detectada, e dita ----------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [("utf-8", "utf-8"), ("cp1252", "cp1252"), ("latin-1", "cp1252"), ("utf-16", "utf-16"),
     ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be"), ("utf-8-sig", "utf-8-sig")],
)  # fmt: skip
def test_a_codificacao_e_detectada_e_dita(c05, book05, tmp_path, name, told):
    text = prose(600).replace("pão", "pão de açúcar, não")
    path = tmp_path / "outro.txt"
    path.write_bytes(text.encode(name))
    assert c05.read_text(path) == (text, told)
    said, names = project(book05, c05, path)
    assert names["problem"] is None
    assert f"{told}." in said and "Começa assim" in said and text[:20] in said


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04" + bytes(range(256)) * 9, b"\x89PNG\r\n\x1a\n" + bytes(range(32)) * 90,
             bytes(3_000)], ids=["docx", "png", "zeros"],
)  # fmt: skip
def test_o_que_nao_e_texto(c05, book05, tmp_path, data):
    path = tmp_path / "coisa.txt"
    path.write_bytes(data)
    said, names = project(book05, c05, path)
    one_sentence(said)
    assert names["problem"] is not None


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + b"p\xe3o " * 900, b"\xff\xfe" + b"abc\xd8" * 900,
             b"p\x81o " * 900], ids=["utf-8 mentiroso", "utf-16 mentiroso", "nem cp1252"],
)  # fmt: skip
def test_codificacao_que_nao_se_sustenta(c05, tmp_path, data):
    path = tmp_path / "torto.txt"
    path.write_bytes(data)
    message = complaint(ValueError, c05.read_text, path)
    assert "torto.txt" in message and "UTF-8" in message


@pytest.mark.parametrize("damage", [b"\xff", b"\xc3", b"\xe9"])
@pytest.mark.parametrize("where", [0.0, 0.4, 1.0])
def test_utf8_com_um_byte_estragado_e_recusado_com_o_lugar(c05, damage, where):
    data = ("A manhã começou com pão, café e a conversa do João. " * 20).encode()
    cut = int(where * (len(data) - 60))
    while data[cut] & 0xC0 == 0x80:                     # não no meio de uma letra
        cut += 1
    said = complaint(ValueError, c05.detect_encoding, data[:cut] + damage + b" " + data[cut:])
    assert "UTF-8" in said and "1 trecho" in said and "salve de novo" in said


def test_utf8_cortado_no_meio_de_uma_letra_e_recusado(c05):
    data = ("pão " * 40 + "coração").encode()[:-2]
    assert "UTF-8" in complaint(ValueError, c05.detect_encoding, data)


# --- texto menor que um contexto -------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 16, 32])
def test_fila_menor_que_duas_janelas(c05, model, n):
    ids = torch.arange(n) % 270
    options = c05.TrainConfig(steps=4, warmup_steps=1, batch_size=2)
    for attempt in (lambda: c05.get_batch(ids, 0, 2, 16, 7),
                    lambda: c05.train(copy.deepcopy(model), ids, options, progress=False),
                    lambda: c05.find_learning_rate(model, ids, options, steps=3)):  # fmt: skip
        message = complaint(ValueError, attempt)
        assert f"tem {n} tokens" in message and "33" in message and "16" in message


def test_trinta_e_tres_tokens_bastam(c05, model):
    x, y = c05.get_batch(torch.arange(33), 0, 2, 16, 7)
    assert x.shape == y.shape == (2, 16)


def test_nada_para_medir(c05, model):
    for ids, n_bytes in ((torch.arange(1), 4), (torch.arange(9), 0)):
        complaint(ValueError, c05.evaluate, model, ids, n_bytes)


def test_texto_menor_que_o_contexto_no_projeto(c05, book05, tmp_path):
    path = tmp_path / "texto.txt"
    path.write_text(prose(900), encoding="utf-8")
    wide = c05.ModernConfig(300, context_length=4096, d_model=16, n_head=2, n_layer=1)
    said, _ = project(book05, c05, path, config=wide)
    assert "4.096" in one_sentence(said)


# --- vocabulário maior do que o texto permite ------------------------------------------


@pytest.mark.parametrize("vocab", [2_000, 50_000, 1_000_000])
def test_vocabulario_que_nao_cabe(c05, book05, tmp_path, vocab):
    path = tmp_path / "texto.txt"
    path.write_text("Batatinha quando nasce, espalha a rama pelo chão.\n" * 60, "utf-8")
    message = complaint(ValueError, c05.fit_tokenizer, path.read_text("utf-8"), vocab)
    assert "fusões" in message
    said, _ = project(book05, c05, path, own_vocab=vocab)
    assert "fusões" in one_sentence(said)


@pytest.mark.parametrize("vocab", [1, 255, 256, -5])
def test_vocabulario_menor_que_os_bytes(c05, book05, tmp_path, vocab):
    path = tmp_path / "texto.txt"
    path.write_text(prose(900), encoding="utf-8")
    said, _ = project(book05, c05, path, own_vocab=vocab)
    assert f"{vocab}" in one_sentence(said)


# --- taxa de aprendizado: zero, negativa, enorme ---------------------------------------

RATES = [0, -0.001, -1, 1.5, 30.0, 1e9, math.inf, -math.inf, math.nan, "alta", None, True]


@pytest.mark.parametrize("rate", RATES, ids=repr)
def test_taxa_impossivel(c05, rate):
    message = complaint(ValueError, c05.TrainConfig, learning_rate=rate)
    assert message.startswith("learning_rate = ") and "até 1" in message


@given(rate=st.floats())
def test_toda_taxa_e_aceita_ou_explicada(c05, rate):
    if 0 < rate <= 1:
        assert c05.TrainConfig(learning_rate=rate).learning_rate == rate
    else:
        complaint(ValueError, c05.TrainConfig, learning_rate=rate)


@pytest.mark.parametrize("name", ["muon_lr", "embedding_lr", "head_lr"])
@pytest.mark.parametrize("rate", [0, -0.1, 30.0, math.nan, math.inf])
def test_taxa_impossivel_de_um_papel(c05, model, name, rate):
    options = c05.TrainConfig()
    message = complaint(ValueError, c05.make_modern_optimizer, model, options, **{name: rate})
    assert message.startswith(f"{name} = ")


@pytest.mark.parametrize(("low", "high"), [(0, 0.1), (-1, 0.1), (0.1, 0.01), (1e-3, 5.0)])
def test_prova_de_taxas_impossivel(c05, model, low, high):
    ids = torch.arange(200) % 270
    message = complaint(
        ValueError, c05.find_learning_rate, model, ids, c05.TrainConfig(), low, high)
    assert f"{low}" in message and f"{high}" in message


def test_a_receita_do_curso_recusa_a_mesma_taxa(c05):
    complaint(ValueError, c05.modern_options, 100, learning_rate=-0.1)


# --- acumulação que não divide o lote --------------------------------------------------


@given(size=st.integers(1, 64), pieces=st.integers(-3, 70))
def test_pedacos_que_nao_dividem_o_lote(c05, size, pieces):
    options = c05.TrainConfig(batch_size=size)
    if pieces > 0 and size % pieces == 0:
        parts = c05.in_pieces(options, pieces)
        assert parts.batch_size * parts.accumulation == size
    else:
        message = complaint(ValueError, c05.in_pieces, options, pieces)
        assert f"lote de {size} janelas" in message and f"{size}]" in message


@pytest.mark.parametrize("count", [0, -1, 2.0, "2", None])
def test_acumulacao_que_nao_e_um_numero_de_lotes(c05, count):
    message = complaint(ValueError, c05.TrainConfig, accumulation=count)
    assert message.startswith("accumulation = ")


# --- deixa com bytes desconhecidos -----------------------------------------------------


@settings(max_examples=40)
@given(text=st.text(max_size=20))
def test_qualquer_texto_serve_de_deixa(c05, tokenizer, model, text):
    """O tokenizador desce aos bytes: o que ele nunca viu também tem id."""
    ids = c05.prompt_ids(tokenizer, text)
    out = c05.generate(model, ids, 2, generator=1)
    assert out.shape == (1, ids.shape[1] + 2)
    assert tokenizer.decode(ids[0, 1:].tolist()) == text


@pytest.mark.parametrize("text", ["\x00", "\ufffd", "日本語", "👩‍👩‍👧‍👦", "\u202e", "<|fim|>"])
def test_deixas_estranhas(c05, tokenizer, model, text):
    ids = c05.prompt_ids(tokenizer, text)
    assert tokenizer.decode(ids[0, 1:].tolist()) == text and 269 not in ids[0, 1:]
    assert c05.generate(model, ids, 3, generator=1).shape == (1, ids.shape[1] + 3)


@pytest.mark.parametrize("text", ["\ud800", "oi \udc80"])
def test_deixa_com_meio_caractere(c05, tokenizer, text):
    assert "posição" in complaint(ValueError, c05.prompt_ids, tokenizer, text)


@pytest.mark.parametrize("thing", [b"p\xe3o", 7, None])
def test_deixa_que_nao_e_texto(c05, tokenizer, thing):
    assert "recebi" in complaint(TypeError, c05.prompt_ids, tokenizer, thing)


@pytest.mark.parametrize("bad", [270, 9_999, -1])
def test_id_que_o_modelo_nao_conhece(c05, model, bad):
    """Uma deixa de outro tokenizador."""
    ids = torch.tensor([[3, bad]])
    assert "vocabulário" in complaint(ValueError, c05.generate, model, ids, 2)
    assert "vocabulário" in complaint(ValueError, c05.generate_batch, model, [[3, bad]], 2)
    assert not model.training


@pytest.mark.parametrize("shape", [(1, 0), (3,), (1, 2, 3)])
def test_deixa_vazia_ou_sem_lote(c05, model, shape):
    complaint(ValueError, c05.generate, model, torch.zeros(shape, dtype=torch.long), 2)


# --- top_p fora de (0, 1] --------------------------------------------------------------

CUTS = [0, 0.0, -0.1, 1.0001, 2, 90, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("top_p", CUTS)
def test_top_p_impossivel(c05, model, top_p):
    """Recusa antes de qualquer conta: o modelo e o acaso ficam como estavam."""
    start, around = torch.tensor([[1, 2]]), torch.get_rng_state()
    model.train()
    for attempt in (lambda: c05.filter_logits(torch.zeros(1, 9), top_p=top_p),
                    lambda: c05.generate(model, start, 5, top_p=top_p),
                    lambda: c05.generate(model, start, 0, top_p=top_p),
                    lambda: c05.generate_batch(model, [[1, 2]], 5, top_p=top_p)):  # fmt: skip
        message = complaint(ValueError, attempt)
        assert message.startswith(f"top_p = {top_p}")
    assert model.training and torch.equal(around, torch.get_rng_state())
    model.eval()


@given(top_p=st.floats(), logits=st.lists(st.floats(-9, 9), min_size=1, max_size=6))
def test_todo_top_p_e_aceito_ou_explicado(c05, top_p, logits):
    assume(not 0 < top_p < 1.2e-38)                # menos que o menor normal do float32
    logits = torch.tensor([logits])
    if 0 < top_p <= 1:
        kept = c05.filter_logits(logits, top_p=top_p).softmax(-1)
        assert kept.max() > 0 and abs(kept.sum().item() - 1) < 1e-4
    else:
        complaint(ValueError, c05.filter_logits, logits, top_p=top_p)


# --- semente que não é número ----------------------------------------------------------

SEEDS = ["sete", "", " ", "1.5", "1e3", "7 e meio", "0x10", "٠x"]


@pytest.mark.parametrize("seed", SEEDS)
def test_semente_que_nao_e_numero(c05, model, seed):
    start = torch.tensor([[1, 2]])
    for attempt in (lambda: c05.seeded(seed),
                    lambda: c05.generate(model, start, 3, generator=seed)):  # fmt: skip
        message = complaint(ValueError, attempt)
        assert repr(seed) in message and "número inteiro" in message


@pytest.mark.parametrize("seed", ["sete", "7", 1.5, None, -1, True, 2**32])
def test_semente_do_treino_que_nao_e_numero(c05, seed):
    message = complaint(ValueError, c05.TrainConfig, seed=seed)
    assert message.startswith("seed = ") and "número inteiro" in message


@pytest.mark.parametrize("seed", [*SEEDS, "-3"])
def test_semente_que_nao_e_numero_no_formulario_do_projeto(c05, book05, tmp_path, seed):
    path = tmp_path / "texto.txt"
    path.write_text(prose(900), encoding="utf-8")
    said, names = project(book05, c05, path, own_seed=seed)
    assert "número inteiro" in one_sentence(said) and names["problem"] is not None


def test_semente_que_nao_e_numero_no_formulario_da_escrita(c05, book05, tokenizer, model):
    """A célula que escreve imprime a frase, em vez de parar o Executar tudo."""
    fields = {"writer": "treinado aqui", "base": model, "base_tokenizer": tokenizer,
              "model": model, "tokenizer": tokenizer, "prompt": "o pão", "temperature": 0.8,
              "top_p": 0.95, "min_p": 0.0, "repetition_penalty": 1.0, "seed": "sete",
              "end_id": 269}  # fmt: skip
    said, _ = form(book05, c05, "chosen = ", **fields)
    assert "'sete'" in one_sentence(said)
    said, _ = form(book05, c05, "chosen = ", **(fields | {"seed": "7"}))
    assert said.startswith("o pão")


# --- e os números dos outros formulários -----------------------------------------------


@pytest.mark.parametrize("steps", [-1, -20])
def test_passos_impossiveis_no_formulario_do_projeto(c05, book05, tmp_path, steps):
    path = tmp_path / "texto.txt"
    path.write_text(prose(900), encoding="utf-8")
    said, names = project(book05, c05, path, own_steps=steps)
    assert f"steps = {steps}" in one_sentence(said) and names["problem"] is not None


def test_um_modelo_base_que_falta_ou_nao_combina(c05, c02, tmp_path):
    message = complaint(FileNotFoundError, c05.load_model, tmp_path / "nada")
    assert "config.json" in message
    own = c02.BPETokenizer.train(["o pão quente da padaria " * 30], 270)
    model = c05.ModernGPT(c05.ModernConfig(270, 16, 16, 2, 1))
    c05.save_model(model, own, tmp_path)
    assert c05.load_model(tmp_path)[0].config == model.config
    plan = json.loads((tmp_path / "config.json").read_text("utf-8"))
    for change in ({"d_model": 32}, {"vocab_size": 300}, {"novidade": 1}):
        (tmp_path / "config.json").write_text(json.dumps(plan | change), "utf-8")
        complaint(ValueError, c05.load_model, tmp_path)
    (tmp_path / "config.json").write_text("{", "utf-8")
    complaint(ValueError, c05.load_model, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(plan), "utf-8")
    c02.BPETokenizer.train(["o pão quente da padaria " * 30], 260).save(
        tmp_path / "tokenizador.json")
    assert "não são um par" in complaint(ValueError, c05.load_model, tmp_path)


def test_um_disco_que_recusa_o_modelo_nao_estraga_o_que_havia(
        c05, tokenizer, tmp_path, monkeypatch):
    torch.manual_seed(1)
    old, new = (c05.ModernGPT(c05.ModernConfig(270, 16, 16, 2, 1)) for _ in range(2))
    c05.save_model(old, tokenizer, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(weights, path):
        path.write_bytes(b"meio arquivo")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(c05, "save_file", full)
    assert "espaço em disco" in complaint(OSError, c05.save_model, new, tokenizer, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    monkeypatch.undo()
    blocked = tmp_path / "config.json" / "modelo"       # no lugar da pasta há um arquivo
    complaint(OSError, c05.save_model, new, tokenizer, blocked)
