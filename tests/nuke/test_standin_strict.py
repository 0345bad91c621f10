"""Every rule of the stand-in against a plugin that breaks it."""

from __future__ import annotations

from typing import Any

import pytest

HANGS = "a real Nuke hangs here"
OFF_MAIN = "not on the main thread"

IN_THE_GUI = [
    ("reads_a_knob_off_the_main_thread", RuntimeError, OFF_MAIN),
    ("sets_a_knob_off_the_main_thread", RuntimeError, OFF_MAIN),
    ("makes_a_node_off_the_main_thread", RuntimeError, OFF_MAIN),
    ("makes_a_node_by_class_off_the_main_thread", RuntimeError, OFF_MAIN),
    ("asks_the_root_off_the_main_thread", RuntimeError, OFF_MAIN),
    ("shows_a_message_off_the_main_thread", RuntimeError, OFF_MAIN),
    ("makes_a_knob_off_the_main_thread", RuntimeError, OFF_MAIN),
    ("adds_a_callback_off_the_main_thread", RuntimeError, OFF_MAIN),
    ("waits_for_the_main_thread_on_the_main_thread", RuntimeError, HANGS),
    ("posts_to_the_main_thread_from_the_main_thread", RuntimeError, HANGS),
    ("renders_inside_a_render", RuntimeError, "I'm already executing something else"),
    ("renders_what_is_no_write", RuntimeError, "not an executable node"),
    ("renders_a_disabled_write", RuntimeError, "is disabled"),
    ("writes_into_a_folder_that_is_not_there", RuntimeError, "No such file or directory"),
    ("sets_an_exr_knob_before_the_file_type", NameError, "knob datatype does not exist"),
    ("sets_an_exr_knob_after_another_file_type", NameError, "knob compression does not exist"),
    ("asks_for_a_knob_that_is_not_there", NameError, "knob sise does not exist"),
    ("sets_text_on_a_number", TypeError, "takes numbers, not str"),
    ("sets_a_number_on_text", TypeError, "takes a string, not int"),
    ("chooses_what_is_not_in_the_list", ValueError, '"plate" is none of'),
    ("sets_a_value_under_an_expression", RuntimeError, "has an expression"),
    ("writes_an_expression_that_nuke_does_not_know", NotImplementedError, r"calls __import__\(\)"),
    ("puts_python_into_an_expression", NotImplementedError, "evaluates Tcl only"),
    ("sets_a_windows_path", ValueError, "forward slashes"),
    ("chooses_a_layer_that_is_not_there", ValueError, "add_layer it first"),
    ("adds_a_knob_twice", ValueError, "has a knob steps already"),
    ("makes_a_node_of_no_class", RuntimeError, "Unknown command"),
    ("connects_across_groups", RuntimeError, "not in the same group"),
    ("uses_a_deleted_node", ValueError, "not attached to a node"),
    ("takes_the_selection_for_granted", ValueError, "no node selected"),
    ("names_a_node_with_a_space", ValueError, "not a node's name"),
    ("renders_what_the_stand_in_cannot", NotImplementedError, "renders no Tracker4"),
    ("converts_colours", NotImplementedError, "converts no colour space"),
    ("makes_up_an_attribute", AttributeError, "no attribute 'setSize'"),
    ("makes_up_a_function", AttributeError, "renderEverything"),
]
IN_A_TERMINAL = [
    ("opens_a_menu_in_a_terminal", AttributeError, "addCommand"),
    ("asks_in_a_terminal", RuntimeError, "Invalid function call in non-gui mode"),
    ("asks_for_a_file_in_a_terminal", RuntimeError, "Invalid function call in non-gui mode"),
    ("adds_a_favourite_in_a_terminal", RuntimeError, "Invalid function call in non-gui mode"),
]
IN_INDIE = [
    ("counts_on_many_nodes_in_indie", RuntimeError, "10 nodes"),
    ("looks_into_a_large_script_in_indie", RuntimeError, "10 nodes"),
]


def reject(name: str, error: Any, words: str) -> None:
    import wrong_plugins

    with pytest.raises(error, match=words):
        getattr(wrong_plugins, name)()


@pytest.mark.parametrize(("name", "error", "words"), IN_THE_GUI, ids=[row[0] for row in IN_THE_GUI])
def test_the_gui_rejects(standin: Any, name: str, error: Any, words: str, tmp_path: Any, monkeypatch: Any) -> None:
    import wrong_plugins

    monkeypatch.setattr(wrong_plugins.some_write, "__defaults__", (f"{tmp_path}/deep/a.%04d.exr",))
    reject(name, error, words)


@pytest.mark.parametrize(("name", "error", "words"), IN_A_TERMINAL, ids=[row[0] for row in IN_A_TERMINAL])
def test_a_terminal_rejects(standin: Any, name: str, error: Any, words: str) -> None:
    standin.reset(gui=False)
    reject(name, error, words)


@pytest.mark.parametrize(("name", "error", "words"), IN_INDIE, ids=[row[0] for row in IN_INDIE])
def test_indie_rejects(standin: Any, name: str, error: Any, words: str) -> None:
    standin.reset(indie=True)
    reject(name, error, words)


def test_ten_nodes_are_fine_in_indie(standin: Any) -> None:
    import nuke

    standin.reset(indie=True)
    for _ in range(10):
        nuke.createNode("NoOp")
    assert len(nuke.allNodes()) == 10


def test_a_terminal_does_not_overwrite_a_script_unasked(standin: Any, tmp_path: Any) -> None:
    import wrong_plugins

    standin.reset(gui=False)
    with pytest.raises(RuntimeError, match="already exists"):
        wrong_plugins.saves_over_a_script_in_a_terminal(f"{tmp_path}/a.nk")


def test_the_dummy_knob_of_an_opened_panel_is_no_knob(standin: Any) -> None:
    import wrong_plugins

    wrong_plugins.uses_the_dummy_knob_as_a_knob()
    (where, error), *_ = standin.swallowed()
    assert where == "knobChanged of Blur1"
    assert "dummy knob 'showPanel'" in str(error)


def test_every_wrong_plugin_is_run() -> None:
    import wrong_plugins

    helpers = {"on_a_thread", "some_write"}
    alone = {"uses_the_dummy_knob_as_a_knob", "saves_over_a_script_in_a_terminal"}
    functions = {n for n, f in vars(wrong_plugins).items() if getattr(f, "__module__", "") == "wrong_plugins"}
    assert functions - helpers - alone == {row[0] for row in [*IN_THE_GUI, *IN_A_TERMINAL, *IN_INDIE]}


def test_a_breach_that_somebody_caught_is_still_known(standin: Any) -> None:
    import wrong_plugins

    with pytest.raises(standin.OffMainThread):
        wrong_plugins.asks_the_root_off_the_main_thread()
    assert [type(v) for v in standin.violations()] == [standin.OffMainThread]


def test_what_the_stand_in_lacks_is_not_swallowed_by_a_callback(standin: Any) -> None:
    import nuke

    nuke.addOnCreate(lambda: nuke.toNode("preferences"))
    with pytest.raises(standin.StandinError):
        nuke.createNode("Blur")
