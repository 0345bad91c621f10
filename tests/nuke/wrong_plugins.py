"""Deliberately wrong little plugins: each breaks a rule whose breach in a real Nuke crashes, hangs or loses a result.

The stand-in must reject every one of them: test_standin_strict.py runs them and says what it must say.
"""

from __future__ import annotations

import threading
from typing import Any, Callable

import nuke


def on_a_thread(call: Callable[[], Any]) -> Any:
    """Run on another thread and wait; what it raised is raised here."""
    caught: list = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    if caught:
        raise caught[0]


# -- threads
def reads_a_knob_off_the_main_thread() -> None:
    node = nuke.createNode("Blur")
    on_a_thread(lambda: node["size"])


def sets_a_knob_off_the_main_thread() -> None:
    knob = nuke.createNode("Blur")["size"]
    on_a_thread(lambda: knob.setValue(3))


def makes_a_node_off_the_main_thread() -> None:
    on_a_thread(lambda: nuke.createNode("Blur"))


def makes_a_node_by_class_off_the_main_thread() -> None:
    on_a_thread(lambda: nuke.nodes.Blur())


def asks_the_root_off_the_main_thread() -> None:
    on_a_thread(nuke.root)


def shows_a_message_off_the_main_thread() -> None:
    on_a_thread(lambda: nuke.message("done"))


def makes_a_knob_off_the_main_thread() -> None:
    on_a_thread(lambda: nuke.Int_Knob("steps"))


def adds_a_callback_off_the_main_thread() -> None:
    on_a_thread(lambda: nuke.addOnCreate(print))


def waits_for_the_main_thread_on_the_main_thread() -> None:
    nuke.executeInMainThreadWithResult(nuke.root)


def posts_to_the_main_thread_from_the_main_thread() -> None:
    nuke.executeInMainThread(nuke.root)


# -- executing
def renders_inside_a_render() -> None:
    write = some_write()
    nuke.addBeforeRender(lambda: nuke.execute(write, 1, 1), nodeClass="Write")
    nuke.execute(write, 1, 1)


def renders_what_is_no_write() -> None:
    nuke.execute(nuke.createNode("Blur"), 1, 1)


def renders_a_disabled_write() -> None:
    write = some_write()
    write["disable"].setValue(True)
    nuke.execute(write, 1, 1)


def writes_into_a_folder_that_is_not_there() -> None:
    write = some_write()
    write["create_directories"].setValue(False)
    nuke.execute(write, 1, 1)


def some_write(path: str = "/nowhere/at/all/a.%04d.exr") -> Any:
    """A Write behind a Constant."""
    constant = nuke.nodes.Constant()
    write = nuke.nodes.Write(inputs=[constant], file=path, file_type="exr")
    write["create_directories"].setValue(True)
    return write


# -- knobs
def sets_an_exr_knob_before_the_file_type() -> None:
    nuke.nodes.Write()["datatype"].setValue("32 bit float")


def sets_an_exr_knob_after_another_file_type() -> None:
    write = some_write()
    write["file_type"].setValue("dpx")
    write["compression"].setValue("none")


def asks_for_a_knob_that_is_not_there() -> None:
    nuke.createNode("Blur")["sise"].setValue(3)


def sets_text_on_a_number() -> None:
    nuke.createNode("Blur")["size"].setValue("3")


def sets_a_number_on_text() -> None:
    nuke.createNode("Blur")["label"].setValue(3)


def chooses_what_is_not_in_the_list() -> None:
    nuke.nodes.Read()["on_error"].setValue("plate")


def sets_a_value_under_an_expression() -> None:
    blur = nuke.createNode("Blur")
    blur["size"].setExpression("frame")
    blur["size"].setValue(3)


def writes_an_expression_that_nuke_does_not_know() -> None:
    blur = nuke.createNode("Blur")
    blur["size"].setExpression("__import__(1)")
    blur["size"].value()


def puts_python_into_an_expression() -> None:
    blur = nuke.createNode("Blur")
    blur["size"].setExpression("[python {1 + 1}]")
    blur["size"].value()


def sets_a_windows_path() -> None:
    nuke.nodes.Read()["file"].setValue("C:\\plates\\a.%04d.exr")


def uses_the_dummy_knob_as_a_knob() -> None:
    def changed() -> None:
        nuke.thisKnob().setValue(1)

    nuke.addKnobChanged(changed, nodeClass="Blur")
    nuke.createNode("Blur")


def chooses_a_layer_that_is_not_there() -> None:
    nuke.createNode("Copy")["from0"].setValue("void_matte.generated")


def adds_a_knob_twice() -> None:
    node = nuke.createNode("NoOp")
    node.addKnob(nuke.Int_Knob("steps"))
    node.addKnob(nuke.Int_Knob("steps"))


# -- nodes
def makes_a_node_of_no_class() -> None:
    nuke.createNode("VoidNode")


def connects_across_groups() -> None:
    group = nuke.nodes.Group()
    with group:
        inner = nuke.nodes.Blur()
    inner.setInput(0, nuke.nodes.Constant())


def uses_a_deleted_node() -> None:
    node = nuke.createNode("Blur")
    nuke.delete(node)
    node["size"].value()


def takes_the_selection_for_granted() -> None:
    nuke.selectedNode()


def names_a_node_with_a_space() -> None:
    nuke.createNode("Blur").setName("my blur")


def renders_what_the_stand_in_cannot() -> None:
    nuke.nodes.Tracker4(inputs=[nuke.nodes.Constant()]).sample("red", 1, 1)


def converts_colours() -> None:
    write = some_write()
    write["colorspace"].setValue("sRGB")
    nuke.execute(write, 1, 1)


def makes_up_an_attribute() -> None:
    nuke.createNode("Blur").setSize(3)


def makes_up_a_function() -> None:
    nuke.renderEverything()


# -- without a GUI
def opens_a_menu_in_a_terminal() -> None:
    nuke.menu("Nuke").addCommand("VOID", "pass")


def asks_in_a_terminal() -> None:
    nuke.ask("Overwrite?")


def asks_for_a_file_in_a_terminal() -> None:
    nuke.getFilename("Where?")


def adds_a_favourite_in_a_terminal() -> None:
    nuke.addFavoriteDir("VOID", "/tmp")


def saves_over_a_script_in_a_terminal(path: str) -> None:
    nuke.scriptSaveAs(path)
    nuke.scriptClear()
    nuke.scriptSaveAs(path)


# -- Indie
def counts_on_many_nodes_in_indie() -> None:
    for _ in range(12):
        nuke.createNode("NoOp")


def looks_into_a_large_script_in_indie() -> None:
    nuke.scriptReadText("\n".join("NoOp {\n inputs 0\n}" for _ in range(11)))
    nuke.allNodes()
