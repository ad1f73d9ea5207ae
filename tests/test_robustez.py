"""Um treino que não se perde: morto, sem disco, sem permissão, estragado, doente.

Os processos que morrem de verdade nascem de um *ninho*: um Python à parte, que ergue o caderno
uma vez e depois se bifurca para cada tarefa.
"""

import copy
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pecas import ROOT
from test_treino import V, assert_same, build, config, text_ids
from test_treino import run as train_run

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="precisa de os.fork")

LONG = {"steps": 200, "batch_size": 2, "accumulation": 2, "eval_every": 20,
        "checkpoint_every": 1}  # fmt: skip


def long_run(c, path, stop_at=None, **changes):
    """O treino de test_treino, mais comprido e gravado a cada passo: (modelo, história)."""
    return train_run(c, path, stop_at, **(LONG | changes))


# --- o ninho: processos que podem morrer -----------------------------------------------


def armed_run(c, path: Path, target: int, where: float | None, pipe: int) -> None:
    """Treina; a partir do passo `target`, está marcado para morrer.

    where=None: avisa pelo `pipe` e segue, até que o pai o mate. Entre 0 e 1: mata-se na
    próxima gravação, depois dessa fração dos bytes. Acima de 1: antes do fsync, antes da
    troca de nome, depois dela.
    """
    import io

    armed, step = [False], c.train_step
    save, sync, change = torch.save, os.fsync, os.replace

    def die():
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def counted(model, optimizer, ids, number, *args, **kwargs):
        if number >= target and not armed[0]:
            armed[0] = True
            if where is None:
                os.write(pipe, b"x")
        return step(model, optimizer, ids, number, *args, **kwargs)

    def partial_save(state, f, *args, **kwargs):
        if not armed[0] or where is None or where >= 1:
            return save(state, f, *args, **kwargs)
        whole = io.BytesIO()
        save(state, whole)
        f.write(whole.getvalue()[: int(where * len(whole.getvalue()))])
        f.flush()
        die()

    def last_sync(*args):
        if armed[0] and where is not None and 1 <= where < 1.1:
            die()
        return sync(*args)

    def last_change(*args):
        if armed[0] and where is not None and 1.1 <= where < 1.2:
            die()
        change(*args)
        if armed[0] and where is not None and where >= 1.2:
            die()

    c.train_step, torch.save = counted, partial_save
    os.fsync, os.replace = last_sync, last_change
    long_run(c, path)


def in_child(work) -> dict:
    """Bifurca, executa work(pipe) no filho e conta como ele acabou."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = 0
        try:
            work(writer)
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode()[:4000])
            code = 1
        finally:
            os._exit(code)
    os.close(writer)
    return {"pid": pid, "pipe": reader}


def finish(child: dict) -> dict:
    """Espera o filho: {'said': o que ele escreveu, 'signal': quem o matou, 'code': …}."""
    said = b""
    while chunk := os.read(child["pipe"], 4096):
        said += chunk
    os.close(child["pipe"])
    _, status = os.waitpid(child["pid"], 0)
    killed = os.WIFSIGNALED(status)
    return {"said": said.decode(), "signal": os.WTERMSIG(status) if killed else None,
            "code": None if killed else os.WEXITSTATUS(status)}  # fmt: skip


def kill_many(c, path: str, seed: int, times: int = 20) -> list[dict]:
    """Mata o mesmo treino `times` vezes; cada filho continua de onde o anterior caiu."""
    path, dice, deaths = Path(path), random.Random(seed), []
    targets = sorted(dice.sample(range(1, 150), times))
    for n, target in enumerate(targets):
        where = None if n % 2 else dice.uniform(0, 1.3)
        delay = dice.uniform(0, 0.02)
        child = in_child(lambda pipe, t=target, w=where: armed_run(c, path, t, w, pipe))
        if where is None and os.read(child["pipe"], 1):
            time.sleep(delay)
            os.kill(child["pid"], signal.SIGKILL)
        end = finish(child)
        partial = path.with_name(path.name + ".parcial")
        deaths.append({
            **end, "target": target, "where": where, "partial": partial.exists(),
            "step": c.load_checkpoint(path)["step"] if path.exists() else 0,
        })  # fmt: skip
    return deaths


def as_nobody(c, path: str) -> dict:
    """Tenta continuar o treino numa pasta em que só se lê, sem ser root."""

    def work(pipe):
        long_run(c, None, stop_at=1)  # o que se importa tarde, importa-se ainda como root
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        long_run(c, path, checkpoint_every=10)

    return finish(in_child(work))


def with_small_files(c, path: str, limit: int) -> dict:
    """Tenta continuar o treino onde nenhum arquivo pode passar de `limit` bytes."""

    def work(pipe):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        long_run(c, path, checkpoint_every=10)

    return finish(in_child(work))


TASKS = {"mortes": kill_many, "ninguém": as_nobody, "limite": with_small_files}

NEST = """
import json, sys
sys.path.insert(0, {tests!r})
import pecas, torch
torch.set_num_threads(1)
c = pecas.lift(pecas.notebooks()["05"])
import test_robustez as here
print(json.dumps("pronto"), flush=True)
for line in sys.stdin:
    task, args = json.loads(line)
    print(json.dumps(here.TASKS[task](c, **args)), flush=True)
"""


@pytest.fixture(scope="module")
def nest():
    """ask(tarefa, **argumentos) -> o que o ninho respondeu."""
    process = subprocess.Popen(
        [sys.executable, "-c", NEST.format(tests=str(ROOT / "tests"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert json.loads(process.stdout.readline()) == "pronto"

    def ask(task: str, **args):
        process.stdin.write(json.dumps([task, args]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, f"o ninho caiu na tarefa {task!r}"
        return json.loads(answer)

    yield ask
    process.stdin.close()
    process.wait(timeout=60)


@pytest.fixture(scope="module")
def untouched(c05, tmp_path_factory):
    """O treino que nunca caiu: pesos, história e último checkpoint."""
    path = tmp_path_factory.mktemp("inteiro") / "ck.pt"
    model, history = long_run(c05, path)
    return model.state_dict(), history, c05.load_checkpoint(path)


def ends_the_same(c, path, untouched, **changes):
    """Continua o treino até o fim: os mesmos bits de quem nunca parou."""
    model, history = long_run(c, path, **changes)
    assert_same(model.state_dict(), untouched[0], "modelo")
    assert_same(history, untouched[1], "história")
    state = c.load_checkpoint(path)
    state["train_config"] |= {"checkpoint_every": LONG["checkpoint_every"]}
    assert_same(state, untouched[2], "checkpoint")
    assert [p.name for p in path.parent.iterdir()] == [path.name], "sobrou um pedaço"


@needs_fork
def test_vinte_mortes_em_instantes_sorteados(c05, nest, tmp_path, untouched):
    seed, path = random.randrange(2**31), tmp_path / "ck.pt"
    deaths = nest("mortes", path=str(path), seed=seed)
    told = f"semente {seed}: {deaths}"
    print(told)                         # ends_the_same também pode falhar: que se veja
    assert len(deaths) == 20, told
    for death in deaths:
        assert death["signal"] == signal.SIGKILL, told
        if death["where"] is not None and death["where"] < 1.2:
            assert death["partial"], told  # morreu mesmo no meio da gravação
    steps = [death["step"] for death in deaths]
    assert steps == sorted(steps), told
    for death in deaths:  # ninguém perdeu mais do que o passo em que estava
        assert death["step"] >= death["target"], told
    ends_the_same(c05, path, untouched)


# --- o disco -------------------------------------------------------------------------------


@pytest.fixture
def halfway(c05, tmp_path):
    """Um treino parado no passo 20, com o seu checkpoint: (caminho, bytes)."""
    path = tmp_path / "ck.pt"
    long_run(c05, path, stop_at=20, checkpoint_every=10)
    return path, path.read_bytes()


def kept(path: Path, saved: bytes) -> None:
    assert path.read_bytes() == saved, "o checkpoint antigo se perdeu"
    assert [p.name for p in path.parent.iterdir()] == [path.name], "sobrou um pedaço"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="só no Linux")
def test_disco_cheio_de_verdade(c05, halfway, untouched):
    path, saved = halfway
    path.with_name("ck.pt.parcial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="(?s)Não consegui gravar.*espaço em disco") as caught:
        long_run(c05, path, checkpoint_every=10)
    assert caught.value.__cause__.errno == 28
    kept(path, saved)
    ends_the_same(c05, path, untouched, checkpoint_every=10)


@needs_fork
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.99])
def test_a_gravacao_para_num_byte_qualquer(c05, nest, halfway, untouched, fraction):
    path, saved = halfway
    end = nest("limite", path=str(path), limit=int(fraction * len(saved)))
    assert end["code"] == 1 and end["said"].startswith("OSError: Não consegui gravar"), end
    kept(path, saved)
    if fraction == 0.3:
        ends_the_same(c05, path, untouched, checkpoint_every=10)


def test_disco_pequeno_que_enche_e_depois_esvazia(c05, tmp_path, untouched):
    """Um disco de verdade, em que não cabem o checkpoint antigo e o novo lado a lado."""
    disk = tmp_path / "disco"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("sem permissão para montar um disco")
    try:
        path, filler = disk / "ck.pt", disk / "outra-coisa"
        long_run(c05, path, stop_at=20, checkpoint_every=10)
        saved, free = path.read_bytes(), shutil.disk_usage(disk).free
        filler.write_bytes(b"0" * (free - len(saved) // 2))
        with pytest.raises(OSError, match="espaço em disco"):
            long_run(c05, path, checkpoint_every=10)
        assert path.read_bytes() == saved
        assert not path.with_name("ck.pt.parcial").exists()
        filler.unlink()
        ends_the_same(c05, path, untouched, checkpoint_every=10)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


@needs_fork
def test_pasta_so_de_leitura(c05, nest, untouched):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a do pytest ninguém mais atravessa
    try:
        path = folder / "ck.pt"
        long_run(c05, path, stop_at=20, checkpoint_every=10)
        saved = path.read_bytes()
        path.chmod(0o444)
        folder.chmod(0o555)
        end = nest("ninguém", path=str(path))
        assert end["code"] == 1, end
        assert "Não consegui gravar" in end["said"] and "permissão da pasta" in end["said"]
        assert "Permission denied" in end["said"], end
        folder.chmod(0o755)
        kept(path, saved)
        path.chmod(0o644)
        ends_the_same(c05, path, untouched, checkpoint_every=10)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
def test_interrompido_durante_a_gravacao(c05, halfway, untouched, monkeypatch, error):
    """Ctrl+C no meio da gravação passa adiante como Ctrl+C, e não deixa meio arquivo."""
    path, saved = halfway

    def half(state, f):
        f.write(b"meio arquivo")
        raise error

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(error):
        long_run(c05, path, checkpoint_every=10)
    monkeypatch.undo()
    kept(path, saved)


def test_resto_de_outra_queda_nao_atrapalha(c05, halfway, untouched):
    path, _ = halfway
    path.with_name("ck.pt.parcial").write_bytes(b"resto de uma queda")
    ends_the_same(c05, path, untouched, checkpoint_every=10)


# --- checkpoints estragados ou de outra casa -------------------------------------------


@pytest.fixture(scope="module")
def good(c05, tmp_path_factory):
    """Um checkpoint bom: (caminho, bytes, conteúdo)."""
    path = tmp_path_factory.mktemp("bom") / "ck.pt"
    long_run(c05, path, stop_at=3)
    return path, path.read_bytes(), c05.load_checkpoint(path)


@settings(max_examples=60)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_um_bit_trocado_nunca_entra_no_treino(c05, good, tmp_path_factory, where, bit):
    """Ou é recusado, ou o bit era de enchimento e o conteúdo é o mesmo."""
    _, data, state = good
    broken = bytearray(data)
    broken[int(where * len(data))] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "bit.pt"
    path.write_bytes(bytes(broken))
    try:
        read = c05.load_checkpoint(path)
    except ValueError as error:
        assert "bit.pt" in str(error)
    else:
        assert_same(read, state)


def test_um_bit_trocado_nos_pesos_e_visto(c05, good, tmp_path):
    """O perigo é de verdade: o torch.load sozinho não vê."""
    _, data, state = good
    path = tmp_path / "ck.pt"
    raw = state["model"]["h.0.mlp.c_fc.weight"].numpy().tobytes()
    assert data.count(raw) == 1
    broken = bytearray(data)
    broken[data.index(raw) + len(raw) // 2] ^= 1
    path.write_bytes(bytes(broken))
    quiet = torch.load(path, weights_only=True)
    assert not torch.equal(quiet["model"]["h.0.mlp.c_fc.weight"],
                           state["model"]["h.0.mlp.c_fc.weight"])  # fmt: skip
    with pytest.raises(ValueError, match="(?s)ck.pt.*corrompido"):
        c05.load_checkpoint(path)


@settings(max_examples=40)
@given(where=st.floats(0, 1, exclude_max=True))
def test_cortado_em_qualquer_lugar_e_recusado(c05, good, tmp_path_factory, where):
    _, data, _ = good
    path = tmp_path_factory.getbasetemp() / "corte.pt"
    path.write_bytes(data[: int(where * len(data))])
    with pytest.raises(ValueError, match="corte.pt não abre: está cortado"):
        c05.load_checkpoint(path)


def foreign_files(folder: Path) -> dict[str, Path]:
    """Arquivos perfeitos, de outros programas."""
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, folder / "a.safetensors")
    with zipfile.ZipFile(folder / "a.zip", "w") as z:
        z.writestr("leia-me.txt", "um zip qualquer")
    torch.save({"epoch": 3, "state_dict": {"w": torch.zeros(2)}}, folder / "lightning.pt")
    torch.save(torch.nn.Linear(2, 2), folder / "modelo-inteiro.pt")
    torch.save({"a": 1}, folder / "antigo.pt", _use_new_zipfile_serialization=False)
    (folder / "texto.pt").write_text("isto é um texto", encoding="utf-8")
    return {p.name: p for p in folder.iterdir()}


def test_estrangeiros_sao_recusados_e_ficam_onde_estao(c05, tmp_path):
    files = foreign_files(tmp_path)
    assert len(files) == 6
    for name, path in files.items():
        data = path.read_bytes()
        with pytest.raises(ValueError, match=name):
            long_run(c05, path, stop_at=1)
        assert path.read_bytes() == data, f"{name} foi mexido"


def test_retomar_com_outro_otimizador(c05, tmp_path):
    """train(optimizer=…): o estado do otimizador de fora também volta bit a bit."""

    def run(path, stop_at=None, momentum=0.9):
        model, ids = build(c05, dropout=0.2), text_ids(500)
        groups = [{"params": list(model.parameters()), "lr_scale": 0.5}]
        sgd = torch.optim.SGD(groups, lr=0.1, momentum=momentum)
        history = c05.train(
            model, ids[:400], config(c05, steps=12), ids[400:], 200, checkpoint=path,
            stop_at=stop_at, progress=False, optimizer=sgd,
        )  # fmt: skip
        return model.state_dict(), history

    straight, broken = tmp_path / "direto.pt", tmp_path / "tombo.pt"
    whole = run(straight)
    run(broken, stop_at=7)
    assert_same(run(broken), whole)
    assert_same(c05.load_checkpoint(broken), c05.load_checkpoint(straight))
    assert not torch.equal(run(None, momentum=0.0)[0]["wte.weight"], whole[0]["wte.weight"])


def of_kind(c, kind: str):
    """(modelo de hoje, configuração, um dos três otimizadores do capítulo)."""
    torch.manual_seed(0)
    model = c.ModernGPT(c.ModernConfig(V, 8, 16, 2, 1, bigram_size=32))
    cfg = config(c)
    return model, cfg, {"Muon": lambda: c.make_modern_optimizer(model, cfg),
                        "por papel": lambda: c.make_modern_optimizer(model, cfg, muon_lr=None),
                        "de fábrica": lambda: None}[kind]()


@pytest.mark.parametrize("now", ["Muon", "por papel", "de fábrica"])
@pytest.mark.parametrize("before", ["Muon", "por papel", "de fábrica"])
def test_o_checkpoint_de_outro_otimizador_e_recusado_antes_de_tudo(c05, tmp_path, before, now):
    path = tmp_path / "ck.pt"
    model, cfg, optimizer = of_kind(c05, before)
    c05.train(model, text_ids(), cfg, checkpoint=path, stop_at=6, progress=False,
              optimizer=optimizer)
    saved = path.read_bytes()
    model, cfg, optimizer = of_kind(c05, now)
    weights = copy.deepcopy(model.state_dict())

    def again():
        c05.train(model, text_ids(), cfg, checkpoint=path, progress=False,
                  optimizer=optimizer)

    if before == now:
        again()
        return
    with pytest.raises(ValueError, match="outro tipo de otimizador"):
        again()
    assert_same(model.state_dict(), weights)
    assert path.read_bytes() == saved


# --- a perda que deixa de ser um número ------------------------------------------------


def step_with(c, model, scaler=None, **changes):
    cfg = config(c, **changes)
    optimizer = c.make_optimizer(model, cfg)
    autocast, off = c.mixed_precision(torch.device("cpu"))
    for step in range(3):
        c.train_step(model, optimizer, text_ids(), step, cfg, autocast, off)
    before = copy.deepcopy(model.state_dict())

    def sick_step():
        return c.train_step(model, optimizer, text_ids(), 3, cfg, autocast, scaler or off)

    return sick_step, optimizer, before


# A atenção fundida pode esconder o nan da ida e mostrá-lo só na volta.
NOT_A_NUMBER = "(?s)^(A perda|O gradiente) virou (nan|inf) no passo 3"


@pytest.mark.parametrize("part", ["wpe", "h.0.attn.c_attn", "h.1.mlp.gelu", "ln_f", "lm_head"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_o_diagnostico_acha_a_primeira_peca(c05, part, bad):
    model = build(c05).train()
    sick_step, optimizer, before = step_with(c05, model, learning_rate=0.01)
    norm = optimizer.param_groups[0]["grad_norm"]

    def poison(module, inputs, output):
        output = output.clone()
        output[..., -1, 3] = bad
        return output

    handle = model.get_submodule(part).register_forward_hook(poison)
    with pytest.raises(c05.Diverged, match=NOT_A_NUMBER) as caught:
        sick_step()
    handle.remove()
    assert f"onde: {part} é a primeira" in str(caught.value)
    assert f"norma do gradiente no passo anterior: {norm:.3g}" in str(caught.value)
    assert "taxa deste passo: " in str(caught.value)
    assert_same(model.state_dict(), before)
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules()), "um gancho ficou pendurado"


def test_o_diagnostico_acha_o_peso_estragado(c05):
    model = build(c05).train()
    sick_step, *_ = step_with(c05, model)
    with torch.no_grad():
        model.h[1].mlp.c_fc.weight[3, 2] = math.inf
    with pytest.raises(c05.Diverged, match="o peso h.1.mlp.c_fc.weight já não é finito"):
        sick_step()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradiente_infinito_com_perda_sa(c05, bad):
    model = build(c05).train()
    sick_step, _, before = step_with(c05, model)
    handle = model.ln_f.weight.register_hook(lambda g: torch.full_like(g, bad))
    with pytest.raises(c05.Diverged, match="(?s)^O gradiente virou.*a ida está sã"):
        sick_step()
    handle.remove()
    assert_same(model.state_dict(), before)
    assert math.isfinite(sick_step()), "curado, o treino continua"


def test_com_a_escala_ligada_o_passo_infinito_e_pulado(c05):
    """É o ofício do GradScaler: pular o passo e diminuir a escala, sem alarde."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    model = build(c05).train()
    sick_step, _, before = step_with(c05, model, scaler)
    handle = model.ln_f.weight.register_hook(lambda g: torch.full_like(g, math.inf))
    assert math.isfinite(sick_step())
    handle.remove()
    assert_same(model.state_dict(), before)
    assert scaler.get_scale() == 512.0
    sick_step()
    assert not torch.equal(model.state_dict()["wte.weight"], before["wte.weight"])


def test_a_norma_guardada_e_a_do_gradiente(c05):
    model, cfg = build(c05).train(), config(c05, batch_size=4)
    x, y = c05.get_batch(text_ids(), 0, 4, 8, cfg.seed)
    twin = copy.deepcopy(model)
    F.cross_entropy(twin(x).flatten(0, 1), y.flatten()).backward()
    norm = torch.cat([p.grad.flatten() for p in twin.parameters()]).norm().item()
    optimizer = c05.make_optimizer(model, cfg)
    c05.train_step(model, optimizer, text_ids(), 0, cfg,
                   *c05.mixed_precision(torch.device("cpu")))  # fmt: skip
    assert optimizer.param_groups[0]["grad_norm"] == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("sick_at", [4, 6, 7])
def test_um_modelo_doente_nao_se_grava(c05, tmp_path, sick_at):
    """O otimizador estraga um peso no passo `sick_at`: o que se gravou antes fica."""
    path, model, done = tmp_path / "ck.pt", build(c05), []
    cfg = config(c05, checkpoint_every=3)
    optimizer = c05.make_optimizer(model, cfg)

    def poison(*args):
        done.append(1)
        if len(done) == sick_at:
            with torch.no_grad():
                model.h[1].ln_2.bias[0] = math.inf

    optimizer.register_step_post_hook(poison)
    with pytest.raises(c05.Diverged, match="o peso h.1.ln_2.bias|O peso h.1.ln_2.bias"):
        c05.train(model, text_ids(), cfg, checkpoint=path, progress=False, optimizer=optimizer)
    saved = c05.load_checkpoint(path)
    assert saved["step"] == (sick_at - 1) // 3 * 3
    assert all(w.isfinite().all() for w in saved["model"].values())
    assert [p.name for p in tmp_path.iterdir()] == ["ck.pt"]


# --- o lote em pedaços, a agenda, o localizador ----------------------------------------


@given(size=st.integers(1, 60), already=st.integers(1, 3), pieces=st.integers(1, 70))
def test_o_lote_em_pedacos(c05, size, already, pieces):
    cfg = c05.TrainConfig(batch_size=size, accumulation=already)
    if size % pieces == 0:
        split = c05.in_pieces(cfg, pieces)
        assert split.batch_size * pieces == size
        assert split.batch_size * split.accumulation == size * already
        assert replace(split, batch_size=size, accumulation=already) == cfg
        return
    refusal = f"{size} janelas não se divide em {pieces}"
    with pytest.raises(ValueError, match=refusal) as caught:
        c05.in_pieces(cfg, pieces)
    offered = json.loads(str(caught.value).split("destes: ")[1].rstrip("."))
    assert offered == [n for n in range(1, size + 1) if size % n == 0]


@pytest.mark.parametrize("pieces", [0, -2, 2.0, "2", None, True])
def test_pedacos_impossiveis(c05, pieces):
    with pytest.raises(ValueError, match="não se divide"):
        c05.in_pieces(c05.TrainConfig(), pieces)


def test_em_pedacos_a_memoria_e_outra_e_as_janelas_sao_as_mesmas(c05):
    ids, cfg = text_ids(8 * 33 + 1), config(c05, batch_size=8)  # 32 janelas: sem resto
    split = c05.in_pieces(cfg, 4)
    for step in range(6):
        whole = c05.get_batch(ids, step, 8, 8, cfg.seed)[0]
        parts = [c05.get_batch(ids, 4 * step + k, 2, 8, cfg.seed)[0] for k in range(4)]
        assert split.accumulation == 4
        assert torch.equal(torch.cat(parts), whole)


def test_a_descida_reta_e_a_do_linearlr(c05):
    cfg = c05.TrainConfig(steps=50, warmup_steps=0, learning_rate=0.02, min_lr_ratio=0.25,
                          decay="linear")  # fmt: skip
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
    oracle = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.25, total_iters=50)
    for step in range(50):
        assert c05.learning_rate_at(step, cfg) == pytest.approx(oracle.get_last_lr()[0])
        optimizer.step()
        oracle.step()


@given(
    steps=st.integers(2, 400), warmup=st.floats(0, 0.99), floor=st.floats(0, 1),
    decay=st.sampled_from(["cosine", "linear"]),
)  # fmt: skip
def test_a_agenda_fica_entre_o_piso_e_o_pico(c05, steps, warmup, floor, decay):
    cfg = c05.TrainConfig(steps=steps, warmup_steps=int(warmup * steps), learning_rate=0.01,
                          min_lr_ratio=floor, decay=decay)  # fmt: skip
    rates = [c05.learning_rate_at(s, cfg) for s in range(steps + 1)]
    down = rates[cfg.warmup_steps :]
    assert down[0] == pytest.approx(0.01) and down[-1] == pytest.approx(0.01 * floor)
    assert all(a >= b - 1e-12 for a, b in zip(down, down[1:], strict=False))
    assert all(0 <= r <= 0.01 + 1e-12 for r in rates)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("seed", ["sorte", 1.5, None, -1, 2**70, True]),
        ("learning_rate", ["2e-3", None, True, -0.0]),
        ("warmup_steps", ["5", 2.0]),
        ("decay", ["reta", None, 3]),
        ("grad_clip", ["1", -math.inf]),
        ("weight_decay", ["0", math.inf]),
    ],
)
def test_configuracao_que_nao_e_numero(c05, name, values):
    for value in values:
        with pytest.raises(ValueError, match=name):
            c05.TrainConfig(**{name: value})
            pytest.fail(f"aceitou {name} = {value!r}")


def test_o_localizador_sobe_em_potencias_e_nao_mexe_em_nada(c05):
    model = build(c05, dropout=0.3).eval()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    rates, losses = c05.find_learning_rate(model, text_ids(), config(c05), 1e-6, 1e-2, 30)
    assert torch.equal(torch.rand(3), expected), "gastou o acaso de quem chamou"
    assert_same(model.state_dict(), before)
    assert not model.training and all(p.grad is None for p in model.parameters())
    assert len(rates) == len(losses) == 30
    assert rates[0] == pytest.approx(1e-6) and rates[-1] == pytest.approx(1e-2)
    steps = [b / a for a, b in zip(rates, rates[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * 29)
    assert losses[0] == pytest.approx(math.log(V), abs=0.1)


def test_o_localizador_usa_a_taxa_que_diz(c05, monkeypatch):
    used, make = [], c05.make_optimizer

    def spy(*args, **kwargs):
        optimizer = make(*args, **kwargs)
        optimizer.register_step_pre_hook(
            lambda opt, *_: used.append(opt.param_groups[0]["lr"])
        )
        return optimizer

    monkeypatch.setattr(c05, "make_optimizer", spy)
    rates, _ = c05.find_learning_rate(build(c05), text_ids(), config(c05), 1e-6, 1e-3, 12)
    assert used == pytest.approx(rates)


def test_o_localizador_para_quando_explode(c05):
    model = build(c05)
    rates, losses = c05.find_learning_rate(model, text_ids(), config(c05), 1e-4, 1.0, 300)
    assert len(rates) < 300 and losses[-1] > min(losses) + 3
    calls, step = [], c05.train_step

    def sick(*args):
        calls.append(args)
        if len(calls) == 5:
            raise c05.Diverged("nan")
        return step(*args)

    c05.train_step = sick
    try:
        rates, losses = c05.find_learning_rate(model, text_ids(), config(c05), steps=30)
    finally:
        c05.train_step = step
    assert len(rates) == len(losses) == 4


@pytest.mark.parametrize(
    "wrong", [{"low": 0}, {"low": -1}, {"low": 0.5, "high": 0.1}, {"high": 2}, {"steps": 1},
              {"steps": 2.5}, {"low": math.nan}],
)  # fmt: skip
def test_o_localizador_recusa_o_impossivel(c05, wrong):
    with pytest.raises(ValueError, match="low.*high"):
        c05.find_learning_rate(build(c05), text_ids(), config(c05), **wrong)


def test_o_localizador_num_texto_curto_diz_que_e_curto(c05):
    with pytest.raises(ValueError, match="curto demais"):
        c05.find_learning_rate(build(c05), torch.arange(9), config(c05))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.floats(0.1, 0.99))
def test_alisar_e_a_media_exponencial_do_pandas(c05, values, beta):
    oracle = pd.Series(values).ewm(alpha=1 - beta, adjust=True).mean()
    assert c05.smooth(values, beta) == pytest.approx(oracle.tolist(), abs=1e-6)


def test_a_sugestao_e_um_decimo_do_fundo(c05):
    rates = [10 ** (-5 + i / 10) for i in range(50)]
    losses = [abs(i - 30) / 10 for i in range(50)]
    soft = c05.smooth(losses)
    assert c05.suggested_rate(rates, losses) == pytest.approx(rates[soft.index(min(soft))] / 10)
    assert c05.suggested_rate([0.1], [3.0]) == pytest.approx(0.01)


# --- parar na hora ---------------------------------------------------------------------


def slow_patience(scores: list[float], patience: int) -> bool:
    """A regra, dita de outro modo: a melhor avaliação está a `patience` ou mais do fim."""
    first_best = scores.index(min(scores)) if scores else 0
    return len(scores) - 1 - first_best >= patience


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 5))
def test_a_paciencia_acaba_quando_deve(c05, scores, patience):
    history = [{"bits_per_byte": float(s)} for s in scores]
    assert c05.out_of_patience(history, patience) == slow_patience(scores, patience)


def test_parar_na_hora_da_o_mesmo_modelo_com_menos_passos(c05, tmp_path):
    """Poucos textos, muitos passos: o melhor de quem parou é o melhor de quem foi ao fim."""
    ids = text_ids(120)
    cfg = config(c05, steps=200, eval_every=5, learning_rate=0.03, embedding_lr_scale=3.0)
    noise = torch.randint(0, V, (100,), generator=torch.Generator().manual_seed(2))
    unseen = torch.cat([text_ids(40, seed=9), noise])

    def run(stops, name):
        model = build(c05)
        for stop in stops:
            history = c05.train(model, ids, cfg, unseen, 200, checkpoint=tmp_path / name,
                                stop_at=stop, progress=False)  # fmt: skip
            if len(stops) > 1 and c05.out_of_patience(history, 4):
                break
        return c05.load_checkpoint(tmp_path / name)

    full, early = run([200], "fim.pt"), run(range(5, 201, 5), "hora.pt")
    assert early["step"] < 200
    assert early["step"] == early["best"]["step"] + 4 * 5
    assert_same(early["best"], full["best"])
    assert_same(early["history"], full["history"][: len(early["history"])])
