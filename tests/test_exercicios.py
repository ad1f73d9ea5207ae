"""Os exercícios esperam, aceitam a solução e recusam o erro com a dica que lhe cabe."""

import types

import exercicios
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

CHAPTERS = exercicios.chapters()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_os_exercicios_do_capitulo(chapter):
    assert exercicios.of_chapter(CHAPTERS[chapter]) == []


def test_os_capitulos_com_exercicios():
    assert {"00", "01", "02"} <= set(CHAPTERS)
    assert sum(len(exercicios.answers(path)) for path in CHAPTERS.values()) >= 24


# --- defeitos plantados --------------------------------------------------------------------

GOOD = {"expected": 4, "hints": ((5, "Você somou um."), (8, "Você dobrou."), (None, "Pense."))}
WRONG = [(5, "somou um"), (8, "dobrou")]


@pytest.fixture(scope="module")
def house(c00):
    """O conferidor do capítulo 00, com um gabarito só nosso."""

    def planted(expected=4, hints=GOOD["hints"], wrong=WRONG, said="Exercício soma: certo."):
        exercise = c00.Exercise(expected, hints)
        saved = dict(c00.EXERCISES)
        c00.EXERCISES.clear()
        c00.EXERCISES["soma"] = exercise
        solved = exercicios.Solved({"confere": c00.confere, "WRONG": {"soma": wrong}}, said)
        try:
            return exercicios.of_one("soma", exercise, solved)
        finally:
            c00.EXERCISES.clear()
            c00.EXERCISES.update(saved)

    return planted


def test_o_exercicio_bom_passa(house):
    assert house() == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"said": ""}, "não o mostram certo"),
        ({"wrong": WRONG[:1]}, "menos de 2"),
        ({"wrong": [*WRONG, (4, "somou")]}, "aceita a resposta errada"),
        ({"wrong": [(5, "dobrou"), (8, "somou um")]}, "não é a prometida"),
        ({"wrong": [*WRONG, (9, "Pense")]}, "só recebe a dica geral"),
        ({"wrong": [(5, "somou um"), (5, "somou um")]}, "uma dica só"),
        ({"hints": GOOD["hints"][:2]}, "dica geral"),
        ({"hints": GOOD["hints"][::-1]}, "dica geral"),
    ],
    ids=lambda c: c if isinstance(c, str) else None,
)
def test_defeito_plantado_e_visto(house, change, says):
    assert any(says in problem for problem in house(**change))


def test_buraco_que_nao_espera_e_visto(c00):
    def eager(name, answer):
        print("Exercício soma: certo.")
        return True

    exercise = c00.Exercise(4, GOOD["hints"])
    solved = exercicios.Solved({"confere": eager, "WRONG": {"soma": WRONG}}, "")
    found = exercicios.of_one("soma", exercise, solved)
    assert any("não fica à espera" in problem for problem in found)


def test_caderno_sem_a_espera_guardada_e_visto(tmp_path):
    cell = new_code_cell('resposta = ...\nconfere("soma", resposta)')
    cell.outputs = [nbformat.v4.new_output("stream", text="Exercício soma: certo.\n")]
    path = tmp_path / "notebook.ipynb"
    nbformat.write(new_notebook(cells=[cell]), path)
    assert exercicios.calls(path) == {"soma": ["Exercício soma: certo.\n"]}


def test_sem_solucoes_e_dito(tmp_path):
    path = tmp_path / "00-oficina" / "notebook.ipynb"
    assert exercicios.of_chapter(path) == ["00-oficina: falta o solucoes.ipynb"]


def test_erro_numa_solucao_sobe(tmp_path):
    path = tmp_path / "00-oficina" / "solucoes.ipynb"
    path.parent.mkdir()
    nbformat.write(new_notebook(cells=[new_code_cell("assert 1 == 2")]), path)
    with pytest.raises(AssertionError):
        exercicios.solve(path)


# --- o conferidor, por dentro --------------------------------------------------------------


@pytest.fixture
def ask(c00):
    """ask(gabarito, resposta) -> (veredito, o que foi dito)."""
    saved = dict(c00.EXERCISES)

    def asked(expected, answer, hints=((None, "Dica geral."),), **more):
        c00.EXERCISES["x"] = c00.Exercise(expected, hints, **more)
        return exercicios.said_by(c00.confere, "x", answer)

    yield asked
    c00.EXERCISES.clear()
    c00.EXERCISES.update(saved)


def torch_and_numpy():
    import numpy as np
    import torch

    return np, torch


def test_aceita_o_que_vale_o_mesmo(ask):
    np, torch = torch_and_numpy()
    same = [
        (4, 4.0), (4.0, np.float32(4)), (0.1 + 0.2, 0.3), ([1, 2], (1, 2)), ((1, 2), [1.0, 2.0]),
        ("pão", "pão"), (True, True), ({"a": 1}, {"a": 1.0}),
        (np.eye(2), torch.eye(2)), (torch.eye(2), np.eye(2)),
        ([0.5, 0.5], torch.tensor([0.5, 0.5])), ([1, 2], np.array([1, 2])), (4, torch.tensor(4)),
    ]  # fmt: skip
    for want, got in same:
        assert ask(want, got)[0] is True, (want, got)


def test_recusa_o_que_nao_vale_o_mesmo(ask):
    np, torch = torch_and_numpy()
    different = [
        (4, 4.1), (4, float("nan")), (4, "4"), (True, 1), (1, True), ("pao", "pão"),
        ([1, 2], [1]), ([1, 2], [2, 1]), ({"a": 1}, {"b": 1}), (4, [4]), (4, None), (4, object()),
        (torch.eye(2), torch.eye(3)), (np.eye(2), -np.eye(2)), (4, print), ([1, 2], {1, 2}),
    ]  # fmt: skip
    for want, got in different:
        verdict, said = ask(want, got)
        assert verdict is False, (want, got)
        assert "Seu:" in said and "Esperado:" in said and "Dica geral." in said


def test_a_funcao_que_tropeca_nao_para_o_caderno(ask):
    def trips(x):
        raise KeyError("farinha")

    verdict, said = ask([((1,), 2)], trips)
    assert verdict is False and "KeyError" in said and "farinha" in said


def test_a_funcao_vazia_espera(ask):
    assert ask([((1,), 2)], lambda x: None)[0] is None
    assert ask([((1,), 2)], lambda x: ...)[0] is None
    assert "à espera" in ask([((1,), 2)], ...)[1]


def test_a_funcao_certa_so_num_caso_e_recusada(ask):
    verdict, said = ask([((1,), 1), ((2,), 4)], lambda x: x)
    assert verdict is False and "(2,)" in said


def test_a_dica_que_serve_vem_antes_da_geral(ask):
    hints = ((lambda f: f(3) == 6, "Você dobrou."), (0, "Zero não."), (None, "Dica geral."))
    assert "Você dobrou." in ask([((3,), 9)], lambda x: 2 * x, hints)[1]
    assert "Zero não." in ask([((3,), 9)], lambda x: 0, hints)[1]
    assert "Dica geral." in ask([((3,), 9)], lambda x: x + 1, hints)[1]


def test_a_resposta_que_nao_e_funcao_onde_se_pede_uma(ask):
    verdict, said = ask([((1,), 2)], 7)
    assert verdict is False and "Esperado:" in said


def test_nome_desconhecido_diz_os_que_ha(c00, ask):
    ask(4, 4)
    verdict, said = exercicios.said_by(c00.confere, "inexistente", 4)
    assert verdict is None and "inexistente" in said and "x" in said


def test_a_resposta_que_o_aluno_muda_nao_muda_o_gabarito(ask):
    """A função que estraga o argumento não estraga o gabarito para a próxima tentativa."""
    import torch

    cases = [((torch.ones(2),), torch.full((2,), 2.0))]

    def rude(x):
        x += 1
        return x

    assert ask(cases, rude)[0] is True
    assert ask(cases, lambda x: x + 1)[0] is True


def test_o_modulo_das_solucoes_e_um_modulo(tmp_path):
    path = tmp_path / "00-oficina" / "solucoes.ipynb"
    path.parent.mkdir()
    source = "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\nprint(A())"
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    solved = exercicios.solve(path)
    assert isinstance(solved, exercicios.Solved) and "A(x=1)" in solved.said
    assert not isinstance(solved.names, types.ModuleType)
