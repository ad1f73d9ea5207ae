"""As medidas e os botões do capítulo 05: a nota em lote contra a de uma em uma, os botões
contra os do transformers, os intervalos contra o scipy, e o projeto com qualquer arquivo."""

import json
import math
import re

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

T, V = 12, 300


@pytest.fixture(scope="module")
def tokenizer(c02):
    """Um tokenizador só de bytes e algumas fusões, com `<|fim|>`."""
    return c02.BPETokenizer.train(["o pão quente da padaria e o pão de queijo " * 20], 270)


def shaken(model, seed=0, size=0.3):
    """O modelo com pesos sorteados: recém-nascido, o ModernGPT dá tudo igual."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=g) * size)
    return model.eval()


@pytest.fixture(scope="module", params=["gpt2", "hoje"])
def model(request, c05):
    plan = dict(vocab_size=V, context_length=T, d_model=16, n_head=2, n_layer=2)
    if request.param == "gpt2":
        return shaken(c05.GPT(c05.GPTConfig(**plan)))
    return shaken(c05.ModernGPT(c05.ModernConfig(**plan, bigram_size=64)))


# --- a nota de uma frase ----------------------------------------------------------------


@settings(max_examples=200)
@given(n=st.integers(1, 60), skip=st.integers(1, 5), length=st.integers(1, 20))
def test_cada_token_conta_uma_vez(c05, n, skip, length):
    assume(skip <= n)
    ids = list(range(n))
    windows = c05.score_windows(ids, skip, length)
    assert [i for row, count in windows for i in row[-count:]] == ids[skip:]
    for row, count in windows:
        assert 1 <= count < len(row) <= length + 1  # algum passado, e cabe no contexto
        assert row == ids[row[0]:row[-1] + 1]  # um pedaço contínuo


def test_o_que_cabe_vai_numa_janela_so(c05):
    assert c05.score_windows(list(range(9)), 2, 8) == [(list(range(9)), 7)]


def one_by_one(c05, model, tokenizer, text, head):
    """A nota pela definição: cada token, a partir do maior passado que a janela lhe dá."""
    end = tokenizer.vocab_size - 1
    start = [end, *tokenizer.encode(head)]
    ids, total = start + tokenizer.encode(text), 0.0
    for row, count in c05.score_windows(ids, len(start), model.config.context_length):
        with torch.no_grad():
            log_p = model(torch.tensor([row[:-1]]))[0].log_softmax(-1)
        total -= sum(float(log_p[i - 1, row[i]]) for i in range(len(row) - count, len(row)))
    return total


TEXTS = ["o pão", "a", "o pão quente da padaria e o pão de queijo e mais um pão de queijo",
         "água de coco, ônibus, 123", "pão de queijo da padaria", "é"]


@pytest.mark.parametrize("head", ["", "\n\n", "o pão quente\n\n"])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_nota_em_lote_e_a_de_uma_em_uma(c05, model, tokenizer, head, batch_size):
    """Também com frases mais longas que o contexto."""
    assert max(len(tokenizer.encode(t)) for t in TEXTS) > T
    got = c05.text_nats(model, tokenizer, TEXTS, head, batch_size)
    want = [one_by_one(c05, model, tokenizer, text, head) for text in TEXTS]
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, torch.tensor(want).double(), rtol=1e-5, atol=1e-4)


def test_a_ordem_e_a_companhia_nao_mudam_a_nota(c05, model, tokenizer):
    one = c05.text_nats(model, tokenizer, TEXTS)
    other = c05.text_nats(model, tokenizer, TEXTS[::-1] + ["outra"], batch_size=2)
    torch.testing.assert_close(other[:-1].flip(0), one, rtol=1e-5, atol=1e-4)


def test_o_modelo_volta_ao_modo_em_que_estava(c05, model, tokenizer):
    for mode in (True, False):
        model.train(mode)
        c05.text_nats(model, tokenizer, ["o pão"])
        assert model.training is mode
    model.eval()


def test_o_ngrama_faz_a_mesma_prova(c02, c05, tokenizer):
    """A nota do n-grama é o produto das chances que ele dá, contado à mão."""
    ids = c02.token_stream(tokenizer, TEXTS)
    ngram = c05.NGram(ids, 3, tokenizer.vocab_size)
    end, head = tokenizer.vocab_size - 1, tokenizer.encode("\n\n")
    row = [end, *head, *tokenizer.encode("o pão")]
    want = -sum(math.log(ngram.prob(tuple(row[:i]), row[i]))
                for i in range(1 + len(head), len(row)))
    assert float(c05.text_nats(ngram, tokenizer, ["o pão"])[0]) == pytest.approx(want)


def test_o_texto_vazio_nao_custa_nada(c05, model, tokenizer):
    assert c05.text_nats(model, tokenizer, ["", "o pão"])[0] == 0
    assert len(c05.text_nats(model, tokenizer, [])) == 0


# --- as provas --------------------------------------------------------------------------


class Knows:
    """Um n-grama de mentira: dá nota baixa a textos que têm uma das palavras que sabe."""

    def __init__(self, tokenizer, *words):
        self.tokenizer, self.words = tokenizer, words

    def nats(self, ids):
        text = self.tokenizer.decode(ids)
        cost = 0.1 if any(word in text for word in self.words) else 9.0
        return [0.0] * (len(ids) - 2) + [cost]


CLOZE = [{"texto": "mora na ____.", "opcoes": ["rua", "lua", "praça", "vila"],
          "resposta": "praça", "tipo": "morada"},
         {"texto": "come ____.", "opcoes": ["pão", "giz", "cal", "pó"],
          "resposta": "giz", "tipo": "comida"}]


def test_lacunas_pela_menor_surpresa(c05, tokenizer):
    marks = c05.cloze_marks(Knows(tokenizer, "praça", "pão"), tokenizer, CLOZE)
    assert marks == [True, False]
    table = c05.cloze_accuracy(Knows(tokenizer, "praça", "pão"), tokenizer, CLOZE)
    assert table["todas"]["valor"] == 0.5 and table["todas"]["itens"] == 2
    assert table["por_tipo"]["morada"]["valor"] == 1
    assert table["por_tipo"]["comida"]["valor"] == 0


def test_a_posicao_da_resposta_nao_importa(c05, model, tokenizer):
    turned = [{**row, "opcoes": row["opcoes"][::-1]} for row in CLOZE]
    assert (c05.cloze_marks(model, tokenizer, CLOZE)
            == c05.cloze_marks(model, tokenizer, turned))


def test_pares_e_a_media_dos_fenomenos(c05, tokenizer):
    rows = [{"certa": "as bolas", "errada": "as bola", "fenomeno": "n"},
            {"certa": "as casas", "errada": "as casa", "fenomeno": "n"},
            {"certa": "ela foi", "errada": "ela fui", "fenomeno": "v"}]
    judge = Knows(tokenizer, "bolas", "foi")
    assert c05.pair_marks(judge, tokenizer, rows) == [True, False, True]
    table = c05.pair_accuracy(judge, tokenizer, rows)
    assert table["todos"]["valor"] == pytest.approx(2 / 3, abs=1e-4)
    assert table["média dos fenômenos"] == 0.75  # cada fenômeno pesa igual


def test_empate_nao_e_acerto(c05, tokenizer):
    rows = [{"certa": "as bolas", "errada": "as casas", "fenomeno": "n"}]
    assert c05.pair_marks(Knows(tokenizer), tokenizer, rows) == [False]


@settings(max_examples=200)
@given(n=st.integers(1, 400), data=st.data())
def test_wilson_e_o_do_scipy(c05, n, data):
    from scipy.stats import binomtest

    right = data.draw(st.integers(0, n))
    z = 1.959963984540054
    want = binomtest(right, n).proportion_ci(method="wilson")
    assert c05.wilson(right, n, z) == pytest.approx((want.low, want.high), abs=1e-9)


def test_o_intervalo_sorteado_acha_a_media(c05):
    """Contra o bootstrap do scipy, na média de uma amostra torta."""
    from scipy.stats import bootstrap

    x = torch.rand(80, generator=torch.Generator().manual_seed(3)).double() ** 3
    ours = c05.sampled_interval([x], torch.mean, rounds=4000)
    theirs = bootstrap((x.numpy(),), lambda v, axis: v.mean(axis), n_resamples=4000,
                       method="percentile", random_state=0).confidence_interval
    assert ours["valor"] == pytest.approx(float(x.mean()), abs=1e-4)
    assert (ours["de"], ours["ate"]) == pytest.approx(tuple(theirs), abs=0.01)


def test_a_diferenca_pareada_e_mais_estreita(c05):
    g = torch.Generator().manual_seed(0)
    level = torch.randn(60, generator=g).double()
    seen, new = level, level + 0.1
    loose = c05.compare(seen, new, torch.mean)["diferença"]
    tight = c05.compare(seen, new, torch.mean, paired=True)["diferença"]
    assert tight["de"] == pytest.approx(0.1, abs=1e-3) == tight["ate"]
    assert loose["de"] < 0 < loose["ate"]


# --- combinações ------------------------------------------------------------------------


WORLD = {"pessoas": [
    {"id": "nair", "chamado": "Dona Nair", "genero": "f", "trabalho": "padaria"},
    {"id": "davi", "chamado": "Davi", "genero": "m", "trabalho": None}]}
DOCS = ["Dona Nair foi ao museu.", "Davi viu a sapataria e o correio.",
        "O museu estava vazio.", "Nair e Davi na olaria."]
HELD = [{"pessoa": "nair", "lugar": "sapataria", "documentos": ["x-2"]},
        {"pessoa": "davi", "lugar": "mirante", "documentos": ["x-3"]},
        {"pessoa": "davi", "lugar": "praca", "documentos": ["x-3"]}]


def test_pares_vistos_pela_palavra_inteira(c05):
    people, places = {"nair": "Nair", "ana": "Ana"}, {"museu": "museu"}
    texts = ["Nair no museu", "Anacleto no museu"]
    assert c05.seen_pairs(texts, people, places) == {("nair", "museu")}


@pytest.mark.parametrize("seed", range(12))
def test_a_prova_cruzada_so_muda_a_combinacao(c05, seed):
    seen, new = c05.combination_rows(DOCS, WORLD, HELD, seed)
    assert len(seen) == len(new) == 2 * len(c05.DEEDS)  # a praça não está em PLACES
    for a, b in zip(seen, new, strict=True):
        assert a["certa"].split()[0] == b["certa"].split()[0]  # a mesma pessoa
        assert a["certa"].split()[-1] == b["certa"].split()[-1]  # o mesmo final
        assert a["par"] != b["par"]
        for row in (a, b):
            she = row["certa"].startswith("Dona Nair")
            assert row["certa"].endswith("a." if she else "o.")
            assert row["certa"][:-2] == row["errada"][:-2] != row["errada"]
    held = {(c["pessoa"], c["lugar"]) for c in HELD}
    assert not {tuple(row["par"].split(" × ")) for row in seen} & held
    assert {tuple(row["par"].split(" × ")) for row in new} <= held


def test_quem_so_sabe_o_visto_e_descoberto(c05, tokenizer):
    """Um aluno que acerta com museu, correio e olaria, e erra com o resto."""
    seen, new = c05.combination_rows(DOCS, WORLD, HELD)

    class Rote:
        def nats(self, ids):
            text = tokenizer.decode(ids)
            old = any(place in text for place in ("museu", "correio", "olaria"))
            good = text.endswith("a.") == ("Nair" in text)
            return [0.0] * (len(ids) - 2) + [0.0 if good == old else 1.0]

    result = c05.combination_exam(Rote(), tokenizer, DOCS, WORLD, HELD)
    places = {row["par"].split(" × ")[1] for row in seen}
    assert places <= {"museu", "correio", "olaria", "sapataria"}
    assert result["novo"] == 0 and result["pares"] == 2
    assert result["diferença"]["valor"] < 0


def test_a_diferenca_entre_documentos(c05, tokenizer):
    rows = [{"id": f"x-{i}", "titulo": "t", "texto": "abc" * (i + 1)} for i in range(6)]

    class Flat:
        def nats(self, ids):  # um nat por token; o dobro nos guardados
            more = 2.0 if len(ids) in lengths else 1.0
            return [more] * (len(ids) - 1)

    texts = ["t\n\n" + "abc" * k for k in (3, 4)]  # x-2 e x-3, os de HELD
    lengths = {len(tokenizer.encode(t)) + 1 for t in texts}
    raw = c05.combination_gap(Flat(), tokenizer, rows, HELD)
    assert raw["novo"] == pytest.approx(2 * raw["visto"], rel=0.1)
    fair = c05.combination_gap(Flat(), tokenizer, rows, HELD, judge=Flat())
    assert fair["visto"] == fair["novo"] == 1  # o juiz desconta a dificuldade
    assert fair["diferença"]["de"] == fair["diferença"]["ate"] == 0


# --- cópia ------------------------------------------------------------------------------


def test_trechos_de_palavras(c05):
    assert c05.word_grams(["O gato, de BOTAS!", "curto"], 3) == {"o gato de", "gato de botas"}
    known = c05.word_grams(["um dois três quatro"], 2)
    share = c05.copied_share(["dois três zero um dois", "nada disso"], known, 2)
    assert share["valor"] == pytest.approx(2 / 5, abs=1e-4) and share["itens"] == 2


@settings(max_examples=60)
@given(st.lists(st.text("abc ,.", min_size=0, max_size=40), min_size=1, max_size=5),
       st.integers(1, 4))
def test_quem_copia_tudo_copia_tudo(c05, texts, n):
    assume(any(len(re.findall(r"\w+", t)) >= n for t in texts))
    assert c05.copied_share(texts, c05.word_grams(texts, n), n)["valor"] == 1
    assert c05.copied_share(texts, set(), n)["valor"] == 0


def test_texto_curto_demais_para_comparar(c05):
    with pytest.raises(ValueError, match="Nenhum texto tem 8 palavras"):
        c05.copied_share(["poucas palavras"], set())


# --- o que a página mede por documento --


def test_os_bytes_do_texto_nao_contam_os_fins(c02, c05, tokenizer):
    ids = c02.token_stream(tokenizer, TEXTS)
    assert c05.text_bytes(tokenizer, ids, tokenizer.vocab_size - 1) == sum(
        len(text.encode("utf-8")) for text in TEXTS)


def test_o_sorteio_de_documentos_acha_o_intervalo_do_scipy(c05):
    from scipy.stats import bootstrap

    g = torch.Generator().manual_seed(2)
    n_bytes = torch.randint(50, 900, (80,), generator=g)
    nats = n_bytes * (1 + torch.rand(2, 80, generator=g).double())        # (2, D)
    drawn = c05.bootstrap(nats, n_bytes, rounds=4000)
    assert drawn.shape == (4000, 2)
    for cost, ours in zip(nats, drawn.T, strict=True):
        theirs = bootstrap(
            (cost.numpy(), n_bytes.numpy()), lambda a, b, axis: a.sum(axis) / b.sum(axis),
            paired=True, n_resamples=4000, method="percentile", random_state=0)
        low, high = (x / math.log(2) for x in theirs.confidence_interval)
        assert c05.interval(ours) == pytest.approx((low, high), abs=0.1 * (high - low))
    twins = c05.bootstrap(nats[[0, 0]], n_bytes)
    assert torch.equal(twins[:, 0], twins[:, 1]), "cada modelo foi sorteado à parte"


def test_a_amostra_e_a_da_semente(c05, tokenizer):
    model = shaken(c05.ModernGPT(c05.ModernConfig(tokenizer.vocab_size, T, 16, 2, 1)))
    one, same, other = (c05.sample(model, tokenizer, 30, seed) for seed in (1, 1, 2))
    assert one == same != other


# --- botões -----------------------------------------------------------------------------


@settings(max_examples=200)
@given(logits=st.lists(st.integers(-800, 800), min_size=2, max_size=12, unique=True),
       min_p=st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]),
       temperature=st.sampled_from([0.5, 1.0, 2.0]))
def test_min_p_e_o_do_transformers(c05, logits, min_p, temperature):
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper

    scores = torch.tensor([[x / 100 for x in logits]])
    p = (scores / temperature).softmax(-1)
    assume(((p / p.max() - min_p).abs() > 1e-4).all() or min_p == 1.0)
    expected = TemperatureLogitsWarper(temperature)(None, scores)
    if min_p:
        expected = MinPLogitsWarper(min_p)(None, expected)
    got = c05.filter_logits(scores, temperature, min_p=min_p)
    torch.testing.assert_close(got, expected)


@settings(max_examples=200)
@given(st.lists(st.floats(-20, 20), min_size=5, max_size=5),
       st.lists(st.integers(0, 4), min_size=1, max_size=8),
       st.sampled_from([0.8, 1.0, 1.1, 2.0]))
def test_a_penalidade_e_a_do_transformers(c05, row, ids, penalty):
    from transformers import RepetitionPenaltyLogitsProcessor

    scores, ids = torch.tensor([row, row[::-1]]), torch.tensor([ids, ids[::-1]])
    before = scores.clone()
    expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, scores.clone())
    torch.testing.assert_close(c05.penalize(scores, ids, penalty), expected)
    assert torch.equal(scores, before), "a penalidade mudou a entrada"


def test_o_token_poupado(c05):
    logits, ids = torch.tensor([[2.0, -2.0, 4.0]]), torch.tensor([[0, 1, 2, 2]])
    got = c05.penalize(logits, ids, 2.0, spare=2)
    assert got.tolist() == [[1.0, -4.0, 4.0]]


def test_castigo_enorme_nao_repete_ninguem(c05, model):
    ids = torch.tensor([[1], [2]])
    out = c05.generate(model, ids, 40, temperature=0, repetition_penalty=1e30)
    for row in out.tolist():
        assert len(set(row)) == len(row)


def test_o_castigo_poupa_a_parada(c05, model):
    """Um modelo que quer parar para, mesmo com a parada já escrita e castigada."""

    class Stops(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config, self.w = model.config, torch.nn.Parameter(torch.zeros(1))

        def forward(self, ids, cache=None):
            out = torch.zeros(*ids.shape, V)
            out[..., 5], out[..., 6] = 3.0, 2.0
            return out

    ids = torch.tensor([[5, 1]])
    kept = c05.generate(Stops(), ids, 3, 0, stop_id=5, use_cache=False,
                        repetition_penalty=4.0)
    assert kept.tolist() == [[5, 1, 5]]


@pytest.mark.parametrize("use_cache", [True, False])
def test_min_p_um_e_a_escolha_gulosa(c05, model, use_cache):
    ids = torch.tensor([[1, 2, 3]])
    greedy = c05.generate(model, ids, 2 * T, 0, use_cache=use_cache)
    drawn = c05.generate(model, ids, 2 * T, 1.0, min_p=1.0, generator=1, use_cache=use_cache)
    assert torch.equal(greedy, drawn)


def test_numero_ou_gerador_a_mesma_semente(c05, model):
    ids = torch.tensor([[1, 2]] * 3)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = c05.generate(model, ids, 20, generator=7)
    assert torch.equal(torch.get_rng_state(), state), "mexeu no acaso de todos"
    torch.manual_seed(99)
    assert torch.equal(one, c05.generate(model, ids, 20, generator=c05.seeded(7)))
    assert torch.equal(one, c05.generate(model, ids, 20, generator="7"))
    assert not torch.equal(one, c05.generate(model, ids, 20, generator=8))


@pytest.mark.parametrize("seed", ["sete", "", 1.5, None, "1e3", 10**40, [7], True])
def test_a_semente_que_nao_e_numero(c05, seed):
    with pytest.raises(ValueError, match="A semente precisa ser um número inteiro"):
        c05.seeded(seed)


@pytest.mark.parametrize(("buttons", "phrase"), [
    ({"min_p": -0.1}, "min_p = -0.1"), ({"min_p": 1.5}, "min_p = 1.5"),
    ({"min_p": math.nan}, "min_p = nan"), ({"top_p": math.nan}, "top_p = nan"),
    ({"repetition_penalty": 0}, "repetition_penalty = 0"),
    ({"repetition_penalty": -1}, "repetition_penalty = -1"),
    ({"repetition_penalty": math.inf}, "repetition_penalty = inf"),
    ({"generator": "sete"}, "A semente precisa ser"),
])  # fmt: skip
def test_botoes_impossiveis(c05, model, buttons, phrase):
    with pytest.raises(ValueError, match=phrase):
        c05.generate(model, torch.tensor([[1]]), 1, **buttons)


def test_qualquer_comeco_e_lido(c05, tokenizer):
    """Outro alfabeto, emoji e controles viram bytes; meio caractere tem a sua frase."""
    for text in ("日本", "🙂\x00", "", "ção"):
        ids = c05.prompt_ids(tokenizer, text)
        assert tokenizer.decode(ids[0, 1:].tolist()) == text
    with pytest.raises(ValueError, match="meio caractere"):
        c05.prompt_ids(tokenizer, "pão \ud83d")


# --- o seu texto ------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
               max_size=40))
def test_todo_utf8_e_utf8(c05, text):
    assume(not text.startswith("\ufeff"))
    assert c05.detect_encoding(text.encode("utf-8")) == "utf-8"


PORTUGUESE = "Ação, pão, você, à noite, é já: «não» — três ônibus e uma lâmpada.\n"


@pytest.mark.parametrize(("name", "found"), [
    ("cp1252", "cp1252"), ("latin-1", "cp1252"), ("utf-8-sig", "utf-8-sig"),
    ("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be"),
    ("utf-32", "utf-32"), ("ascii", "utf-8")])
def test_as_codificacoes_que_aparecem(c05, tmp_path, name, found):
    text = PORTUGUESE.replace("—", "-") if name == "latin-1" else PORTUGUESE
    text = "So letras sem acento.\n" if name == "ascii" else text
    path = tmp_path / "meu.txt"
    path.write_bytes((text * 5).encode(name))
    assert c05.read_text(path) == ((text * 5).rstrip("\n"), found)


def test_quebras_de_linha_e_acentos_soltos(c05, tmp_path):
    path = tmp_path / "meu.txt"
    path.write_bytes("pa\u0303o\r\nqueijo\rfim\r\n".encode())
    assert c05.read_text(path)[0] == "pão\nqueijo\nfim"


@pytest.mark.parametrize(("data", "phrase"), [
    (b"", "está vazio"), (b" \n\t\r\n", "está vazio"),
    ("\u00a0\n".encode("utf-16"), "só tem espaços"),
    (b"PK\x03\x04" + bytes(range(256)) * 9, "não parece texto"),
    (b"%PDF-1.7\n\xe2\xe3" + bytes(range(32)) * 9, "não parece texto"),
    (b"abc\x81def \xe3o " * 20, "não cabe")])
def test_arquivos_que_nao_servem(c05, tmp_path, data, phrase):
    path = tmp_path / "meu.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=phrase):
        c05.read_text(path)


def test_arquivo_que_nao_existe_e_pasta(c05, tmp_path):
    for path in (tmp_path / "nada.txt", tmp_path):
        with pytest.raises(FileNotFoundError, match="Não achei"):
            c05.read_text(path)


@settings(max_examples=150)
@given(st.text("ab \n", min_size=20, max_size=400), st.sampled_from([0.1, 0.25]))
def test_o_corte_nao_perde_letra(c05, text, share):
    train, val = c05.split_text(text, share)
    assert (train + val).replace(" ", "").replace("\n", "") == text.replace(
        " ", "").replace("\n", "")


def test_o_corte_prefere_o_paragrafo(c05):
    text = "\n\n".join(f"Parágrafo {i}\ncom duas linhas e umas palavras" for i in range(40))
    train, val = c05.split_text(text)
    assert val.startswith("Parágrafo") and train + "\n\n" + val == text
    assert 0.05 < len(val) / len(text) < 0.15


POEM = "Batatinha quando nasce, espalha a rama pelo chão.\n"


@pytest.mark.parametrize(("text", "context", "vocab", "phrase"), [
    ("", 16, 0, "só 0 bytes"), (POEM, 16, 0, "só 51 bytes"),
    (POEM * 60, 16, 5000, "vocab"), (POEM * 60, 16, 100, "256 bytes"),
    (POEM * 60, 4096, 0, "curto"), (POEM * 60, 300, 0, "curto")])
def test_textos_que_nao_servem(c05, text, context, vocab, phrase):
    with pytest.raises(ValueError, match=phrase):
        c05.prepare(text, context, vocab)


def test_o_texto_repetitivo_ganha_um_vocabulario_que_cabe(c05):
    material = c05.prepare(POEM * 400, 16)
    assert 257 <= material.tokenizer.vocab_size < 2048
    assert "já está no treino" in material.notes[-1]


def test_a_escola_inteira_num_texto_qualquer(c05, c02, tmp_path):
    """De um arquivo em cp1252 à nota, com um modelo miúdo; e a mesma semente, o mesmo."""
    words = "pão bolo café rua casa gato sol lua".split()
    g = torch.Generator().manual_seed(0)
    text = "\n\n".join(
        " ".join(words[int(i)] for i in torch.randint(8, (30,), generator=g)) + "."
        for _ in range(60))
    path = tmp_path / "meu.txt"
    path.write_bytes(text.encode("cp1252"))
    read, encoding = c05.read_text(path)
    assert encoding == "cp1252" and read == text
    material = c05.prepare(read, 16)
    config = c05.ModernConfig(2048, 16, 16, 2, 1)
    options = c05.TrainConfig(steps=40, batch_size=4, warmup_steps=4, eval_every=20,
                              checkpoint_every=40)
    runs = [c05.own_school(material, config, options) for _ in range(2)]
    assert runs[0][1] == runs[1][1]
    model, scores, history = runs[0]
    assert set(scores) == {"uniforme", "xz", "trigrama", "GPT"}
    assert scores["GPT"] < scores["uniforme"] and history[-1]["step"] == 40
    assert model.config.vocab_size == material.tokenizer.vocab_size
    assert json.dumps(scores)  # números comuns, prontos para gravar


def test_a_nota_e_a_do_cross_entropy(c05, tokenizer, model):
    """Uma frase curta, pela função do PyTorch, no texto inteiro."""
    ids = torch.tensor([tokenizer.vocab_size - 1, *tokenizer.encode("\n\no pão")])
    head = len(tokenizer.encode("\n\n"))
    with torch.no_grad():
        nll = F.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="none")
    got = float(c05.text_nats(model, tokenizer, ["o pão"])[0])
    assert got == pytest.approx(float(nll[head:].sum()), rel=1e-5)
