import pytest

from curation.errors import InputError
from curation.recipe import Recipe
from curation.shared_samples import pairs_left_out

RECIPES = {
    "plain": Recipe(),
    "without_a": Recipe(drop_samples_of=("a",)),
    "without_b": Recipe(drop_samples_of=("b",)),
    "without_held": Recipe(drop_samples_of=("held",)),
}


def test_every_store_of_the_named_study_is_left_out() -> None:
    training = [("a", "plain"), ("a", "without_held"), ("b", "without_a")]
    found = pairs_left_out(RECIPES, training, [("held", "plain")])
    assert found["b", "without_a"] == (("a", "plain"), ("a", "without_held"))
    assert found["a", "without_held"] == (("held", "plain"),)
    assert found["a", "plain"] == ()


def test_two_studies_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="leave out each other's samples"):
        pairs_left_out(RECIPES, [("a", "without_b"), ("b", "without_a")], [])


def test_a_study_that_is_not_built_is_refused() -> None:
    with pytest.raises(InputError, match="'a' is in none of the selected variants"):
        pairs_left_out(RECIPES, [("b", "without_a")], [])


def test_a_study_cannot_leave_out_itself() -> None:
    with pytest.raises(InputError, match="its own samples"):
        pairs_left_out(RECIPES, [("a", "without_a")], [])
