"""The 180 tasks: what they are, what they answer, how balanced they are."""

from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sk_eqsae.datasets import ShapeTask, ShapeTasks, make_shapes, shape_tasks

TASKS = shape_tasks()
READINGS = ["upright", "random"]


def answer(task, shapes, row):
    """A task's answer for one image, written as the paper words it."""
    return any(
        shapes.shape_names[shapes.shape[row, i]] == task.shape
        and task.position in (None, position)
        and task.orientation in (None, shapes.orientation[row, i])
        for i, position in enumerate(shapes.position_names)
    )


def orbit_metadata(n_images):
    return np.repeat(np.arange(n_images), 4), np.tile(np.arange(4), n_images)


def test_there_are_180_tasks_of_four_kinds():
    assert len(TASKS) == 180
    assert Counter(TASKS.kinds) == {"S": 8, "SO": 28, "SP": 32, "SPO": 112}
    assert len(set(TASKS.names)) == 180
    assert len(set(TASKS)) == 180


def test_names_say_what_is_asked():
    for name in ("S(triangle)", "SO(rectangle,1)", "SP(cup,top-right)"):
        assert name in TASKS.names
    assert "SPO(arrow,top-left,3)" in TASKS.names
    assert "SO(rectangle,2)" not in TASKS.names
    assert str(ShapeTask("tee", position="top-left")) == "SP(tee,top-left)"


def test_tasks_are_a_sequence_that_can_be_cut():
    some = TASKS[8:12]
    assert isinstance(some, ShapeTasks)
    assert some.names == TASKS.names[8:12]
    shapes = make_shapes(20, random_state=0)
    assert_array_equal(some.label_matrix(shapes), TASKS.label_matrix(shapes)[:, 8:12])
    assert TASKS[-1] in TASKS


@pytest.mark.parametrize("orientation", READINGS)
def test_labels_are_the_answers(orientation):
    shapes = make_shapes(30, orientation=orientation, random_state=0).rotate(1)
    labels = TASKS.label_matrix(shapes)
    assert labels.shape == (30, 180)
    assert labels.dtype == np.int8
    expected = [[answer(task, shapes, row) for task in TASKS] for row in range(30)]
    assert_array_equal(labels, expected)


@pytest.mark.parametrize("orientation", READINGS)
def test_labels_of_orbits_are_those_of_the_rotated_images(orientation):
    shapes = make_shapes(25, orientation=orientation, random_state=0)
    groups, power = orbit_metadata(25)
    labels = TASKS.label_matrix(shapes, groups=groups, power=power)
    for p in range(4):
        assert_array_equal(labels[power == p], TASKS.label_matrix(shapes.rotate(p)))


def test_rows_of_orbits_may_come_in_any_order():
    shapes = make_shapes(10, orientation="random", random_state=0)
    groups, power = orbit_metadata(10)
    shuffled = np.random.RandomState(0).permutation(40)[:17]
    assert_array_equal(
        TASKS.label_matrix(shapes, groups=groups[shuffled], power=power[shuffled]),
        TASKS.label_matrix(shapes, groups=groups, power=power)[shuffled],
    )


def test_only_s_tasks_are_invariant():
    shapes = make_shapes(300, orientation="random", random_state=0)
    changes = TASKS.label_matrix(shapes) != TASKS.label_matrix(shapes.rotate(1))
    assert_array_equal(changes.any(axis=0), TASKS.kinds != "S")


def n_orientations(task):
    return 2 if task.shape in ("rectangle", "diagonal") else 4


def negative_share(task, reading):
    """Exact probability of "no" over all images and all four powers."""
    absent = (7 / 8) ** 4
    turns = n_orientations(task)
    return {
        "S": absent,
        "SP": 7 / 8,
        # All shapes of an upright image share one orientation, uniform over powers.
        "SO": 1 - (1 - absent) / turns
        if reading == "upright"
        else (1 - 1 / (8 * turns)) ** 4,
        "SPO": 1 - 1 / (8 * turns),
    }[task.kind]


@pytest.mark.parametrize("reading", READINGS)
def test_class_balance_is_the_exact_one(reading):
    n_images = 8000
    shapes = make_shapes(n_images, orientation=reading, random_state=0)
    groups, power = orbit_metadata(n_images)
    labels = TASKS.label_matrix(shapes, groups=groups, power=power)
    measured = 1 - labels.mean(axis=0)
    expected = np.array([negative_share(task, reading) for task in TASKS])
    # Rows of one orbit are not independent: count orbits, not rows.
    margin = 4.5 * np.sqrt(expected * (1 - expected) / n_images)
    assert (np.abs(measured - expected) < margin).all()


@pytest.mark.parametrize(
    ("reading", "kind", "mean", "of_two", "of_four"),
    [
        ("upright", "S", 0.586, 0.586, 0.586),
        ("upright", "SP", 0.875, 0.875, 0.875),
        ("upright", "SO", 0.882, 0.793, 0.897),
        ("upright", "SPO", 0.964, 0.938, 0.969),
        ("random", "SO", 0.865, 0.772, 0.881),
    ],
)
def test_documented_class_balance(reading, kind, mean, of_two, of_four):
    tasks = [task for task in TASKS if task.kind == kind]
    share = np.array([negative_share(task, reading) for task in tasks])
    turns = np.array([n_orientations(task) for task in tasks])
    assert_allclose(share.mean(), mean, atol=6e-4)
    assert_allclose(share[turns == 2], of_two, atol=6e-4)
    assert_allclose(share[turns == 4], of_four, atol=6e-4)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"groups": [0]}, "groups was given without power"),
        ({"power": [0]}, "power was given without groups"),
        (
            {"groups": [0, 5], "power": [0, 0]},
            "groups names images from 0 to 5, ",
        ),
        ({"groups": [-1], "power": [0]}, "names images from -1"),
        ({"groups": [0.0], "power": [0]}, "array of float64"),
        ({"groups": [0, 1], "power": [0, 1, 2]}, "one for each of the 2 rows"),
        ({"groups": [0, 1], "power": [0.5, 1]}, "power must be an integer"),
    ],
)
def test_bad_metadata(metadata, message):
    with pytest.raises(ValueError, match=message):
        TASKS.label_matrix(make_shapes(5), **metadata)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            ShapeTask("rectangle", orientation=3),
            r"tasks\[1\] is SO\(rectangle,3\), .* There are None, 0, 1",
        ),
        (
            ShapeTask("cup", "top-left", 4),
            r"SPO\(cup,top-left,4\), .* None, 0, 1, 2, 3",
        ),
        (ShapeTask("arrow", orientation=-1), "there is no orientation -1"),
        (ShapeTask("arrow", orientation=[1]), r"no orientation \[1\]"),
        (ShapeTask("star"), r"no shape 'star'. There are rectangle, diagonal,"),
        (ShapeTask("arrow", "left"), "no position 'left'. There are None, top-left"),
    ],
)
def test_tasks_that_there_are_not(task, message):
    with pytest.raises(ValueError, match=message):
        ShapeTasks([ShapeTask("arrow"), task])


def test_a_name_is_no_task():
    with pytest.raises(TypeError, match=r"tasks\[0\] has to be a ShapeTask.*found str"):
        ShapeTasks(["arrow"])


def test_tasks_may_hold_integers_of_numpy():
    tasks = ShapeTasks([ShapeTask("arrow", orientation=np.int64(1))])
    shapes = make_shapes(5, random_state=0)
    column = TASKS.names.index("SO(arrow,1)")
    expected = TASKS.label_matrix(shapes)[:, [column]]
    assert_array_equal(tasks.label_matrix(shapes), expected)
