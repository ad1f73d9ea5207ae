"""Lacunas, trechos e o Projeto 2 do capítulo 03: contra o PyTorch, o scikit-learn e a conta à mão."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

V = 30
seeds = st.integers(0, 2**31 - 1)


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def symbols(c03):
    return c03.GapSymbols(V)


def plan(c, symbols, **changes):
    return c.TransformerConfig(**(dict(vocab_size=symbols.size, context_length=24, d_model=16,
                                       n_head=2, n_layer=1) | changes))  # fmt: skip


# --- quem vê quem ----------------------------------------------------------------------


def test_o_codificador_ve_tudo_e_o_causal_so_o_passado(c03, symbols):
    torch.manual_seed(0)
    encoder = c03.Encoder(plan(c03, symbols)).eval()
    ids = torch.arange(9)
    assert c03.who_sees(encoder, ids, swap=29).all()
    causal = c03.causal_mask(9)
    seen = c03.who_sees(lambda x: encoder(x, causal), ids, swap=29)
    assert torch.equal(seen, causal)


# --- os símbolos e o sorteio do BERT ----------------------------------------------------


@given(base=st.integers(1, 5000), n=st.integers(1, 40))
def test_os_simbolos_novos_sao_todos_diferentes_e_cabem(c03, base, n):
    s = c03.GapSymbols(base, n)
    new = [s.mask, s.pad, *(s.sentinel(k) for k in range(n))]
    assert sorted(new) == list(range(base, s.size))


@given(seed=seeds, rate=st.floats(0.05, 0.95), B=st.integers(1, 4), T=st.integers(1, 40))
def test_so_os_escolhidos_mudam_e_o_alvo_guarda_o_original(c03, seed, rate, B, T):
    s = c03.GapSymbols(V)
    ids = torch.randint(s.size, (B, T), generator=dice(seed))
    before = ids.clone()
    inputs, targets = c03.mask_tokens(ids, s, rate, dice(seed))
    chosen = targets != c03.IGNORE
    assert torch.equal(ids, before), "a entrada não pode ser alterada"
    assert torch.equal(inputs[~chosen], ids[~chosen])
    assert torch.equal(targets[chosen], ids[chosen])
    assert (ids[chosen] < V).all(), "símbolo especial não se cobra"
    new = inputs[chosen]
    assert ((new < V) | (new == s.mask)).all()
    again = c03.mask_tokens(ids, s, rate, dice(seed))
    assert torch.equal(inputs, again[0]) and torch.equal(targets, again[1])


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_as_fracoes_sao_as_do_artigo(c03, rate):
    s = c03.GapSymbols(5000)
    ids = torch.randint(5000, (500, 400), generator=dice(1))
    inputs, targets = c03.mask_tokens(ids, s, rate, dice(2))
    chosen = targets != c03.IGNORE
    got = [chosen.float().mean(), (inputs == s.mask)[chosen].float().mean(),
           (inputs == ids)[chosen].float().mean()]  # fmt: skip
    for have, want in zip(got, (rate, 0.8, 0.1), strict=True):
        assert abs(have - want) < 0.01
    swapped = inputs[chosen & (inputs != ids) & (inputs != s.mask)].float()
    assert abs(swapped.mean() / 2500 - 1) < 0.05, "o token ao acaso vem do vocabulário todo"


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_nada_ou_tudo_escondido_e_recusado(c03, symbols, rate):
    with pytest.raises(ValueError, match="fração entre os dois"):
        c03.mask_tokens(torch.zeros(2, 8, dtype=torch.long), symbols, rate)


# --- a perda só nas lacunas ---------------------------------------------------------------


def test_a_perda_e_os_gradientes_sao_os_do_pytorch_com_ignore_index(c03, symbols):
    torch.manual_seed(0)
    model = c03.GapReader(plan(c03, symbols)).double()
    ids = torch.randint(V, (3, 20), generator=dice())
    inputs, targets = c03.mask_tokens(ids, symbols, 0.3, dice())
    loss = c03.gap_loss(model, inputs, targets)
    loss.backward()
    ours = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    want = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=-100)
    want.backward()
    torch.testing.assert_close(loss, want)
    for a, p in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


def test_lote_sem_lacuna_e_recusado_em_vez_de_dar_nan(c03, symbols):
    model, ids = c03.GapReader(plan(c03, symbols)), torch.zeros(2, 5, dtype=torch.long)
    with pytest.raises(ValueError, match="Não há lacuna"):
        c03.gap_loss(model, ids, torch.full_like(ids, c03.IGNORE))


def test_as_tabelas_nascem_calmas(c03, symbols):
    model = c03.GapReader(plan(c03, symbols, d_model=64))
    c03.calm_embeddings(model, std=0.1)
    assert abs(model.encoder.wte.weight.std() - 0.1) < 0.01
    assert abs(model.encoder.wpe.weight.std() - 0.1) < 0.01


def test_o_leitor_aprende_uma_lingua_que_se_le_dos_dois_lados(c03, symbols):
    stream = torch.arange(4000) % 7                       # 0 1 2 3 4 5 6 0 1 …
    model, losses = c03.train_gaps(plan(c03, symbols), stream, symbols, steps=150, rate=1e-2,
                                   B=16, T=16)  # fmt: skip
    assert losses[0] > 2.5 and np.mean(losses[-10:]) < 1.0
    assert not model.training
    ids = stream[3:19].clone()[None]
    ids[0, [2, 9]] = symbols.mask
    assert model(ids)[0, [2, 9]].argmax(-1).tolist() == stream[3:19][[2, 9]].tolist()
    again, _ = c03.train_gaps(plan(c03, symbols), stream, symbols, steps=3, B=4, T=8)
    same, _ = c03.train_gaps(plan(c03, symbols), stream, symbols, steps=3, B=4, T=8)
    torch.testing.assert_close(again.state_dict(), same.state_dict(), rtol=0, atol=0)


def test_janelas_sao_pedacos_do_fluxo_e_o_ultimo_tambem_sai(c03):
    stream = torch.arange(10)
    windows = c03.random_windows(stream, 300, 4, dice())
    assert torch.equal(windows[:, 1:], windows[:, :-1] + 1)
    assert {0, 6} == {int(windows.min()), int(windows[:, 0].max())}
    with pytest.raises(ValueError, match="a janela pede 11"):
        c03.random_windows(stream, 1, 11)


def test_os_passos_seguem_a_rampa(c03):
    model, seen = torch.nn.Linear(1, 1, bias=False), []
    torch.nn.init.zeros_(model.weight)

    def loss(m, step):
        seen.append(m.weight.item())
        return -m.weight.sum()                            # AdamW anda ~ a taxa a cada passo

    c03.fit_steps(model, loss, steps=40, rate=1.0, decay=0.0, warmup=10)
    walked = np.diff([*seen, model.weight.item()])
    want = [min((t + 1) / 10, 1 - t / 40) for t in range(40)]
    np.testing.assert_allclose(walked, want, atol=1e-3)


# --- a prova das lacunas ------------------------------------------------------------------


def test_quem_conta_acha_o_mais_visto_na_vizinhanca(c03):
    ids = torch.randint(6, (3000,), generator=dice(4)).tolist()
    both = Counter((ids[i - 1], ids[i + 1], ids[i]) for i in range(2, len(ids) - 2))
    rival = c03.GapCounts(ids, ((-1, 1), (-1,), ()))
    for i in range(50, 90):
        seen = {x: n for (a, b, x), n in both.items() if (a, b) == (ids[i - 1], ids[i + 1])}
        first = rival.best(ids, i)[0]
        assert seen[first] >= max(seen.values()) - 1      # o recuo só desempata


def test_quem_conta_recua_quando_nunca_viu(c03):
    rival = c03.GapCounts([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3], ((-2, -1), (-1,), ()))
    assert rival.best([9, 2, 0], 2)[0] == 3               # (9, 2) não houve; depois de 2, o 3
    assert set(rival.best([9, 9, 0], 2)) == {1, 2, 3}


def test_os_acertos_por_posto_sao_os_da_ordenacao(c03):
    scores = torch.randn(50, 20, generator=dice())
    answers = torch.randint(20, (50,), generator=dice())
    rank = (scores > scores.gather(1, answers[:, None])).sum(1)
    want = torch.stack([rank == 0, rank < 5], dim=1)
    assert torch.equal(c03.rank_hits(scores, answers), want)


def test_a_prova_so_mexe_nas_lacunas(c03, symbols):
    stream = torch.randint(V, (1000,), generator=dice())
    exam = c03.gap_exam(stream, 24, symbols)
    assert exam.answers.shape == (41, 24)
    assert torch.equal(exam.inputs[~exam.where], exam.answers[~exam.where])
    assert (exam.inputs[exam.where] == symbols.mask).all()
    assert torch.equal(exam.answers.flatten(), stream[:41 * 24])


def test_o_intervalo_por_janela_e_mais_largo_quando_a_sorte_e_da_janela(c03):
    rows = torch.arange(100).repeat_interleave(10)
    luck = torch.rand(100, generator=dice()) < 0.5
    value, low, high = c03.window_interval(luck.repeat_interleave(10), rows)
    assert low < value < high and value == pytest.approx(luck.float().mean().item())
    assert high - low > 0.15                              # 1000 lances soltos dariam 0,06
    assert c03.window_interval(torch.ones(1000), rows) == (1.0, 1.0, 1.0)


def test_frases_com_lacuna_ruins_recebem_a_sua_frase(c03, symbols, tokenizer):
    s = c03.GapSymbols(tokenizer.vocab_size)
    reader = c03.GapReader(plan(c03, s)).eval()
    for text, why in [("Bom dia.", "Não há lacuna"), ("____ ____", "só lacuna"),
                      ("", "Não há lacuna"), ("pão " * 90 + "____", "lê até 24")]:  # fmt: skip
        with pytest.raises(ValueError, match=why):
            c03.fill(reader, text, tokenizer, s)
    two = c03.fill(reader, "O ____ comeu o ____.", tokenizer, s, k=3)
    assert [len(g) for g in two] == [3, 3]
    ids = c03.gap_ids("O ____ comeu.", tokenizer, s, 24)[0].tolist()
    assert ids == [*tokenizer.encode("O"), s.mask, *tokenizer.encode(" comeu.")]


# --- trechos à moda do T5 -------------------------------------------------------------------


@given(n=st.integers(6, 120), rate=st.floats(0.15, 0.5), mean=st.floats(1.5, 5), seed=seeds)
def test_devolver_os_trechos_refaz_o_texto(c03, n, rate, mean, seed):
    s = c03.GapSymbols(200, sentinels=60)
    ids = torch.randint(200, (n,), generator=dice(seed)).tolist()
    try:
        source, target = c03.corrupt_spans(ids, s, rate, mean, dice(seed))
    except ValueError:
        return
    assert c03.restore_spans(source, target, s) == ids
    holes = sum(i >= s.base for i in source)
    gone = round(rate * n)
    assert len(source) == n - gone + holes and len(target) == gone + holes + 1
    marks = [i for i in target if i >= s.base]
    assert marks == [s.sentinel(k) for k in range(holes + 1)]
    assert source[0] < s.base and source[-1] < s.base, "toda lacuna tem os dois vizinhos"
    pairs = zip(source, source[1:], strict=False)
    assert not any(a >= s.base and b >= s.base for a, b in pairs)
    places = c03.removed_places(source, target, s)
    assert [ids[p] for p in places] == [i for i in target if i < s.base]


def test_o_exemplo_do_artigo(c03):
    """Raffel et al., 2020, figura 2: os trechos voltam aos seus lugares."""
    s = c03.GapSymbols(100)
    words = dict(enumerate("Thank you for inviting me to your party last week .".split()))
    X, Y, Z = (s.sentinel(k) for k in range(3))
    source, target = [0, 1, X, 4, 5, 6, 7, Y, 9, 10], [X, 2, 3, Y, 8, Z]
    assert [words[i] for i in c03.restore_spans(source, target, s)] == list(words.values())


def test_alvo_incompleto_nao_derruba_quem_devolve(c03):
    s = c03.GapSymbols(100)
    source = [1, s.sentinel(0), 2, s.sentinel(1), 3]
    assert c03.restore_spans(source, [s.sentinel(0), 7], s) == [1, 7, 2, 3]
    assert c03.restore_spans(source, [9, s.sentinel(5), 8], s) == [1, 2, 3]
    assert c03.restore_spans(source, [], s) == [1, 2, 3]


def test_texto_curto_e_sentinelas_de_menos(c03, symbols):
    with pytest.raises(ValueError, match="mais longo"):
        c03.corrupt_spans([1, 2], symbols)
    with pytest.raises(ValueError, match="Não há a sentinela 8"):
        c03.corrupt_spans(list(range(300)), symbols, generator=dice())


@given(total=st.integers(1, 60), seed=seeds, data=st.data())
def test_repartir_soma_o_total(c03, total, seed, data):
    n = data.draw(st.integers(1, total))
    parts = c03.random_parts(total, n, dice(seed))
    assert len(parts) == n and sum(parts) == total and min(parts) >= 1


def test_a_perda_dos_trechos_cobra_o_simbolo_seguinte(c03, symbols):
    torch.manual_seed(0)
    model = c03.EncoderDecoder(plan(c03, symbols)).eval()
    sources, targets = c03.span_batch(torch.randint(V, (3, 20), generator=dice()), symbols,
                                      dice())  # fmt: skip
    logp = model(sources, targets).log_softmax(-1)
    want = -torch.stack([logp[b, t, targets[b, t + 1]] for b in range(3)
                         for t in range(targets.shape[1] - 1)]).mean()  # fmt: skip
    torch.testing.assert_close(c03.span_loss(model, sources, targets), want)


def test_o_atalho_copia_e_nao_divide_pesos(c03, symbols):
    torch.manual_seed(0)
    reader, writer = c03.GapReader(plan(c03, symbols)), c03.EncoderDecoder(plan(c03, symbols))
    was = {k: v.clone() for k, v in reader.state_dict().items()}
    c03.warm_start(writer, reader, symbols)
    ids = torch.randint(V, (2, 9), generator=dice())
    torch.testing.assert_close(writer.eval().encoder(ids), reader.eval().encoder(ids))
    with torch.no_grad():
        for p in writer.parameters():
            p.zero_()
    torch.testing.assert_close(reader.state_dict(), was, rtol=0, atol=0)


def test_quem_escreve_comeca_na_sentinela_e_tem_limite(c03, symbols):
    torch.manual_seed(0)
    model = c03.EncoderDecoder(plan(c03, symbols)).eval()
    out = c03.write_spans(model, [1, 2, symbols.sentinel(0), 3], symbols, longest=7)
    assert out[0] == symbols.sentinel(0) and len(out) <= 7
    ids = torch.tensor([out[:-1]])
    assert model(torch.tensor([[1, 2, symbols.sentinel(0), 3]]), ids)[0, -1].argmax() == out[-1]


# --- Projeto 2 ------------------------------------------------------------------------------


def test_a_regressao_e_a_do_scikit_learn(c03):
    from sklearn.linear_model import LogisticRegression

    x = (torch.rand(300, 40, generator=dice()) < 0.2).float()
    y = torch.randint(3, (300,), generator=dice(1))
    for l2 in (0.3, 3.0):
        w, b = c03.fit_logistic(x.to_sparse(), y, l2)
        sk = LogisticRegression(C=1 / l2, max_iter=2000, tol=1e-8).fit(x.numpy(), y.numpy())
        ours = (x @ w + b).softmax(1).numpy()
        np.testing.assert_allclose(ours, sk.predict_proba(x.numpy()), atol=2e-3)


def test_o_saco_e_o_do_scikit_learn(c03):
    from sklearn.feature_extraction.text import CountVectorizer

    texts = ["O pão está BOM, o pão!", "Não volto. Não volto mais", "pão não"]
    for pairs in (False, True):
        places = c03.bag_vocabulary(texts, pairs)
        sk = CountVectorizer(binary=True, token_pattern=r"\w+", ngram_range=(1, 1 + pairs))
        want = sk.fit_transform(texts).toarray()
        assert sorted(places) == list(sk.get_feature_names_out())
        got = c03.bag_of_words(texts, places, pairs)
        np.testing.assert_array_equal(got.numpy(), want)
    assert c03.bag_of_words(["jamais visto", ""], {"pão": 0}).tolist() == [[0.0], [0.0]]


def test_a_forca_sai_da_validacao_e_a_prova_nao_opina(c03):
    texts = {"treino": ["bom pão", "ruim pão", "bom", "ruim"] * 10,
             "validacao": ["bom", "ruim"], "teste": ["ruim", "bom"]}  # fmt: skip
    labels = {"treino": torch.tensor([2, 0, 2, 0] * 10), "validacao": torch.tensor([2, 0]),
              "teste": torch.tensor([2, 0])}  # fmt: skip
    l2, scores = c03.choose_bag(texts, labels)
    assert scores["teste"].argmax(1).tolist() == [0, 2]
    other = c03.choose_bag(texts, labels | {"teste": torch.tensor([0, 2])})
    assert l2 == other[0] and torch.equal(scores["validacao"], other[1]["validacao"])


def noisy_reviews(seed: int) -> tuple[dict, dict]:
    """Textos em que a palavra certa vem com ruído: a força muda o acerto."""
    g = torch.Generator().manual_seed(seed)
    texts, labels = {}, {}
    for part, n in (("treino", 40), ("validacao", 60), ("teste", 60)):
        labels[part] = torch.randint(3, (n,), generator=g)
        signs = torch.where(torch.rand(n, generator=g) < 0.6, labels[part], 0)
        noise = torch.randint(60, (n, 6), generator=g)
        texts[part] = [
            f"sinal{'abc'[sign]} " + " ".join(
                f"x{'abcdefghij'[w // 10]}{'klmnopqrst'[w % 10]}" for w in row)
            for sign, row in zip(signs, noise.tolist(), strict=True)
        ]  # fmt: skip
    return texts, labels


def test_a_forca_sai_da_validacao_e_nao_da_prova(c03):
    texts, labels = noisy_reviews(0)
    places = c03.bag_vocabulary(texts["treino"])
    bags = {part: c03.bag_of_words(rows, places) for part, rows in texts.items()}
    right = {"validacao": {}, "teste": {}}
    for l2 in (0.3, 1.0, 3.0, 10.0, 30.0):
        w, b = c03.fit_logistic(bags["treino"], labels["treino"], l2)
        for part, scores in right.items():
            scores[l2] = ((bags[part] @ w + b).argmax(1) == labels[part]).float().mean().item()
    tops = [max(scores, key=scores.get) for scores in right.values()]
    assert tops[0] != tops[1] and right["validacao"][tops[0]] > right["validacao"][tops[1]]
    assert c03.choose_bag(texts, labels)[0] == tops[0]


def test_o_enchimento_nao_muda_a_nota(c03, symbols):
    torch.manual_seed(0)
    model = c03.ReviewReader(plan(c03, symbols), symbols.pad).eval()
    ids = torch.randint(V, (2, 9), generator=dice())
    padded = F.pad(ids, (0, 7), value=symbols.pad)
    torch.testing.assert_close(model(padded), model(ids), atol=1e-6, rtol=1e-5)


def test_as_avaliacoes_de_brinquedo_sao_aprendidas(c03, symbols):
    g = dice()
    ids = torch.randint(3, V, (120, 10), generator=g)
    labels = torch.randint(3, (120,), generator=g)
    ids[torch.arange(120), torch.randint(10, (120,), generator=g)] = labels
    model = c03.train_reviews(ids, labels, plan(c03, symbols), symbols, seed=0, epochs=25,
                              rate=1e-2, B=24, hide=0.0, dropout=0.0)  # fmt: skip
    assert (c03.review_scores(model, ids).argmax(1) == labels).float().mean() > 0.95


def test_comecar_de_um_codificador_copia_os_pesos_e_a_semente_decide_o_resto(c03, symbols):
    ids, labels = torch.randint(V, (32, 6), generator=dice()), torch.zeros(32).long()
    torch.manual_seed(9)
    start = c03.Encoder(plan(c03, symbols))
    was = {k: v.clone() for k, v in start.state_dict().items()}
    args = (ids, labels, plan(c03, symbols), symbols)
    model = c03.train_reviews(*args, seed=0, start=start, epochs=1, rate=0.0)
    torch.testing.assert_close(model.encoder.state_dict(), was)
    one, two, three = (c03.train_reviews(*args, seed=s, epochs=1) for s in (1, 1, 2))
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    assert not torch.equal(one.head.weight, three.head.weight)
    torch.testing.assert_close(start.state_dict(), was)   # o original não treinou junto


def test_avaliacoes_ruins_recebem_a_sua_frase(c03, symbols, tokenizer):
    for review, why in [({"texto": " ", "rotulo": "mista"}, "sem texto"),
                        ({"rotulo": "mista"}, "sem texto"),
                        ({"texto": "Bom.", "rotulo": "Mista"}, "não existe"),
                        ({"texto": "Bom."}, "não existe")]:  # fmt: skip
        with pytest.raises(ValueError, match=why):
            c03.check_review(review)
    for texts, why in [(["Bom.", ""], "vazia"), (["caro " * 80], "vai até 20")]:
        with pytest.raises(ValueError, match=why):
            c03.pad_reviews(texts, tokenizer, symbols.pad, 20)
    rows = c03.pad_reviews(["Bom dia.", "Bom"], tokenizer, 9999, 20)
    assert [i for i in rows[1].tolist() if i != 9999] == tokenizer.encode("Bom")


def test_o_intervalo_cruzado_conta_as_sementes_e_os_itens(c03):
    values = (torch.rand(5, 400, generator=dice()) < 0.7).float()
    value, low, high = c03.crossed_interval(values)
    assert low < value < high
    assert value == pytest.approx(values.mean().item(), abs=1e-6)
    same = values[:1].expand(5, -1)                       # cinco sementes iguais: só os itens
    one, five = c03.crossed_interval(values[:1]), c03.crossed_interval(same)
    assert abs((one[2] - one[1]) - (five[2] - five[1])) < 0.015
    assert 0.07 < one[2] - one[1] < 0.11                  # 2 · 1,96 · √(0,7 · 0,3 / 400)
    seeds_differ = torch.stack([torch.zeros(400), torch.ones(400)])
    assert c03.crossed_interval(seeds_differ)[1:] == (0.0, 1.0)


def test_a_confusao_e_a_do_scikit_learn(c03):
    from sklearn.metrics import confusion_matrix

    truth, guess = torch.randint(3, (2, 200), generator=dice())
    want = confusion_matrix(truth, guess, labels=[0, 1, 2])
    np.testing.assert_array_equal(c03.confusion(truth, guess).numpy(), want)


@settings(max_examples=20)
@given(seed=seeds)
def test_os_sorteios_nao_mexem_no_gerador_de_quem_chama(c03, seed):
    torch.manual_seed(seed)
    want = torch.rand(3)
    torch.manual_seed(seed)
    s = c03.GapSymbols(V)
    c03.mask_tokens(torch.zeros(2, 5, dtype=torch.long), s, generator=dice())
    c03.corrupt_spans(list(range(20)), s, generator=dice())
    c03.gap_exam(torch.arange(100) % V, 10, s)
    assert torch.equal(torch.rand(3), want)
