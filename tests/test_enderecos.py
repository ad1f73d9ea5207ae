"""Um só endereço, e todo link leva a um arquivo que existe."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import enderecos
import pytest
import yaml

ROOT = enderecos.ROOT
SETUP = "python3 -m venv .venv && . .venv/bin/activate && pip install -q -r requirements.txt"
TEST_COMMAND = f"{SETUP} -r tests/requirements.txt && pytest"


def test_todo_endereco_e_o_do_curso_e_existe():
    assert enderecos.problems() == []


def test_ha_enderecos_para_conferir():
    """O teste acima não passa por não achar nada."""
    seen = [a for path in enderecos.files() for a in enderecos.addresses(enderecos.read(path))]
    inside = [a for a in seen if a[0] == enderecos.REPOSITORY and a[2]]
    assert len(inside) >= 6
    names = {path.relative_to(ROOT).as_posix() for path in enderecos.files()}
    assert {"README.md", "05-pre-treinamento/notebook.ipynb", "tests/pecas.py"} <= names


# --- o comando do README é o da integração contínua ------------------------------------


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [block.strip() for block in re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)]


def test_o_readme_tem_dois_comandos_e_o_gemeo_sem_navegador():
    assert commands() == [
        f"{SETUP} && jupyter lab",
        f"{SETUP} && jupyter execute 05-pre-treinamento/notebook.ipynb",
        TEST_COMMAND,
    ]


def test_a_integracao_continua_roda_o_comando_do_readme():
    run = ROOT / ".ci" / "run"
    assert TEST_COMMAND in run.read_text(encoding="utf-8").splitlines()
    assert run.stat().st_mode & 0o111 or sys.platform == "win32", ".ci/run não é executável"


# --- o arquivo do GitHub Actions -------------------------------------------------------


@pytest.fixture(scope="module")
def workflow() -> dict:
    path = ROOT / ".github" / "workflows" / "ci.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_o_workflow_cobre_o_que_prometemos(workflow):
    triggers = workflow[True] if True in workflow else workflow["on"]  # `on` vira True no YAML
    assert {"push", "pull_request", "schedule"} <= set(triggers)
    [cron] = [entry["cron"] for entry in triggers["schedule"]]
    assert re.fullmatch(r"\d+ \d+ \* \* \d", cron), "a rodada semanal"
    text = str(workflow)
    for needle in (".ci/run", "tests/colab-constraints.txt", "macos", "windows"):
        assert needle in text, needle
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, f"{name} sem prazo"
        for step in job["steps"]:
            assert "run" in step or "uses" in step


def test_os_arquivos_que_o_workflow_nomeia_existem(workflow):
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            for path in re.findall(r"(?:tests|\.ci)/[\w./-]+", step.get("run", "")):
                assert (ROOT / path).exists(), path


def test_as_versoes_do_colab_sao_as_vistas():
    text = (ROOT / "tests" / "colab-constraints.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"(?m)^([\w-]+)[=~]=([\d.]+)", text))
    seen = {"torch": "2.11", "numpy": "2.1", "matplotlib": "3.10", "tiktoken": "0.14",
            "datasets": "4.0", "ipywidgets": "7.7", "ipython": "7.34"}  # fmt: skip
    for name, version in seen.items():
        assert pins[name].startswith(version), f"{name}: {pins.get(name)}"


# --- carimbar ------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path) -> Path:
    """Uma cópia do curso, para carimbar à vontade."""
    target = tmp_path / "curso"
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*enderecos.SKIP))
    return target


def stamp(copy: Path, *args: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(copy / "tests" / "enderecos.py"), "--carimbar", *args]
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=copy)


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in enderecos.files(root)}


def test_carimbar_e_voltar_e_a_identidade(copy):
    before, there = contents(copy), ["fulana/meu-curso.br", "--ramo", "teste-2"]
    done = stamp(copy, *there)
    assert done.returncode == 0, done.stdout + done.stderr
    stamped = contents(copy)
    changed = {name for name in before if before[name] != stamped[name]}
    assert {"README.md", "tests/enderecos.py", "02-texto-vira-numero/notebook.ipynb"} <= changed
    assert enderecos.constants(copy) == ("fulana/meu-curso.br", "teste-2")
    for name, data in stamped.items():
        for repo, _, _ in enderecos.addresses(data.decode()):
            assert repo != enderecos.REPOSITORY, f"{name} ficou com o endereço velho"
    assert stamp(copy, *there).stdout.startswith("Nada a mudar.")

    done = stamp(copy, enderecos.REPOSITORY, "--ramo", enderecos.BRANCH)
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(copy) == before


def test_carimbar_nao_mexe_nos_artigos_nem_nos_outros(copy):
    stamp(copy, "fulana/curso")
    text = (copy / "README.md").read_text(encoding="utf-8")
    original = (ROOT / "README.md").read_text(encoding="utf-8")
    for pattern in (r"https://dev\.to/\S+", r"https://medium\.com/\S+", r"github\.com/rasbt/\S+"):
        assert re.findall(pattern, text) == re.findall(pattern, original) != []


@pytest.mark.parametrize("bad", ["semibarra", "a/b/c", "http://x/y", "a b/c", ""])
def test_carimbo_mal_escrito_e_recusado(copy, bad):
    before = contents(copy)
    done = stamp(copy, bad)
    assert done.returncode != 0 or bad == ""
    assert contents(copy) == before


# --- os defeitos que o conferidor precisa ver ------------------------------------------

# Montados aqui, para que o próprio conferidor não os leia neste arquivo.
GITHUB = f"https://github.com/{enderecos.REPOSITORY}"
RAW = f"https://raw.githubusercontent.com/{enderecos.REPOSITORY}"
COLAB = f"https://colab.research.google.com/github/{enderecos.REPOSITORY}"
OWNER, NAME = enderecos.REPOSITORY.split("/")
AT = enderecos.BRANCH


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"[x]({GITHUB}/blob/{AT}/nada.md)", "nada.md não existe"),
        (f"[x]({GITHUB}/tree/{AT}/99-nada)", "99-nada não existe"),
        (f"[x]({GITHUB}/blob/mestre/README.md)", "ramo mestre"),
        (f"[x]({GITHUB.replace(OWNER, 'outra')})", "é de outra/"),
        (f"{RAW}/{AT}/x.png", "x.png não existe"),
        (f"{RAW.replace(OWNER, 'outra')}/{AT}/README.md", "é de outra/"),
        (f"{COLAB}/blob/{AT}/x", "x não existe"),
        ("[x](nada/README.md)", "não leva a lugar nenhum"),
        ("![figura](figura.png)", "não leva a lugar nenhum"),
        ("[x](#titulo-que-falta)", "não tem o título"),
        ("[x](README.md#titulo-que-falta)", "não tem o título"),
    ],
)
def test_endereco_plantado_e_visto(copy, text, says):
    (copy / "README.md").write_text(f"# Um título\n\n{text}\n", encoding="utf-8")
    found = [p for p in enderecos.problems(copy) if p.startswith("README")]
    assert len(found) == 1 and says in found[0]


@pytest.mark.parametrize(
    "text",
    [
        f"[x]({GITHUB}) e [y]({GITHUB}/issues) e {GITHUB}.git.",
        f"[x]({GITHUB}/blob/{AT}/README.md#um-título-com-acento), {RAW}/{AT}/README.md.",
        "[x](https://github.com/rasbt/LLMs-from-scratch/blob/main/nada)",
        "[x](#um-título-com-acento) `[y](nada.md)`",
        "[x](tests/pecas.py)",
    ],
)
def test_endereco_bom_passa(copy, text):
    (copy / "README.md").write_text(f"# Um título, com acento\n\n{text}\n", encoding="utf-8")
    assert [p for p in enderecos.problems(copy) if p.startswith("README")] == []


def test_emblema_de_outro_caderno_e_visto(copy):
    path = copy / "04-gpt-do-zero" / "notebook.ipynb"
    text = path.read_text(encoding="utf-8")
    own = f"{COLAB}/blob/{AT}/04-gpt-do-zero/notebook.ipynb"
    wrong = own.replace("04-gpt-do-zero", "05-pre-treinamento")
    path.write_text(text.replace(own, wrong), encoding="utf-8")
    assert any("o emblema não abre este caderno" in p for p in enderecos.problems(copy))


def test_arquivo_do_curso_que_nao_existe_e_visto(copy):
    path = copy / "02-texto-vira-numero" / "notebook.ipynb"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("corpus/treino.jsonl", "corpus/trem.jsonl"), encoding="utf-8")
    assert any("trem.jsonl, que não existe" in p for p in enderecos.problems(copy))
