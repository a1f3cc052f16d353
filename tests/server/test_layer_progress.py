"""How far a run is, as its nodes tell."""

from moa_graph.server.layer_progress import LayerProgress


def test_each_layer_is_told_when_it_is_asked_and_with_each_answer():
    progress = LayerProgress([2, 1])
    nodes = ["layer_1_b", "layer_1_a", "layer_1_aggregator", "layer_2_a", "layer_2_aggregator"]
    notes = [progress.begin(), *map(progress.take_node, [*nodes, "aggregator"])]
    assert [tuple(each) for each in notes] == [
        (0, 4, "layer 1 of 2: 0 of 2 proposers are done"),
        (1, 4, "layer 1 of 2: 1 of 2 proposers are done"),
        (2, 4, "layer 1 of 2: 2 of 2 proposers are done"),
        (2, 4, "layer 2 of 2: 0 of 1 proposers are done"),
        (3, 4, "layer 2 of 2: 1 of 1 proposers are done"),
        (3, 4, "the aggregator writes the answer"),
        (4, 4, "answered"),
    ]


def test_layer_that_ends_early_counts_as_done():
    progress = LayerProgress([3])
    progress.take_node("layer_1_a")
    assert progress.take_node("layer_1_aggregator")[:2] == (3, 4)


def test_layers_that_are_not_asked_are_not_announced():
    progress = LayerProgress([1, 2])
    progress.take_node("layer_1_a")
    update = {"depth": {"layer_1_aggregator": {"stop": True}}}
    note = progress.take_node("layer_1_aggregator", update)
    assert tuple(note) == (3, 4, "the aggregator writes the answer")
    routed = {"depth": {"router": {"stop": True}}}
    assert LayerProgress([1]).take_node("router", routed).message == note.message
    assert LayerProgress([1]).take_node("router", {}).message.startswith("layer 1 of 1")
