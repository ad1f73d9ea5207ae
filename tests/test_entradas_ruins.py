"""As entradas ruins do capítulo 02: cada uma recebe uma frase clara em português.

As outras moram com o seu assunto: `check_jsonl` e `load_corpus` em test_dados.py e
test_limpeza.py, o arquivo do tokenizador em test_tokenizador.py. Aqui ficam as que faltavam.
"""

import hashlib
import random
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

ENGLISH = re.compile(
    r"\b(the|not|is|must|be|expected|invalid|cannot|argument|object|sequence|file|empty"
    r"|directory|exists|unsupported|required|got|tensor)\b", re.IGNORECASE
)  # fmt: skip


def complaint(error, attempt, *args, **kwargs) -> str:
    """A frase do erro, que tem de ser uma frase: em português, inteira, com o que fazer."""
    with pytest.raises(error) as caught:
        attempt(*args, **kwargs)
    message = str(caught.value)
    assert not ENGLISH.search(message), f"está em inglês: {message}"
    assert len(message.split()) >= 8, f"curta demais: {message}"
    assert message.rstrip()[-1] in ".?", f"não acaba: {message}"
    return message


@pytest.fixture(scope="module")
def small(c02):
    return c02.BPETokenizer.train("abababab", 258)


# --- UTF-8 inválido e o que não é texto ------------------------------------------------


@pytest.mark.parametrize("text", ["\ud800", "oi \udfff!", "a\udc80"])
def test_meio_caractere(c02, small, text):
    """O que sobra de um arquivo lido com `errors="surrogateescape"`."""
    where = next(i for i, c in enumerate(text) if c >= "\ud800")
    for attempt in (small.encode, lambda t: c02.BPETokenizer.train(t, 258),
                    lambda t: c02.token_stream(small, ["bom", t])):  # fmt: skip
        message = complaint(ValueError, attempt, text)
        assert f"posição {where} " in message and "encoding='utf-8'" in message


@pytest.mark.parametrize("thing", [b"oi", "olá".encode("latin-1"), None, 3, ["oi"]])
def test_o_que_nao_e_texto(c02, small, thing):
    kind = type(thing).__name__
    for attempt in (small.encode, lambda t: small.encode(t, {"<|fim|>"}),
                    lambda t: c02.BPETokenizer.train([t], 258),
                    lambda t: c02.token_stream(small, [t])):  # fmt: skip
        assert f"recebi {kind}" in complaint(TypeError, attempt, thing)


def test_bytes_no_lugar_da_colecao(c02):
    """Percorrer bytes dá números: a frase não pode ser a do Python."""
    assert "recebi int" in complaint(TypeError, c02.BPETokenizer.train, b"abab", 258)


def test_o_corpus_com_um_byte_errado(c02, tmp_path, monkeypatch):
    """`load_corpus` confere o arquivo que está ao lado, mesmo sem baixar nada."""
    monkeypatch.chdir(tmp_path)
    for path in c02.CORPUS_SHA256:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b'{"id": "a", "texto": "p\xe3o"}\n')
    sums = {p: hashlib.sha256((tmp_path / p).read_bytes()).hexdigest() for p in c02.CORPUS_SHA256}
    monkeypatch.setattr(c02, "CORPUS_SHA256", sums)
    assert "linha 1: o byte 24 dela, 0xE3" in complaint(ValueError, c02.load_corpus)


# --- arquivo vazio ---------------------------------------------------------------------


@pytest.fixture
def wikipedia(c02):
    return list(c02.SOURCES)[1]


def test_parquet_de_zero_bytes(c02, wikipedia, tmp_path):
    path = tmp_path / "vazio.parquet"
    path.touch()
    rows = c02.stream_documents(wikipedia, 5, [str(path)])
    assert "vazio.parquet não é um Parquet" in complaint(ValueError, next, rows)


def test_parquet_sem_nenhuma_linha(c02, wikipedia, tmp_path):
    path = tmp_path / "sem_linhas.parquet"
    none = pa.array([], pa.string())
    pq.write_table(pa.table({"id": none, "title": none, "text": none}), path)
    rows = c02.stream_documents(wikipedia, 5, [str(path)])
    assert "sem_linhas.parquet" in complaint(ValueError, next, rows)


def test_parquet_com_utf8_invalido(c02, wikipedia, tmp_path):
    path = tmp_path / "latin.parquet"
    ends, data = pa.py_buffer(b"\0\0\0\0\3\0\0\0"), pa.py_buffer(b"ol\xe1")
    text = pa.Array.from_buffers(pa.string(), 1, [None, ends, data])
    pq.write_table(pa.table({"id": ["1"], "title": ["t"], "text": text}), path)
    rows = c02.stream_documents(wikipedia, 5, [str(path)], min_chars=1)
    assert "UTF-8" in complaint(ValueError, next, rows)


def test_parquet_com_campos_nulos(c02, wikipedia, tmp_path):
    """Um documento sem texto não conta; um título que falta é um título vazio."""
    path = tmp_path / "nulos.parquet"
    rows = {"id": ["1", "2"], "title": ["T", None], "text": [None, "palavra " * 40]}
    pq.write_table(pa.table(rows), path)
    [found] = c02.stream_documents(wikipedia, 5, [str(path)])
    assert (found["id"], found["titulo"]) == ("2", "")


@pytest.mark.parametrize("texts", ["", [], ["", ""], iter([])], ids=repr)
def test_treinar_com_nada(c02, texts):
    assert "vazio" in complaint(ValueError, c02.BPETokenizer.train, texts, 300)


@pytest.mark.parametrize("n", [0, 3])
def test_fluxo_que_nao_enche_uma_janela(c02, n):
    message = complaint(ValueError, c02.TokenDataset, range(n), 3)
    assert f"tem {n} tokens" in message and "precisa de 4" in message


# --- uma linha enorme ------------------------------------------------------------------


def test_treinar_e_codificar_uma_linha_enorme_sem_espacos(c02):
    """O corte em pedaços a reparte: nem o treino nem `encode` crescem com o quadrado."""
    rng = random.Random(0)
    line = "".join(rng.choices("abcdefgh", k=60_000))
    pieces = c02.split_pieces(line)
    assert max(map(len, pieces)) <= 65 and len(pieces) < 2 * len(line) / 64
    tokenizer = c02.BPETokenizer.train(line, 300)
    ids = tokenizer.encode(line)
    assert tokenizer.decode(ids) == line and len(ids) < 0.7 * len(line)


def test_a_linha_enorme_diz_onde_esta_e_o_limite(c02, tmp_path):
    path = tmp_path / "enorme.jsonl"
    path.write_text("x" * 1_000_001, encoding="utf-8")
    message = complaint(ValueError, c02.check_jsonl, path)
    assert "linha 1: tem 1.000.001 caracteres" in message and "1.000.000" in message


# --- vocabulário e corpus pequenos demais ----------------------------------------------


@pytest.mark.parametrize("n_specials", [0, 1, 2, 5])
def test_o_menor_vocabulario_depende_dos_especiais(c02, n_specials):
    specials = tuple(f"<|{i}|>" for i in range(n_specials))
    smallest = 256 + n_specials
    message = complaint(ValueError, c02.BPETokenizer.train, "abab", smallest - 1, specials)
    assert f"vocab_size = {smallest - 1} " in message and f"ao menos {smallest}." in message
    assert c02.BPETokenizer.train("abab", smallest, specials).vocab_size == smallest


@pytest.mark.parametrize("size", [300.0, "300", None])
def test_tamanho_que_nao_e_inteiro(c02, size):
    message = complaint(TypeError, c02.BPETokenizer.train, "abab", size)
    assert f"do tipo {type(size).__name__}" in message


@pytest.mark.parametrize("specials", [("",), ("<|a|>", "<|a|>"), ("<|fim|>", "")])
def test_especiais_repetidos_ou_vazios(c02, specials):
    assert "token especial" in complaint(ValueError, c02.BPETokenizer, [], specials)


@pytest.mark.parametrize("text", ["abcdefgh", "áé", "a", "👍"])
def test_texto_em_que_todo_par_e_unico(c02, text):
    """Nenhuma fusão se aprende; pedir só os bytes e os especiais ainda funciona."""
    message = complaint(ValueError, c02.BPETokenizer.train, text, 258)
    assert "só dá 0 fusões" in message and "mais texto" in message
    tokenizer = c02.BPETokenizer.train(text, 257)
    assert tokenizer.merges == [] and tokenizer.decode(tokenizer.encode(text)) == text


def test_corpus_de_um_documento_por_todo_o_caminho(c02, small):
    """Dividir não dá, e a frase diz; as outras peças seguem com um documento só."""
    [only] = documents = [{"id": "único", "texto": "abab " * 20}]
    assert "há 1" in complaint(ValueError, c02.split_documents, documents, 0.5)
    assert c02.near_duplicates([only["texto"]]) == set()
    assert c02.repeated_lines([only["texto"]]) == set()
    assert c02.BPETokenizer.train([only["texto"]], 258).merges == [(97, 98)]
    stream = c02.token_stream(small, [only["texto"]])
    assert len(c02.TokenDataset(stream, 4)) == (len(stream) - 1) // 4


# --- um caminho que é uma pasta --------------------------------------------------------


def test_ler_uma_pasta(c02, wikipedia, tmp_path):
    reads = [(c02.check_jsonl, tmp_path), (c02.BPETokenizer.load, tmp_path),
             (c02.check_parquet, tmp_path, ["id"])]  # fmt: skip
    for attempt in reads:
        assert str(tmp_path) in complaint(FileNotFoundError, *attempt)


def test_salvar_numa_pasta(small, tmp_path):
    folder = tmp_path / "pasta"
    folder.mkdir()
    assert "é uma pasta" in complaint(ValueError, small.save, folder)
    assert [p.name for p in tmp_path.iterdir()] == ["pasta"]


def test_treinar_com_um_caminho_no_lugar_do_texto(c02, tmp_path):
    message = complaint(TypeError, c02.BPETokenizer.train, Path(tmp_path), 300)
    assert "passe textos" in message


def test_salvar_debaixo_de_um_arquivo(small, tmp_path):
    (tmp_path / "nota.txt").write_text("oi", encoding="utf-8")
    assert "nota.txt é um arquivo" in complaint(ValueError, small.save, tmp_path / "nota.txt/a/b")
    assert [p.name for p in tmp_path.iterdir()] == ["nota.txt"]


def test_fusoes_demais_para_o_texto(c02):
    message = complaint(ValueError, c02.learn_merges_slow, Counter(["oi"]), 5)
    assert "só permite 1 fusões" in message


def test_vizinhas_que_nao_existem(c02):
    table = torch.eye(3)
    for word, k in (("pão", 3), ("pão", 0), ("gato", 1)):
        assert "entre 3 nomes" in complaint(
            ValueError, c02.nearest, table, word, ["pão", "broa", "rio"], k
        )


def test_encontros_todos_em_zero(c02):
    assert "toda em zero" in complaint(ValueError, c02.ppmi, torch.zeros(3, 3))
