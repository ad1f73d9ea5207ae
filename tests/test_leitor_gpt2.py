"""O leitor de pesos do GPT-2, as contas e o modelo numa página, contra a transformers."""

import inspect
import io
import json
import linecache
import pickle
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

SIZES = [(11, 5, 4, 1, 1), (50, 16, 12, 3, 2), (97, 24, 32, 4, 3), (300, 64, 48, 6, 2)]
ATTN = "transformer.h.1.attn.c_attn.weight"


def theirs_of(V, T, C, H, L, seed=0, **more):
    """Um GPT2LMHeadModel com todos os pesos sorteados."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=V, n_positions=T, n_embd=C, n_head=H, n_layer=L, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0, **more,
    ))  # fmt: skip
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return model.eval()


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """Um checkpoint bom, gravado pela transformers."""
    folder = tmp_path_factory.mktemp("gpt2") / "bom"
    theirs_of(50, 16, 12, 3, 2).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(good, tmp_path):
    """Uma cópia para estragar."""
    return Path(shutil.copytree(good, tmp_path / "copia"))


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values), encoding="utf-8")


def rewrite(folder, edit):
    path = folder / "model.safetensors"
    state = load_file(path)
    edit(state)
    save_file(state, path)


# --- lê o que a transformers grava -----------------------------------------------------


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("shard", [None, "5KB"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_le_o_que_a_transformers_grava(c04, tmp_path, sizes, shard, dtype, atol):
    theirs = theirs_of(*sizes).to(dtype)
    theirs.save_pretrained(tmp_path, **({"max_shard_size": shard} if shard else {}))
    if shard and sizes[2] > 4:
        assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours = c04.load_gpt2(tmp_path, dtype=dtype)
    assert ours.config == c04.GPTConfig(*sizes) and not ours.training
    ids = torch.randint(sizes[0], (2, sizes[1]), generator=torch.Generator().manual_seed(1))
    answer = theirs(ids, labels=ids)
    logits = ours(ids)
    torch.testing.assert_close(logits, answer.logits, atol=atol, rtol=atol)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    expected = answer.loss  # a biblioteca a calcula sempre em float32
    if dtype == torch.float64:
        expected = F.cross_entropy(answer.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(loss, expected, atol=atol, rtol=atol)
    loss.backward()
    expected.backward()
    grads = c04.from_gpt2_state_dict({n: p.grad for n, p in theirs.named_parameters()})
    for name, p in ours.named_parameters():
        torch.testing.assert_close(p.grad, grads[name], atol=atol, rtol=1e-4, msg=name)


@pytest.mark.parametrize("max_bytes", [None, 1, 2_000, 10**9])
def test_o_que_gravamos_a_transformers_le(c04, tmp_path, max_bytes):
    from transformers import GPT2LMHeadModel

    model = c04.load_gpt2(_saved(tmp_path / "a"))
    c04.save_gpt2(model, tmp_path / "b", max_bytes)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "b").eval()
    again = c04.load_gpt2(tmp_path / "b")
    ids = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(theirs(ids).logits, model(ids), atol=1e-5, rtol=1e-5)
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)
    if max_bytes == 2_000:
        shards = sorted((tmp_path / "b").glob("*.safetensors"))
        assert len(shards) > 2
        for shard in shards:
            tensors = c04.read_header(shard)
            size = sum(t["data_offsets"][1] - t["data_offsets"][0] for t in tensors.values())
            assert size <= 2_000 or len(tensors) == 1


def _saved(folder):
    theirs_of(50, 16, 12, 3, 2).save_pretrained(folder)
    return folder


def test_o_modelo_lido_treina_e_continua_atado(c04, good):
    model = c04.load_gpt2(good)
    assert model.lm_head.weight is model.wte.weight
    assert not any(p.is_meta for p in model.parameters())
    assert all(p.requires_grad and p.is_contiguous() for p in model.parameters())
    before = model.wte.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.arange(8)[None]).logsumexp(-1).sum().backward()
    optimizer.step()
    assert not torch.equal(before, model.wte.weight)


def test_o_modelo_nao_depende_do_arquivo_depois_de_lido(c04, folder):
    model = c04.load_gpt2(folder)
    before = [p.detach().clone() for p in model.parameters()]
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_mascaras_antigas_e_nomes_sem_prefixo(c04, folder):
    expected = c04.load_gpt2(folder)

    def old(state):
        for name in list(state):
            state[name.removeprefix("transformer.")] = state.pop(name)
        for i in range(2):
            state[f"h.{i}.attn.bias"] = torch.ones(1, 1, 16, 16, dtype=torch.uint8)
            state[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
        state["lm_head.weight"] = state["wte.weight"].clone()

    rewrite(folder, old)
    for a, b in zip(c04.load_gpt2(folder).parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("asked", [torch.float32, torch.float16, torch.bfloat16])
def test_converte_para_o_tipo_pedido(c04, folder, stored, asked):
    state = load_file(folder / "model.safetensors")
    rewrite(folder, lambda s: s.update({n: t.to(stored) for n, t in s.items()}))
    model = c04.load_gpt2(folder, dtype=asked)
    assert {p.dtype for p in model.parameters()} == {asked}
    expected = state["transformer.wte.weight"].to(stored).to(asked)
    assert torch.equal(model.wte.weight, expected)


# --- recusa, com a frase que cabe ------------------------------------------------------

SPOILED = {
    "falta": (lambda f: rewrite(f, lambda s: s.pop(ATTN)), r"Faltam .*\(1\): h\.1\.attn\.c_attn"),
    "falta um bloco": (lambda f: change(f, n_layer=3), r"Faltam .*\(12\): .*, …"),
    "sobra": (lambda f: rewrite(f, lambda s: s.update({"extra.weight": torch.ones(2)})),
              r"Sobram .*\(1\): extra\.weight"),
    "sobra um bloco": (lambda f: change(f, n_layer=1), r"Sobram .*\(12\): "),
    "transposta": (lambda f: rewrite(f, lambda s: s.update({ATTN: s[ATTN].T.contiguous()})),
                   r"c_attn.*transposta.*\(36, 12\).*\(12, 36\)"),
    "tabela transposta": (lambda f: rewrite(f, lambda s: s.update(
        {"transformer.wte.weight": s["transformer.wte.weight"].T.contiguous()})),
        "wte.*transposta"),
    "vocabulário": (lambda f: change(f, vocab_size=60), r"vocabulário.*\(50, 12\).*\(60, 12\)"),
    "posições": (lambda f: change(f, n_positions=20), r"wpe.*\(16, 12\).*\(20, 12\)"),
    "arquitetura": (lambda f: change(f, model_type="llama"), "'llama'.*só conhece 'gpt2'"),
    "sem tipo": (lambda f: change(f, model_type=None), "None.*'gpt2'"),
    "ativação": (lambda f: change(f, activation_function="relu"), "activation_function = 'relu'"),
    "norma": (lambda f: change(f, layer_norm_epsilon=1e-6), "layer_norm_epsilon"),
    "escala": (lambda f: change(f, scale_attn_by_inverse_layer_idx=True), "inverse_layer_idx"),
    "desatado": (lambda f: change(f, tie_word_embeddings=False), "tie_word_embeddings"),
    "rede larga": (lambda f: change(f, n_inner=50), "n_inner = 50"),
    "tamanho impossível": (lambda f: change(f, n_head=5), "n_head = 5"),
    "cabeça desatada": (lambda f: rewrite(f, lambda s: s.update(
        {"lm_head.weight": s["transformer.wte.weight"] + 1})), "desatados"),
    "cabeça de outra forma": (lambda f: rewrite(f, lambda s: s.update(
        {"lm_head.weight": torch.ones(3, 12)})), r"lm_head.*\(3, 12\)"),
    "quantizado": (lambda f: rewrite(f, lambda s: s.update({ATTN: s[ATTN].to(torch.int8)})),
                   "I8.*quantizados"),
    "em dobro": (lambda f: rewrite(f, lambda s: s.update(
        {"wte.weight": s["transformer.wte.weight"].clone()})), "dois lugares"),
    "config cortado": (lambda f: (f / "config.json").write_text('{"model_ty'),
                       "config.json não é um JSON inteiro"),
    "config é lista": (lambda f: (f / "config.json").write_text("[1]"), "entre chaves"),
    "config sem tamanho": (lambda f: (f / "config.json").write_text('{"model_type": "gpt2"}'),
                           "não diz vocab_size"),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_recusa_com_uma_frase(c04, folder, how):
    spoil, says = SPOILED[how]
    spoil(folder)
    with pytest.raises(ValueError, match=says):
        c04.load_gpt2(folder)


def saved_by(function):
    buffer = io.BytesIO()
    function(buffer)
    return buffer.getvalue()


STATE = {"wte.weight": torch.ones(3)}
FOREIGN = {
    "página": (b"<html>404</html>", "não é um safetensors"),
    "vazio": (b"", "não é um safetensors"),
    "curto": (b"abc", "não é um safetensors"),
    "zeros": (bytes(500), "não é um safetensors"),
    "ponteiro": (b"version https://git-lfs\noid sha256:0\nsize 9\n", "não é um safetensors"),
    "torch.save": (saved_by(lambda b: torch.save(STATE, b)), "pickle.*executa"),
    "torch.save antigo": (
        saved_by(lambda b: torch.save(STATE, b, _use_new_zipfile_serialization=False)),
        "pickle.*executa"),
    "pickle": (pickle.dumps({"a": 1}), "pickle.*executa"),
    "cabeçalho cortado": ((1000).to_bytes(8, "little") + b'{"a": {"dty', "cortado.*cabeçalho"),
    "cabeçalho sem sentido": ((9).to_bytes(8, "little") + b'{"a": 12}', "não se entende"),
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN)
def test_recusa_o_que_nao_e_safetensors(c04, folder, what):
    data, says = FOREIGN[what]
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=says):
        c04.load_gpt2(folder)


@settings(max_examples=40)
@given(cut=st.integers(0, 10**6))
def test_cortado_em_qualquer_ponto_e_recusado(c04, good, tmp_path_factory, cut):
    data = (good / "model.safetensors").read_bytes()
    path = tmp_path_factory.mktemp("corte") / "model.safetensors"
    path.write_bytes(data[: cut % len(data)])
    with pytest.raises(ValueError, match="cortado|não é um safetensors"):
        c04.read_header(path)


def test_com_bytes_a_mais_tambem_e_recusado(c04, folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="cortado ou alterado"):
        c04.load_gpt2(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pesos.pt", "m.pth", "m.ckpt"])
def test_um_pickle_nunca_e_aberto(c04, folder, name):
    class Bomb:
        def __reduce__(self):
            return (folder / "executei").touch, ()

    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=f"{name} é um pickle.*executa"):
        c04.load_gpt2(folder)
    (folder / name).rename(folder / "model.safetensors")
    with pytest.raises(ValueError, match="pickle"):
        c04.load_gpt2(folder)
    assert not (folder / "executei").exists()


def test_falta_o_arquivo(c04, folder):
    with pytest.raises(FileNotFoundError, match="não é uma pasta"):
        c04.load_gpt2(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="Não há model.safetensors"):
        c04.load_gpt2(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="Não achei config.json"):
        c04.load_gpt2(folder)


def test_o_tokenizador_de_outro_modelo_e_recusado(c04, good):
    assert c04.load_gpt2(good, vocab_size=50).config.vocab_size == 50
    with pytest.raises(ValueError, match="tokenizador tem 2048 .*50"):
        c04.load_gpt2(good, vocab_size=2048)


@pytest.mark.parametrize("evil", ["../fora.safetensors", "/etc/passwd", "a.bin", 3, ""])
def test_o_indice_nao_sai_da_pasta(c04, good, tmp_path, evil):
    model = c04.load_gpt2(good)
    c04.save_gpt2(model, tmp_path, max_bytes=3_000)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["transformer.wte.weight"] = evil
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="não diz direito"):
        c04.load_gpt2(tmp_path)


def test_fatia_que_falta_ou_que_e_de_outra_gravacao(c04, good, tmp_path):
    model = c04.load_gpt2(good)
    c04.save_gpt2(model, tmp_path, max_bytes=3_000)
    first, second, *_ = sorted(tmp_path.glob("*.safetensors"))
    data = second.read_bytes()
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match="dois lugares ou fora"):
        c04.load_gpt2(tmp_path)
    second.unlink()
    with pytest.raises(FileNotFoundError, match=second.name):
        c04.load_gpt2(tmp_path)
    second.write_bytes(data)
    c04.load_gpt2(tmp_path)


# --- sem duas cópias na memória --------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="o pico se lê no Linux")
@pytest.mark.parametrize(("how", "low", "high"), [("load_gpt2", 0.9, 1.5),
                                                  ("load_naive", 1.7, 9.0)])  # fmt: skip
def test_o_pico_de_memoria_da_leitura(c04, tmp_path, how, low, high):
    model = c04.GPT(c04.GPTConfig(8192, 128, 384, 6, 8))
    c04.save_gpt2(model, tmp_path)
    assert low < c04.load_peak(how, tmp_path) < high


def test_ler_nao_sorteia_pesos_para_jogar_fora(c04, tmp_path):
    c04.save_gpt2(c04.GPT(c04.GPTConfig(64, 16, 16, 2, 1)), tmp_path)
    before = torch.get_rng_state()
    c04.load_gpt2(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


# --- o formulário, contra um servidor local --------------------------------------------


class FakeHub(SimpleHTTPRequestHandler):
    """O bastante do protocolo da Hugging Face para um snapshot_download."""

    sha = "0" * 40

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        root = Path(self.directory)
        path = self.path.split("?")[0]
        if path.startswith("/api/models/gpt2/revision/"):
            files = [{"rfilename": p.name} for p in root.iterdir()]
            data = {"id": "gpt2", "sha": self.sha, "siblings": files, "private": False,
                    "downloads": 0, "tags": []}  # fmt: skip
            return self.send(json.dumps(data).encode(), body, "application/json")
        if path.startswith("/api/models/gpt2/tree/"):
            files = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": p.name}
                     for p in root.iterdir()]  # fmt: skip
            return self.send(json.dumps(files).encode(), body, "application/json")
        if path.startswith(f"/gpt2/resolve/{self.sha}/") and (root / Path(path).name).is_file():
            type(self).served.append(Path(path).name)
            return self.send((root / Path(path).name).read_bytes(), body)
        self.send_error(404)

    def send(self, data, body, kind="application/octet-stream"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", self.sha)
        self.send_header("ETag", f'"{hash(data):x}"'.replace("-", ""))
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(c04, tmp_path):
    """Um servidor local com um GPT-2 minúsculo, tokenizador e um .bin que não se quer."""
    from tokenizers import ByteLevelBPETokenizer

    folder = tmp_path / "servidor"
    text = ["A praça da cidade amanheceu cheia de gente. Farofa roubou o pão."] * 3
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(text, vocab_size=300, min_frequency=1)
    theirs_of(bpe.get_vocab_size(), 64, 12, 3, 2).save_pretrained(folder)
    bpe.save_model(str(folder))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(1))
    handler = type("Hub", (FakeHub,), {"served": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


def elsewhere(c04, tmp_path, endpoint, prompt="A praça", n=12):
    """O que o formulário faz, num processo com rede (só a desta máquina) e cache vazio."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import pecas; from pathlib import Path
c = pecas.lift(Path({str(c04.__file__)!r}))
print("TEXTO", repr(c.write_like("gpt2", {prompt!r}, {n}, 3, {endpoint!r})))
print("PASTA", sorted(p.name for p in c.download_gpt2("gpt2", {endpoint!r}).iterdir()))
"""
    env = {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "casa"), "PYTHONUTF8": "1",
           "HF_HUB_DISABLE_TELEMETRY": "1", "MPLBACKEND": "agg", "PATH": ""}  # fmt: skip
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          encoding="utf-8", env=env)  # fmt: skip


@pytest.mark.timeout(300)
def test_o_formulario_baixa_le_e_escreve(c04, hub, tmp_path):
    endpoint, handler = hub
    done = elsewhere(c04, tmp_path, endpoint)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "TEXTO 'A praça" in done.stdout
    assert "PASTA ['config.json', 'merges.txt', 'model.safetensors', 'vocab.json']" in done.stdout
    assert "pytorch_model.bin" not in handler.served


def test_sem_rede_ha_uma_frase(c04, monkeypatch, tmp_path):
    import huggingface_hub

    def no_network(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    with pytest.raises(ConnectionError, match="Não consegui baixar gpt2.*internet"):
        c04.write_like("gpt2", "Oi", 3)


def test_o_formulario_nao_baixa_nada_sozinho(c04):
    import pecas

    [form] = [s for _, s in pecas.code_cells(Path(c04.__file__)) if "write_like(real_model" in s]
    assert 'real_model = "nenhum"' in form
    printed = {}
    exec(form, {"print": lambda text: printed.setdefault("text", text)})
    assert printed["text"].startswith("Nada foi baixado")


def test_a_escrita_com_sorteio_e_reprodutivel_e_fica_entre_os_k(c04, good):
    model = c04.load_gpt2(good)
    ids = torch.tensor([[3, 4]])
    texts = [c04.continue_text(model, ids, 10, k=5, seed=s) for s in (1, 1, 2)]
    assert torch.equal(texts[0], texts[1]) and not torch.equal(texts[0], texts[2])
    with torch.no_grad():
        for t in range(2, 12):
            best = model(texts[0][:, :t])[0, -1].topk(5).indices
            assert texts[0][0, t] in best
    greedy = c04.continue_text(model, ids, 10, k=1)
    assert torch.equal(greedy, c04.continue_text(model, ids, 10, k=1, seed=9))


# --- o modelo em uma página ------------------------------------------------------------


def test_a_pagina_tem_no_maximo_100_linhas(c04):
    lines = linecache.getlines(inspect.getsourcefile(c04.OnePageGPT.forward))
    text = "".join(lines)
    assert "class OnePageBlock" in text and "class OnePageGPT" in text
    assert 40 < len(lines) <= 100
    for own in ("GPT(", "TransformerBlock", "MultiHeadAttention", "KVCache", "causal("):
        assert not [s for s in lines if own in s.replace("OnePageGPT(", "")], own


@pytest.mark.parametrize("sizes", SIZES)
def test_a_pagina_e_o_mesmo_modelo(c04, sizes):
    config = c04.GPTConfig(*sizes)
    torch.manual_seed(4)
    page = c04.OnePageGPT(**vars(config))
    torch.manual_seed(4)
    ours = c04.GPT(config)
    assert list(page.state_dict()) == list(ours.state_dict())
    for a, b in zip(page.parameters(), ours.parameters(), strict=True):
        assert torch.equal(a, b)
    theirs = theirs_of(*sizes).double()
    page = page.double()
    page.load_state_dict(c04.from_gpt2_state_dict(theirs.state_dict()))
    ids = torch.randint(sizes[0], (2, sizes[1]), generator=torch.Generator().manual_seed(5))
    logits, expected = page(ids), theirs(ids).logits
    torch.testing.assert_close(logits, expected, atol=1e-10, rtol=1e-10)
    logits.logsumexp(-1).mean().backward()
    expected.logsumexp(-1).mean().backward()
    grads = c04.from_gpt2_state_dict({n: p.grad for n, p in theirs.named_parameters()})
    for name, p in page.named_parameters():
        torch.testing.assert_close(p.grad, grads[name], atol=1e-10, rtol=1e-6)


@settings(max_examples=30)
@given(chunks=st.lists(st.integers(1, 6), min_size=1, max_size=16))
def test_a_gaveta_da_pagina_em_qualquer_fatiamento(c04, chunks):
    torch.manual_seed(6)
    page = c04.OnePageGPT(50, 16, 12, 3, 2, 0.0)
    ids = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(7))
    drawers, parts, start = [[] for _ in page.h], [], 0
    with torch.no_grad():
        for size in chunks:
            piece = ids[:, start : start + size]
            if not piece.shape[1]:
                break
            parts.append(page(piece, drawers))
            start += piece.shape[1]
        expected = page(ids[:, :start])
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-5, rtol=1e-5)


def test_a_pagina_escreve_e_recusa(c04):
    torch.manual_seed(8)
    page = c04.OnePageGPT(50, 16, 12, 3, 2, 0.0)
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    text = page.write(ids, 13)
    assert text.shape == (2, 16)
    for t in range(3, 16):
        assert torch.equal(text[:, t], page(text[:, :t])[:, -1].argmax(-1))
    for bad in (torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, 17, dtype=torch.long)):
        with pytest.raises(ValueError, match="de 1 a 16"):
            page(bad)


def test_dropout_da_pagina_so_no_treino(c04):
    page = c04.OnePageGPT(50, 16, 12, 3, 2, 0.5)
    ids = torch.arange(16)[None]
    assert not torch.equal(page(ids), page(ids))
    page.eval()
    assert torch.equal(page(ids), page(ids))


# --- as contas -------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", SIZES)
def test_flops_da_transformers_sao_os_da_formula(c04, sizes):
    """O mesmo contador, no modelo deles: ida e volta."""
    T = sizes[1]
    theirs = theirs_of(*sizes, attn_implementation="eager")
    ids = torch.zeros(1, T, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        loss = theirs(ids).logits.sum()
        forward = counter.get_total_flops()
        loss.backward()
    formula = c04.forward_flops(c04.GPTConfig(*sizes), T)
    assert forward == formula
    assert counter.get_total_flops() == 3 * formula
    assert c04.counted_flops(c04.GPTConfig(*sizes), T) == (formula, 3 * formula)


@pytest.mark.parametrize("sizes", SIZES[1:])
@pytest.mark.parametrize("B", [2, 5])
def test_ativacoes_da_formula_e_da_medida(c04, sizes, B):
    config, T = c04.GPTConfig(*sizes), sizes[1]
    ids = torch.zeros(B, T + 1, dtype=torch.long)
    extra = 8 * (B * (T + 1) + T + B * T) + 4           # ids, posições, alvos, um peso
    for table, kernel in ((False, SDPBackend.FLASH_ATTENTION), (True, SDPBackend.MATH)):
        with sdpa_kernel(kernel):
            measured = c04.saved_bytes(c04.GPT(config), ids)
        formula = 4 * sum(c04.activation_count(config, B, T, table).values())
        assert abs(measured - formula) <= extra
        assert formula < measured


@pytest.mark.parametrize("name", ["small", "medium", "large", "XL"])
def test_ativacoes_e_flops_do_gpt2_no_meta(c04, name):
    C, H, L = c04.GPT2_SIZES[name]
    config = c04.GPTConfig(50257, 1024, C, H, L)
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH):
        measured = c04.saved_bytes(c04.GPT(config), torch.zeros(2, 1025, dtype=torch.long))
    formula = 4 * sum(c04.activation_count(config, 2, 1024, table=True).values())
    assert measured / formula == pytest.approx(1, abs=0.01)
    forward, both = c04.counted_flops(config, 1024)
    assert forward == pytest.approx(c04.forward_flops(config, 1024), rel=0.01)
    assert both == pytest.approx(3 * c04.forward_flops(config, 1024), rel=0.01)


@settings(max_examples=30)
@given(V=st.integers(1, 99), T=st.integers(1, 40), D=st.integers(1, 9), H=st.integers(1, 5),
       L=st.integers(1, 4), B=st.integers(1, 6))  # fmt: skip
def test_a_calculadora_do_capitulo_00_concorda(c00, c04, V, T, D, H, L, B):
    old = c00.training_memory(c00.TrainingPlan(V, T, D * H, H, L, B))
    new = c04.activation_count(c04.GPTConfig(V, T, D * H, H, L), B, T)
    assert old["ativações"] + old["saída"] == 4 * (sum(new.values()) + 3 * B * T * V)
