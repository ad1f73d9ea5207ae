"""Os arquivos do curso, o corpus e as janelas: o que entra, e cada jeito de dar errado."""

import hashlib
import http.server
import json
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pecas import ROOT

CONTENT = "São João, ção, 👍\n".encode() * 500
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serve CONTENT em qualquer endereço; /cortado para no meio, /some dá 404."""

    requests: list[str] = []

    def do_GET(self):
        self.requests.append(self.path)
        if "some" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100] if "cortado" in self.path else CONTENT)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    Server.requests.clear()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def far_away(tmp_path, monkeypatch):
    """Uma pasta longe de qualquer clone, e sem proxy entre nós e o servidor."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")
    here = tmp_path / "a" / "b" / "c"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    return here


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


# --- course_file -----------------------------------------------------------------------


def test_baixa_confere_e_nao_baixa_de_novo(c02, server, far_away):
    path = c02.course_file("pasta/arquivo.txt", SHA256, raw=server)
    assert Path(path).read_bytes() == CONTENT
    assert Server.requests == ["/pasta/arquivo.txt"]
    again = c02.course_file("pasta/arquivo.txt", SHA256, raw=server)
    assert again == path and len(Server.requests) == 1
    assert files_in(far_away) == ["arquivo.txt"], "sobrou um pedaço de download"


def test_copia_local_estragada_e_baixada_de_novo(c02, server, far_away):
    path = c02.course_file("pasta/arquivo.txt", SHA256, raw=server)
    Path(path).write_bytes(CONTENT[:50])
    again = c02.course_file("pasta/arquivo.txt", SHA256, raw=server)
    assert Path(again).read_bytes() == CONTENT and len(Server.requests) == 2


def test_soma_errada_nao_grava_nada(c02, server, far_away):
    with pytest.raises(ValueError, match="(?s)arquivo.txt.*SHA-256.*de novo"):
        c02.course_file("pasta/arquivo.txt", "0" * 64, raw=server)
    assert files_in(far_away) == []


def test_download_interrompido_nao_deixa_arquivo(c02, server, far_away):
    with pytest.raises((ValueError, FileNotFoundError), match="cortado.txt"):
        c02.course_file("pasta/cortado.txt", SHA256, raw=server)
    assert files_in(far_away) == []


def test_servidor_sem_o_arquivo(c02, server, far_away):
    with pytest.raises(FileNotFoundError, match="(?s)some.txt.*clone"):
        c02.course_file("pasta/some.txt", SHA256, raw=server)
    assert files_in(far_away) == []


def test_sem_rede_nem_clone_diz_o_que_fazer(c02, far_away):
    with pytest.raises(FileNotFoundError, match="(?s)internet.*clone"):
        c02.course_file("pasta/arquivo.txt", SHA256, raw="http://127.0.0.1:9")
    assert files_in(far_away) == []


@pytest.mark.parametrize("place", [".", ".."])
def test_num_clone_usa_o_arquivo_ao_lado(c02, server, far_away, place):
    beside = far_away / place / "02-texto" / "x.txt"
    beside.parent.mkdir(parents=True)
    beside.write_text("do clone", encoding="utf-8")
    found = c02.course_file("02-texto/x.txt", "0" * 64, raw=server)
    assert Path(found).read_text(encoding="utf-8") == "do clone"
    assert Server.requests == []


# --- check_jsonl -----------------------------------------------------------------------

ROW = {"id": "bd-1", "genero": "conto", "titulo": "Oi", "texto": "Era uma vez."}


def as_line(**changes) -> str:
    row = {k: v for k, v in (ROW | changes).items() if v is not ...}
    return json.dumps(row, ensure_ascii=False)


def test_jsonl_bom_conta_as_linhas(c02, tmp_path):
    path = tmp_path / "bom.jsonl"
    path.write_text("\n".join([as_line()] * 3) + "\n", encoding="utf-8")
    assert c02.check_jsonl(path) == c02.check_jsonl(str(path)) == 3


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x1c", "\x0b", "\r"])
def test_jsonl_com_separador_exotico_no_texto(c02, tmp_path, odd):
    """Só \\n separa as linhas: os outros separadores do Unicode cabem num texto."""
    path = tmp_path / "exotico.jsonl"
    line = as_line(texto=f"antes{odd}depois")
    path.write_text(f"{line}\n{line}\n", encoding="utf-8", newline="\n")
    assert c02.check_jsonl(path) == 2


def test_jsonl_que_falta(c02, tmp_path):
    for path in (tmp_path / "nada.jsonl", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"(?s)Não achei.*baixe"):
            c02.check_jsonl(path)


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\n"])
def test_jsonl_vazio(c02, tmp_path, content):
    path = tmp_path / "v.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="v.jsonl.*vazio"):
        c02.check_jsonl(path)


def test_jsonl_que_nao_e_utf8(c02, tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(as_line(texto="ação").encode("latin-1"))
    with pytest.raises(ValueError, match="latin.jsonl.*UTF-8"):
        c02.check_jsonl(path)


@pytest.mark.parametrize(
    "bad", ['{"id": "bd-1", "tex', "oi", "{'id': 1}", "", as_line() + as_line()]
)
def test_jsonl_com_linha_que_nao_abre(c02, tmp_path, bad):
    path = tmp_path / "ruim.jsonl"
    path.write_text("\n".join([as_line(), bad, as_line()]), encoding="utf-8")
    with pytest.raises(ValueError, match="ruim.jsonl, linha 2: .*JSON"):
        c02.check_jsonl(path)


@pytest.mark.parametrize("field", ["id", "genero", "titulo", "texto"])
@pytest.mark.parametrize("value", [..., "", "  \n", None])
def test_jsonl_com_campo_que_falta(c02, tmp_path, field, value):
    path = tmp_path / "falta.jsonl"
    path.write_text(f"{as_line()}\n{as_line(**{field: value})}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"falta.jsonl, linha 2: .*{field}"):
        c02.check_jsonl(path)


@pytest.mark.parametrize("line", ["[]", "3", '"texto"', "null"])
def test_jsonl_com_linha_que_nao_e_documento(c02, tmp_path, line):
    path = tmp_path / "lista.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lista.jsonl, linha 1: .*texto"):
        c02.check_jsonl(path)


# --- load_corpus e o fluxo de tokens ---------------------------------------------------


def test_load_corpus_num_clone(c02, corpus, monkeypatch):
    monkeypatch.chdir(ROOT / "05-pre-treinamento")
    loaded = c02.load_corpus()
    for part, rows in corpus.items():
        assert [dict(row) for row in loaded[part]] == rows


@pytest.fixture
def small_world(c02, far_away, monkeypatch):
    """Um corpus de três arquivos numa pasta qualquer, no lugar do de verdade."""
    sums = {}
    for path in c02.CORPUS_SHA256:
        file = far_away / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(as_line(titulo=file.stem) + "\n", encoding="utf-8")
        sums[path] = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(c02, "CORPUS_SHA256", sums)
    return far_away


def test_load_corpus_de_outra_pasta(c02, small_world):
    loaded = c02.load_corpus()
    assert {part: loaded[part]["titulo"][0] for part in loaded} == {
        part: part for part in ("treino", "validacao", "teste")
    }


def test_load_corpus_com_arquivo_cortado(c02, small_world):
    path = next(small_world.rglob("treino.jsonl"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="treino.jsonl, linha 1"):
        c02.load_corpus()


def test_document_text_e_o_fluxo(c02, tokenizer, corpus):
    rows = corpus["validacao"][:3]
    texts = [c02.document_text(row) for row in rows]
    assert texts[0] == rows[0]["titulo"] + "\n\n" + rows[0]["texto"]
    ids = c02.token_stream(tokenizer, texts)
    assert ids.dtype == torch.long and ids.ndim == 1
    assert tokenizer.decode(ids) == "".join("<|fim|>" + t for t in [*texts, ""])
    assert (ids == tokenizer.special_tokens["<|fim|>"]).sum() == 4


def test_o_fim_escrito_num_documento_nao_corta_o_fluxo(c02, tokenizer):
    ids = c02.token_stream(tokenizer, ["antes <|fim|> depois"])
    assert (ids == tokenizer.special_tokens["<|fim|>"]).sum() == 2


# --- clean -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("Pa\u0303o de queijo", "Pão de queijo"),
        ("Pão\r\nqueijo\rcafé", "Pão\nqueijo\ncafé"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("espaço\u00a0duro", "espaço duro"),
        ("dois  espaços", "dois espaços"),
        ("  bordas \n", "bordas"),
        ("linha com rabo   \noutra", "linha com rabo\noutra"),
        ("um\n\n\n\n\ndois", "um\n\ndois"),
        ("nÃ£o Ã© bom", "não é bom"),
        ("ÁGUA, São João e Âncora", "ÁGUA, São João e Âncora"),
        ("", ""),
    ],
)
def test_clean(c02, dirty, expected):
    assert c02.clean(dirty) == expected


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_limpar_duas_vezes_e_limpar_uma(c02, text):
    once = c02.clean(text)
    assert c02.clean(once) == once


def test_o_corpus_ja_esta_limpo(c02, corpus):
    for rows in corpus.values():
        for row in rows:
            assert c02.clean(row["texto"]) == row["texto"], row["id"]


# --- TokenDataset ----------------------------------------------------------------------


def test_o_exemplo_da_docstring(c02):
    data = c02.TokenDataset([5, 8, 2, 9, 4, 7, 1], 3, 3)
    assert [(x.tolist(), y.tolist()) for x, y in (data[0], data[1])] == [
        ([5, 8, 2], [8, 2, 9]),
        ([9, 4, 7], [4, 7, 1]),
    ]
    assert len(data) == 2 and [len(list(data))] == [2]


@given(
    n=st.integers(2, 60), context=st.integers(1, 20), stride=st.none() | st.integers(1, 25)
)
def test_janelas_e_alvos(c02, n, context, stride):
    ids = torch.arange(n) * 7
    if n <= context:
        with pytest.raises(ValueError, match="(?s)janela.*contexto menor"):
            c02.TokenDataset(ids, context, stride)
        return
    data, step = c02.TokenDataset(ids, context, stride), stride or context
    starts = [s for s in range(0, n, step) if s + context + 1 <= n]  # a definição
    assert len(data) == len(starts)
    for (x, y), start in zip(data, starts, strict=True):
        assert x.tolist() == ids[start : start + context].tolist()
        assert y.tolist() == ids[start + 1 : start + context + 1].tolist()
        assert x.dtype == y.dtype == torch.long


def test_sem_sobreposicao_todo_alvo_aparece_uma_vez(c02):
    data = c02.TokenDataset(torch.arange(1 + 5 * 8), 8)
    targets = torch.cat([y for _, y in data])
    assert targets.tolist() == list(range(1, 41))


@pytest.mark.parametrize(("context", "stride"), [(0, 1), (-1, 1), (3, 0), (3, -2)])
def test_contexto_e_passo_impossiveis(c02, context, stride):
    with pytest.raises(ValueError, match="ao menos 1"):
        c02.TokenDataset(range(10), context, stride)


def test_janela_que_nao_existe(c02):
    data = c02.TokenDataset(range(10), 3)
    for i in (-1, len(data)):
        with pytest.raises(IndexError, match="janela"):
            data[i]


def test_dataloader_empilha_os_lotes(c02):
    loader = torch.utils.data.DataLoader(c02.TokenDataset(range(41), 8), batch_size=2)
    shapes = [tuple(x.shape) for x, _ in loader]
    assert shapes == [(2, 8), (2, 8), (1, 8)]
