"""A lavanderia do capítulo 02: sujeira, molduras, MinHash, LSH, corpora em fila, divisão."""

import random
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

TEXT = ("Dona Nair levou à feira três maçãs, uma jabuticaba e o pão de ontem.\n\n"
        "— Não há troco aí? — perguntou Seu Osvaldo, já sem esperança.")  # fmt: skip


def numbered(n: int, salt: str = "") -> str:
    """Um texto de n palavras que não se repetem em outro salt."""
    return " ".join(f"palavra{salt}{i}" for i in range(n))


# --- clean -----------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_texto_trocado_varias_vezes(c02, times):
    dirty = TEXT
    for _ in range(times):
        dirty = c02.misread(dirty)
    assert c02.clean(dirty) == TEXT


@given(seed=st.integers(0, 2**32))
def test_sujeiras_em_camadas_voltam(c02, seed):
    rng, dirty = random.Random(seed), TEXT
    for kind in c02.DIRT:
        if kind != "rodapé de site" and rng.random() < 0.5:
            dirty = c02.DIRT[kind](dirty)
    assert c02.clean(dirty) == TEXT


def test_a_copia_suja_volta_ao_original(c02, corpus):
    texts = [c02.document_text(row) for row in corpus["treino"]]
    soiled = c02.soil(texts, seed=7)
    assert len(soiled) > len(texts)
    originals = [d.origin for d in soiled if not d.copy]
    assert originals == sorted(originals)  # a ordem fica
    cleaned = [c02.clean(d.text) for d in soiled]
    frame = c02.repeated_lines(cleaned)
    texts_only = list(dict.fromkeys(c02.drop_lines(t, frame) for t in cleaned))
    dropped = c02.near_duplicates(texts_only)
    assert [t for i, t in enumerate(texts_only) if i not in dropped] == texts


def test_linhas_honestas_ficam(c02):
    pages = [f"Texto {i}\nFala {i % 7}\nRodapé" for i in range(1000)]
    assert c02.repeated_lines(pages, share=0.2) == {"Rodapé"}
    assert c02.repeated_lines(["igual", "igual"]) == set()  # dois não são moldura


# --- MinHash e LSH ---------------------------------------------------------------------


@given(n=st.integers(0, 12))
def test_numeros_das_telhas(c02, n):
    numbers = c02.tile_numbers(numbered(n))
    assert len(numbers) == len(c02.shingles(numbered(n))) == max(0, n - 4)
    assert numbers.dtype == np.uint64 and (numbers < 2**31).all()


def test_os_numeros_das_telhas_nao_mudam(c02):
    """Assinaturas guardadas ontem têm de servir hoje, em qualquer máquina."""
    again = c02.tile_numbers("um dois três quatro cinco seis")
    assert (again == c02.tile_numbers("Um, dois! TRÊS quatro... cinco — seis")).all()


@pytest.mark.parametrize("common", [0, 20, 100, 180, 200])
def test_a_estimativa_erra_pouco(c02, common):
    """Erro dentro de quatro desvios padrão, √(J(1−J)/k)."""
    shared = numbered(common, "comum")
    a, b = (f"{shared} {numbered(200 - common, side)}" for side in "ab")
    true = c02.jaccard(c02.shingles(a), c02.shingles(b))
    signs = [c02.signature(c02.tile_numbers(t), 1024) for t in (a, b)]
    spread = (true * (1 - true) / 1024) ** 0.5
    assert abs(c02.estimate(*signs) - true) <= 4 * spread + 1e-12


def test_a_estimativa_contra_a_datasketch(c02):
    """O mesmo par, na biblioteca de referência: as duas erram do mesmo tamanho."""
    datasketch = pytest.importorskip("datasketch")
    ours, theirs = [], []
    for every in (3, 6, 12, 25, 50):
        a = numbered(300)
        b = c02.disguise(a, every)
        true = c02.jaccard(c02.shingles(a), c02.shingles(b))
        oracle = [datasketch.MinHash(num_perm=512, seed=3) for _ in "ab"]
        for sketch, text in zip(oracle, (a, b), strict=True):
            sketch.update_batch([" ".join(t).encode() for t in c02.shingles(text)])
        ours.append(c02.estimate(*(c02.signature(c02.tile_numbers(t), 512)
                                   for t in (a, b))) - true)  # fmt: skip
        theirs.append(oracle[0].jaccard(oracle[1]) - true)
    assert max(map(abs, ours)) < 0.09 and max(map(abs, theirs)) < 0.09


def test_faixas(c02):
    signs = np.array([[1, 2, 3, 4], [1, 2, 9, 9], [8, 8, 3, 4], [7, 7, 7, 7]])
    assert c02.candidates(signs, 2) == {(0, 1), (0, 2)}
    assert c02.candidates(signs, 4) == set()
    assert c02.candidates(signs, 1) == {(0, 1), (0, 2)}


def test_quase_copias_ficam_as_primeiras(c02):
    a, b = numbered(200, "a"), numbered(200, "b")
    texts = [a, b, c02.disguise(a, 40), b, "curto", "curto", c02.disguise(b, 40)]
    assert c02.near_duplicates(texts) == {2, 3, 6}  # textos sem telhas não se comparam
    assert c02.near_duplicates([]) == set()
    assert c02.near_duplicates([a]) == set()


def test_o_jaccard_exato_decide(c02):
    """Um candidato abaixo do limite fica: o LSH só propõe."""
    a = numbered(200)
    b = c02.disguise(a, 8)
    true = c02.jaccard(c02.shingles(a), c02.shingles(b))
    assert c02.near_duplicates([a, b], limit=true + 0.01, rows=1) == set()
    assert c02.near_duplicates([a, b], limit=true, rows=1) == {1}


# --- corpora em fila -------------------------------------------------------------------


@pytest.fixture
def doors(c02, tmp_path):
    """Os dois corpora reais em miniatura: {nome: caminho}, mesmas colunas, textos nossos."""
    texts = [numbered(60, f"doc{i}x") for i in range(12)]
    ids = [str(i) for i in range(12)]
    wiki = {"id": ids, "url": ids, "title": [f"T{i}" for i in ids], "text": texts}
    web = {"text": texts, "id": ids, "dump": ids, "url": ids, "date": ids, "file_path": ids,
           "language": ["por"] * 12, "language_score": [1.0] * 12,
           "minhash_cluster_size": [1] * 12, "quality_score": [0.5] * 12}  # fmt: skip
    _, wiki_name, web_name = c02.SOURCES
    paths = {wiki_name: tmp_path / "wiki.parquet", web_name: tmp_path / "web.parquet"}
    pq.write_table(pa.table(wiki), paths[wiki_name], row_group_size=4)
    pq.write_table(pa.table(web), paths[web_name], row_group_size=4)
    return {name: str(path) for name, path in paths.items()}


def test_as_duas_portas_dao_os_mesmos_documentos(c02, doors):
    found = [list(c02.stream_documents(n, 99, [p])) for n, p in doors.items()]
    assert [len(rows) for rows in found] == [12, 12]
    assert [(r["id"], r["texto"]) for r in found[0]] == [(r["id"], r["texto"]) for r in found[1]]
    assert {tuple(r) for rows in found for r in rows} == {("id", "titulo", "texto")}
    assert found[0][3]["titulo"] == "T3" and found[1][3]["titulo"] == ""


def test_o_limite_e_os_tamanhos(c02, doors):
    (name, path), *_ = doors.items()
    assert len(list(c02.stream_documents(name, 5, [path]))) == 5
    assert list(c02.stream_documents(name, 5, [path], min_chars=10**6)) == []
    assert list(c02.stream_documents(name, 5, [path], max_chars=10)) == []
    assert len(list(c02.stream_documents(name, 99, [path, path]))) == 24


def test_portas_erradas(c02, doors, tmp_path):
    (wiki, _), (web, web_path) = doors.items()
    broken = tmp_path / "falso.parquet"
    broken.write_text("isto não é Parquet", encoding="utf-8")
    cases = [
        ("Wikipedia", 5, None, ValueError, "Não conheço o corpus"),
        (wiki, 0, None, ValueError, "ao menos um documento"),
        (wiki, 5, [str(tmp_path)], FileNotFoundError, "é uma pasta"),
        (web, 5, [str(tmp_path / "nada.parquet")], FileNotFoundError, "Não achei"),
        (wiki, 5, [web_path], ValueError, "não tem as colunas.*title"),
        (web, 5, [str(broken)], ValueError, "não é um Parquet"),
    ]
    for name, limit, files, error, message in cases:
        with pytest.raises(error, match=message):
            next(c02.stream_documents(name, limit, files))


def test_sem_internet_a_frase_diz_o_que_fazer(c02, monkeypatch):
    def fails(*args, **kwargs):
        raise ConnectionError("sem rota")

    monkeypatch.setattr(c02, "load_dataset", fails)
    with pytest.raises(ConnectionError, match="(?s)Não consegui abrir.*corpus do curso"):
        next(c02.stream_documents(list(c02.SOURCES)[1], 5))


# --- divisão ---------------------------------------------------------------------------


@given(ids=st.sets(st.text(max_size=12), min_size=2, max_size=40))
def test_a_divisao_nao_depende_da_companhia(c02, ids):
    alone = {i: c02.part_of(i, 0.3) for i in ids}
    try:
        parts = c02.split_documents(({"id": i} for i in sorted(ids, reverse=True)), 0.3)
    except ValueError:
        assert len(set(alone.values())) == 1
        return
    assert {d["id"]: name for name, rows in parts.items() for d in rows} == alone


def test_a_fracao_pedida(c02):
    held = sum(c02.part_of(f"doc-{i}", 0.05) == "validacao" for i in range(20_000))
    assert 0.045 < held / 20_000 < 0.055


@pytest.mark.parametrize("n", [0, 1])
def test_corpus_de_um_documento(c02, n):
    with pytest.raises(ValueError, match=f"ao menos dois documentos, e há {n}"):
        c02.split_documents([{"id": "só"}] * n)


@pytest.mark.parametrize("held_out", [0, 1, -0.1, 1.5])
def test_fracao_que_nao_e_fracao(c02, held_out):
    with pytest.raises(ValueError, match="fração entre 0 e 1"):
        c02.split_documents([{"id": "a"}, {"id": "b"}], held_out)


def test_uma_parte_vazia(c02):
    with pytest.raises(ValueError, match="nenhum caiu em validacao"):
        c02.split_documents([{"id": "a"}, {"id": "b"}], 1e-9)


# --- check_jsonl: as entradas novas ----------------------------------------------------


def test_linha_enorme(c02, tmp_path):
    path = tmp_path / "enorme.jsonl"
    row = '{"id": "a", "genero": "b", "titulo": "c", "texto": "%s"}\n'
    path.write_text(row % "oi" + row % ("a" * 2_000_000), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape("linha 2: tem 2.000.")):
        c02.check_jsonl(path)
    assert c02.check_jsonl(path, longest=3_000_000) == 2


def test_pasta_no_lugar_de_arquivo(c02, tmp_path):
    with pytest.raises(FileNotFoundError, match="isso é uma pasta"):
        c02.check_jsonl(tmp_path)


@pytest.mark.parametrize(
    ("content", "where"),
    [(b"{}\n{}\nol\xe1", "linha 3: o byte 3 dela, 0xE1"), (b"\xff\xfe", "linha 1: o byte 1"),
     ("é\n".encode() + b"\xc3", "linha 2: o byte 1 dela, 0xC3")],
)  # fmt: skip
def test_o_byte_e_a_linha(c02, tmp_path, content, where):
    path = tmp_path / "ruim.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=where):
        c02.check_jsonl(path)


def test_as_telhas_sao_as_mesmas_em_qualquer_processo(c02):
    """Com o `hash` do Python, sorteado a cada processo, as divisões mudariam sozinhas."""
    assert c02.tile_numbers("um dois três quatro cinco seis").tolist() == [376119463, 1928223882]


def test_quem_so_se_parece_com_um_descartado_fica(c02):
    """A ~ B e B ~ C, mas A e C não: cai só o B."""
    line = [f"palavra{i}" for i in range(150)]
    chain = [" ".join(line[start : start + 100]) for start in (0, 25, 50)]
    assert c02.near_duplicates(chain) == {1}
