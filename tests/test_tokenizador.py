"""O tokenizador contra o tiktoken, os `tokenizers` e uma versão ingênua dele mesmo."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from pecas import ROOT

END = "<|fim|>"

# Qualquer texto Unicode (só os meios-caracteres soltos ficam de fora), com os nossos
# tropeços preferidos aparecendo bem mais do que por acaso.
TROUBLE = [END, "<|fim", "|>", " ", "  ", "\n", "\r\n", "\t", "ção", "É", "123", "1234", "—"]
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
tricky_text = st.lists(st.one_of(any_text, st.sampled_from(TROUBLE)), max_size=8).map("".join)

TORTURE = {
    "vazio": "",
    "emoji com junção": "👩🏽‍🚀👨‍👩‍👧‍👦 🏳️‍🌈 🇧🇷",
    "acentos soltos": "a\u0301\u0327 c\u0327a\u0303o Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚",
    "nulo": "a\x00b\x00\x00 \x00",
    "direita para a esquerda": "\u202eoi\u202c שלום مرحبا",
    "separadores de controle": "a\x1cb\x1d\x1e\x1f c\x85d\u2028e\u2029f",
    "espaços exóticos": "a\u00a0b\u2003c\u3000d\u200be\ufefff",
    "dez mil espaços": " " * 10_000,
    "dez mil espaços e uma letra": " " * 10_000 + "x",
    "quebras misturadas": "\r\n\r\n\n\r\t \n x\n\n",
    "algarismos": "1234567890" * 200,
    "números de outros alfabetos": "½Ⅻ¹²٣४ 3½",
    "último plano": "\U0010ffff\ue000\ufffe",
    "ideogramas": "你好，世界。こんにちは 안녕",
    "só pontuação": "?!…—–-“”«»()[]{}<>" * 20,
    "quase especial": "<|fim|<|fim|>|><|FIM|> <|fim|>",
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tokenizer):
    return tokenizer.to_tiktoken()


@pytest.fixture(scope="module")
def full_tokenizer(c02, corpus):
    """O do tamanho do curso: 2.048 ids, treinado em toda a parte de treino."""
    return c02.BPETokenizer.train([row["texto"] for row in corpus["treino"]], 2048)


# --- ida e volta, e o tiktoken como juiz -----------------------------------------------


@settings(max_examples=400)
@given(text=tricky_text)
def test_qualquer_texto_vai_e_volta_igual_ao_tiktoken(tokenizer, engine, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert ids == engine.encode(text, disallowed_special=())


@pytest.mark.parametrize("name", TORTURE)
def test_textos_de_tortura(tokenizer, engine, name):
    text = TORTURE[name]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert ids == engine.encode(text, disallowed_special=())


def test_trezentos_mil_a_nao_viram_um_pedaco_gigante(c02, tokenizer, engine):
    text = "a" * 300_000
    assert max(map(len, c02.split_pieces(text))) == 64  # por isso o custo é linear
    ids = tokenizer.encode(text)
    assert ids == engine.encode(text, disallowed_special=())
    assert tokenizer.decode(ids) == text


def test_o_corpus_inteiro_vai_e_volta_igual_ao_tiktoken(full_tokenizer, corpus):
    engine = full_tokenizer.to_tiktoken()
    for rows in corpus.values():
        for row in rows:
            ids = full_tokenizer.encode(row["texto"])
            assert ids == engine.encode(row["texto"], disallowed_special=()), row["id"]
            assert full_tokenizer.decode(ids) == row["texto"], row["id"]


@given(data=st.data())
def test_decode_de_quaisquer_ids_igual_ao_tiktoken(tokenizer, engine, data):
    """Também os que não formam um caractere inteiro: viram �, como lá."""
    an_id = st.integers(0, tokenizer.vocab_size - 1)
    ids = data.draw(st.lists(an_id, max_size=30))
    assert tokenizer.decode(ids) == engine.decode(ids)


def test_to_tiktoken_e_mesmo_o_tiktoken(tokenizer, engine):
    assert isinstance(engine, tiktoken.Encoding)
    assert engine.n_vocab == tokenizer.vocab_size == 600


@given(text=tricky_text)
def test_os_pedacos_juntos_sao_o_texto(c02, text):
    assert "".join(c02.split_pieces(text)) == text


# --- o token especial ------------------------------------------------------------------


@given(text=tricky_text)
def test_texto_do_especial_so_vira_token_se_permitido(tokenizer, engine, text):
    text = text + END + text
    [end] = engine.encode(END, allowed_special={END})
    assert end not in tokenizer.encode(text)
    allowed = tokenizer.encode(text, allowed_special={END})
    assert allowed == engine.encode(text, allowed_special={END})
    assert allowed.count(end) == text.count(END) > 0
    assert tokenizer.decode(allowed) == text


def test_varios_especiais_e_so_os_permitidos(c02):
    specials = (END, "<|você|>", "[.*]")
    tok = c02.BPETokenizer.train("abababab", 256 + 1 + 3, specials)
    engine = tok.to_tiktoken()
    text = "ab<|fim|>ab<|você|>[.*]ab.*"
    for allowed in [set(), {END}, {"[.*]"}, {END, "<|você|>"}, set(specials)]:
        ids = tok.encode(text, allowed_special=allowed)
        expected = engine.encode(text, allowed_special=allowed, disallowed_special=())
        assert ids == expected
        assert tok.decode(ids) == text
    assert tok.encode(text, set(specials))[-4] == 259


def test_especial_desconhecido_e_recusado(tokenizer):
    with pytest.raises(ValueError, match="[Ee]special desconhecido"):
        tokenizer.encode("oi", allowed_special={"<|nunca|>"})


# --- o treino --------------------------------------------------------------------------


def naive_merges(texts: list[str], n_merges: int, split) -> list[tuple[int, int]]:
    """A definição, ao pé da letra: reconta tudo a cada fusão."""
    words = Counter(tuple(piece.encode()) for text in texts for piece in split(text))
    vocab = [bytes([b]) for b in range(256)]
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:], strict=False):
                counts[pair] += n
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        token = vocab[best[0]] + vocab[best[1]]
        if token not in vocab:
            vocab.append(token)
            merges.append(best)
        new_id, merged = vocab.index(token), Counter()
        for word, n in words.items():
            out = []
            for i in word:
                out.append(i)
                if tuple(out[-2:]) == best:
                    out[-2:] = [new_id]
            merged[tuple(out)] += n
        words = merged
    return merges


@settings(max_examples=300)
@given(
    texts=st.lists(st.text("a a b ç 1 \n", max_size=30), max_size=6),
    n_merges=st.integers(0, 14),
)
def test_treino_incremental_igual_a_recontar_tudo(c02, texts, n_merges):
    expected = naive_merges(texts, n_merges, c02.split_pieces)
    if not "".join(texts) or len(expected) < n_merges:
        with pytest.raises(ValueError):
            c02.BPETokenizer.train(texts, 257 + n_merges)
    else:
        tok = c02.BPETokenizer.train(texts, 257 + n_merges)
        assert [tuple(m) for m in tok.merges] == expected


def test_treino_no_corpus_igual_a_recontar_tudo(c02, corpus):
    texts = [row["texto"] for row in corpus["treino"][:12]]
    tok = c02.BPETokenizer.train(texts, 257 + 150)
    assert [tuple(m) for m in tok.merges] == naive_merges(texts, 150, c02.split_pieces)


@pytest.mark.parametrize("texts", [["ba"] * 3 + ["ab"] * 3, ["ab"] * 3 + ["ba"] * 3])
def test_empate_fica_com_os_menores_ids(c02, texts):
    tok = c02.BPETokenizer.train(texts, 257 + 2)
    assert [tuple(m) for m in tok.merges] == [(97, 98), (98, 97)]


def test_contagem_vem_antes_do_desempate(c02):
    tok = c02.BPETokenizer.train(["zz"] * 3 + ["ab"] * 2, 257 + 2)
    assert [tuple(m) for m in tok.merges] == [(122, 122), (97, 98)]


def test_empate_entre_byte_e_token_novo(c02):
    """Depois de 'ab' (256), os pares ('ab','c') e ('c','d') empatam: 99 < 256."""
    tok = c02.BPETokenizer.train(["abc"] * 2 + ["cd"] * 2 + ["ab"], 257 + 3)
    assert [tuple(m) for m in tok.merges] == [(97, 98), (99, 100), (256, 99)]


def test_numero_de_fusoes_e_tamanho(c02, tokenizer):
    assert tokenizer.vocab_size == 600
    assert len(tokenizer.merges) == 600 - 256 - 1
    two = c02.BPETokenizer.train("abababab", 256 + 1 + 2, ("<|a|>", "<|b|>"))
    assert (two.vocab_size, len(two.merges)) == (259, 1)
    none = c02.BPETokenizer.train("abababab", 257)
    assert (none.vocab_size, len(none.merges)) == (257, 0)


def test_um_texto_so_vale_como_colecao_de_um(c02):
    text = "o rato roeu a roupa do rei de roma " * 3
    alone, listed, lazy = (
        c02.BPETokenizer.train(t, 270).merges for t in (text, [text], iter([text]))
    )
    assert alone == listed == lazy


def test_treinar_duas_vezes_da_o_mesmo_em_outro_processo(c02, corpus, tmp_path):
    """Outra semente de `hash` muda a ordem dos conjuntos; as fusões, não."""
    texts = [row["texto"] for row in corpus["treino"][:40]]
    here = c02.BPETokenizer.train(texts, 500).merges
    again = c02.BPETokenizer.train(texts, 500).merges
    assert here == again
    (tmp_path / "textos.json").write_text(json.dumps(texts), encoding="utf-8")
    child = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import pecas;"
        "c = pecas.lift(pecas.notebooks()['02']);"
        "t = json.load(open(sys.argv[2], encoding='utf-8'));"
        "print(json.dumps(c.BPETokenizer.train(t, 500).merges))"
    )
    done = subprocess.run(
        [sys.executable, "-c", child, str(ROOT / "tests"), str(tmp_path / "textos.json")],
        env=os.environ | {"PYTHONHASHSEED": "77", "PYTHONUTF8": "1"},
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [list(m) for m in here]


@pytest.mark.parametrize("size", [-1, 0, 255, 256])
def test_vocabulario_pequeno_demais_e_recusado(c02, size):
    with pytest.raises(ValueError, match="257"):
        c02.BPETokenizer.train("abababab", size)


def test_vocabulario_maior_que_o_texto_permite_e_recusado(c02):
    with pytest.raises(ValueError, match="(?i)mais texto|menor"):
        c02.BPETokenizer.train("abababab", 2048)


@pytest.mark.parametrize("texts", ["", [], [""], ["", ""], iter([])], ids=repr)
def test_texto_vazio_e_recusado(c02, texts):
    with pytest.raises(ValueError, match="(?i)vazi[oa]|não há texto"):
        c02.BPETokenizer.train(texts, 300)


# --- o juiz da Hugging Face ------------------------------------------------------------


def byte_alphabet() -> dict[int, str]:
    """O alfabeto visível do GPT-2: cada byte, um caractere que se imprime."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    table = {b: chr(b) for b in shown}
    return table | {b: chr(256 + i) for i, b in enumerate(hidden)}


@pytest.fixture(scope="module")
def hugging_face(c02, full_tokenizer):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    alphabet = byte_alphabet()
    shown = ["".join(alphabet[b] for b in token) for token in full_tokenizer.vocab]
    oracle = Tokenizer(
        models.BPE(
            vocab={s: i for i, s in enumerate(shown)},
            merges=[(shown[a], shown[b]) for a, b in full_tokenizer.merges],
        )
    )
    oracle.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(c02.PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    oracle.decoder = decoders.ByteLevel()
    return oracle


def test_mesmos_ids_que_os_tokenizers_da_hugging_face(hugging_face, full_tokenizer, corpus):
    for rows in corpus.values():
        for row in rows:
            expected = hugging_face.encode(row["texto"]).ids
            assert full_tokenizer.encode(row["texto"]) == expected, row["id"]


@pytest.mark.parametrize("name", TORTURE)
def test_tortura_igual_a_hugging_face(hugging_face, full_tokenizer, name):
    assert full_tokenizer.encode(TORTURE[name]) == hugging_face.encode(TORTURE[name]).ids


# --- erros de entrada ------------------------------------------------------------------


@pytest.mark.parametrize("bad", [[600], [-1], [0, 10**9]])
def test_id_que_nao_existe_e_recusado(tokenizer, bad):
    with pytest.raises(ValueError, match="não existe"):
        tokenizer.decode(bad)


@pytest.mark.parametrize("text", ["\ud800", "oi \udfff!", "a\udc80"])
def test_meio_caractere_solto_e_recusado_com_uma_frase(c02, tokenizer, text):
    """Um surrogate sozinho não é Unicode: não há UTF-8 para ele."""
    for attempt in (tokenizer.encode, lambda t: c02.BPETokenizer.train([t * 9], 258)):
        with pytest.raises(ValueError) as caught:
            attempt(text)
        assert "surrogates not allowed" not in str(caught.value), "a frase está em inglês"


# --- guardar e ler ---------------------------------------------------------------------


def test_salvar_e_ler_da_o_mesmo(c02, tokenizer, tmp_path):
    path = tmp_path / "tok.json"
    tokenizer.save(path)
    again = c02.BPETokenizer.load(path)
    assert again.merges == tokenizer.merges
    assert again.special_tokens == tokenizer.special_tokens
    assert again.vocab_size == tokenizer.vocab_size
    text = f"Pão de queijo às 6h! {END} 👍🏽"
    for allowed in (set(), {END}):
        assert again.encode(text, allowed) == tokenizer.encode(text, allowed)
    assert [p.name for p in tmp_path.iterdir()] == ["tok.json"], "sobrou um pedaço"
    json.loads(path.read_text(encoding="utf-8"))  # é JSON comum


def test_salvar_de_novo_por_cima(c02, tokenizer, tmp_path):
    path = str(tmp_path / "tok.json")  # também aceita str
    c02.BPETokenizer.train("abababab", 258).save(path)
    tokenizer.save(path)
    assert c02.BPETokenizer.load(path).merges == tokenizer.merges


def test_gravacao_interrompida_deixa_o_antigo_inteiro(c02, tokenizer, tmp_path, monkeypatch):
    path = tmp_path / "tok.json"
    tokenizer.save(path)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    other = c02.BPETokenizer.train("abababab", 258)
    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        other.save(path)
    monkeypatch.undo()
    assert c02.BPETokenizer.load(path).merges == tokenizer.merges


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.99])
def test_arquivo_cortado_e_recusado(c02, tokenizer, tmp_path, fraction):
    path = tmp_path / "tok.json"
    tokenizer.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(ValueError, match="tok.json.*(cortado|alterado|outro tipo)"):
        c02.BPETokenizer.load(path)


def tamper_merge(data):
    data["merges"][0] = [101, 102]


def tamper_order(data):
    data["merges"].reverse()


def tamper_special(data):
    data["special_tokens"] = ["<|outro|>"]


def drop_merge(data):
    data["merges"].pop()


@pytest.mark.parametrize("tamper", [tamper_merge, tamper_order, tamper_special, drop_merge])
def test_arquivo_alterado_e_recusado(c02, tokenizer, tmp_path, tamper):
    path = tmp_path / "tok.json"
    tokenizer.save(path)
    data = json.loads(path.read_text(encoding="utf-8"))
    tamper(data)
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(ValueError, match="alterado|não confere|cortado"):
        c02.BPETokenizer.load(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"oi", b"{}", b"[]", b"3", b"null", b'"texto"', b'{"merges": []}',
     b'{"merges": 1, "special_tokens": 2, "sha256": 3}', b"\x80\x04\x95", b"\xff" * 64],
)  # fmt: skip
def test_arquivo_estranho_e_recusado(c02, tmp_path, content):
    path = tmp_path / "estranho.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="estranho.json"):
        c02.BPETokenizer.load(path)


def test_arquivo_que_falta_ou_pasta(c02, tmp_path):
    for path in (tmp_path / "nada.json", tmp_path):
        with pytest.raises(FileNotFoundError, match="(?i)tokenizador"):
            c02.BPETokenizer.load(path)
