"""O codificador e o decodificador do capítulo 03 contra o PyTorch, e as datas por extenso."""

import random
from datetime import date, timedelta

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

SHAPES = [
    # V, C, H, L, B, S, T
    (11, 4, 1, 1, 1, 1, 1),
    (40, 32, 4, 2, 3, 9, 6),
    (25, 24, 3, 3, 2, 5, 12),
]


def build(c, V=40, C=32, H=4, L=2, length=24, seed=0, dropout=0.0):
    """Um modelo pequeno, com normas e vieses agitados, que a inicialização deixa iguais."""
    torch.manual_seed(seed)
    model = c.EncoderDecoder(c.TransformerConfig(V, length, C, H, L, dropout))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.15)
    return model.eval()


def batch(V, B, S, T, seed=3):
    """Ids ao acaso e uma máscara de comprimentos diferentes, cada um ao menos 1."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, S + 1, (B, 1), generator=g)
    return (torch.randint(V, (B, S), generator=g), torch.randint(V, (B, T), generator=g),
            torch.arange(S)[None] < lengths)  # fmt: skip


def vectors(stack, ids):
    return stack.wte(ids) + stack.wpe.weight[: ids.shape[1]]


# --- o PyTorch como juiz ---------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_igual_ao_nn_transformer_com_enchimento_e_gradientes(c03, shape, dtype, atol):
    V, C, H, L, B, S, T = shape
    ours = build(c03, V, C, H, L).to(dtype)
    theirs = c03.torch_transformer(ours).to(dtype)
    source, target, real = batch(V, B, S, T)
    out = theirs(
        vectors(ours.encoder, source), vectors(ours.decoder, target),
        tgt_mask=torch.ones(T, T, dtype=torch.bool).triu(1),
        src_key_padding_mask=~real, memory_key_padding_mask=~real,
    )  # fmt: skip
    expected = ours.decoder.lm_head(out)
    got = ours(source, target, real)
    torch.testing.assert_close(got, expected, atol=atol, rtol=atol)

    weights = torch.randn(got.shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    wanted = {n: p.grad for n, p in theirs.named_parameters()}
    assert not any(g is not None for g in wanted.values())
    (expected * weights).sum().backward()
    wanted = {n: p.grad for n, p in theirs.named_parameters()}
    ours.zero_grad()
    (ours(source, target, real) * weights).sum().backward()
    for block, name in [(ours.decoder.h[0].cross, "decoder.layers.0.multihead_attn")]:
        mine = torch.cat([block.c_q.weight.grad, block.c_kv.weight.grad])
        torch.testing.assert_close(mine, wanted[f"{name}.in_proj_weight"],
                                   atol=100 * atol, rtol=1e-3)  # fmt: skip


def test_a_cruzada_igual_a_nn_multiheadattention(c03):
    torch.manual_seed(2)
    ours = c03.CrossAttention(24, 3)
    theirs = nn.MultiheadAttention(24, 3, batch_first=True)
    names = {n.removeprefix("x."): t for n, t in c03.attention_names("x", ours).items()}
    theirs.load_state_dict(names)
    x, memory = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    hidden = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
    expected, weights = theirs(x, memory, memory, key_padding_mask=hidden,
                               average_attn_weights=False)  # fmt: skip
    torch.testing.assert_close(ours(x, memory, ~hidden[:, None, None]), expected)
    assert (weights[1, :, :, 4:] == 0).all()


def test_um_peso_trocado_ja_nao_e_igual(c03):
    """A igualdade acima não é de graça: ela nota a menor troca."""
    ours = build(c03)
    theirs = c03.torch_transformer(ours)
    source, target, real = batch(40, 2, 6, 5)
    with torch.no_grad():
        ours.decoder.h[1].cross.c_kv.weight[0, 0] += 0.5
    out = theirs(
        vectors(ours.encoder, source), vectors(ours.decoder, target),
        tgt_mask=torch.ones(5, 5, dtype=torch.bool).triu(1),
        src_key_padding_mask=~real, memory_key_padding_mask=~real,
    )  # fmt: skip
    assert (ours.decoder.lm_head(out) - ours(source, target, real)).abs().max() > 1e-4


# --- quem influi em quem ---------------------------------------------------------------


def test_o_que_se_le_chega_a_tudo_e_o_que_se_escreve_so_adiante(c03):
    model = build(c03)
    source, target, _ = batch(40, 1, 7, 5)
    seen = c03.influence(model, source, target) > 1e-6
    assert seen.shape == (5, 12)
    assert seen[:, :7].all()
    assert torch.equal(seen[:, 7:], torch.ones(5, 5, dtype=torch.bool).tril())


@settings(max_examples=30)
@given(extra=st.integers(1, 8), symbol=st.integers(0, 39), seed=st.integers(0, 1000))
def test_o_enchimento_nao_muda_nada(c03, extra, symbol, seed):
    model = build(c03)
    source, target, _ = batch(40, 1, 6, 5, seed)
    full = torch.ones(1, 6, dtype=torch.bool)
    padded = F.pad(source, (0, extra), value=symbol)
    mask = F.pad(full, (0, extra), value=False)
    torch.testing.assert_close(model(padded, target, mask), model(source, target),
                               atol=1e-5, rtol=1e-4)  # fmt: skip
    torch.testing.assert_close(model(source, target, full), model(source, target))


def test_linha_toda_mascarada_nao_da_nan_nem_na_volta(c03):
    model = build(c03)
    source, target, _ = batch(40, 2, 6, 5)
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[1] = True
    logits = model(source, target, mask)
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():  # sem nada para ler, a frase lida não conta
        other = model(source.roll(1, 1), target, mask)
    torch.testing.assert_close(other[0], logits[0])


def test_o_dropout_so_age_no_treino(c03):
    model = build(c03, dropout=0.5)
    source, target, real = batch(40, 2, 6, 5)
    torch.testing.assert_close(model(source, target, real), model(source, target, real))
    model.train()
    assert not torch.allclose(model(source, target, real), model(source, target, real))


# --- entradas ruins --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "kind", "says"),
    [
        (torch.tensor([[0, 40]]), ValueError, "de 0 a 39"),
        (torch.tensor([[-1]]), ValueError, "de 0 a 39"),
        (torch.zeros(1, 25, dtype=torch.long), ValueError, "lugar para 24"),
        (torch.zeros(1, 0, dtype=torch.long), ValueError, "vazio"),
        (torch.zeros(0, 3, dtype=torch.long), ValueError, "vazio"),
        (torch.tensor([1, 2]), ValueError, "forma"),
        (torch.tensor([[0.5]]), TypeError, "inteiros"),
        (torch.tensor([[True]]), TypeError, "inteiros"),
    ],
)
def test_ids_ruins_recebem_uma_frase(c03, ids, kind, says):
    model, good = build(c03), torch.tensor([[1, 2]])
    with pytest.raises(kind, match=says):
        model(ids, good)
    with pytest.raises(kind, match=says):
        model.decoder(ids, torch.zeros(len(ids), 2, 32))


def test_ids_no_limite_sao_aceitos(c03):
    model = build(c03)
    edge = torch.full((1, 24), 39)
    assert model(edge, edge).shape == (1, 24, 40)
    assert model(edge.int(), edge.int()).isfinite().all()


@pytest.mark.parametrize(
    ("mask", "kind"),
    [(torch.ones(2, 6), TypeError), (torch.ones(2, 5, dtype=torch.bool), ValueError),
     (torch.ones(3, 6, dtype=torch.bool), ValueError)],
)  # fmt: skip
def test_mascara_de_enchimento_ruim(c03, mask, kind):
    source, target, _ = batch(40, 2, 6, 5)
    with pytest.raises(kind, match="máscara"):
        build(c03)(source, target, mask)


@pytest.mark.parametrize(
    "wrong", [{"d_model": 30}, {"n_layer": 0}, {"vocab_size": 0}, {"context_length": 0},
              {"dropout": 1.0}, {"dropout": -0.1}, {"n_head": 0}, {"n_layer": 1.5}],
)  # fmt: skip
def test_plantas_impossiveis(c03, wrong):
    with pytest.raises(ValueError, match=r"precisa|divide"):
        c03.TransformerConfig(**({"vocab_size": 40, "d_model": 32, "n_head": 4} | wrong))


def test_vetores_de_outra_largura(c03):
    cross = c03.CrossAttention(32, 4)
    with pytest.raises(ValueError, match="32"):
        cross(torch.randn(1, 3, 16), torch.randn(1, 4, 32))
    with pytest.raises(ValueError, match="32"):
        cross(torch.randn(1, 3, 32), torch.randn(1, 4, 16))


# --- os pesos que o mapa desenha -------------------------------------------------------


def test_o_mapa_mostra_os_pesos_que_a_camada_usou(c03):
    model = build(c03)
    source, target, real = batch(40, 2, 6, 5)
    inputs = []
    cross = model.decoder.h[1].cross
    hook = cross.register_forward_hook(lambda m, args, out: inputs.append((*args, out)))
    maps = c03.cross_maps(model, source, target, real)
    hook.remove()
    (x, memory, _, out) = inputs[0]
    assert [m.shape for m in maps] == [(2, 4, 5, 6)] * 2
    torch.testing.assert_close(maps[1].sum(-1), torch.ones(2, 4, 5))
    assert (maps[1] * ~real[:, None, None] == 0).all()
    v = cross.c_kv(memory)[..., 32:].unflatten(-1, (4, 8)).transpose(1, 2)
    again = cross.c_proj((maps[1] @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(again, out)
    assert not cross._forward_pre_hooks  # o gancho foi tirado


# --- datas -----------------------------------------------------------------------------

some_day = st.dates(date(1700, 1, 1), date(2099, 12, 31))


def number(words):
    """De volta ao número, por outro caminho: a soma das palavras."""
    values = {
        w: i for i, w in enumerate(
            "zero um dois três quatro cinco seis sete oito nove dez onze doze treze catorze "
            "quinze dezesseis dezessete dezoito dezenove".split())
    }  # fmt: skip
    tens = "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa".split()
    values |= {w: 10 * i for i, w in enumerate(tens, 2)}
    values |= {"primeiro": 1, "e": 0, "setecentos": 700, "oitocentos": 800, "novecentos": 900}
    total = 0
    for word in words:
        total = max(total, 1) * 1000 if word == "mil" else total + values[word]
    return total


@given(day=some_day, which=st.integers(0, 7))
def test_a_data_por_extenso_volta_a_ser_a_data(c03, day, which):
    words = c03.write_out(day, c03.WORDINGS[which])
    months = ("janeiro fevereiro março abril maio junho julho agosto setembro outubro "
              "novembro dezembro").split()  # fmt: skip
    parts = {f: [w for w, g in words if g == f] for f in "dma"}
    [month] = parts["m"]
    back = date(number(parts["a"]), months.index(month) + 1, number(parts["d"]))
    assert back == day
    assert c03.in_digits(day) == f"{day.day:02d}/{day.month:02d}/{day.year:04d}"


def test_frases_conferidas_com_os_olhos(c03):
    def say(day, i):
        return " ".join(w for w, _ in c03.write_out(day, c03.WORDINGS[i]))

    assert say(date(1984, 3, 12), 0) == "doze de março de mil novecentos e oitenta e quatro"
    assert say(date(1900, 1, 1), 4) == "ao primeiro dia do mês de janeiro do ano de mil e novecentos"
    assert say(date(1891, 3, 19), 3) == "quinta-feira , dezenove de março de mil oitocentos e noventa e um"
    assert say(date(2000, 12, 31), 5) == "dezembro de dois mil , dia trinta e um"
    assert say(date(2007, 5, 2), 4) == "aos dois dias do mês de maio do ano de dois mil e sete"


def table_of(c):
    days = [date(1800, 1, 1) + timedelta(n) for n in range(0, 80_353, 7)]
    words = {w for d in days for f in c.WORDINGS for w, _ in c.write_out(d, f)}
    return days, c.SymbolTable([*"0123456789/", *sorted(words)])


def test_tabela_de_simbolos_ida_e_volta_e_recusa(c03):
    _, table = table_of(c03)
    assert table.decode(table.encode("03/12")) == "03/12"
    assert table.decode([*table.encode("12"), c03.END, *table.encode("7"), c03.END]) == "12"
    with pytest.raises(ValueError, match="setecentos"):
        table.encode(["mil", "setecentos"])


def test_o_lote_tem_inicio_fim_e_enchimento(c03):
    _, table = table_of(c03)
    pairs = [(date(1984, 3, 12), c03.WORDINGS[0]), (date(1984, 3, 12), c03.WORDINGS[4])]
    source, target = c03.date_batch(pairs, table)
    assert target.shape == (2, 12)
    assert (target[:, 0] == c03.START).all()
    assert (target[:, -1] == c03.END).all()
    lengths = [len(c03.write_out(*p)) for p in pairs]
    assert (source != c03.PAD).sum(1).tolist() == lengths
    assert source.shape[1] == max(lengths)


def test_escrever_um_por_um_e_em_lote_da_no_mesmo(c03):
    days, table = table_of(c03)
    model = build(c03, V=len(table.names), seed=4)
    pairs = c03.any_wording(random.Random(0).sample(days, 12))
    source, _ = c03.date_batch(pairs, table)
    together = c03.write_greedily(model, source, longest=15)
    assert together.shape[1] <= 15
    for i, pair in enumerate(pairs):
        alone = c03.write_greedily(model, c03.date_batch([pair], table)[0], longest=15)[0]
        row = together[i, : len(alone)]
        assert torch.equal(row, alone)
        assert (together[i, len(alone):] == c03.PAD).all()


def test_a_escrita_para_no_fim_e_enche_o_resto(c03):
    """Um decodificador de mentira: cada linha diz FIM no seu passo."""

    class Fake:
        def read(self, source, mask):
            return source, mask

        def decoder(self, ids, memory, mask):
            out = torch.zeros(len(ids), ids.shape[1], 9)
            for i, when in enumerate(memory[:, 0].tolist()):
                out[i, -1, c03.END if ids.shape[1] == when else 5] = 1
            return out

    ids = c03.write_greedily(Fake(), torch.tensor([[3], [1], [2]]), longest=9)
    assert ids.tolist() == [[5, 5, 2], [2, 0, 0], [5, 2, 0]]
    ids = c03.write_greedily(Fake(), torch.tensor([[99]]), longest=4)
    assert ids.tolist() == [[5, 5, 5, 5]]


def test_um_pouco_de_treino_ja_ensina(c03):
    """Poucas datas, decoradas: a volta inteira (perda, passo, escrita) funciona."""
    days, table = table_of(c03)
    torch.manual_seed(0)
    model = c03.EncoderDecoder(c03.TransformerConfig(len(table.names), 24, 32, 4, 1))
    losses, marks = c03.teach(model, days[:4], table, 120, rows=16, watch=lambda m: 0.5)
    assert losses[-1] < 0.1 * losses[0]
    assert [s for s, _ in marks] == list(range(0, 120, 20))
    pairs = [(d, w) for d in days[:4] for w in c03.WORDINGS]
    assert c03.exact(model, pairs, table) > 0.9
    again = c03.EncoderDecoder(model.config)
    assert c03.exact(again, pairs, table) < 0.1


def test_apagar_uma_palavra_e_mesmo_esconder(c03):
    _, table = table_of(c03)
    model = build(c03, V=len(table.names), seed=6)
    pair = (date(1984, 3, 12), c03.WORDINGS[0])
    loss = c03.missed_words(model, pair, table)
    assert loss.shape == (11, 10)
    assert (loss >= 0).all()
    source, target = c03.date_batch([pair], table)
    mask = source != c03.PAD
    right = target[0, 1:, None]

    def chance(mask):
        return model(source, target[:, :-1], mask).softmax(-1)[0].gather(-1, right)[:, 0]

    hidden = mask.clone()
    hidden[0, 2] = False
    expected = (chance(mask) - chance(hidden)).clamp(min=0)
    torch.testing.assert_close(loss[:, 2], expected, atol=1e-6, rtol=1e-4)
